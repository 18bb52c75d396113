"""From golds and audio to a benchmark: checks, labels, version, and what must be said of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from sari_bench.benchmarks.base import Benchmark, Gold, check_golds, digest_of
from sari_bench.benchmarks.embedded import cells_of, is_taken_out
from sari_bench.benchmarks.places import AudioPlace
from sari_bench.benchmarks.versions import describe
from sari_data.errors import BenchmarkError, InputError
from sari_data.types import AudioQuestion, AudioRef

NOT_STATED = "not stated"


def recordings_of(gold: Gold, cell: Any, place: AudioPlace | None, where: str) -> tuple[AudioRef, ...]:
    """Return a question's recordings, in order: what was taken out of a Parquet file, or the files of their names.

    Args:
        gold: The question.
        cell: The audio cell of its row; a list where it has several.
        place: Where files are looked for; ``None`` where no audio is wanted.
        where: The row, for messages.

    Raises:
        BenchmarkError: A name leads outside the folder of audio.
    """
    if place is None:
        return ()
    taken = [one for one in cells_of(cell) if is_taken_out(one)]
    if len(taken) == len(gold.recordings):
        return tuple(AudioRef(path=one["file"], sha256=one["sha256"]) for one in taken)
    if not all(gold.recordings) or not place.roots:
        return ()
    return tuple(AudioRef(path=place.find(name, where)) for name in gold.recordings)


def assemble(
    name: str, rows: Iterable[tuple[str, Gold, Sequence[AudioRef]]], title: str, notes: Sequence[str] = ()
) -> Benchmark:
    """Make a benchmark of rows; its version is the registered revision that they are, or their content hash.

    Labels that only some rows state are completed (``not stated``), and a difficulty that only some state is left
    out, since the groups of a score must add up to the whole.

    Args:
        name: The benchmark's name.
        rows: Where each row is, its gold and its recordings (none where they are only names).
        title: What the rows are called in messages.
        notes: What else must be said.

    Raises:
        BenchmarkError: No rows, an id that stands twice, or a row that is no question.
    """
    golds: list[Gold] = []
    asked: list[AudioQuestion] = []
    for where, gold, recordings in rows:
        try:
            asked.append(gold.to_question(recordings))
        except InputError as error:
            raise BenchmarkError(f"{where}: {error}") from error
        first = asked[-1].audio
        if first.sha256 is not None and not gold.audio:
            gold = dataclasses.replace(gold, clip=first.key)
        golds.append(gold)
    check_golds(golds, title)
    golds = _tied(golds, asked)
    golds, asked, said = _complete(golds, asked)
    digest = digest_of(golds)
    version, about_version = describe(name, golds)
    about = (*about_version, *_answers(golds), *said, *notes)
    return Benchmark(name, version, digest, tuple(asked), tuple(golds), about)


def _tied(golds: list[Gold], asked: Sequence[AudioQuestion]) -> list[Gold]:
    """Give questions that share a recording, also by way of others, one ``clip``, where some are about several.

    A recording is known by its name, or by its content where it has none. What stands for all of them is the least.
    """
    if not any(gold.more_audio for gold in golds):
        return golds
    home: dict[str, str] = {}

    def find(label: str) -> str:
        while home.setdefault(label, label) != label:
            label = home[label]
        return label

    firsts = []
    for gold, question in zip(golds, asked, strict=True):
        labels = [name or audio.key for name, audio in zip(gold.recordings, question.recordings, strict=True)]
        firsts.append(labels[0])
        for label in labels[1:]:
            less, more = sorted((find(labels[0]), find(label)))
            home[more] = less
    tied = {find(first) for first, gold in zip(firsts, golds, strict=True) if gold.more_audio}
    return [
        dataclasses.replace(gold, clip=find(first)) if find(first) in tied else gold
        for gold, first in zip(golds, firsts, strict=True)
    ]


def _complete(golds: list[Gold], asked: list[AudioQuestion]) -> tuple[list[Gold], list[AudioQuestion], list[str]]:
    category, sub_category = (_blank(golds, field) for field in ("category", "sub_category"))
    rated = sum(bool(gold.difficulty) for gold in golds)
    partly = 0 < rated < len(golds)
    if not category and not sub_category and not partly:
        return golds, asked, []
    whole = [
        dataclasses.replace(
            gold,
            category=gold.category or category,
            sub_category=gold.sub_category or sub_category,
            difficulty="" if partly else gold.difficulty,
        )
        for gold in golds
    ]
    said = [f"only {rated} of {len(golds)} questions state a difficulty, so it is left out"] if partly else []
    return whole, [gold.to_question(question.recordings) for gold, question in zip(whole, asked, strict=True)], said


def _blank(golds: Sequence[Gold], field: str) -> str:
    """What stands for a label that is not there: a word of its own where other rows have that label, else nothing."""
    stated = sum(bool(getattr(gold, field)) for gold in golds)
    return NOT_STATED if 0 < stated < len(golds) else ""


def _answers(golds: Sequence[Gold]) -> list[str]:
    notes = []
    withheld = sum(gold.answer is None for gold in golds)
    if withheld:
        notes.append(
            f"the answers of {withheld:,} of {len(golds):,} questions are withheld: they can be asked and submitted, "
            "and not be scored here"
        )
    strays = sum(not gold.gradable for gold in golds) - withheld
    if strays:
        notes.append(
            f"{strays} of {len(golds)} questions have an answer that is not among their choices: the scorer 'answer' "
            "counts them as 'ungradable', which is never right, and 'official' matches their tokens as MMAU does"
        )
    return notes
