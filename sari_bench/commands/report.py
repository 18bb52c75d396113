"""``sari-bench report``: leaderboards and every figure of runs, as tables, JSON, Markdown or a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sari_bench.commands.arguments import JsonOption, ScorerOption, SetOption, effective_bench
from sari_bench.commands.output import print_score, print_table, write_text
from sari_data.console import note, out, print_json
from sari_data.errors import MissingFileError

if TYPE_CHECKING:
    from sari_bench.leaderboard import Board
    from sari_bench.runs import Run


def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders, or folders that hold them; default: runs/.")
    ] = None,
    leaderboard: Annotated[bool, typer.Option("--leaderboard", help="Rank the runs in one table a benchmark.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write everything as one HTML page.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write the tables as Markdown.")] = None,
    transcripts: Annotated[int, typer.Option(min=0, help="Questions with transcripts on the HTML page.")] = 300,
    scorer: ScorerOption = "answer",
    recipe: Annotated[str | None, typer.Option(help="Recipe for what is measured where there are no runs.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report runs: a leaderboard, or every figure of each run; as tables, JSON, HTML or Markdown.

    With --leaderboard in a folder without runs/, the embedded base model and the checkpoints in
    ./checkpoints are measured on the held-out scenes first.
    """
    from sari_bench.leaderboard import make_boards
    from sari_bench.measure import stale_notes
    from sari_bench.report import boards_json, boards_markdown

    found = _find_or_measure(runs or [], leaderboard, recipe, overrides)
    for sentence in stale_notes(found):
        note(f"note: {sentence}")
    boards = make_boards(found, scorer)
    if html is not None:
        from sari_bench.pages import render_page

        write_text(html, render_page(boards, questions_shown=transcripts))
    if markdown is not None:
        write_text(markdown, boards_markdown(boards, leaderboard))
    if as_json:
        print_json(boards_json(boards, leaderboard))
    else:
        _print_boards(boards, leaderboard)


def _find_or_measure(
    paths: list[Path], leaderboard: bool, recipe: str | None, overrides: list[str] | None
) -> list[Run]:
    from sari_bench.measure import MEASURING, RUNS, measure_defaults
    from sari_bench.runs import META, find_runs

    if paths:
        return find_runs(paths)
    interrupted = leaderboard and (RUNS / MEASURING).is_file()
    if not interrupted and RUNS.is_dir() and next(RUNS.rglob(META), None) is not None:
        note("reporting what is in ./runs")
        return find_runs([RUNS])
    if not leaderboard:
        raise MissingFileError(
            "there is no run in ./runs to report: make one with 'sari-bench run', or let "
            "'sari-bench report --leaderboard' measure what is there"
        )
    if interrupted:
        note("the measuring for this leaderboard was stopped before its end; it goes on")
    else:
        note("there is no run in ./runs, so what is here is measured first")
    return measure_defaults(effective_bench(recipe, overrides, {}), RUNS)


def _print_boards(boards: list[Board], leaderboard: bool) -> None:
    from sari_bench.compare import compare as compare_runs
    from sari_bench.report import board_rows, to_table

    for board in boards:
        if leaderboard:
            header, rows = board_rows(board)
            print_table(to_table(f"{board.title}, scorer {board.scorer}", header, rows))
            if len(board.entries) > 1:
                gain = compare_runs(board.entries[-1].run, board.entries[0].run, board.scorer)
                out.print(gain.sentence, markup=False, highlight=False, soft_wrap=True)
            for sentence in board.notes:
                note(f"note: {sentence}")
        else:
            for entry in board.entries:
                print_score(entry.score, f"{entry.run.name} on {board.title}, scorer {board.scorer}")
