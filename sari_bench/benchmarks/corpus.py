"""A split of any corpus folder as a benchmark: ``corpus:PATH#dev``."""

from __future__ import annotations

from pathlib import Path

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_data.errors import BenchmarkError

PREFIX = "corpus:"
SUMMARY = "a split of a corpus folder, for instance corpus:corpus#dev"
LICENCE = "that of the corpus; see its README.md"
HOW_TO_GET = "sari-data build"


def load_split(name: str) -> Benchmark:
    """Load ``corpus:PATH#SPLIT`` (the split is ``dev`` if left out).

    Raises:
        BenchmarkError: No path in the name, or questions without answers.
        CorpusError: The folder is not a complete corpus.
    """
    from sari_data.store import read_split

    path, _, split = name.removeprefix(PREFIX).partition("#")
    if not path:
        raise BenchmarkError(
            f"benchmark {name!r} names no folder: write {PREFIX}PATH#SPLIT, for instance corpus:corpus#dev"
        )
    folder = Path(path)
    return from_questions(f"{PREFIX}{folder.resolve().name}#{split or 'dev'}", read_split(folder, split or "dev"))
