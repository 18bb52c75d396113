from types import SimpleNamespace

from sari_data.config import Table


class Annotate(Table):
    pass


class Asking:
    usage = None


def open_askers(t):
    return SimpleNamespace(caption=None, question=None, reasoning=None)


def caption_clips(a, b):
    return iter(())


write_questions = write_chains = caption_clips
