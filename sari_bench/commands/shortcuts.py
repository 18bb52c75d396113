"""``sari-bench shortcuts``: how much of a score needs no listening."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sari_bench.commands.arguments import JsonOption, ScorerOption, SetOption, effective_bench
from sari_bench.commands.output import print_table
from sari_bench.commands.run import _pair as pair_option
from sari_data.console import note, out, print_json
from sari_data.errors import InputError

if TYPE_CHECKING:
    from sari_bench.shortcuts import Shortcuts

# Options that say what is to be run; with one of the first three there is a model to ask.
_MODEL = ("model", "responder", "recipe")


def shortcuts(
    run: Annotated[
        Path | None, typer.Argument(help="A run folder: its model is asked again, as its recipe says.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="no-audio, other-audio, silence or circular; default: all. Repeatable."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Instead of a run: a checkpoint folder, or tiny.")] = None,
    benchmark: Annotated[str | None, typer.Option(help="A benchmark from 'sari-bench list'.")] = None,
    questions: Annotated[Path | None, typer.Option(help="The benchmark's published question file.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Folder with the benchmark's audio.")] = None,
    mode: Annotated[str | None, typer.Option(help="Response mode.")] = None,
    responder: Annotated[str | None, typer.Option(help="Who answers: local, server or a plugin's name.")] = None,
    responder_option: Annotated[
        list[str] | None, typer.Option(help="Option of the responder: key=value. Repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The run's name; default: the model's name @ the mode.")] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Where run folders go; default: runs/.")] = None,
    limit: Annotated[int | None, typer.Option(help="Ask only so many questions, the same for every model.")] = None,
    samples: Annotated[int | None, typer.Option(help="Answers to each question.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest response, in tokens.")] = None,
    seed: Annotated[int, typer.Option(help="Decides whose audio is heard in other-audio.")] = 0,
    recipe: Annotated[str | None, typer.Option(help="Recipe with a [bench] table.")] = None,
    overrides: SetOption = None,
    scorer: ScorerOption = "answer",
    as_json: JsonOption = False,
) -> None:
    """Say how much of a score needs no listening: rules, no audio, other audio, silence, rotated options.

    With a run, or with --model, its model is asked. Without either, only rules are tried on the questions.
    """
    given = {
        "model": model,
        "benchmark": benchmark,
        "questions": questions,
        "audio": audio,
        "mode": mode,
        "responder": responder,
        "limit": limit,
        "samples": samples,
        "max_new_tokens": max_new_tokens,
    }
    said = [*given.items(), ("name", name), ("out", out_folder), ("recipe", recipe), ("set", overrides)]
    if run is not None:
        if extra := [key for key, value in said if value]:
            raise InputError(
                f"a run folder says what is asked of which model: leave --{extra[0].replace('_', '-')} out, or leave "
                "the folder out and give --model"
            )
        result = _of_run(run, only, seed, scorer, responder_option)
    else:
        from sari_bench.measure import load_for

        bench = effective_bench(recipe, overrides, given)
        asked = load_for(bench)
        if model is None and responder is None and recipe is None:
            result = _rules(asked, only)
        else:
            result = _measured(bench, asked, only, seed, scorer, responder_option, out_folder, name)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)


def _options(pairs: list[str] | None) -> dict[str, Any]:
    return dict(pair_option(pair) for pair in pairs or [])


def _rules(asked: Any, only: list[str] | None) -> Shortcuts:
    from sari_bench.shortcuts.figures import rules_only

    if only:
        raise InputError(f"--only {only[0]} asks a model, and none is named: give a run folder or --model")
    return rules_only(asked)


def _of_run(folder: Path, only: list[str] | None, seed: int, scorer: str, pairs: list[str] | None) -> Shortcuts:
    from sari_bench.runs import read_run
    from sari_bench.shortcuts.asking import measure_shortcuts
    from sari_bench.shortcuts.variants import choose_variants

    names = choose_variants(only or [])
    return measure_shortcuts(read_run(folder), names, seed=seed, scorer=scorer, options=_options(pairs))


def _measured(
    bench: Any,
    asked: Any,
    only: list[str] | None,
    seed: int,
    scorer: str,
    pairs: list[str] | None,
    out_folder: Path | None,
    name: str | None,
) -> Shortcuts:
    """Run the benchmark first, as ``sari-bench run`` does; a run that is there already is gone on with."""
    from sari_bench.measure import RUNS, measure, open_responder, run_folder
    from sari_bench.shortcuts.asking import measure_shortcuts
    from sari_bench.shortcuts.priors import check_answers
    from sari_bench.shortcuts.variants import choose_variants

    names = choose_variants(only or [])
    check_answers(asked.golds)
    label = bench.model if bench.responder in ("local", "server") or bench.model != "tiny" else bench.responder
    folder = run_folder(out_folder or RUNS, asked.name, label, bench.mode, name)
    responder = open_responder(bench, _options(pairs))
    done = measure(bench, asked, folder, responder=responder)
    return measure_shortcuts(done, names, seed=seed, scorer=scorer, responder=responder, benchmark=asked)


def _print(result: Shortcuts) -> None:
    from sari_bench.report import to_table
    from sari_bench.shortcuts.tables import position_rows, rule_notes, shortcut_rows, table_title, task_rows

    print_table(to_table(table_title(result), *shortcut_rows(result)))
    for title, (header, rows) in (("audio gain by task, in points", task_rows(result)),
                                  ("positions, over all rotations", position_rows(result))):  # fmt: skip
        if rows:
            print_table(to_table(title, header, rows))
    for sentence in result.sentences:
        out.print(sentence, markup=False, highlight=False, soft_wrap=True)
    for sentence in [*rule_notes(result.rows), *(f"note: {sentence}" for sentence in result.notes)]:
        note(sentence)
