"""The leaderboard as columns and rows: own runs and, told apart from them, published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sari_bench.published import PublishedRow
from sari_bench.reporting.leaderboard import Board, Entry
from sari_bench.reporting.report import cell, interval_cell
from sari_bench.scoring import Score
from sari_bench.statistics.metrics import Tally, range_text
from sari_bench.statistics.voting import PassAt, shown_pass_at

Cell = dict[str, Any]
_NONE: Cell = {"text": "–", "sort": ""}
_BLANK: Cell = {"text": "", "sort": None, "hint": "", "small": "", "bar": None}


def leaderboard(board: Board) -> dict[str, Any]:
    """Return the leaderboard's columns and rows, best first; columns that say nothing are left out."""
    columns, numbers = _columns(board), source_numbers(board)
    rows = [_own(entry, columns) for entry in board.entries]
    rows += [_published(row, columns, numbers) for row in board.published]
    rows.sort(key=_place)
    return {"columns": columns, "rows": rows}


def _place(row: dict[str, Any]) -> tuple[float, bool, str]:
    """Sorts rows best first; those that print no average stand last, and no figure is made up for them."""
    average = row["average"]
    return (-average if average is not None else 1.0, row["published"], row["name"])


def source_numbers(board: Board) -> dict[str, int]:
    """Return the sources of the published rows, those of other versions too, with the numbers of their footnotes."""
    rows = (*board.published, *board.earlier)
    return {source: number for number, source in enumerate(dict.fromkeys(map(_cited, rows)), start=1)}


def sources(board: Board) -> dict[str, list[str]]:
    """Return the sources of rows ``beside`` the runs, and further ones of rows that stand ``apart``, as numbered."""
    beside = {_cited(row) for row in board.published}
    numbered = source_numbers(board)
    return {
        "beside": [source for source in numbered if source in beside],
        "apart": [source for source in numbered if source not in beside],
    }


def _cited(row: PublishedRow) -> str:
    return " · ".join(filter(None, (row.source, row.url)))


def _columns(board: Board) -> list[dict[str, str]]:
    entries = board.entries
    columns: list[dict[str, str]] = []

    def add(key: str, title: str, hint: str = "", kind: str = "number") -> None:
        columns.append({"key": key, "title": title, "hint": hint, "kind": kind})

    add(
        "average",
        "Average",
        "Share of the answers that are right, in percent; below it the 95 % interval: by clip where"
        " clips or samples repeat, else Wilson's",
    )
    add("bar", "0 – 100, with interval", kind="none")
    for task in board.tasks:
        add(f"task:{task}", task.capitalize())
    if board.clean is not None:
        add("clean", "Clean", "Accuracy over the questions that no given training corpus holds")
    if any(entry.majority is not None for entry in entries):
        add("majority", "Majority", "Accuracy of the choice that most samples of a question make")
    for k in sorted({found.k for entry in entries for found in shown_pass_at(entry.pass_at)}):
        hint = f"Chance that one of {k} samples is right, in percent; below it the 95 % interval by clip"
        add(f"pass@{k}", f"Pass@{k}", hint)
    for scorer in board.scorers[1:]:
        add(f"scorer:{scorer}", scorer.capitalize(), _SCORERS.get(scorer, f"Accuracy by the scorer {scorer}"))
    add("n", "n", "Answers that count")
    add("unread", "Unread", "Answers out of which no choice could be read; they count as not correct")
    if any(entry.score.honest.outcomes["missing"] for entry in entries):
        add("missing", "Missing", "Questions without an answer; they count as not correct")
    if any(entry.run.mean_tokens is not None for entry in entries):
        add("tokens", "Tokens", "Mean length of a response")
    return columns


_SCORERS = {
    "official": "The benchmark's own published matching, as such: with the denominator that its code uses",
    "answer": "sari's reader and grader; every question counts",
    "letter": "Only the option's letter counts",
    "judge": "Verdicts of a judging model",
}


def _own(entry: Entry, columns: Sequence[dict[str, str]]) -> dict[str, Any]:
    overall, by = entry.score.overall, entry.score.by.get("task", {})
    tokens = entry.run.mean_tokens
    cells: dict[str, Cell] = {
        "average": {**_share(overall), "small": interval_cell(overall)} if overall.n else _NONE,
        "bar": {"bar": bar(overall), "text": f"{cell(overall.accuracy)} %, interval {interval_cell(overall)}"},
        "n": {"text": f"{overall.n:,}", "sort": overall.n},
        "unread": {"text": f"{entry.score.honest.unread:,}", "sort": entry.score.honest.unread},
        "missing": _number(entry.score.honest.outcomes["missing"]),
        "tokens": _NONE if tokens is None else {"text": f"{tokens:.0f}", "sort": round(tokens, 3)},
        "majority": _NONE if entry.majority is None else _share(entry.majority.overall),
        "clean": _of(entry.clean),
    }
    cells |= {f"task:{task}": _share(tally) for task, tally in by.items()}
    cells |= {f"pass@{found.k}": _chance(found) for found in entry.pass_at}
    cells |= {f"scorer:{scorer}": _of(score) for scorer, score in entry.scores.items()}
    return {
        "name": entry.run.name,
        "published": False,
        "method": "" if entry.run.name.endswith(f"@{entry.run.mode}") else f"mode {entry.run.mode}",
        "source": "",
        "number": 0,
        "version": "",
        "problem": None,
        "remark": None,
        "average": overall.accuracy or 0.0,
        "cells": _in_order(cells, columns),
    }


def _published(row: PublishedRow, columns: Sequence[dict[str, str]], numbers: Mapping[str, int]) -> dict[str, Any]:
    """A row that somebody printed: its figures are theirs, and have neither n nor an interval."""
    cells = {f"task:{task}": _printed(value) for task, value in row.figures.items()}
    cells["average"] = _printed(row.average)
    if row.average is not None:
        at = {"low": None, "width": None, "at": row.average}
        cells["bar"] = {"bar": at, "text": f"{row.average:.2f} %, no interval was published"}
    return {
        "name": row.model,
        "published": True,
        "method": row.method,
        "source": row.source,
        "number": numbers[_cited(row)],
        "version": row.on,
        "problem": row.problem,
        "remark": row.remark,
        "average": None if row.average is None else row.average / 100,
        "cells": _in_order(cells, columns),
    }


def _in_order(cells: dict[str, Cell], columns: Sequence[dict[str, str]]) -> list[Cell]:
    return [
        _BLANK | cells.get(column["key"], _NONE) | {"key": column["key"], "kind": column["kind"]} for column in columns
    ]


def other_versions(board: Board) -> list[dict[str, Any]]:
    """Return the published rows of other versions of the benchmark, or of none that is stated, one table for each."""
    numbers = source_numbers(board)
    found: dict[str, list[PublishedRow]] = {}
    for row in board.earlier:
        found.setdefault(row.on, []).append(row)
    tables = []
    for version, rows in sorted(found.items(), reverse=True):
        tasks = list(dict.fromkeys(task for row in rows for task in row.figures))
        columns = [
            {"key": "average", "title": "Average", "hint": "", "kind": "number"},
            *({"key": f"task:{task}", "title": task.capitalize(), "hint": "", "kind": "number"} for task in tasks),
        ]
        shown = sorted((_published(row, columns, numbers) for row in rows), key=_place)
        tables.append({"version": version, "columns": columns, "rows": shown, "count": len(shown)})
    return tables


def bar(tally: Tally) -> dict[str, float] | None:
    """Return where the interval and the accuracy lie on a scale of 0 to 100."""
    interval = tally.best_interval
    if interval is None or tally.accuracy is None:
        return None
    low, high = interval[0] * 100, interval[1] * 100
    return {"low": round(low, 2), "width": round(high - low, 2), "at": round(tally.accuracy * 100, 2)}


def _share(tally: Tally) -> Cell:
    if tally.accuracy is None:
        return _NONE
    hint = f"{tally.correct:,} of {tally.n:,}, 95 % interval {interval_cell(tally)}"
    return {"text": cell(tally.accuracy), "sort": round(tally.accuracy, 6), "hint": hint}


def _chance(found: PassAt) -> Cell:
    return {"text": cell(found.value), "sort": round(found.value, 6), "small": range_text(found.interval)}


def _of(score: Score | None) -> Cell:
    if score is None or score.overall.accuracy is None:
        return _NONE
    return {**_share(score.overall), "small": f"of {score.overall.n:,}"}


def _number(value: int) -> Cell:
    return {"text": f"{value:,}", "sort": value}


def _printed(value: float | None) -> Cell:
    return _NONE if value is None else {"text": f"{value:.2f}", "sort": round(value / 100, 6)}
