"""Put the variants of a run's questions to its model, and keep what comes of it beside the run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark
from sari_bench.config import Bench
from sari_bench.running.measure import make_responder, measure, with_options
from sari_bench.running.reopening import read_bench, reopen
from sari_bench.running.runs import Run, count_responses
from sari_bench.shortcuts.figures import evaluate_shortcuts
from sari_bench.shortcuts.priors import check_answers
from sari_bench.shortcuts.results import FOLDER, RESULTS, Shortcuts
from sari_bench.shortcuts.variants import NO_AUDIO, Variant, make_variant
from sari_data.console import json_text, note
from sari_data.errors import InputError, ResponderError, StorageError
from sari_data.responder import Request, Responder, Response, Sampling


def measure_shortcuts(
    run: Run,
    names: Sequence[str],
    *,
    seed: int = 0,
    scorer: str = "answer",
    options: dict[str, Any] | None = None,
    responder: Responder | None = None,
    benchmark: Benchmark | None = None,
) -> Shortcuts:
    """Ask the variants ``names`` of a run's questions, and compute and keep all figures.

    What a run lacks itself is asked first, so that it is seen to be the same model. Answers that are there already are
    not asked for again; variants that were asked earlier stay in the results.

    Args:
        run: The run with the own audio.
        names: Which variants, of :data:`sari_bench.shortcuts.variants.VARIANTS`.
        seed: Decides which other clip is heard.
        scorer: What judges the answers.
        options: Further options of the responder; they win over those of the run's recipe.
        responder: Who answers, where it is loaded already.
        benchmark: The questions with their audio, where they are loaded already.

    Raises:
        SariError: As :func:`sari_bench.running.measure.measure` and :func:`sari_bench.running.reopening.reopen`.
    """
    check_answers(run.benchmark.golds)
    bench = with_options(read_bench(run), options or {})
    benchmark = benchmark if benchmark is not None else reopen(run)
    variants = [make_variant(name, benchmark, seed) for name in names]
    due = [(variant.name, variant.benchmark, run.folder / FOLDER / variant.name) for variant in variants]
    left = say_costs(due, bench) + missing_answers(benchmark, run.folder, bench)
    if responder is None:
        responder = make_responder(bench) if left else Recorded(str(run.meta["model"].get("name")))
    run = measure(bench, benchmark, run.folder, responder=responder)
    for variant in variants:
        _ask(variant, bench, run.folder, responder)
    result = evaluate_shortcuts(run, scorer, benchmark.notes)
    write_results(run.folder / FOLDER / RESULTS, result.to_json())
    return result


def write_results(path: Path, body: dict[str, Any]) -> None:
    """Write results as JSON, whole or not at all.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json_text(body, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"{str(path)!r} could not be written ({error.strerror}): free space; the same command then goes on"
        ) from error


def missing_answers(benchmark: Benchmark, folder: Path, bench: Bench) -> int:
    """Return how many answers a run of these questions in ``folder`` lacks."""
    return max(len(benchmark.questions) * bench.samples - count_responses(folder), 0)


def say_costs(due: Sequence[tuple[str, Benchmark, Path]], bench: Bench) -> int:
    """Say of each (name, questions, run folder) how many answers are due, and return how many are missing in all."""
    left = 0
    for name, benchmark, folder in due:
        missing = missing_answers(benchmark, folder, bench)
        count = len(benchmark.questions) * bench.samples
        note(f"{name}: {count:,} answers are due, {count - missing:,} of them are there")
        left += missing
    return left


class Recorded:
    """Stands for a model that has nothing left to answer, so that it need not be loaded.

    Args:
        name: The model's name, as it was recorded.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Raise ResponderError: whoever counted the answers found none missing."""
        raise ResponderError(
            f"answers of {self.name!r} went missing while they were counted: run the same command again"
        )


def _ask(variant: Variant, bench: Bench, folder: Path, responder: Responder) -> None:
    where = folder / FOLDER / variant.name
    try:
        measure(bench, variant.benchmark, where, responder=responder, variant=variant.name, requests=variant.requests)
    except (InputError, ResponderError) as error:
        if variant.name != NO_AUDIO or count_responses(where):
            raise
        raise type(error)(
            f"responder {responder.name!r} answered nothing without audio ({error}): where it cannot be asked with "
            "text alone, leave that out with --only other-audio --only silence --only circular"
        ) from error
