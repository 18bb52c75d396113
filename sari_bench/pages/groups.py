"""The figures of every group, for heat maps and plots: by each dimension and by two of them crossed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sari_bench.benchmarks.base import DIMENSIONS, Gold
from sari_bench.leaderboard import Board
from sari_bench.metrics import Tally, label_order, percent, tally
from sari_bench.pages.scores import all_scores, scorer_names
from sari_bench.scoring import Score

CROSSED = (("task", "difficulty"), ("task", "category"), ("category", "difficulty"))
SMALL = 20  # answers of a group, below which a cell is marked
MOST = 80  # groups of a crossed table; more could not be read

Figures = list[float | int | None]


def group_data(board: Board) -> dict[str, Any]:
    """Return the figures of every group of every dimension, of each run by each scorer.

    A figure is ``[n, correct, accuracy, low, high]``, and where clips repeat also the interval by clip; shares are
    percent with two decimals.
    """
    names = scorer_names(board)
    dimensions = _dimensions(board)
    figures: dict[str, Any] = {}
    for scorer in names:
        found = [all_scores(board, entry).get(scorer) for entry in board.entries]
        figures[scorer] = {
            "all": [None if score is None else _figures(score.overall) for score in found],
            **{d["key"]: [_by(score, d) for score in found] for d in dimensions},
        }
    return {
        "runs": [entry.run.name for entry in board.entries],
        "scorers": names,
        "dimensions": [{key: d[key] for key in ("key", "title", "groups")} for d in dimensions],
        "figures": figures,
        "small": SMALL,
    }


def _dimensions(board: Board) -> list[dict[str, Any]]:
    golds = board.entries[0].run.benchmark.golds
    found = []
    for name, field in DIMENSIONS.items():
        key = _single(field)
        groups = sorted({key(gold) for gold in golds} - {""}, key=label_order)
        if groups:
            found.append({"key": name, "title": name.capitalize(), "groups": groups, "of": key})
    there = {dimension["key"]: dimension for dimension in found}
    for first, second in CROSSED:
        if first not in there or second not in there or min(len(there[n]["groups"]) for n in (first, second)) < 2:
            continue
        a, b = there[first], there[second]
        pair = _pair(DIMENSIONS[first], DIMENSIONS[second])
        present = {pair(gold) for gold in golds}
        groups = [name for x in a["groups"] for y in b["groups"] if (name := _joined(x, y)) in present]
        if len(groups) <= MOST:
            title = f"{a['title']} × {second}"
            found.append({"key": f"{first} × {second}", "title": title, "groups": groups, "of": pair})
    return found


def _single(field: str) -> Callable[[Gold], str]:
    return lambda gold: str(getattr(gold, field))


def _pair(first: str, second: str) -> Callable[[Gold], str]:
    return lambda gold: _joined(getattr(gold, first), getattr(gold, second))


def _joined(first: str, second: str) -> str:
    return f"{first} · {second}"


def _by(score: Score | None, dimension: Mapping[str, Any]) -> list[Figures | None]:
    groups: Sequence[str] = dimension["groups"]
    if score is None:
        return [None] * len(groups)
    parts: Mapping[str, Tally] = score.by.get(dimension["key"]) or _counted(score, dimension["of"])
    return [_figures(parts[name]) if name in parts else None for name in groups]


def _counted(score: Score, of: Callable[[Gold], str]) -> dict[str, Tally]:
    """Count what the score itself does not: the questions grouped by two labels."""
    parts: dict[str, list[tuple[str, str]]] = {}
    for item in score.items:
        parts.setdefault(of(item.gold), []).append((item.gold.id, item.outcome))
    drop = score.honest.n != score.overall.n
    return {name: tally(part, drop_missing=drop) for name, part in parts.items()}


def _figures(tally: Tally) -> Figures | None:
    interval = tally.interval
    if interval is None or tally.accuracy is None:
        return None
    found: Figures = [tally.n, tally.correct, percent(tally.accuracy), percent(interval[0]), percent(interval[1])]
    clustered: tuple[float, float] | None = getattr(tally, "clustered", None)
    return [*found, percent(clustered[0]), percent(clustered[1])] if clustered else found
