"""Boards as files: Markdown for people, JSON for programs, CSV with one row for each figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sari_bench.benchmarks.base import DIMENSIONS
from sari_bench.csvfiles import csv_text
from sari_bench.reporting.board_tables import TextTable, board_table, earlier_tables, group_tables
from sari_bench.reporting.clean_tables import clean_table, difference_rows
from sari_bench.reporting.disagreeing import Disagreeing, disagreement_table
from sari_bench.reporting.groups import Grouping, Members, all_tallies, grouping_name, tallies
from sari_bench.reporting.leaderboard import Board, Entry
from sari_bench.reporting.report import markdown_notes, score_notes, score_rows, to_markdown
from sari_bench.scoring import Score
from sari_bench.statistics.metrics import OUTCOMES, UNGRADABLE, Tally, percent
from sari_bench.statistics.voting import has_votes, majority, pass_at, score_json, vote_lines

Lists = Sequence[Sequence[Disagreeing]]


def boards_markdown(
    boards: Sequence[Board], leaderboard: bool, groupings: Sequence[Grouping] = (), lists: Lists = ()
) -> str:
    """Return boards as Markdown; unless ``leaderboard``, with every figure of each run.

    Args:
        boards: What to show.
        leaderboard: Only the boards and what was asked for beside them.
        groupings: Groupings to show as tables of groups against runs.
        lists: For each board, the answers on which its scorers disagree: all are listed.
    """
    parts = []
    for number, board in enumerate(boards):
        parts.append(_markdown(board_table(board)))
        clean = clean_table(board)
        parts += [_markdown(clean)] if clean is not None else []
        parts += [_markdown(table) for grouping in groupings for table in group_tables(board, grouping)]
        if not leaderboard:
            for entry in board.entries:
                for name, score in _scores(board, entry).items():
                    title = f"{entry.run.name} on {board.title}, scorer {name}"
                    notes = markdown_notes([*vote_lines(score), *score_notes(score)])
                    parts.append(to_markdown(title, *score_rows(score)) + (f"\n{notes}" if notes else ""))
        table = disagreement_table(board, lists[number]) if lists else None
        parts += [_markdown(table)] if table is not None else []
    parts += [_markdown(table) for table in earlier_tables(boards)]
    return "\n".join(parts)


def boards_json(
    boards: Sequence[Board], leaderboard: bool, groupings: Sequence[Grouping] = (), lists: Lists = ()
) -> dict[str, Any]:
    """Return boards as one JSON object; unless ``leaderboard``, with every figure of each run.

    The arguments are those of :func:`boards_markdown`.
    """
    bodies = []
    for number, board in enumerate(boards):
        body = board.to_json()
        if groupings:
            body["groups"] = [row for grouping in groupings for row in _group_rows(board, grouping)]
        if lists:
            body["disagreements"] = [
                {"run": one.entry.run.name, "id": item.gold.id, "sample": item.answer.sample, **item.outcomes}
                for one in lists[number]
                for item in one.found
            ]
        bodies.append(body)
    found: dict[str, Any] = {"boards": bodies}
    if not leaderboard:
        found["runs"] = [
            {"name": entry.run.name, "folder": str(entry.run.folder), **score_json(score)}
            for board in boards
            for entry in board.entries
            for score in _scores(board, entry).values()
        ]
    return found


_ABOUT = ("kind", "benchmark", "version", "run", "model", "mode", "scorer", "questions", "measure", "grouping")
_COUNTS = ("n", "correct", "accuracy", "low", "high", *OUTCOMES[1:], UNGRADABLE, "tokens", "source", "flag")
_MEAN = {"measure": "accuracy"}  # of all answers


def boards_csv(boards: Iterable[Board]) -> str:
    """Return boards as CSV: one row for each run, scorer and group of every crossing, and for each published figure.

    Accuracy and its interval are in percent. ``kind`` is ``run`` or ``published``; ``questions`` is ``all``, ``clean``
    (those that no training corpus shares) or ``contaminated``, or names a difference of two of these, whose accuracy
    and interval are in points; labels that a row is not grouped by are empty. ``measure`` is ``accuracy``, and where
    questions have several samples also ``majority`` and ``pass@1``, ``pass@2`` and so on, which are chances in percent
    under ``accuracy``; n counts the questions there. ``tokens`` is the mean length of a response of the run.
    """
    rows = (row for board in boards for part in (_run_rows(board), _published_rows(board)) for row in part)
    return csv_text((*_ABOUT, *DIMENSIONS, *_COUNTS), rows)


def _run_rows(board: Board) -> Iterable[dict[str, Any]]:
    differences = list(difference_rows(board))
    for entry in board.entries:
        about = {
            "kind": "run",
            "benchmark": board.benchmark,
            "version": board.version,
            "run": entry.run.name,
            "model": entry.run.meta["model"].get("name", ""),
            "mode": entry.run.mode,
        }
        chosen = [("all", name, score) for name, score in _scores(board, entry).items()]
        if entry.training is not None:
            parts = (("clean", entry.training.clean), ("contaminated", entry.training.marked))
            chosen += [(name, board.scorer, part) for name, part in parts if part is not None]
        members = Members(entry.score.items)
        for questions, name, score in chosen:
            for grouping, labels, part in all_tallies(score, members if questions == "all" else None):
                group = {"grouping": grouping_name(grouping) or "all", **dict(zip(grouping, labels, strict=True))}
                cells = _tally_cells(part) | (_length(entry) if questions == "all" and not grouping else {})
                yield {**about, "scorer": name, "questions": questions, **_MEAN, **group, **cells}
        for cells in _vote_rows(board, entry):
            yield {**about, "questions": "all", "grouping": "all", **cells}
        for run, cells in differences:
            if run == entry.run.name:
                yield {**about, "scorer": board.scorer, **_MEAN, "grouping": "all", **cells}


def _vote_rows(board: Board, entry: Entry) -> Iterable[dict[str, Any]]:
    """The majority vote and pass@k by every scorer; nothing with one sample."""
    if entry.run.samples < 2:
        return
    for name, score in _scores(board, entry).items():
        if has_votes(score):
            voted = majority(score)
            yield {"scorer": name, "measure": "majority", **_tally_cells(voted.overall)}
            for task, part in voted.by.get("task", {}).items():
                yield {"scorer": name, "measure": "majority", "grouping": "task", "task": task, **_tally_cells(part)}
        asked = len(entry.run.benchmark.golds)
        for found in entry.pass_at if score is entry.score else pass_at(score):
            shares = zip(("accuracy", "low", "high"), map(percent, (found.value, *found.interval)), strict=True)
            yield {"scorer": name, "measure": f"pass@{found.k}", "n": asked, **dict(shares)}


def _scores(board: Board, entry: Entry) -> Mapping[str, Score]:
    return entry.scores or {board.scorer: entry.score}


def _length(entry: Entry) -> dict[str, Any]:
    tokens = entry.run.mean_tokens
    return {} if tokens is None else {"tokens": round(tokens, 2)}


def _published_rows(board: Board) -> Iterable[dict[str, Any]]:
    for row in (*board.published, *board.earlier):
        about = {
            "kind": "published",
            "benchmark": row.benchmark,
            "version": row.version,
            "model": row.label,
            "questions": "all",
            **_MEAN,
            "source": row.source,
            "flag": row.problem or "",
        }
        yield {**about, "grouping": "all", "accuracy": "" if row.average is None else row.average}
        for task, value in row.figures.items():
            yield {**about, "grouping": "task", "task": task, "accuracy": "" if value is None else value}


def _tally_cells(part: Tally) -> dict[str, Any]:
    low, high = part.best_interval or (None, None)
    shares = {"accuracy": percent(part.accuracy), "low": percent(low), "high": percent(high)}
    outcomes = {name: part.outcomes.get(name, 0) for name in (*OUTCOMES[1:], UNGRADABLE)}
    return {"n": part.n, "correct": part.correct, **{k: "" if v is None else v for k, v in shares.items()}, **outcomes}


def _group_rows(board: Board, grouping: Grouping) -> Iterable[dict[str, Any]]:
    for entry in board.entries:
        for name, score in _scores(board, entry).items():
            for labels, part in tallies(score, grouping).items():
                group = {"by": list(grouping), "group": list(labels)}
                yield {"run": entry.run.name, "scorer": name, **group, **part.to_json()}


def _markdown(table: TextTable) -> str:
    text = to_markdown(table.title, table.header, table.rows)
    return f"{text}\n{markdown_notes(table.notes)}" if table.notes else text
