"""How much better one way of asking is than another on the same questions, overall and by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sari_bench.benchmarks.base import Gold
from sari_bench.comparing.compare import format_p
from sari_bench.statistics.adjust import holm
from sari_bench.statistics.metrics import PairedDifference, label_order
from sari_bench.statistics.paired import compare_groups


def paired_gains(
    golds: Sequence[Gold], before: Mapping[str, float], after: Mapping[str, float], *, tasks: bool = False
) -> tuple[PairedDifference, dict[str, PairedDifference]]:
    """Return ``after`` minus ``before`` over all questions, and where asked for of each task, with p adjusted (Holm).

    Args:
        golds: The questions that have a score on both sides.
        before: Score in [0, 1] by question id.
        after: The same.
        tasks: Whether the tasks are compared too.
    """
    places: dict[str, list[int]] = {}
    for place, gold in enumerate(golds):
        places.setdefault(gold.task, []).append(place)
    names = sorted(places, key=label_order) if tasks else []
    overall, *parts = compare_groups(
        [before[gold.id] for gold in golds],
        [after[gold.id] for gold in golds],
        [gold.cluster for gold in golds],
        [range(len(golds)), *(places[name] for name in names)],
    )
    adjusted = holm([1.0 if part.deciding_p is None else part.deciding_p for part in parts])
    return overall, {name: replace(d, adjusted_p=p) for name, d, p in zip(names, parts, adjusted, strict=True)}


def read_difference(body: dict[str, Any]) -> PairedDifference:
    """Read what ``PairedDifference.to_json`` returned; shares are then rounded as they stand there.

    The verdict is the one that was reached: an interval that begins just above 0 is stored as beginning at 0.00.
    """
    low, high = body["interval"]
    bootstrap = body["bootstrap"]
    return PairedDifference(
        n=body["n"],
        difference=body["points"] / 100,
        interval=(low / 100, high / 100),
        won=body["won"],
        lost=body["lost"],
        p_value=body["p_value"],
        clusters=body["clips"],
        bootstrap=None if bootstrap is None else (bootstrap[0] / 100, bootstrap[1] / 100),
        flip_p=body["flip_p"],
        adjusted_p=body["adjusted_p"],
        needed=body["questions_needed"],
        stored=body["verdict"],
    )


def points(gain: PairedDifference) -> str:
    """Return a difference in points, with the interval and p that decide."""
    low, high = gain.deciding_interval
    repeated = f" about {gain.clusters:,} clips" if 0 < gain.clusters < gain.n else ""
    p_value = "" if gain.deciding_p is None else f", p {format_p(gain.deciding_p)}"
    return (
        f"{gain.difference * 100:+.2f} points (95 % interval {low * 100:+.2f} to {high * 100:+.2f}, "
        f"{gain.n:,} questions{repeated}{p_value})"
    )
