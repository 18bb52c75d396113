"""``sari-bench diagnose``: what a run's thoughts have to do with its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sari_bench.commands.arguments import JsonOption, ResponderOptions, ScorerOption, responder_options
from sari_bench.commands.output import print_table
from sari_data.console import note, print_json, say
from sari_data.errors import InputError


def diagnose(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    swap_captions: Annotated[
        bool,
        typer.Option("--swap-captions", help="Ask the model to go on from its thoughts with other clips' captions."),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Swap in so many responses only, of each sample.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Swap in so many of the run's answers to each question. Default: 1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides whose caption each response gets.")] = 0,
    responder_option: ResponderOptions = None,
    scorer: ScorerOption = "answer",
    as_json: JsonOption = False,
) -> None:
    """Show thought length against accuracy, sections, whether the answer agrees with the summary, and truncation."""
    from sari_bench.running.runs import read_run
    from sari_bench.thoughts.diagnostic_tables import diagnosis_sentences, diagnosis_tables
    from sari_bench.thoughts.diagnostics import diagnose as diagnose_run

    found = read_run(run)
    if swap_captions:
        from sari_bench.scorers import JUDGE_FOLDER, load_scorer
        from sari_bench.thoughts.swap_asking import swap_captions as swap

        load_scorer(scorer, run / JUDGE_FOLDER)  # before anything is asked
        options = responder_options(responder_option)
        swap(found, limit=limit, samples=samples or 1, seed=seed, scorer=scorer, options=options)
    elif limit is not None or samples is not None:
        name = "--limit" if limit is not None else "--samples"
        raise InputError(f"{name} bounds how many captions are swapped: give --swap-captions too, or leave it out")
    result = diagnose_run(found, scorer)
    if as_json:
        print_json(result.to_json())
        return
    for title, header, rows in diagnosis_tables(result):
        print_table(title, header, rows)
    for sentence in diagnosis_sentences(result):
        say(sentence)
    for sentence in () if result.swapped is None else result.swapped.notes:
        note(f"note: {sentence}")
