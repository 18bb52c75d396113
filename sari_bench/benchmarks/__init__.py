"""Benchmarks, one a file, by name.

A benchmark module has ``NAME``, ``SUMMARY``, ``QUESTIONS``, ``LICENCE``, ``HUB``, ``HOW_TO_GET`` and ``load``.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from sari_bench.benchmarks.base import Benchmark
from sari_data.errors import InputError

_MODULES = {
    "mmar": "sari_bench.benchmarks.mmar",
    "mmau-pro": "sari_bench.benchmarks.mmau_pro",
    "mmau-test": "sari_bench.benchmarks.mmau_test",
    "mmau-test-mini": "sari_bench.benchmarks.mmau",
    "mmsu": "sari_bench.benchmarks.mmsu",
    "scenes": "sari_bench.benchmarks.scenes",
    "table": "sari_bench.benchmarks.table",
}


class BenchmarkModule(Protocol):
    """What a benchmark's module offers.

    ``QUESTIONS`` is how many there are, ``None`` where the files decide; ``HUB`` is its data set on the Hub, empty
    where it has none.
    """

    NAME: str
    SUMMARY: str
    QUESTIONS: int | None
    LICENCE: str
    HUB: str
    HOW_TO_GET: str

    def load(self, questions: Path | None, audio_root: Path | None, *, audio: bool = True, **options: Any) -> Benchmark:
        """Load the benchmark from its published file or the Hub, or generate it."""
        ...


def benchmark_names() -> list[str]:
    """Return the names of the registered benchmarks, sorted."""
    return sorted(_MODULES)


def benchmark_module(name: str) -> BenchmarkModule:
    """Import the module of a registered benchmark.

    Raises:
        InputError: No benchmark has that name.
    """
    if name not in _MODULES:
        close = get_close_matches(name.lower().replace("_", "-"), _MODULES, n=1)
        meant = f": did you mean {close[0]!r}?" if close else ""
        raise InputError(
            f"benchmark {name!r} is unknown; expected {', '.join(benchmark_names())}, table:PATH or "
            f"corpus:PATH#SPLIT{meant}"
        )
    module: Any = import_module(_MODULES[name])
    return module


def load_benchmark(
    name: str,
    questions: Path | None = None,
    audio_root: Path | None = None,
    *,
    audio: bool = True,
    **options: Any,
) -> Benchmark:
    """Load a benchmark by name, ``corpus:PATH#SPLIT`` and ``table:PATH`` included.

    Args:
        name: The benchmark's name.
        questions: Its published file or a folder with it, or ``hub:owner/name[@revision][/path]``; absent: from its
            own place on the Hub.
        audio_root: Folder, archive or ``hub:owner/name/path`` of its audio; absent: where the questions are.
        audio: Whether audio is wanted: without, none is fetched, unpacked or looked for, and a question's audio is
            only a name. Scoring needs none.
        options: The benchmark's own.

    Raises:
        InputError: The name is unknown, or options do not fit the benchmark.
        BenchmarkError: Its file cannot be read as that benchmark, or the Hub cannot be reached.
        MissingFileError: Its file does not exist.
        StorageError: The disk is full, or the Hub went away.
    """
    from sari_bench.benchmarks import corpus, table

    if name.startswith(corpus.PREFIX):
        if questions is not None or audio_root is not None:
            raise InputError(f"benchmark {name!r} holds its questions and audio: leave --questions and --audio out")
        return corpus.load_split(name)
    if name.startswith(table.PREFIX):
        path = name.removeprefix(table.PREFIX)
        if questions is not None or not path:
            raise InputError(f"benchmark {name!r}: expected {table.PREFIX}PATH and no --questions: name the table once")
        return table.load(Path(path), audio_root, audio=audio, **options)
    return benchmark_module(name).load(questions, audio_root, audio=audio, **options)
