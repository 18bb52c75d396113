"""What is compared: run folders, and files of predictions made elsewhere, each with its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark
from sari_bench.predictions import check_about, read_answers
from sari_bench.running.runs import Run, instead, read_run
from sari_bench.scoring import BenchmarkGolds, Score, score, strays
from sari_data.errors import InputError, MissingFileError


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a name that no other side has, a score, and what must be known of its answers."""

    name: str
    score: Score
    notes: tuple[str, ...] = ()


def read_sides(
    paths: Sequence[Path], scorer: str = "answer", benchmark: str | None = None, questions: Path | None = None
) -> list[Side]:
    """Read and score what is to be compared, in the order given.

    Args:
        paths: Run folders, or files of predictions (``sari-bench score --predictions``).
        scorer: What judges the answers.
        benchmark: Which benchmark the files answer; absent: that of the first run folder, or ``mmau-test-mini``.
        questions: The published question file that they answer; absent: the questions of the first run folder.

    Raises:
        MissingFileError: A path is not there.
        InputError: Files alone without a question file, or a question file without files.
        BenchmarkError: A run folder or a file cannot be read, or a file answers none of the questions.
    """
    for path in paths:
        if not path.exists():
            raise MissingFileError(
                f"{str(path)!r} is not a run folder, nor a file of predictions: there is nothing of that name; "
                f"{instead(path)}, or such a file"
            )
    runs = {path: read_run(path) for path in paths if path.is_dir()}
    files = [path for path in paths if not path.is_dir()]
    if questions is not None and not files:
        raise InputError("run folders hold their questions: leave --questions out, or give a file of predictions")
    golds = _golds(benchmark, questions, list(runs.values())) if files else None
    names = [runs[path].name if path in runs else path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    sides = []
    for name, path in zip(names, paths, strict=True):
        if path in runs:
            sides.append(Side(name, runs[path].score(scorer)))
        else:
            assert golds is not None
            said = read_answers(path)
            check_about(path, said, [golds])
            sides.append(Side(name, score(golds, said, scorer), tuple(strays(golds, said))))
    return sides


def _golds(benchmark: str | None, questions: Path | None, runs: Sequence[Run]) -> Benchmark | BenchmarkGolds:
    if questions is None and benchmark is None:
        if not runs:
            raise InputError(
                "files of predictions do not hold the right answers: give the published question file with --questions"
            )
        return runs[0].benchmark
    return load_benchmark(benchmark or "mmau-test-mini", questions, audio=False)
