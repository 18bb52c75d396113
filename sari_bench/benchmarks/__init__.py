"""Benchmarks, one a file, by name.

A benchmark module has ``NAME``, ``SUMMARY``, ``LICENCE``, ``HOW_TO_GET`` and ``load``.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from sari_bench.benchmarks.base import Benchmark
from sari_data.errors import InputError

_MODULES = {"mmau-test-mini": "sari_bench.benchmarks.mmau", "scenes": "sari_bench.benchmarks.scenes"}


class BenchmarkModule(Protocol):
    """What a benchmark's module offers."""

    NAME: str
    SUMMARY: str
    LICENCE: str
    HOW_TO_GET: str

    def load(self, questions: Path | None, audio_root: Path | None, **options: Any) -> Benchmark:
        """Load the benchmark from its published file, or generate it."""
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
        raise InputError(f"benchmark {name!r} is unknown; expected one of {benchmark_names()} or corpus:PATH#SPLIT")
    module: Any = import_module(_MODULES[name])
    return module


def load_benchmark(
    name: str, questions: Path | None = None, audio_root: Path | None = None, **options: Any
) -> Benchmark:
    """Load a benchmark by name, ``corpus:PATH#SPLIT`` included.

    Raises:
        InputError: The name is unknown, or options do not fit the benchmark.
        BenchmarkError: Its file cannot be read as that benchmark.
        MissingFileError: Its file does not exist.
    """
    from sari_bench.benchmarks import corpus

    if name.startswith(corpus.PREFIX):
        if questions is not None or audio_root is not None:
            raise InputError(f"benchmark {name!r} holds its questions and audio: leave --questions and --audio out")
        return corpus.load_split(name)
    return benchmark_module(name).load(questions, audio_root, **options)
