"""Open the benchmark of a run again, audio included, from what the run folder says of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection

from pydantic import ValidationError

from sari_bench.benchmarks import load_benchmark, scenes
from sari_bench.benchmarks.base import Benchmark, Gold, digest_row
from sari_bench.config import Bench
from sari_bench.running.runs import RECIPE, Run
from sari_data.errors import BenchmarkError, MissingFileError
from sari_data.types import AudioRef


def read_bench(run: Run) -> Bench:
    """Return the [bench] table that a run was made with.

    Raises:
        MissingFileError: The run folder has no recipe.
        BenchmarkError: The recipe is not one.
    """
    path = run.folder / RECIPE
    if not path.is_file():
        raise MissingFileError(
            f"run folder {str(run.folder)!r} has no {RECIPE}, so it does not say where the benchmark's audio is: "
            "run the same command again to write it"
        )
    try:
        return Bench.model_validate(json.loads(path.read_text(encoding="utf-8"))["bench"])
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise BenchmarkError(
            f"{path} is not the recipe of a run (keys or values that do not fit: {keys}): restore the file"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BenchmarkError(f"{path} is not the recipe of a run ({error!r}): restore the file") from error


def reopen(run: Run) -> Benchmark:
    """Load the questions of a run with their audio, as its recipe says, and check that they are the same.

    Raises:
        MissingFileError: The run folder has no recipe, or the benchmark's file is not there any more.
        BenchmarkError: The recipe is not one, or the benchmark has changed since.
    """
    bench = read_bench(run)
    found = load_benchmark(bench.benchmark, bench.questions, bench.audio, **bench.benchmark_options())
    benchmark = bench.part_of(found)
    if benchmark.digest != run.benchmark.digest and any(question.more_audio for question in found.questions):
        # Before there was the option, questions about several recordings were always left out.
        with contextlib.suppress(BenchmarkError):  # nothing is left
            before = bench.model_copy(update={"one_recording": True}).part_of(found)
            benchmark = before if before.digest == run.benchmark.digest else benchmark
    if benchmark.digest != run.benchmark.digest:
        raise BenchmarkError(
            f"run {str(run.folder)!r} asked {run.benchmark.name} ({run.benchmark.version}), and what its recipe names "
            f"is now {benchmark.name} ({benchmark.version}): restore the benchmark's file"
        )
    return benchmark


def clips_of(run: Run, ids: Collection[str]) -> dict[str, tuple[AudioRef, ...]]:
    """Return the recordings of some of a run's questions, by id; of what is generated only these are made.

    Args:
        run: The run.
        ids: Of its questions.

    Raises:
        MissingFileError: As :func:`reopen`.
        BenchmarkError: As :func:`reopen`.
    """
    bench = read_bench(run)
    if bench.benchmark == scenes.NAME:
        golds = {gold.audio: gold for gold in run.benchmark.golds if gold.id in ids}
        made = list(scenes.some_questions(golds.keys(), **bench.benchmark_options()))
        same = [q for q in made if digest_row(Gold.from_question(q)) == digest_row(golds[q.audio.path or ""])]
        if len(same) == len(ids):
            return {question.id: question.recordings for question in same}
    # Where one of them is another now, opening all says so.
    return {question.id: question.recordings for question in reopen(run).questions if question.id in ids}
