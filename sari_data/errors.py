"""The errors that sari raises for what a user or the outside world did wrong.

Every leaf is a :class:`SariError` and also the standard-library error that fits, so
``except ValueError`` keeps working. The commands print ``str(error)`` as one sentence and exit
with code 2; a message therefore says what was expected, what was found and what to do. What *we*
did wrong is an ``assert``, never one of these.
"""

from __future__ import annotations

from collections.abc import Sequence


class SariError(Exception):
    """Base of every error with a message that is meant for the user."""


class InputError(SariError, ValueError):
    """A value, row or argument that does not fit its contract."""


class MissingFileError(SariError, FileNotFoundError):
    """A file or folder that was named but is not there."""


class AudioError(SariError, ValueError):
    """Audio that cannot be decoded, is empty, or is absurdly long."""


class RecipeError(SariError, ValueError):
    """A recipe with one or more wrong keys; ``problems`` holds one line for each, with its key."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        super().__init__(f"{source}: {count} {noun}: " + "; ".join(self.problems))


class TemplateError(SariError, ValueError):
    """A Jinja template or a response mode that cannot be loaded or rendered."""


class CorpusError(SariError, ValueError):
    """A corpus folder that is incomplete, inconsistent, or not a corpus."""


class BenchmarkError(SariError, ValueError):
    """A benchmark file or run folder that cannot be read as one."""


class CheckpointError(SariError, ValueError):
    """A model folder or training state that cannot be loaded."""


class ResponderError(SariError, RuntimeError):
    """A responder that could not answer."""


class PluginError(SariError, ImportError):
    """An entry point that is unknown or fails to load; the message names it."""


class StorageError(SariError, OSError):
    """A write that failed: disk full, no permission."""
