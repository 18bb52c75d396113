"""``sari-bench report``: leaderboards and every figure of runs, as tables, JSON, Markdown, CSV or a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sari_bench.commands.arguments import JsonOption, SetOption, effective_bench
from sari_bench.commands.output import check_files, print_score, print_table, print_text_table, write_text
from sari_data.commands.arguments import PUSH
from sari_data.console import note, out, print_json
from sari_data.errors import InputError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sari_bench.reporting.board_tables import TextTable
    from sari_bench.reporting.disagreeing import Disagreeing
    from sari_bench.reporting.groups import Grouping
    from sari_bench.reporting.leaderboard import Board
    from sari_bench.running.runs import Run

_SHOWN = 10  # disagreements of each run in the terminal; files list all


def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders, or folders that hold them; default: runs/.")
    ] = None,
    leaderboard: Annotated[bool, typer.Option("--leaderboard", help="Rank the runs in one table a benchmark.")] = False,
    by: Annotated[
        list[str] | None, typer.Option(help="Also a table by task, category, difficulty; task,difficulty crosses; all.")
    ] = None,
    scorer: Annotated[
        list[str] | None, typer.Option(help="answer (default), official, letter or judge. Repeatable; the first ranks.")
    ] = None,
    training: Annotated[
        list[Path] | None, typer.Option(help="A training corpus: accuracy without what it holds, too. Repeatable.")
    ] = None,
    text_overlap: Annotated[
        bool, typer.Option("--text-overlap", help="Also leave out what shares its text alone.")
    ] = False,
    published: Annotated[
        list[Path] | None, typer.Option(help="Published rows of your own, TOML or JSON. Repeatable.")
    ] = None,
    no_published: Annotated[bool, typer.Option("--no-published", help="Show no published rows.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write everything as one HTML page.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write the tables as Markdown.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write every figure as CSV, one row each.")] = None,
    disagreements: Annotated[
        Path | None, typer.Option(help="Also write every answer on which the scorers disagree, JSON lines.")
    ] = None,
    transcripts: Annotated[int, typer.Option(min=0, help="Questions with transcripts on the HTML page.")] = 300,
    audio_budget: Annotated[float, typer.Option(min=0, help="Most MiB of clips on the HTML page; 0: none.")] = 20.0,
    push_to_hub: Annotated[
        bool, typer.Option(PUSH, help="Write the results into a model's card on the Hub; a repository may follow.")
    ] = False,
    repo: Annotated[str | None, typer.Option(help="The model's repository; default: your own of its name.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --push-to-hub: print what would be written.")
    ] = False,
    eval_task: Annotated[
        str | None, typer.Option(help="With --push-to-hub: also .eval_results for the benchmark's task of this id.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe for what is measured where there are no runs.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report runs: a leaderboard, or every figure of each run; as tables, JSON, HTML, Markdown or CSV.

    With --leaderboard in a folder without runs/, the embedded base model and the checkpoints in
    ./checkpoints are measured on the held-out scenes first.
    """
    from sari_bench.reporting.disagreeing import disagreeing, disagreement_lines
    from sari_bench.reporting.groups import parse_grouping
    from sari_bench.reporting.report_files import boards_csv, boards_json, boards_markdown

    _check_repo(repo)
    groupings = list(dict.fromkeys(one for text in by or [] for one in parse_grouping(text)))
    _check_training(training or [], text_overlap)
    _check_files(html, markdown, csv, disagreements, scorer or [])
    _check_push(push_to_hub, dry_run, repo is not None or eval_task is not None, as_json)
    found = _find_or_measure(runs or [], leaderboard, recipe, overrides)
    boards = _boards(found, scorer or ["answer"], published or [], no_published, training or [], text_overlap)
    lists = [disagreeing(board) for board in boards]
    if html is not None:
        from sari_bench.pages import render_page

        write_text(html, render_page(boards, questions_shown=transcripts, audio_mib=audio_budget))
    if markdown is not None:
        write_text(markdown, boards_markdown(boards, leaderboard, groupings, lists))
    if csv is not None:
        write_text(csv, boards_csv(boards))
    if disagreements is not None:
        write_text(disagreements, disagreement_lines(zip(boards, lists, strict=True)))
    if as_json:
        print_json(boards_json(boards, leaderboard, groupings, lists))
    else:
        _print_boards(boards, leaderboard, groupings, lists)
    if push_to_hub:
        from sari_bench.commands.pushing import push_results

        push_results(boards, repo, dry_run=dry_run, eval_task=eval_task)


def _check_files(
    html: Path | None, markdown: Path | None, csv: Path | None, disagreements: Path | None, scorers: list[str]
) -> None:
    if disagreements is not None and len(set(scorers)) < 2:
        raise InputError("--disagreements compares scorers: name two at least, as in --scorer official --scorer answer")
    check_files({"--html": html, "--markdown": markdown, "--csv": csv, "--disagreements": disagreements})


def _check_training(training: list[Path], text_overlap: bool) -> None:
    if text_overlap and not training:
        raise InputError("--text-overlap belongs to --training: name the training corpus, or leave it out")


def _check_push(push_to_hub: bool, dry_run: bool, belonging: bool, as_json: bool) -> None:
    if (belonging or dry_run) and not push_to_hub:
        raise InputError(f"--repo, --dry-run and --eval-task belong to {PUSH}: add it")
    if dry_run and as_json:
        raise InputError("--json and --dry-run both print to standard output: leave one of them out")
    if push_to_hub and not dry_run:
        from sari_data.hub import check_token

        check_token()  # before anything is measured or printed


def _boards(
    runs: list[Run],
    scorers: list[str],
    published: list[Path],
    no_published: bool,
    training: list[Path],
    text_overlap: bool,
) -> list[Board]:
    from sari_bench.published import read_published
    from sari_bench.reporting.leaderboard import make_boards
    from sari_bench.running.measure import stale_notes
    from sari_bench.scoring import count_withheld

    for sentence in stale_notes(runs):
        note(f"note: {sentence}")
    if published and no_published:
        raise InputError("--published shows rows and --no-published shows none: leave one of them out")
    hidden = [run for run in runs if count_withheld(run.benchmark)]
    for run in hidden:
        note(
            f"note: {run.name} answers {run.benchmark.name}, whose right answers are withheld, so it is not reported: "
            f"'sari-bench submit {run.folder}' makes the file to submit"
        )
    empty = [run for run in runs if run not in hidden and not run.answers]
    for run in empty:
        note(f"note: {run.name} on {run.benchmark.name} has no answer yet, so it is not reported")
    scored = [run for run in runs if run not in hidden and run not in empty]
    if not scored:
        why = [
            *(["the right answers of all are withheld: submit them"] if len(hidden) == len(runs) else []),
            *(["none has an answer yet: 'sari-bench run' goes on with them"] if len(empty) == len(runs) else []),
        ]
        raise InputError(f"no run in the report can be scored, because {why[0] if why else 'of what is said above'}")
    extra = [row for path in published for row in read_published(path)]
    shown = not no_published
    return make_boards(scored, scorers, published=shown, extra=extra, corpora=training, text_overlap=text_overlap)


def _check_repo(repo: str | None) -> None:
    if repo is not None:
        from sari_data.hub import check_repo

        check_repo(repo)


def _find_or_measure(
    paths: list[Path], leaderboard: bool, recipe: str | None, overrides: list[str] | None
) -> list[Run]:
    from sari_bench.running.measure import MEASURING, RUNS, measure_defaults
    from sari_bench.running.runs import META, find_runs

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


def _print_groups(board: Board, tables: Sequence[TextTable]) -> None:
    """Print tables of groups; what is to be known of many figures is said once of all, not below every table."""
    from sari_bench.statistics.adjust import chance_note

    for table in tables:
        print_table(table.title, table.header, table.rows)
    if any(table.notes for table in tables):
        note(f"note: {chance_note(sum(len(table.rows) for table in tables), len(board.entries))}")


def _print_boards(
    boards: list[Board], leaderboard: bool, groupings: list[Grouping], lists: Sequence[Sequence[Disagreeing]]
) -> None:
    from sari_bench.comparing.compare import compare as compare_runs
    from sari_bench.reporting.board_tables import board_table, earlier_tables, group_tables
    from sari_bench.reporting.clean_tables import clean_table
    from sari_bench.reporting.disagreeing import disagreement_table

    for board, found in zip(boards, lists, strict=True):
        if leaderboard:
            print_text_table(board_table(board))
            if len(board.entries) > 1:
                last, best = board.entries[-1], board.entries[0]
                gain = compare_runs(last.run, best.run, board.scorer, scores=(last.score, best.score))
                out.print(gain.sentence, markup=False, highlight=False, soft_wrap=True)
        else:
            for entry in board.entries:
                for name, score in entry.scores.items():
                    print_score(score, f"{entry.run.name} on {board.title}, scorer {name}")
        clean = clean_table(board)
        if clean is not None:
            print_text_table(clean)
        _print_groups(board, [table for grouping in groupings for table in group_tables(board, grouping)])
        disputed = disagreement_table(board, found, _SHOWN)
        if disputed is not None:
            print_text_table(disputed)
    if leaderboard:
        for table in earlier_tables(boards):
            note(f"note: {len(table.rows)} {table.title}, stand apart: --html, --markdown, --csv and --json show them")
