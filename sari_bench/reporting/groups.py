"""Groups of questions across several labels at once: task by difficulty, category by sub-category, and so on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from sari_bench.benchmarks.base import DIMENSIONS
from sari_bench.scoring import Score, Scored
from sari_bench.statistics.metrics import Tally, label_order, tally
from sari_data.errors import InputError

Grouping = tuple[str, ...]  # names of dimensions, in the order of DIMENSIONS
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


def tallies(score: Score, grouping: Grouping) -> dict[tuple[str, ...], Tally]:
    """Count a score's answers by several labels; the groups are in their labels' order.

    A benchmark that lacks one of the labels has no such groups: the result is empty. Denominators are the scorer's,
    as in ``score.by``.
    """
    fields = [DIMENSIONS[name] for name in grouping]
    parts: dict[tuple[str, ...], list[Scored]] = {}
    for item in score.items:
        labels = tuple(getattr(item.gold, field) for field in fields)
        if not all(labels):
            return {}
        parts.setdefault(labels, []).append(item)
    ordered = sorted(parts, key=lambda labels: tuple(map(label_order, labels)))
    return {labels: _count(score, parts[labels]) for labels in ordered}


def all_tallies(score: Score) -> Iterator[tuple[Grouping, tuple[str, ...], Tally]]:
    """Yield grouping, labels and tally of the whole (an empty grouping) and of every group of every crossing."""
    yield (), (), score.overall
    for grouping in crossings():
        for labels, part in tallies(score, grouping).items():
            yield grouping, labels, part


def _count(score: Score, items: Sequence[Scored]) -> Tally:
    clusters = {item.gold.id: item.gold.cluster for item in items}
    pairs = ((item.gold.id, item.outcome) for item in items)
    return tally(pairs, drop_missing=score.drops_missing, clusters=clusters)
