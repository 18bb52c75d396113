"""Groups of questions across several labels at once: task by difficulty, category by sub-category, and so on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from operator import attrgetter

from sari_bench.benchmarks.base import DIMENSIONS
from sari_bench.scoring import Score
from sari_bench.statistics.metrics import Tally, count_outcomes, label_order
from sari_data.errors import InputError

Grouping = tuple[str, ...]  # names of dimensions, in the order of DIMENSIONS
Columns = tuple[list[str], list[str], list[str]]  # question ids, outcomes and clips of answers
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


def tallies(score: Score, grouping: Grouping, columns: Columns | None = None) -> dict[tuple[str, ...], Tally]:
    """Count a score's answers by several labels; the groups are in their labels' order.

    A benchmark that lacks one of the labels has no such groups: the result is empty. Denominators are the scorer's,
    as in ``score.by``.

    Args:
        score: What is counted.
        grouping: Which labels; one at least.
        columns: What :func:`columns_of` returns for the score, where it is there already.
    """
    label_of = attrgetter(*(f"gold.{DIMENSIONS[name]}" for name in grouping))
    found: dict[str | tuple[str, ...], list[int]] = {}
    for place, label in enumerate(map(label_of, score.items)):
        found.setdefault(label, []).append(place)
    parts = {(labels,) if isinstance(labels, str) else labels: places for labels, places in found.items()}
    if not all(map(all, parts)):
        return {}
    ordered = sorted(parts, key=lambda labels: tuple(map(label_order, labels)))
    ids, outcomes, clips = columns_of(score) if columns is None else columns
    return {
        labels: count_outcomes(
            *([column[place] for place in parts[labels]] for column in (ids, outcomes, clips)),
            drop_missing=score.drops_missing,
        )
        for labels in ordered
    }


def all_tallies(score: Score) -> Iterator[tuple[Grouping, tuple[str, ...], Tally]]:
    """Yield grouping, labels and tally of the whole (an empty grouping) and of every group of every crossing."""
    yield (), (), score.overall
    columns = columns_of(score)
    for grouping in crossings():
        for labels, part in tallies(score, grouping, columns).items():
            yield grouping, labels, part


def columns_of(score: Score) -> Columns:
    """Return of each answer of a score its question's id, its outcome and its clip."""
    items = score.items
    return [i.gold.id for i in items], [i.outcome for i in items], [i.gold.cluster for i in items]
