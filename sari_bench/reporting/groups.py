"""Groups of questions across several labels at once: task by difficulty, category by sub-category, and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from operator import attrgetter

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


def tallies(
    score: Score, grouping: Grouping, clusters: Mapping[str, str] | None = None
) -> dict[tuple[str, ...], Tally]:
    """Count a score's answers by several labels; the groups are in their labels' order.

    A benchmark that lacks one of the labels has no such groups: the result is empty. Denominators are the scorer's,
    as in ``score.by``.

    Args:
        score: What is counted.
        grouping: Which labels; one at least.
        clusters: What :func:`clusters_of` returns for the score, where it is there already.
    """
    label_of = attrgetter(*(f"gold.{DIMENSIONS[name]}" for name in grouping))
    found: dict[str | tuple[str, ...], list[Scored]] = {}
    for item in score.items:
        found.setdefault(label_of(item), []).append(item)
    parts = {(labels,) if isinstance(labels, str) else labels: part for labels, part in found.items()}
    if not all(map(all, parts)):
        return {}
    ordered = sorted(parts, key=lambda labels: tuple(map(label_order, labels)))
    clusters = clusters_of(score) if clusters is None else clusters
    return {labels: _count(score, parts[labels], clusters) for labels in ordered}


def all_tallies(score: Score) -> Iterator[tuple[Grouping, tuple[str, ...], Tally]]:
    """Yield grouping, labels and tally of the whole (an empty grouping) and of every group of every crossing."""
    yield (), (), score.overall
    clusters = clusters_of(score)
    for grouping in crossings():
        for labels, part in tallies(score, grouping, clusters).items():
            yield grouping, labels, part


def clusters_of(score: Score) -> dict[str, str]:
    """Return the clip of each question of a score, by the question's id."""
    return {item.gold.id: item.gold.cluster for item in score.items}


def _count(score: Score, items: Sequence[Scored], clusters: Mapping[str, str]) -> Tally:
    pairs = ((item.gold.id, item.outcome) for item in items)
    return tally(pairs, drop_missing=score.drops_missing, clusters=clusters)
