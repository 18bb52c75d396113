"""``sari-bench shortcuts``: how much of a score needs no listening."""

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
    ResponderOptions,
    ScorerOption,
    SetOption,
    effective_bench,
    responder_options,
)
from sari_bench.commands.output import print_table
from sari_data.console import note, print_json, say
from sari_data.errors import InputError

if TYPE_CHECKING:
    from sari_bench.benchmarks.base import Benchmark
    from sari_bench.config import Bench
    from sari_bench.shortcuts import Shortcuts


def shortcuts(
    run: Annotated[
        Path | None, typer.Argument(help="A run folder: its model is asked again, as its recipe says.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="no-audio, other-audio, silence or circular; default: all. Repeatable."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Instead of a run: a checkpoint folder, a Hub id, or tiny; it is run first.")
    ] = None,
    benchmark: Annotated[str | None, typer.Option(help="A benchmark from 'sari-bench list'; default: scenes.")] = None,
    questions: QuestionsOption = None,
    audio: AudioOption = None,
    mode: Annotated[
        str | None, typer.Option(help="Response mode: direct, unstructured, structured (default) or your own.")
    ] = None,
    responder: Annotated[str | None, typer.Option(help="Who answers: local, server or a plugin's name.")] = None,
    responder_option: ResponderOptions = None,
    name: Annotated[str | None, typer.Option(help="The run's name; default: the model's name @ the mode.")] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Where run folders go; default: runs/.")] = None,
    limit: LimitOption = None,
    one_recording: OneRecordingOption = None,
    samples: Annotated[int | None, typer.Option(help="Answers to each question; default: 1.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest response, in tokens; default: 256.")] = None,
    seed: Annotated[int, typer.Option(help="Decides whose audio is heard in other-audio.")] = 0,
    recipe: Annotated[str | None, typer.Option(help=r"Recipe with a \[bench] table.")] = None,
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
        "one_recording": one_recording,
        "samples": samples,
        "max_new_tokens": max_new_tokens,
    }
    said = [*given.items(), ("name", name), ("out", out_folder), ("recipe", recipe), ("set", overrides)]
    options = responder_options(responder_option)
    if run is not None:
        if extra := [key for key, value in said if value]:
            raise InputError(
                f"a run folder says what is asked of which model: leave --{extra[0].replace('_', '-')} out, or leave "
                "the folder out and give --model"
            )
        result = _of_run(run, only, seed, scorer, options)
    else:
        from sari_bench.running.measure import RUNS, check_model, load_for, run_folder, with_options

        bench = with_options(effective_bench(recipe, overrides, given), options)
        check_model(bench)
        asked = load_for(bench)
        if model is None and responder is None and recipe is None:
            result = _rules(asked, only)
        else:
            is_model = bench.responder in ("local", "server") or model is not None
            label = bench.model if is_model else bench.responder
            folder = run_folder(out_folder or RUNS, asked.name, label, bench.mode, name)
            result = _measured(bench, asked, folder, only, seed, scorer)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)


def _rules(asked: Benchmark, only: list[str] | None) -> Shortcuts:
    from sari_bench.shortcuts.figures import rules_only

    if only:
        raise InputError(f"--only {only[0]} asks a model, and none is named: give a run folder or --model")
    return rules_only(asked)


def _of_run(folder: Path, only: list[str] | None, seed: int, scorer: str, options: dict[str, Any]) -> Shortcuts:
    from sari_bench.running.runs import read_run
    from sari_bench.scorers import JUDGE_FOLDER, load_scorer
    from sari_bench.shortcuts.asking import measure_shortcuts
    from sari_bench.shortcuts.variants import choose_variants

    names = choose_variants(only or [])
    load_scorer(scorer, folder / JUDGE_FOLDER)  # before anything is asked
    return measure_shortcuts(read_run(folder), names, seed=seed, scorer=scorer, options=options)


def _measured(
    bench: Bench, asked: Benchmark, folder: Path, only: list[str] | None, seed: int, scorer: str
) -> Shortcuts:
    """Run the benchmark first, as ``sari-bench run`` does; a run that is there already is gone on with."""
    from sari_bench.running.measure import make_responder, measure
    from sari_bench.running.run_meta import check_audio
    from sari_bench.scorers import JUDGE_FOLDER, load_scorer
    from sari_bench.scoring import check_has_answers
    from sari_bench.shortcuts.asking import measure_shortcuts
    from sari_bench.shortcuts.variants import choose_variants

    names = choose_variants(only or [])
    load_scorer(scorer, folder / JUDGE_FOLDER)  # before anything is asked
    check_has_answers(asked)
    check_audio(asked)
    responder = make_responder(bench)
    done = measure(bench, asked, folder, responder=responder)
    return measure_shortcuts(done, names, seed=seed, scorer=scorer, responder=responder, benchmark=asked)


def _print(result: Shortcuts) -> None:
    from sari_bench.shortcuts.tables import best_rule, position_rows, rule_notes, shortcut_rows, table_title, task_rows

    print_table(table_title(result), *shortcut_rows(result))
    tables = {"gain by task, in points": task_rows(result), "positions, all rotations": position_rows(result)}
    for title, (header, rows) in tables.items():
        if rows:
            print_table(title, header, rows)
    for sentence in [*result.sentences, best_rule(result.rows)]:
        say(sentence)
    for sentence in [*rule_notes(result.rows), *result.notes]:
        note(f"note: {sentence}")
