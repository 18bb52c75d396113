"""``sari-bench run``: put a benchmark to a model and keep its raw answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sari_bench.commands.arguments import (
    AudioOption,
    JsonOption,
    QuestionsOption,
    RecipeArgument,
    SetOption,
    effective_bench,
    responder_options,
)
from sari_bench.commands.output import print_score
from sari_data.console import note, print_json, say


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
    responder_option: Annotated[
        list[str] | None,
        typer.Option(help="Option of the responder: base_url=http://localhost:8000/v1, concurrency=8. Repeatable."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The run's name; default: the model's name @ the mode.")] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Where run folders go, by benchmark.")] = Path("runs"),
    questions: QuestionsOption = None,
    audio: AudioOption = None,
    limit: Annotated[
        int | None, typer.Option(help="Ask only so many questions, the same ones for every model; default: all.")
    ] = None,
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
    from sari_bench.running.measure import RUNS, load_for, measure, run_folder, with_options
    from sari_bench.statistics.voting import vote_lines, votes_json

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
    result = done.score()
    if as_json:
        votes = {"votes": votes_json(result)} if bench.samples > 1 else {}
        print_json({"folder": str(folder), **result.to_json(), **votes, "timing": done.timing().to_json()})
    else:
        print_score(result, f"{done.name} on {asked.name} ({asked.version}), scorer {result.scorer}")
        for line in vote_lines(result):
            say(line)
        note(f"raw answers: {folder}/responses.jsonl")
        note(f"beside other runs: sari-bench report --leaderboard{'' if out_folder == RUNS else f' {out_folder}'}")
