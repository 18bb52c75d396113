"""``sari-bench compare``: does one run beat another?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sari_bench.commands.arguments import JsonOption, ScorerOption
from sari_bench.commands.output import print_table
from sari_data.console import note, out, print_json
from sari_data.errors import InputError

if TYPE_CHECKING:
    from sari_bench.comparing.compare import Comparison


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="BEFORE AFTER...", help="Run folders or prediction files: the one before, then one or more after."
        ),
    ],
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Table by task (default), category, sub-category or difficulty. Repeatable."),
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Compare on the questions that both asked alike, of other versions too.")
    ] = False,
    benchmark: Annotated[str | None, typer.Option(help="Which benchmark prediction files answer.")] = None,
    questions: Annotated[Path | None, typer.Option(help="The question file that prediction files answer.")] = None,
    transcript: Annotated[
        bool, typer.Option("--transcript", help="Show a question wrong before and right after.")
    ] = False,
    scorer: ScorerOption = "answer",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Say whether the run AFTER beats the run BEFORE, by how many points, with a paired 95 % interval and p."""
    from sari_bench.benchmarks.base import DIMENSIONS
    from sari_bench.comparing.compare import compare_scores
    from sari_bench.comparing.difference_tables import adjust_runs, run_rows, runs_note
    from sari_bench.comparing.sides import read_sides

    if len(runs) < 2:
        raise InputError("compare needs two run folders or prediction files or more: the one before, then those after")
    dimensions = list(dict.fromkeys(by or ["task"]))
    wrong = [dimension for dimension in dimensions if dimension not in DIMENSIONS]
    if wrong:
        raise InputError(f"--by {wrong[0]!r} is unknown; expected one of {list(DIMENSIONS)}")
    base, *others = read_sides(runs, scorer, benchmark, questions)
    found = adjust_runs(
        [compare_scores(base.name, base.score, o.name, o.score, common=common, seed=seed) for o in others]
    )
    if as_json:
        bodies = [comparison.to_json() for comparison in found]
        print_json(bodies[0] if len(bodies) == 1 else {"comparisons": bodies, "note": runs_note(found)})
        return
    for side in (base, *others):
        for sentence in side.notes:
            note(f"note: {side.name}: {sentence}")
    for comparison in found:
        _print(comparison, dimensions, transcript)
    if len(found) > 1:
        header, rows = run_rows(found)
        print_table(f"each minus {base.name}, in points", header, rows)
        note(f"note: {runs_note(found)}")


def _print(comparison: Comparison, dimensions: list[str], transcript: bool) -> None:
    from sari_bench.comparing.difference_tables import group_rows
    from sari_bench.reporting.report import transcript_view

    out.print(comparison.sentence, markup=False, highlight=False, soft_wrap=True)
    for sentence in comparison.notes:
        out.print(f"  {sentence}", markup=False, highlight=False, soft_wrap=True)
    for dimension in dimensions:
        if dimension not in comparison.groups:
            note(f"note: the questions have no {dimension}, so there is no table by it")
            continue
        header, rows = group_rows(comparison, dimension)
        print_table(f"{comparison.b} minus {comparison.a}, in points", header, rows)
        if comparison.group_note(dimension):
            note(f"note: {comparison.group_note(dimension)}")
    if transcript:
        if comparison.transcript is None:
            note(f"no question is wrong in {comparison.a} and right in {comparison.b}: there is no transcript to show")
        else:
            out.print(transcript_view(comparison.transcript, comparison.a, comparison.b))
