"""How often intervals hold the truth, how often two equal models are told apart, and how long a table takes.

    python -m benchmarks.intervals --rounds 1000 --json

Simulated clips have one chance each of being answered right (beta distributed, so that answers about a clip have a
known correlation) and one to seven questions, or one. Everything is seeded.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from sari_bench.statistics.bootstrap import bootstrap_groups, bootstrap_interval
from sari_bench.statistics.clustering import effective_size
from sari_bench.statistics.metrics import wilson
from sari_bench.statistics.paired import compare_groups

# Clips, most questions about one, share of right answers, correlation of answers about one clip.
INTERVALS = (
    (30, 1, 0.6, 0.0),
    (1000, 1, 0.6, 0.0),
    (10, 7, 0.6, 0.3),
    (30, 7, 0.6, 0.3),
    (200, 7, 0.6, 0.3),
    (200, 7, 0.6, 0.8),
    (200, 7, 0.95, 0.3),
)
# Clips, most questions about one, correlation.
EQUAL_MODELS = ((300, 1, 0.0), (10, 7, 0.5), (100, 7, 0.3), (100, 7, 0.8))


def draw(rng: np.random.Generator, clips: int, most: int, share: float, together: float) -> tuple[Any, Any]:
    """Return the number of questions about each clip, and of the right answers to them."""
    sizes = rng.integers(1, most + 1, clips)
    if not together:
        return sizes, rng.binomial(sizes, share)
    scale = (1 - together) / together
    return sizes, rng.binomial(sizes, rng.beta(share * scale, (1 - share) * scale, clips))


def coverage(clips: int, most: int, share: float, together: float, rounds: int) -> dict[str, Any]:
    """Return how often each interval holds the true share, and its mean width in points."""
    rng = np.random.default_rng(0)
    held = dict.fromkeys(("wilson", "by clip", "bootstrap"), 0)
    width = dict.fromkeys(held, 0.0)
    for number in range(rounds):
        sizes, right = draw(rng, clips, most, share, together)
        n, p = int(sizes.sum()), right.sum() / sizes.sum()
        effective = effective_size(sizes.tolist(), right.tolist())
        values = np.concatenate([np.arange(size) < good for size, good in zip(sizes, right, strict=True)])
        found = {
            "wilson": wilson(float(right.sum()), n),
            "by clip": wilson(p * effective, effective),
            "bootstrap": bootstrap_interval(values, np.repeat(np.arange(clips), sizes), seed=number),
        }
        for name, (low, high) in found.items():
            held[name] += low <= share <= high
            width[name] += (high - low) * 100
    return {
        "clips": clips,
        "most questions a clip": most,
        "share": share,
        "correlation": together,
        **{
            name: {"held": round(100 * held[name] / rounds, 1), "points": round(width[name] / rounds, 1)}
            for name in held
        },
    }


def equal_models(clips: int, most: int, together: float, rounds: int) -> dict[str, Any]:
    """Return how often two equally good models are told apart, by McNemar's p alone and by the verdict of compare.

    Each model has a chance of its own for each clip, from the same distribution.
    """
    rng = np.random.default_rng(0)
    by_mcnemar = by_verdict = 0
    for number in range(rounds):
        sizes = rng.integers(1, most + 1, clips)
        a, b = (_answers(rng, sizes, 0.6, together) for _ in range(2))
        names = np.repeat(np.arange(clips).astype(str), sizes).tolist()
        [found] = compare_groups(a, b, names, [range(len(a))], seed=number)
        by_mcnemar += found.p_value is not None and found.p_value < 0.05
        by_verdict += found.verdict != "undecided"
    return {
        "clips": clips,
        "most questions a clip": most,
        "correlation": together,
        "McNemar alone": round(100 * by_mcnemar / rounds, 1),
        "verdict": round(100 * by_verdict / rounds, 1),
    }


def _answers(rng: np.random.Generator, sizes: NDArray[np.int64], share: float, together: float) -> Sequence[float]:
    chances = np.full(len(sizes), share)
    if together:
        scale = (1 - together) / together
        chances = rng.beta(share * scale, (1 - share) * scale, len(sizes))
    found: list[float] = (rng.random(int(sizes.sum())) < np.repeat(chances, sizes)).astype(float).tolist()
    return found


def seconds(questions: int, groups: int) -> float:
    """Return the seconds that the bootstrap of a table takes: 1,000 resamples, each clip with two questions."""
    rng = np.random.default_rng(0)
    values = (rng.random(questions) < 0.6).astype(float)
    member = rng.random((questions, groups)) < 0.1
    began = time.perf_counter()
    bootstrap_groups(values, member, np.arange(questions) // 2)
    return time.perf_counter() - began


def main() -> None:
    """Simulate, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    intervals = [coverage(*case, arguments.rounds) for case in INTERVALS]
    equal = [equal_models(*case, arguments.rounds) for case in EQUAL_MODELS]
    took = round(seconds(10_000, 60), 2)
    if arguments.json:
        body = {"machine": machine.describe(), "rounds": arguments.rounds, "intervals": intervals, "equal": equal}
        print(json.dumps({**body, "bootstrap_10000_by_60_seconds": took}, indent=2))
        return
    print(machine.line(machine.command()))
    print("\n95 % intervals that hold the truth, in percent (mean width in points):\n")
    print("| clips | questions a clip | share | correlation | Wilson | by clip | bootstrap |")
    print("|---|---|---|---|---|---|---|")
    for r in intervals:
        cells = ["{held} ({points})".format(**r[name]) for name in ("wilson", "by clip", "bootstrap")]
        asked = f"1 to {r['most questions a clip']}" if r["most questions a clip"] > 1 else "1"
        print(f"| {r['clips']} | {asked} | {r['share']} | {r['correlation']} | {' | '.join(cells)} |")
    print("\nTwo equal models that are told apart, in percent (5 or less is what is asked):\n")
    print("| clips | questions a clip | correlation | McNemar alone | verdict of compare |")
    print("|---|---|---|---|---|")
    for r in equal:
        asked = f"1 to {r['most questions a clip']}" if r["most questions a clip"] > 1 else "1"
        print(f"| {r['clips']} | {asked} | {r['correlation']} | {r['McNemar alone']} | {r['verdict']} |")
    print(f"\n1,000 resamples of 10,000 questions in 60 groups: {took} s")


if __name__ == "__main__":
    main()
