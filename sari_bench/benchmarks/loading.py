"""How every benchmark that is published as a file is loaded: find its rows and audio, read them, put them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.assembling import assemble, recordings_of
from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.benchmarks.fields import Row, read_rows
from sari_bench.benchmarks.hub import Home
from sari_bench.benchmarks.places import find_questions, open_audio
from sari_data.errors import BenchmarkError, InputError
from sari_data.types import AudioRef


@dataclass(frozen=True, slots=True)
class Layout:
    """How a benchmark is published.

    Args:
        name: The benchmark's name.
        what: What its files hold, for messages: ``MMAU questions``.
        home: Where it is published.
        columns: The columns that are read of Parquet files.
        audio_column: The column in which Parquet files may embed audio.
        read: From a row, and where it is, to its gold; or the reason, in a few fixed words, why it is left out.
    """

    name: str
    what: str
    home: Home
    columns: tuple[str, ...]
    audio_column: str | None
    read: Callable[[Row, str], Gold | str]


def load_layout(
    layout: Layout, questions: Path | None, audio_root: Path | None, audio: bool, options: dict[str, Any]
) -> Benchmark:
    """Load a published benchmark.

    Args:
        layout: How it is published.
        questions: A file or folder of it, ``hub:owner/name[@revision][/path]``, or ``None`` for its place on the Hub.
        audio_root: Folder, archive or ``hub:`` place of its audio; absent: where the questions are.
        audio: Whether audio is wanted; without, none is looked for or fetched.
        options: Must be empty.

    Raises:
        InputError: Options were given, what is to hold audio does not, or an archive is none or lies of what it holds.
        MissingFileError: A file does not exist.
        BenchmarkError: The file is not this benchmark's, or the Hub cannot be reached.
        StorageError: The disk is full, or the Hub went away.
    """
    if options:
        raise InputError(f"benchmark {layout.name!r} takes no options; found {sorted(options)}: remove them")
    embedded = audio_root is None
    found = find_questions(layout.name, questions, layout.home, audio=audio and embedded)
    place = open_audio(audio_root, found) if audio else None
    left_out: Counter[str] = Counter()
    rows = read_rows(found, layout.what, layout.columns, layout.audio_column, audio=audio and embedded)

    def read() -> Iterator[tuple[str, Gold, tuple[AudioRef, ...]]]:
        for where, row in rows:
            gold = layout.read(row, where)
            if isinstance(gold, str):
                left_out[gold] += 1
            else:
                yield where, gold, recordings_of(gold, row.get(layout.audio_column or ""), place, where)

    try:
        made = assemble(layout.name, read(), found.title)
    except BenchmarkError as error:
        if left_out and "holds no questions" in str(error):
            raise BenchmarkError(
                f"{found.title}: expected multiple-choice questions, found {_list(left_out)}"
            ) from error
        raise
    if place is not None:
        place.unpack()
    if not left_out:
        return made
    total = len(made.golds) + sum(left_out.values())
    note = f"{len(made.golds):,} of {total:,} rows are asked; left out are {_list(left_out)}"
    return Benchmark(made.name, made.version, made.digest, made.questions, made.golds, (*made.notes, note))


def _list(left_out: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))
