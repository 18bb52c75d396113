"""Comparisons as rows of text: group by group, and run by run against one base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sari_bench.comparing.compare import Comparison, format_p
from sari_bench.reporting.report import INTERVAL
from sari_bench.statistics.adjust import holm
from sari_bench.statistics.metrics import PairedDifference

Rows = tuple[list[str], list[list[str]]]


def group_rows(comparison: Comparison, dimension: str) -> Rows:
    """Return header and rows of a dimension's groups, and of all questions in the last row.

    The interval and p are the deciding ones: by clip where clips or samples repeat, else Bonett and Price's and
    McNemar's.
    """
    parts = [*comparison.groups.get(dimension, {}).items(), ("all", comparison.overall)]
    return _header(dimension), [_row(name, part) for name, part in parts]


def run_rows(comparisons: Sequence[Comparison]) -> Rows:
    """Return header and rows of several runs against one base, each over all questions."""
    return _header("run"), [_row(found.b, found.overall) for found in comparisons]


def adjust_runs(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons with one base, the p of each adjusted for how many there are."""
    p_values = [found.overall.deciding_p for found in comparisons]
    adjusted = holm([1.0 if p is None else p for p in p_values])
    return [
        replace(found, overall=replace(found.overall, adjusted_p=p_value))
        for found, p_value in zip(comparisons, adjusted, strict=True)
    ]


def runs_note(comparisons: Sequence[Comparison]) -> str:
    """Return what to hold of several runs against one base; empty where there is but one."""
    count = len(comparisons)
    if count < 2:
        return ""
    kept = sum(c.overall.adjusted_p is not None and c.overall.adjusted_p < 0.05 for c in comparisons)
    return (
        f"{count} runs were compared with {comparisons[0].a}, each by itself in its sentence; the adjusted p (Holm) "
        f"allows for their number: {kept} of them below 0.05"
    )


def _header(first: str) -> list[str]:
    return [first, "n", "points", INTERVAL, "won", "lost", "p", "adjusted p"]


def _row(name: str, part: PairedDifference) -> list[str]:
    low, high = part.deciding_interval
    return [
        name,
        str(part.n),
        f"{part.difference * 100:+.2f}",
        f"{low * 100:+.2f} to {high * 100:+.2f}",
        str(part.won),
        str(part.lost),
        _p(part.deciding_p),
        _p(part.adjusted_p),
    ]


def _p(value: float | None) -> str:
    return "–" if value is None else format_p(value).removeprefix("= ")
