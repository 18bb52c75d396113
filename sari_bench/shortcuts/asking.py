"""Put the variants of a run's questions to its model, and keep what comes of it beside the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark
from sari_bench.config import Bench
from sari_bench.running.beside import missing_answers, responder_for, say_costs, write_results
from sari_bench.running.measure import measure, with_options
from sari_bench.running.reopening import read_bench, reopen
from sari_bench.running.run_meta import check_audio
from sari_bench.running.runs import Run, count_responses
from sari_bench.scoring import check_has_answers
from sari_bench.shortcuts.figures import evaluate_shortcuts
from sari_bench.shortcuts.results import FOLDER, RESULTS, Shortcuts
from sari_bench.shortcuts.variants import NO_AUDIO, Variant, make_variant
from sari_data.errors import InputError, ResponderError
from sari_data.responder import Responder


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
        InputError: Answers are withheld.
        SariError: As :func:`sari_bench.running.measure.measure` and :func:`sari_bench.running.reopening.reopen`.
    """
    check_has_answers(run.benchmark)
    bench = with_options(read_bench(run), options or {})
    benchmark = benchmark if benchmark is not None else reopen(run)
    check_audio(benchmark)
    variants = [make_variant(name, benchmark, seed) for name in names]
    due = [(variant.name, variant.benchmark, run.folder / FOLDER / variant.name) for variant in variants]
    left = say_costs(due, bench) + missing_answers(benchmark, run.folder, bench)
    responder = responder if responder is not None else responder_for(run, bench, left)
    run = measure(bench, benchmark, run.folder, responder=responder)
    for variant in variants:
        _ask(variant, bench, run.folder, responder)
    result = evaluate_shortcuts(run, scorer, benchmark.notes)
    write_results(run.folder / FOLDER / RESULTS, result.to_json())
    return result


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
