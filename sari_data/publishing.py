"""Publish a corpus: may it go, in which form, and with which card.

A corpus that holds a benchmark's questions makes every score on that benchmark worthless, and one that a
rehearsal wrote teaches nothing: both are refused. Audio goes along only where its source says that it may
be shared; the other rows go without, in the form that :mod:`sari_data.rehydrate` makes whole again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from sari_data.card import card_on_hub, is_rehearsal
from sari_data.console import note
from sari_data.dedup import contaminated_count
from sari_data.errors import CorpusError, InputError
from sari_data.hub import push_corpus
from sari_data.recipe_text import redacted
from sari_data.rehydrate import datasets_of, without_audio
from sari_data.sources import dataset_facts
from sari_data.store import CARD, MANIFEST, read_manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

AudioForm = Literal["shareable", "all", "none"]
# Data sets made here, from nothing that a benchmark could share.
_OWN = {"scenes"}


def publish(
    folder: str | Path,
    repo: str,
    *,
    private: bool = False,
    audio: str = "shareable",
    allow_contaminated: bool = False,
    api: HfApi | None = None,
) -> str:
    """Upload a corpus that may be published, in the form that may be shared, with a card for its place on the Hub.

    Args:
        folder: The corpus.
        repo: ``owner/name``.
        private: Make a new repository private.
        audio: ``shareable``: the audio of data sets that say so; ``all``: all of it; ``none``: ids and segments only.
        allow_contaminated: Publish also what shares questions with a benchmark, or was compared with none.
        api: How to reach the Hub; default: its usual address with the stored token.

    Returns:
        The dataset's address.

    Raises:
        InputError: It may not be published, or ``audio`` is none of the three.
        SariError: As :func:`~sari_data.hub.push_corpus` and :func:`~sari_data.rehydrate.without_audio`.
    """
    check_audio(audio)
    manifest = read_manifest(folder)
    counts = datasets_of(folder)
    check_publishable(folder, manifest, counts, allow_contaminated=allow_contaminated)
    with _shared_form(Path(folder), manifest, counts, audio) as (form, body):
        clean = body | {key: redacted(body[key]) for key in ("recipe", "contamination") if key in body}
        texts = {CARD: card_on_hub(Path(folder), manifest, body, repo).encode()}
        if clean != body:
            note("push: secrets and folders of this machine in the recipe are left out of what is published")
            texts[MANIFEST] = (json.dumps(clean, indent=2, ensure_ascii=False) + "\n").encode()
        return push_corpus(form, repo, private=private, texts=texts, api=api)


def check_audio(audio: str) -> None:
    """Raise InputError unless ``audio`` is one of the forms of :func:`publish`."""
    if audio not in get_args(AudioForm):
        raise InputError(f"--audio must be one of {', '.join(get_args(AudioForm))}; found {audio!r}")


def check_publishable(
    folder: str | Path, manifest: Mapping[str, Any], datasets: Iterable[str], *, allow_contaminated: bool = False
) -> None:
    """Refuse a corpus that should not be published; what is allowed nevertheless is told.

    Args:
        folder: The corpus, for messages.
        manifest: Its manifest.
        datasets: The data sets that its rows are from.
        allow_contaminated: Let a corpus pass that is contaminated, or was never compared.

    Raises:
        InputError: It was written by a rehearsal, is contaminated, or was compared with no benchmark although its audio
            comes from elsewhere.
    """
    if is_rehearsal(manifest):
        raise InputError(
            f"{folder}: captions, questions, chains or pass rates in it were made up by the responder 'rehearsal', so "
            "it is not published: build it with a model that listens"
        )
    number = contaminated_count(manifest)
    if number:
        what = f"{number} of its questions are also in a benchmark that it was compared with"
        if not allow_contaminated:
            raise InputError(
                f"{folder}: {what}, so it is not published: drop them with the recipe's table [dedup], or allow it "
                "with --allow-contaminated"
            )
        note(f"push: {what}; it is published all the same, and the card says so")
    if number is None:
        what = "it was compared with no benchmark, so whether it contains one is not known"
        foreign = [name or "an unnamed data set" for name in sorted(set(datasets) - _OWN)]
        if foreign and not allow_contaminated:
            raise InputError(
                f"{folder}: {what}, and it has audio of {', '.join(foreign)}: compare it by the recipe's table "
                "[dedup], or allow it with --allow-contaminated"
            )
        note(f"push: {what}; the card says so")


def check_before(
    *, sources: Iterable[str], compared: bool, responders: Iterable[str], allow_contaminated: bool = False
) -> None:
    """Refuse before a long build what :func:`check_publishable` would refuse after it.

    Args:
        sources: The data sets' sources.
        compared: Whether the build compares with a benchmark.
        responders: Who is asked in it.
        allow_contaminated: As there.

    Raises:
        InputError: A rehearsal would write it, or it would be compared with nothing and have audio from elsewhere.
    """
    if "rehearsal" in responders:
        raise InputError(
            "what the responder 'rehearsal' makes up is not published: leave --push-to-hub out, or name a model that "
            "listens"
        )
    foreign = sorted(set(sources) - _OWN)
    if foreign and not compared and not allow_contaminated:
        raise InputError(
            f"a corpus from {', '.join(foreign)} is published once it was compared with a benchmark: name one in "
            "dedup.against, or allow it with --allow-contaminated"
        )


@contextmanager
def _shared_form(
    folder: Path, manifest: dict[str, Any], counts: Mapping[str, int], audio: str
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folder to upload: the corpus itself, or beside it for as long as it takes one without some of the audio."""
    facts = lru_cache(maxsize=None)(lambda name: _may_be_shared(name, manifest))
    withheld = {name for name in counts if audio == "none" or (audio == "shareable" and not facts(name))}
    told = {name: number for name, number in counts.items() if name in withheld and number}
    for name, number in told.items():
        why = "as asked" if audio == "none" else "nothing says that it may be shared (--audio all shares it)"
        note(f"push: {number} questions of {name or 'no data set'} go without their audio: {why}")
    if not told and manifest["embedded"]:
        yield folder, manifest
        return
    if not (manifest.get("files")):
        raise CorpusError(f"{folder}: expected questions to publish, found none: build it with some")
    target = folder.resolve().parent / f".{folder.resolve().name}.to-push"
    try:
        yield target, without_audio(folder, target, withheld.__contains__, overwrite=True)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _may_be_shared(dataset: str, manifest: Mapping[str, Any]) -> bool:
    recorded = ((manifest.get("sources") or {}).get(dataset) or {}).get("share_audio")
    return bool(recorded if isinstance(recorded, bool) else dataset_facts(dataset).get("share_audio"))
