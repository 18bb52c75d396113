"""``sari-bench run``: put a benchmark to a model and keep its raw answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sari_bench.commands.arguments import JsonOption, RecipeArgument, SetOption, effective_bench, responder_options
from sari_bench.commands.output import print_score
from sari_data.console import note, print_json, say


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
    responder_option: Annotated[
        list[str] | None, typer.Option(help="Option of the responder, as TOML: concurrency=8. Repeatable.")
    ] = None,
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
    label = bench.model if bench.responder in ("local", "server") or model is not None else bench.responder
    run_folder(out_folder, bench.benchmark, label, bench.mode, name)  # a name that does not do is told at once
    asked = load_for(bench)
    folder = run_folder(out_folder, asked.name, label, bench.mode, name)
    done = measure(bench, asked, folder)
    result = done.score()
    if as_json:
        votes = {"votes": votes_json(result)} if bench.samples > 1 else {}
        print_json({"folder": str(folder), **result.to_json(), **votes, "timing": done.timing().to_json()})
    else:
        print_score(result, f"{done.name} on {asked.name} ({asked.version})")
        for line in vote_lines(result):
            say(line)
        note(f"raw answers: {folder}/responses.jsonl")
