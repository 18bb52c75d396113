"""``sari-bench run``: put a benchmark to a model and keep its raw answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sari_bench.commands.arguments import (
    AudioOption,
    JsonOption,
    LimitOption,
    OneRecordingOption,
    QuestionsOption,
    RecipeArgument,
    ResponderOptions,
    SetOption,
    effective_bench,
    responder_options,
)
from sari_bench.commands.output import print_score
from sari_data.console import note, print_json, say

if TYPE_CHECKING:
    from sari_bench.running.runs import Run


def run(
    recipe: RecipeArgument = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A checkpoint folder, a Hub id, the name that a server knows, or tiny: the embedded base model."
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            help="A name from 'sari-bench list', such as mmar; table:PATH or corpus:PATH#SPLIT; default: scenes."
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="What the answer is to look like: direct, unstructured, structured (default) or your own."),
    ] = None,
    responder: Annotated[
        str | None,
        typer.Option(
            help="Who answers: local (default), server (any OpenAI-compatible one), scripted or a plugin's name."
        ),
    ] = None,
    responder_option: ResponderOptions = None,
    name: Annotated[str | None, typer.Option(help="The run's name; default: the model's name @ the mode.")] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Where run folders go, by benchmark.")] = Path("runs"),
    questions: QuestionsOption = None,
    audio: AudioOption = None,
    limit: LimitOption = None,
    one_recording: OneRecordingOption = None,
    samples: Annotated[
        int | None, typer.Option(help="Answers to each question; from 2 on also majority vote and pass@k. Default: 1.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Answers that the responder local writes at once; default: 128.")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest response, in tokens; default: 256.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature; 0, the default, is greedy.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a benchmark to a model and keep its raw answers; a run that was stopped goes on."""
    from sari_bench.running.measure import RUNS, check_model, load_for, measure, run_folder, with_options
    from sari_bench.scoring import count_withheld
    from sari_bench.statistics.voting import score_json

    given = {
        "model": model,
        "benchmark": benchmark,
        "mode": mode,
        "responder": responder,
        "questions": questions,
        "audio": audio,
        "limit": limit,
        "one_recording": one_recording,
        "samples": samples,
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
    }
    bench = effective_bench(recipe, overrides, given)
    bench = with_options(bench, responder_options(responder_option))
    label = bench.model if bench.responder in ("local", "server") or model is not None else bench.responder
    run_folder(out_folder, bench.benchmark, label, bench.mode, name)  # a name that does not do is told at once
    check_model(bench)
    asked = load_for(bench)
    folder = run_folder(out_folder, asked.name, label, bench.mode, name)
    done = measure(bench, asked, folder)
    timing = done.timing().to_json()
    if count_withheld(done.benchmark):
        _tell_unscored(done, timing, as_json)
    elif as_json:
        print_json({"folder": str(folder), **score_json(done.score()), "timing": timing})
    else:
        result = done.score()
        print_score(result, f"{done.name} on {asked.name} ({asked.version}), scorer {result.scorer}")
        note(f"beside other runs: sari-bench report --leaderboard{'' if out_folder == RUNS else f' {out_folder}'}")
    note(f"raw answers: {folder}/responses.jsonl")


def _tell_unscored(done: Run, timing: dict[str, Any], as_json: bool) -> None:
    """Say how a run ended whose benchmark keeps its right answers to itself: it is to be submitted, not scored."""
    about = done.benchmark
    due, there = len(about.golds) * done.samples, sum(map(len, done.answers.values()))
    if as_json:
        body = {"folder": str(done.folder), "benchmark": about.name, "version": about.version}
        print_json({**body, "n": due, "answers": there, "scored": False, "timing": timing})
        return
    say(
        f"{done.name} on {about.name} ({about.version}): {there:,} of {due:,} answers are there; the right ones are "
        f"withheld, so there is no score: 'sari-bench submit {done.folder}' writes the file that the authors score"
    )
