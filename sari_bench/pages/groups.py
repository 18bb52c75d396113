"""The figures of every group, for heat maps and plots: by each dimension and by two of them crossed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sari_bench.benchmarks.base import DIMENSIONS
from sari_bench.reporting.groups import Grouping, group_name, grouping_name, tallies
from sari_bench.reporting.leaderboard import Board
from sari_bench.scoring import Score
from sari_bench.statistics.adjust import chance_note
from sari_bench.statistics.metrics import Tally

GROUPINGS: tuple[Grouping, ...] = (
    *((name,) for name in DIMENSIONS),
    ("task", "difficulty"),
    ("task", "category"),
    ("category", "difficulty"),
)
SMALL = 20  # answers of a group, below which a cell is marked
MOST = 80  # groups of a crossed table; more could not be read

Figures = list[float | int | None]


def group_data(board: Board) -> dict[str, Any]:
    """Return the figures of every group of every dimension, of each run by each scorer.

    A figure is ``[n, correct, accuracy, low, high]``, the interval Wilson's; where clips repeat, that by
    clip; shares are percent, and it is the page that rounds them. ``questions`` counts the questions of each group:
    runs with several samples have more answers than that.
    """
    names = board.scorers
    scores = {name: [entry.scores[name] for entry in board.entries] for name in names}
    dimensions: list[dict[str, Any]] = []
    figures: dict[str, Any] = {name: {"all": [_figures(s.overall) for s in found]} for name, found in scores.items()}
    questions: dict[str, Any] = {"all": _questions(s.overall for found in scores.values() for s in found)}
    for grouping in GROUPINGS:
        counted = {name: [_count(score, grouping) for score in found] for name, found in scores.items()}
        groups = list(counted[names[0]][0])
        if not groups or (len(grouping) > 1 and not _worth_crossing(grouping, dimensions, len(groups))):
            continue
        key = grouping_name(grouping)
        dimensions.append(
            {
                "key": key,
                "title": key.capitalize(),
                "groups": [group_name(labels) for labels in groups],
                "note": chance_note(len(groups), len(board.entries)) or "",
            }
        )
        every = [parts for found in counted.values() for parts in found]
        questions[key] = [_questions(parts.get(labels) for parts in every) for labels in groups]
        for name, found in counted.items():
            figures[name][key] = [[_figures(parts.get(labels)) for labels in groups] for parts in found]
    return {
        "runs": [entry.run.name for entry in board.entries],
        "scorers": list(names),
        "dimensions": dimensions,
        "figures": figures,
        "questions": questions,
        "small": SMALL,
    }


def _count(score: Score, grouping: Grouping) -> Mapping[tuple[str, ...], Tally]:
    if len(grouping) == 1:
        return {(label,): part for label, part in score.by.get(grouping[0], {}).items()}
    return tallies(score, grouping)


def _worth_crossing(grouping: Grouping, found: Sequence[Mapping[str, Any]], groups: int) -> bool:
    """Whether crossing says more than one of its dimensions alone, and not more than can be read."""
    alone = [len(one["groups"]) for one in found if one["key"] in grouping]
    return groups <= MOST and groups > max(alone)


def _questions(parts: Iterable[Tally | None]) -> int:
    """The most questions that a run or scorer counts: one may leave out what has no answer."""
    return max((part.questions or part.n for part in parts if part is not None), default=0)


def _figures(part: Tally | None) -> Figures | None:
    if part is None or part.interval is None:
        return None
    found: Figures = [part.n, part.correct, finely(part.accuracy), *map(finely, part.interval)]
    return found if part.clustered is None else [*found, *map(finely, part.clustered)]


def finely(share: float | None) -> float | None:
    """Return a share as percent for a script that rounds it: what is rounded before would be rounded twice."""
    return None if share is None else share * 100
