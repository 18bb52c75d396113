"""``sari-bench score``: score predictions made elsewhere, or a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sari_bench.commands.arguments import JsonOption
from sari_bench.commands.output import print_score
from sari_data.console import print_json
from sari_data.errors import InputError

if TYPE_CHECKING:
    from sari_bench.scoring import Score


def score(
    benchmark: Annotated[str, typer.Option(help="Which benchmark the predictions answer.")] = "mmau-test-mini",
    questions: Annotated[Path | None, typer.Option(help="The benchmark's published question file.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="JSON list or JSONL of id with model_prediction or model_output.")
    ] = None,
    run_path: Annotated[Path | None, typer.Option("--run", help="Score a run folder instead of a file.")] = None,
    scorer: Annotated[list[str] | None, typer.Option(help="answer (default) or official. Repeatable.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Score predictions made elsewhere, or a run folder, per task, category, sub-category and difficulty."""
    from sari_bench.runs import read_run

    if (predictions is None) == (run_path is None):
        raise InputError("score needs one thing to score: give either --predictions FILE or --run FOLDER")
    names = list(dict.fromkeys(scorer or ["answer"]))
    if run_path is not None:
        if questions is not None:
            raise InputError("a run folder holds its questions: leave --questions out with --run")
        found = read_run(run_path)
        scores = {one: found.score(one) for one in names}
    else:
        assert predictions is not None
        scores = _score_predictions(benchmark, questions, predictions, names)
    if as_json:
        bodies = {one: result.to_json() for one, result in scores.items()}
        print_json(bodies[names[0]] if len(names) == 1 else bodies)
        return
    for one, result in scores.items():
        print_score(result, f"{result.benchmark} ({result.version}), scorer {one}")


def _score_predictions(benchmark: str, questions: Path | None, predictions: Path, names: list[str]) -> dict[str, Score]:
    from sari_bench.benchmarks import load_benchmark
    from sari_bench.predictions import read_predictions
    from sari_bench.scoring import Answer
    from sari_bench.scoring import score as score_answers

    answers = {
        identifier: [Answer(identifier, text, raw=False)] for identifier, text in read_predictions(predictions).items()
    }
    golds = load_benchmark(benchmark, questions, audio=False)
    return {one: score_answers(golds, answers, one) for one in names}
