"""What a published row's figures say about it: can the average be theirs, and can they be shares of so many questions?

Both checks allow for rounding to the printed digits and for cutting off after them; boards do either. A trailing zero
says nothing (a table of two decimals prints 71.5 as 71.50), so a figure counts as printed without it. An average may be
over the questions or over the columns. Where the columns differ in size those are different figures, and a row that
prints the second gets a remark: MMAR's columns have 11 to 294 questions, and its board averages over questions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from sari_bench.published.rows import PublishedRow

_EPSILON = 1e-9
_TWICE = 0.05  # of the last digit: a board that rounds what was rounded before prints 23 of 82, 28.049, as 28.1
_MATTERS = 0.1  # points
_NEARLY = 0.1  # part of the gap that may be left where another figure "nearly" repairs an average


def checked(rows: Iterable[PublishedRow]) -> tuple[PublishedRow, ...]:
    """Return the rows, each with its problem and remark; a model's rows of the same version are looked at together."""
    found = tuple(rows)
    return tuple(
        replace(
            row,
            problem=average_problem(row, found),
            remark="; ".join(filter(None, (row.note, count_remark(row), columns_remark(row)))) or None,
        )
        for row in found
    )


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
    return any(_fits(spans, (low, high), weights) for weights in (counts, dict.fromkeys(figures, 1)))


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


def columns_remark(row: PublishedRow) -> str | None:
    """Return that the average is one of the columns and not of the questions, or ``None``.

    Said only where the figures rule the average over the questions out and allow that of the columns, and the two are
    so far apart that it matters in a ranking.
    """
    figures = _complete(row)
    if figures is None or row.average is None or not row.counts:
        return None
    spans, printed = {task: reach(value) for task, value in figures.items()}, reach(row.average)
    over = _mean(figures, row.counts)
    if _fits(spans, printed, row.counts) or not _fits(spans, printed, dict.fromkeys(figures, 1)):
        return None
    if abs(over - row.average) < _MATTERS:
        return None
    return (
        f"the average {row.average:.2f} is that of the columns, whatever their size; over the questions they give "
        f"{over:.2f}"
    )


def count_remark(row: PublishedRow) -> str | None:
    """Return which figures no whole number of right answers gives, or ``None``; checked where counts are exact."""
    if not row.exact:
        return None
    wrong: dict[int, list[str]] = {}
    for task, value in row.figures.items():
        if value is not None and task in row.counts and not _is_share(value, row.counts[task]):
            wrong.setdefault(row.counts[task], []).append(f"{task} {value:.2f}")
    if not wrong:
        return None
    return "; ".join(
        f"no number of right answers out of {n:,} gives {' or '.join(names)}" for n, names in wrong.items()
    )


def _is_share(value: float, n: int) -> bool:
    low, high = reach(value)
    low -= _TWICE * (high - value)
    return math.ceil(low * n / 100 - _EPSILON) <= high * n / 100 + _EPSILON


def _fits(spans: Mapping[str, tuple[float, float]], printed: tuple[float, float], weights: Mapping[str, int]) -> bool:
    least, most = (_mean({task: span[side] for task, span in spans.items()}, weights) for side in (0, 1))
    return printed[0] <= most + _EPSILON and least <= printed[1] + _EPSILON


def _complete(row: PublishedRow) -> dict[str, float] | None:
    """The parts' figures where all are printed and there are two at least; with fewer there is nothing to check."""
    parts = row.parts or tuple(row.figures)
    figures = {task: value for task in parts if (value := row.figures[task]) is not None}
    return figures if len(figures) == len(parts) >= 2 else None


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
        for task in row.parts or row.figures
        if other.figures.get(task) not in (None, row.figures[task])
    ]
