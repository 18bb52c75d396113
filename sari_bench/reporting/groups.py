"""Groups of questions across several labels at once: task by difficulty, category by sub-category, and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from operator import attrgetter

from sari_bench.benchmarks.base import DIMENSIONS
from sari_bench.scoring import Score, Scored
from sari_bench.statistics.metrics import Tally, count_outcomes, label_order
from sari_data.errors import InputError

Grouping = tuple[str, ...]  # names of dimensions, in the order of DIMENSIONS
Member = tuple[list[int], list[str], list[str]]  # places, question ids and clips of a group's answers
ALL = "all"
_TIMES = " × "


def crossings() -> list[Grouping]:
    """Return every grouping that there is: the single dimensions first, then pairs, and so on."""
    names = tuple(DIMENSIONS)
    return [chosen for count in range(1, len(names) + 1) for chosen in combinations(names, count)]


def parse_grouping(text: str) -> list[Grouping]:
    """Read ``--by``: a dimension, several with commas between them (crossed), or ``all`` for every crossing.

    Raises:
        InputError: It names something else, or a dimension twice.
    """
    names = [name.strip() for name in text.split(",")]
    if names == [ALL]:
        return crossings()
    if not set(names) <= set(DIMENSIONS) or len(set(names)) != len(names):
        raise InputError(
            f"--by {text}: expected {', '.join(DIMENSIONS)}, several of them with commas between, or {ALL}; "
            "each dimension once"
        )
    return [tuple(name for name in DIMENSIONS if name in names)]


def grouping_name(grouping: Grouping) -> str:
    """Return a grouping for people: ``task × difficulty``."""
    return _TIMES.join(grouping)


def group_name(labels: Sequence[str]) -> str:
    """Return a group for people: ``sound × hard``."""
    return _TIMES.join(labels)


class Members:
    """Who is in each group of some answers: their places, question ids and clips; found once for each grouping.

    Args:
        items: The answers; any scorer's of the same answers will do.
    """

    def __init__(self, items: Sequence[Scored]) -> None:
        self._items = items
        self._ids, self._clips = [item.gold.id for item in items], [item.gold.cluster for item in items]
        self._known: dict[Grouping, dict[tuple[str, ...], Member]] = {}

    def of(self, grouping: Grouping) -> Mapping[tuple[str, ...], Member]:
        """Return the groups in their labels' order; none where an answer lacks one of the labels."""
        if grouping not in self._known:
            self._known[grouping] = self._find(grouping)
        return self._known[grouping]

    def _find(self, grouping: Grouping) -> dict[tuple[str, ...], Member]:
        label_of = attrgetter(*(f"gold.{DIMENSIONS[name]}" for name in grouping))
        found: dict[str | tuple[str, ...], list[int]] = {}
        for place, label in enumerate(map(label_of, self._items)):
            found.setdefault(label, []).append(place)
        parts = {(labels,) if isinstance(labels, str) else labels: places for labels, places in found.items()}
        if not all(map(all, parts)):
            return {}
        return {
            labels: (places, [self._ids[place] for place in places], [self._clips[place] for place in places])
            for labels, places in sorted(parts.items(), key=lambda part: tuple(map(label_order, part[0])))
        }


def tallies(score: Score, grouping: Grouping, members: Members | None = None) -> dict[tuple[str, ...], Tally]:
    """Count a score's answers by several labels; the groups are in their labels' order.

    A benchmark that lacks one of the labels has no such groups: the result is empty. Denominators are the scorer's,
    as in ``score.by``.

    Args:
        score: What is counted.
        grouping: Which labels; one at least.
        members: Who is in which group, where several scores of the same answers are counted.
    """
    outcomes = [item.outcome for item in score.items]
    return {
        labels: count_outcomes(ids, [outcomes[place] for place in places], clips, drop_missing=score.drops_missing)
        for labels, (places, ids, clips) in (members or Members(score.items)).of(grouping).items()
    }


def all_tallies(score: Score, members: Members | None = None) -> Iterator[tuple[Grouping, tuple[str, ...], Tally]]:
    """Yield grouping, labels and tally of the whole (an empty grouping) and of every group of every crossing."""
    yield (), (), score.overall
    members = members or Members(score.items)
    for grouping in crossings():
        for labels, part in tallies(score, grouping, members).items():
            yield grouping, labels, part
