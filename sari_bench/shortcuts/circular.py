"""Circular evaluation: a question counts as right only where it is answered right in every rotation of its options.

The rule is MMBench's CircularEval (Liu et al., arXiv 2307.06281). What the rotations say of position bias follows from
the same answers: over all rotations of a question every option stands in every position once, so a model without such
a bias answers every position equally often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sari_bench.benchmarks.base import Gold
from sari_bench.scorers.base import choice_of
from sari_bench.scoring import Scored
from sari_bench.shortcuts.variants import rotated_id
from sari_bench.statistics.metrics import Tally, percent, tally, wilson


@dataclass(frozen=True, slots=True)
class Position:
    """What stands in one position of the options, over all rotations.

    Args:
        letter: The position.
        right: Accuracy where the right option stands there: right, and of how many.
        n: Answers to questions whose right option stands there.
        chosen: Answers that gave the option in this position.
        expected: How many they would be if all positions were alike.
    """

    letter: str
    right: int
    n: int
    chosen: int
    expected: float

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and the accuracy with its interval in percent."""
        interval = wilson(self.right, self.n) if self.n else None
        return {
            "letter": self.letter,
            "n": self.n,
            "right": self.right,
            "accuracy": percent(self.right / self.n) if self.n else None,
            "interval": None if interval is None else [percent(interval[0]), percent(interval[1])],
            "chosen": self.chosen,
            "expected": round(self.expected, 4),
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Position:
        """Read what :meth:`to_json` returned."""
        return cls(body["letter"], body["right"], body["n"], body["chosen"], body["expected"])


@dataclass(frozen=True, slots=True)
class Circular:
    """What the rotations of all questions show; shares are in [0, 1].

    Args:
        rotations: Answers that were due, rotation 0 included.
        mean: Mean over questions of the share of rotations that are right.
        consistent: Share of questions that get an option of the same text in every rotation, right or wrong.
        bias: How far the positions that are answered are from evenly spread: half the sum over positions of the
            difference between their share of the answers and their expected share (total variation). 0: evenly; for
            four options 0.75 is always the same position.
        positions: Every position; without the questions that repeat an option, where an answer's text has two of them.
        repeats: How many questions those are.
    """

    rotations: int
    mean: float
    consistent: float
    bias: float | None
    positions: tuple[Position, ...]
    repeats: int

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object; shares are in percent."""
        return {
            "rotations": self.rotations,
            "mean": percent(self.mean),
            "consistent": percent(self.consistent),
            "bias": percent(self.bias),
            "positions": [position.to_json() for position in self.positions],
            "repeats": self.repeats,
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Circular:
        """Read what :meth:`to_json` returned."""
        return cls(
            rotations=body["rotations"],
            mean=body["mean"] / 100,
            consistent=body["consistent"] / 100,
            bias=None if body["bias"] is None else body["bias"] / 100,
            positions=tuple(map(Position.from_json, body["positions"])),
            repeats=body["repeats"],
        )

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        most = max(self.positions, key=lambda p: p.chosen - p.expected, default=None)
        favours = ""
        if most is not None and self.bias:
            favours = (
                f"; ({most.letter}) is answered {most.chosen:,} times where {most.expected:,.0f} would be even, "
                f"position bias {self.bias * 100:.2f} %"
            )
        return (
            f"rotated options: {self.mean * 100:.2f} % right on average, {self.consistent * 100:.2f} % of the "
            f"questions get the same option in every rotation{favours}"
        )


def evaluate(
    golds: Sequence[Gold], own: Iterable[Scored], rotated: Iterable[Scored], samples: int
) -> tuple[Tally, dict[str, float], Circular]:
    """Judge the rotations of every question together.

    Args:
        golds: The questions as they stand.
        own: Scored answers to them.
        rotated: Scored answers to their rotations.
        samples: Answers that each rotation was due; sample s of one goes with sample s of the others.

    Returns:
        Right in all rotations or not (a tally over questions and samples), the share of samples that are so by question
        id, and what else the rotations show.
    """
    items = {(item.gold.id, item.answer.sample): item for item in (*own, *rotated)}
    outcomes: list[tuple[str, str]] = []
    shares: dict[str, float] = {}
    means, consistent = [], 0
    for gold in golds:
        right_in_all = 0
        for sample in range(samples):
            turns = [items[rotated_id(gold.id, by), sample] for by in range(len(gold.choices))]
            right = [item.outcome == "correct" for item in turns]
            said = [_said(item) for item in turns]
            right_in_all += all(right)
            means.append(sum(right) / len(right))
            consistent += said[0] is not None and len(set(said)) == 1
            outcomes.append((gold.id, "correct" if all(right) else "wrong"))
        shares[gold.id] = right_in_all / samples
    positions, repeats = _positions(golds, items, samples)
    answered = sum(position.chosen for position in positions)
    due = sum(position.expected for position in positions)
    bias = sum(abs(p.chosen / answered - p.expected / due) for p in positions) / 2 if answered else None
    total = len(golds) * samples
    return (
        tally(outcomes, clusters={gold.id: gold.cluster for gold in golds}),
        shares,
        Circular(len(items), sum(means) / total, consistent / total, bias, positions, repeats),
    )


def _said(item: Scored) -> str | None:
    choice = choice_of(item.gold, item.answer)
    return None if choice is None else item.gold.choices[choice]


def _positions(
    golds: Sequence[Gold], items: dict[tuple[str, int], Scored], samples: int
) -> tuple[tuple[Position, ...], int]:
    most = max(len(gold.choices) for gold in golds)
    right, n, chosen = Counter[int](), Counter[int](), Counter[int]()
    expected = [0.0] * most
    plain = [gold for gold in golds if len(set(gold.choices)) == len(gold.choices)]
    for gold in plain:
        size = len(gold.choices)
        read = 0
        for item in (items[rotated_id(gold.id, by), s] for by in range(size) for s in range(samples)):
            if item.gold.gradable:
                at = item.gold.choices.index(str(gold.answer))
                n[at] += 1
                right[at] += item.outcome == "correct"
            choice = choice_of(item.gold, item.answer)
            if choice is not None:
                chosen[choice] += 1
                read += 1
        for at in range(size):
            expected[at] += read / size
    letters = (chr(ord("A") + at) for at in range(most))
    found = tuple(Position(letter, right[at], n[at], chosen[at], expected[at]) for at, letter in enumerate(letters))
    return found, len(golds) - len(plain)
