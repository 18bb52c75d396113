"""``sari-bench run``: put a benchmark to a model and keep its raw answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sari_bench.commands.arguments import (
    JsonOption,
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
    model: Annotated[str | None, typer.Option(help="Checkpoint folder, or tiny: the embedded base model.")] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="A benchmark from 'sari-bench list', or corpus:PATH#SPLIT.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Response mode: direct, unstructured, structured or your own.")
    ] = None,
    responder: Annotated[str | None, typer.Option(help="Who answers: local, server, scripted or a plugin.")] = None,
    responder_option: ResponderOptions = None,
    name: Annotated[str | None, typer.Option(help="The run's name; default: the model's name @ the mode.")] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Where run folders go.")] = Path("runs"),
    questions: Annotated[Path | None, typer.Option(help="The benchmark's published question file.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Folder with the benchmark's audio.")] = None,
    limit: Annotated[int | None, typer.Option(help="Ask only so many questions, the same for every model.")] = None,
    samples: Annotated[int | None, typer.Option(help="Answers to each question.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Answers that the local responder writes at once.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest response, in tokens.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature; 0 is greedy.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a benchmark to a model and keep its raw answers; a run that was stopped goes on."""
    from sari_bench.running.measure import load_for, measure, run_folder, with_options
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
        "samples": samples,
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
    }
    bench = effective_bench(recipe, overrides, given)
    bench = with_options(bench, responder_options(responder_option))
    asked = load_for(bench)
    label = bench.model if bench.responder in ("local", "server") or model is not None else bench.responder
    folder = run_folder(out_folder, asked.name, label, bench.mode, name)
    done = measure(bench, asked, folder)
    timing = done.timing().to_json()
    if count_withheld(done.benchmark):
        _tell_unscored(done, timing, as_json)
    elif as_json:
        print_json({"folder": str(folder), **score_json(done.score()), "timing": timing})
    else:
        print_score(done.score(), f"{done.name} on {asked.name} ({asked.version})")
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
