"""The leaderboard as columns and rows: own runs and, told apart from them, published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sari_bench.leaderboard import Board, Entry
from sari_bench.metrics import Tally
from sari_bench.pages.scores import all_scores, scorer_names
from sari_bench.report import cell, interval_cell

Cell = dict[str, Any]
_NONE: Cell = {"text": "–", "sort": ""}
_BLANK: Cell = {"text": "", "sort": None, "hint": "", "small": "", "bar": None}


def leaderboard(board: Board) -> dict[str, Any]:
    """Return the leaderboard's columns and rows, best first; columns that say nothing are left out."""
    columns, numbers = _columns(board), source_numbers(board)
    rows = [_own(board, entry, columns) for entry in board.entries]
    rows += [_published(row, columns, numbers) for row in getattr(board, "published", ())]
    rows.sort(key=lambda row: (-row["average"], row["published"], row["name"]))
    return {"columns": columns, "rows": rows}


def source_numbers(board: Board) -> dict[str, int]:
    """Return the sources of the published rows, those of other versions too, with the numbers of their footnotes."""
    rows = (*getattr(board, "published", ()), *getattr(board, "earlier", ()))
    return {source: number for number, source in enumerate(dict.fromkeys(map(_cited, rows)), start=1)}


def _cited(row: Any) -> str:
    return " · ".join(filter(None, (row.source, row.url)))


def _columns(board: Board) -> list[dict[str, str]]:
    entries = board.entries
    columns: list[dict[str, str]] = []

    def add(key: str, title: str, hint: str = "", kind: str = "number") -> None:
        columns.append({"key": key, "title": title, "hint": hint, "kind": kind})

    if not all(entry.run.name.endswith(f"@{entry.run.mode}") for entry in entries):
        add("mode", "Mode", "The response mode", "text")
    for task in board.tasks:
        add(f"task:{task}", task.capitalize())
    add("average", "Average", "Share of all questions that are answered right, in percent")
    add("bar", "0 – 100, with interval", kind="none")
    add("interval", "95 % int.", "Wilson's interval of the average", "none")
    if any(_clustered(entry.score.overall) for entry in entries):
        add("clustered", "by clip", "95 % interval that rests on as many clips as there are, not questions", "none")
    if any(getattr(entry, "clean", None) for entry in entries):
        add("clean", "Clean", "Accuracy over the questions that no given training corpus holds")
    if any(entry.run.samples > 1 for entry in entries):
        if any(getattr(entry, "majority", None) for entry in entries):
            add("majority", "Majority", "Accuracy of the choice that most samples of a question make")
        if any(_pass_at(entry) for entry in entries):
            add("pass_at", "Pass@k", "Chance that one of k samples is right")
    for scorer in scorer_names(board)[1:]:
        add(f"scorer:{scorer}", scorer.capitalize(), _SCORERS.get(scorer, f"Accuracy by the scorer {scorer}"))
    add("n", "n", "Answers that count")
    add("unread", "Unread", "Answers out of which no choice could be read; they count as not correct")
    if any(entry.score.honest.outcomes["missing"] for entry in entries):
        add("missing", "Missing", "Questions without an answer; they count as not correct")
    add("tokens", "Tokens", "Mean length of a response")
    return columns


_SCORERS = {
    "official": "The benchmark's own published matching, as such: with the denominator that its code uses",
    "answer": "sari's reader and grader; every question counts",
    "letter": "Only the option's letter counts",
    "judge": "Verdicts of a judging model",
}


def _own(board: Board, entry: Entry, columns: Sequence[dict[str, str]]) -> dict[str, Any]:
    overall, by = entry.score.overall, entry.score.by.get("task", {})
    tokens = entry.run.mean_tokens
    cells: dict[str, Cell] = {
        "mode": {"text": entry.run.mode, "sort": entry.run.mode},
        "average": _share(overall),
        "bar": {"bar": bar(overall), "text": f"{cell(overall.accuracy)} %, interval {interval_cell(overall)}"},
        "interval": {"text": interval_cell(overall)},
        "clustered": {"text": _span(_clustered(overall))},
        "n": {"text": f"{overall.n:,}", "sort": overall.n},
        "unread": {"text": f"{entry.score.honest.unread:,}", "sort": entry.score.honest.unread},
        "missing": _number(entry.score.honest.outcomes["missing"]),
        "tokens": _NONE if tokens is None else {"text": f"{tokens:.0f}", "sort": round(tokens, 3)},
        "majority": _of(getattr(entry, "majority", None)),
        "clean": _of(getattr(entry, "clean", None), denominator=True),
        "pass_at": _pass_cell(entry),
    }
    cells |= {f"task:{task}": _share(tally) for task, tally in by.items()}
    for scorer, score in all_scores(board, entry).items():
        cells[f"scorer:{scorer}"] = _of(score, denominator=True)
    return {
        "name": entry.run.name,
        "published": False,
        "method": "",
        "source": "",
        "number": 0,
        "version": "",
        "problem": None,
        "remark": None,
        "average": overall.accuracy or 0.0,
        "cells": _in_order(cells, columns),
    }


def _published(row: Any, columns: Sequence[dict[str, str]], numbers: Mapping[str, int]) -> dict[str, Any]:
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
        "version": f"{row.version} {row.split}".strip(),
        "problem": row.problem,
        "remark": row.remark,
        "average": (row.average or 0.0) / 100,
        "cells": _in_order(cells, columns),
    }


def _in_order(cells: dict[str, Cell], columns: Sequence[dict[str, str]]) -> list[Cell]:
    return [
        _BLANK | cells.get(column["key"], _NONE) | {"key": column["key"], "kind": column["kind"]} for column in columns
    ]


def other_versions(board: Board) -> list[dict[str, Any]]:
    """Return the published rows of other versions of the benchmark, one table for each version."""
    numbers = source_numbers(board)
    found: dict[str, list[Any]] = {}
    for row in getattr(board, "earlier", ()):
        found.setdefault(f"{row.version} {row.split}".strip(), []).append(row)
    tables = []
    for version, rows in sorted(found.items(), reverse=True):
        tasks = list(dict.fromkeys(task for row in rows for task in row.figures))
        columns = [
            *({"key": f"task:{task}", "title": task.capitalize(), "hint": "", "kind": "number"} for task in tasks),
            {"key": "average", "title": "Average", "hint": "", "kind": "number"},
        ]
        shown = sorted(
            (_published(row, columns, numbers) for row in rows), key=lambda row: (-row["average"], row["name"])
        )
        tables.append({"version": version, "columns": columns, "rows": shown})
    return tables


def bar(tally: Tally) -> dict[str, float] | None:
    """Return where the interval and the accuracy lie on a scale of 0 to 100."""
    interval = tally.interval
    if interval is None or tally.accuracy is None:
        return None
    low, high = interval[0] * 100, interval[1] * 100
    return {"low": round(low, 2), "width": round(high - low, 2), "at": round(tally.accuracy * 100, 2)}


def _share(tally: Tally) -> Cell:
    if tally.accuracy is None:
        return _NONE
    hint = f"{tally.correct:,} of {tally.n:,}, 95 % interval {interval_cell(tally)}"
    return {"text": cell(tally.accuracy), "sort": round(tally.accuracy, 6), "hint": hint}


def _of(score: Any, denominator: bool = False) -> Cell:
    if score is None:
        return _NONE
    found = _share(score.overall)
    return {**found, "small": f"of {score.overall.n:,}"} if denominator and "hint" in found else found


def _number(value: int) -> Cell:
    return {"text": f"{value:,}", "sort": value}


def _printed(value: float | None) -> Cell:
    return _NONE if value is None else {"text": f"{value:.2f}", "sort": round(value / 100, 6)}


def _clustered(tally: Tally) -> tuple[float, float] | None:
    found: tuple[float, float] | None = getattr(tally, "clustered", None)
    return found


def _span(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"{interval[0] * 100:.1f}–{interval[1] * 100:.1f}"


def _pass_at(entry: Entry) -> dict[int, float]:
    return dict(getattr(entry, "pass_at", None) or {})


def _pass_cell(entry: Entry) -> Cell:
    found = _pass_at(entry)
    if not found:
        return _NONE
    most = max(found)
    words = ", ".join(f"pass@{k} {value * 100:.2f}" for k, value in sorted(found.items()))
    return {"text": cell(found[most]), "sort": found[most], "small": f"k = {most}", "hint": words}
