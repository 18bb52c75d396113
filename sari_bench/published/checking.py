"""What a published row's figures say about it: can the average be theirs, and can they be shares of so many questions?

Both checks allow for rounding to the printed digits and for cutting off after them; boards do either. A trailing zero
says nothing (a table of two decimals prints 71.5 as 71.50), so a figure counts as printed without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from sari_bench.published.rows import PublishedRow

_EPSILON = 1e-9
_NEARLY = 0.1  # part of the gap that may be left where another figure "nearly" repairs an average


def checked(rows: Iterable[PublishedRow]) -> tuple[PublishedRow, ...]:
    """Return the rows, each with its problem and remark; a model's rows of the same version are looked at together."""
    found = tuple(rows)
    return tuple(replace(row, problem=average_problem(row, found), remark=count_remark(row)) for row in found)


def reach(value: float) -> tuple[float, float]:
    """Return between which values the true one lies where ``value`` is printed, rounded or cut off.

    A float counts as printed with its decimals less trailing zeros, one at least; an integer with none.
    """
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    assert isinstance(exponent, int), f"a printed figure is a finite number, found {value}"
    decimals = 0 if isinstance(value, int) else max(-exponent, 1)
    unit = 10.0**-decimals
    return value - unit / 2, value + unit


def average_fits(figures: Mapping[str, float], average: float, counts: Mapping[str, int]) -> bool:
    """Return whether an average can be that of the figures: weighted by the counts, or the plain mean of the columns.

    Without counts the weights may be anything, so the average need only lie between the lowest and highest figure.
    """
    low, high = reach(average)
    spans = {task: reach(value) for task, value in figures.items()}
    if not counts:
        lowest, highest = (min(s[0] for s in spans.values()), max(s[1] for s in spans.values()))
        return low <= highest + _EPSILON and lowest <= high + _EPSILON
    for weights in (counts, dict.fromkeys(figures, 1)):
        bounds = [_mean({task: span[side] for task, span in spans.items()}, weights) for side in (0, 1)]
        if low <= bounds[1] + _EPSILON and bounds[0] <= high + _EPSILON:
            return True
    return False


def average_problem(row: PublishedRow, known: Sequence[PublishedRow] = ()) -> str | None:
    """Return why the row's average cannot be that of its figures, or ``None``.

    Where one figure of another split, of the same model and version, in place of the row's own repairs the average or
    nearly does, the sentence says so: such a figure was probably copied into the wrong column.
    """
    figures = _complete(row)
    if figures is None or row.average is None or average_fits(figures, row.average, row.counts):
        return None
    given = _mean(figures, row.counts or dict.fromkeys(figures, 1))
    parts = [f"{task} {value:.2f}" for task, value in figures.items()]
    sentence = (
        f"the printed average {row.average:.2f} cannot be that of {', '.join(parts[:-1])} and {parts[-1]}, "
        f"which give {given:.2f}"
    )
    fitting, near = [], []
    for task, other in _figures_elsewhere(row, known):
        value = other.figures[task]
        assert value is not None
        changed = {**figures, task: value}
        mean = _mean(changed, row.counts or dict.fromkeys(figures, 1))
        words = f"; with {task} {value:.2f}, as in its row on {other.split}, they would give {mean:.2f}"
        if average_fits(changed, row.average, row.counts):
            fitting.append(words)
        elif abs(mean - row.average) <= _NEARLY * abs(given - row.average):
            near.append(words + ", nearly that")
    repairs = fitting or near
    return sentence + (repairs[0] if len(repairs) == 1 else "")


def count_remark(row: PublishedRow) -> str | None:
    """Return which figures no whole number of right answers gives, or ``None``; checked where counts are exact."""
    if not row.exact:
        return None
    wrong: dict[int, list[str]] = {}
    for task, value in row.figures.items():
        if value is not None and not _is_share(value, row.counts[task]):
            wrong.setdefault(row.counts[task], []).append(f"{task} {value:.2f}")
    if not wrong:
        return None
    return "; ".join(
        f"no number of right answers out of {n:,} gives {' or '.join(names)}" for n, names in wrong.items()
    )


def _is_share(value: float, n: int) -> bool:
    low, high = reach(value)
    return math.ceil(low * n / 100 - _EPSILON) <= high * n / 100 + _EPSILON


def _complete(row: PublishedRow) -> dict[str, float] | None:
    """The figures where all are printed and there are two at least; with fewer there is nothing to check."""
    figures = {task: value for task, value in row.figures.items() if value is not None}
    return figures if len(figures) == len(row.figures) >= 2 else None


def _mean(figures: Mapping[str, float], weights: Mapping[str, int]) -> float:
    return sum(value * weights[task] for task, value in figures.items()) / sum(weights[task] for task in figures)


def _figures_elsewhere(row: PublishedRow, known: Sequence[PublishedRow]) -> list[tuple[str, PublishedRow]]:
    """Task and row for every figure of the same model, method and version on another split of the same benchmark."""
    family = row.benchmark.partition("-")[0]
    return [
        (task, other)
        for other in known
        if (other.model, other.method, other.version) == (row.model, row.method, row.version)
        and other.split != row.split
        and other.benchmark.partition("-")[0] == family
        for task in row.figures
        if other.figures.get(task) not in (None, row.figures[task])
    ]
