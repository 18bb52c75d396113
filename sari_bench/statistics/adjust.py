"""Many groups, many tests: p-values adjusted for how many there are, and the note that goes with such a table."""

from __future__ import annotations

from collections.abc import Sequence

MANY_GROUPS = 10  # from here on a table says how many of its intervals miss by chance


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down procedure (Scandinavian Journal of Statistics 6, 1979).

    The i-th smallest of m is multiplied by ``m - i + 1``, and none is less than one before it. What stays below 0.05 is
    a difference in a table that shows a false one in at most one table of twenty, however the groups hang together.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    least = 0.0
    for rank, place in enumerate(sorted(range(count), key=lambda place: p_values[place])):
        least = max(least, min(1.0, p_values[place] * (count - rank)))
        adjusted[place] = least
    return adjusted


def note_for(groups: int, unadjusted: int | None = None, adjusted: int | None = None) -> str:
    """Return the sentence that a table of many tests needs; empty where there is but one group.

    Args:
        groups: How many were tested.
        unadjusted: How many have an unadjusted p below 0.05, where that is known.
        adjusted: How many have an adjusted one, where that is known.
    """
    if groups < 2:
        return ""
    chance = f"{groups * 0.05:.2f}".rstrip("0").rstrip(".")
    found = "" if unadjusted is None else f" (found: {unadjusted})"
    kept = "" if adjusted is None else f": {adjusted} of them below 0.05"
    return (
        f"{groups} groups were tested: of unadjusted p < 0.05 about {chance} are expected by chance alone{found}; "
        f"the adjusted p (Holm) allows for that{kept}"
    )


def chance_note(groups: int, columns: int = 1) -> str | None:
    """Return what a reader of a table with many intervals must know, or ``None`` where it has few groups.

    Args:
        groups: How many groups the table has.
        columns: How many runs each of them has a figure for.
    """
    count = groups * columns
    if groups < MANY_GROUPS:
        return None
    return (
        f"of {count:,} figures with a 95 % interval each, about {_missing(count)} the true value by "
        "chance: a group that stands out among so many was chosen for it, so test it on other questions"
    )


def _missing(count: int) -> str:
    expected = max(1, round(count * 0.05))
    return f"{expected:,} {'misses' if expected == 1 else 'miss'}"
