"""Counts, groups and intervals: pure functions over outcomes, without any dependency.

All intervals are 95 % and in [0, 1] (differences in [-1, 1]); output turns them into percent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sari_data.errors import BenchmarkError
from sari_data.types import DIFFICULTIES, DOMAINS

OUTCOMES = ("correct", "wrong", "unparsed", "truncated", "refused", "missing")
UNGRADABLE = "ungradable"  # present only where a benchmark has golds that are not among their choices

Z95 = 1.959963984540054  # the 0.975 quantile of the standard normal distribution

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes of a group of answers.

    Args:
        n: The denominator of the accuracy.
        correct: The numerator.
        outcomes: How many answers ended in each outcome. They add up to ``n``, except where a scorer
            leaves unanswered questions out of its denominator as MMAU's does: then to ``n`` + missing.
        questions: Distinct questions in ``n``; the interval rests on these, because several samples
            of one question say less than as many questions do.
    """

    n: int
    correct: int
    outcomes: Mapping[str, int] = field(default_factory=dict)
    questions: int = 0

    @property
    def accuracy(self) -> float | None:
        """Share of ``n`` that is correct, or ``None`` where there is nothing to divide by."""
        return self.correct / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the accuracy."""
        if not self.n:
            return None
        questions = self.questions or self.n
        return wilson(self.correct / self.n * questions, questions)

    @property
    def unread(self) -> int:
        """Answers out of which no choice could be read: unparsed, truncated and refused ones."""
        return sum(self.outcomes.get(name, 0) for name in ("unparsed", "truncated", "refused"))

    def to_json(self) -> dict[str, Any]:
        """Return counts, accuracy and interval (percent, two decimals) and the outcomes."""
        interval = self.interval
        return {
            "n": self.n,
            "correct": self.correct,
            "accuracy": percent(self.accuracy),
            "interval": None if interval is None else [percent(interval[0]), percent(interval[1])],
            "outcomes": dict(self.outcomes),
        }


def percent(share: float | None) -> float | None:
    """Return a share as percent with two decimals."""
    return None if share is None else round(share * 100, 2)


def tally(outcomes: Iterable[tuple[str, str]], *, drop_missing: bool = False) -> Tally:
    """Count ``(question id, outcome)`` pairs.

    Args:
        outcomes: One pair for each answer; every outcome is one of OUTCOMES or UNGRADABLE.
        drop_missing: Leave unanswered questions out of the denominator, as MMAU's own code does.
    """
    pairs = list(outcomes)
    counts = Counter(outcome for _, outcome in pairs)
    unknown = set(counts) - {*OUTCOMES, UNGRADABLE}
    assert not unknown, f"outcomes that no scorer may return: {sorted(unknown)}"
    names = (*OUTCOMES, UNGRADABLE) if UNGRADABLE in counts else OUTCOMES
    dropped = counts["missing"] if drop_missing else 0
    questions = {identifier for identifier, outcome in pairs if not (drop_missing and outcome == "missing")}
    return Tally(
        n=len(pairs) - dropped,
        correct=counts["correct"],
        outcomes={name: counts[name] for name in names},
        questions=len(questions),
    )


def group(items: Sequence[ItemT], key: Callable[[ItemT], str], dimension: str) -> dict[str, list[ItemT]]:
    """Split items by a label, in the labels' order; where no item has the label, there are no groups.

    Raises:
        BenchmarkError: Some items have the label and others do not: a silent "other" would make
            the groups' counts not add up to the whole.
    """
    found: dict[str, list[ItemT]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    bare = found.pop("", [])
    if bare and found:
        raise BenchmarkError(
            f"{len(bare)} of {len(items)} questions have no {dimension}, so no table by {dimension} would add up: "
            f"give every question one, or none"
        )
    return dict(sorted(found.items(), key=lambda item: label_order(item[0])))


def label_order(label: str) -> tuple[int, str]:
    """Return a sort key: the labels that have an order of their own in it, then the others by name."""
    return (_KNOWN_ORDER.index(label) if label in _KNOWN_ORDER else len(_KNOWN_ORDER), label)


_KNOWN_ORDER = (*DOMAINS, *DIFFICULTIES)


def wilson(correct: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion.

    Solves ``|p - correct/n| = z * sqrt(p (1 - p) / n)`` for p (Wilson, 1927).

    Args:
        correct: Number of successes, in [0, n]; may be fractional (a mean over samples times n).
        n: Number of trials, 1 or more.
        z: Normal quantile.
    """
    assert n >= 1, f"an interval needs n >= 1, got {n}"
    assert -1e-9 <= correct <= n + 1e-9, f"expected 0 <= correct <= n, got {correct} of {n}"
    share = correct / n
    shrink = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(max(share * (1 - share), 0.0) / n + z * z / (4 * n * n))
    low = 0.0 if correct <= 0 else max(centre - half, 0.0)
    high = 1.0 if correct >= n else min(centre + half, 1.0)
    return low, high


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much better B is than A on the same questions.

    Args:
        n: Questions in the pairing.
        difference: Mean of B minus A, in [-1, 1].
        interval: Its 95 % interval.
        won: Questions on which B does better than A.
        lost: Questions on which B does worse.
        p_value: Exact two-sided McNemar p; ``None`` where scores are means over several samples.
    """

    n: int
    difference: float
    interval: tuple[float, float]
    won: int
    lost: int
    p_value: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the difference and interval in percentage points, the counts and p."""
        return {
            "n": self.n,
            "points": percent(self.difference),
            "interval": [percent(self.interval[0]), percent(self.interval[1])],
            "won": self.won,
            "lost": self.lost,
            "p_value": self.p_value,
        }


def paired_difference(a: Sequence[float], b: Sequence[float], z: float = Z95) -> PairedDifference:
    """Compare per-question scores in [0, 1] of two runs over the same questions in the same order.

    The interval is Bonett and Price's (2012) adjusted Wald interval: the normal interval of the
    mean difference after adding one pair that favours each side. Unlike the plain one it keeps
    its coverage where few pairs differ, and it never has zero width.
    """
    assert len(a) == len(b), f"expected as many scores in b as in a, got {len(b)} and {len(a)}"
    assert a, "expected at least one pair"
    differences = [after - before for before, after in zip(a, b, strict=True)]
    n = len(differences)
    padded = [*differences, 1.0, -1.0]
    centre = sum(padded) / (n + 2)
    variance = sum((d - centre) ** 2 for d in padded) / (n + 2)
    half = z * math.sqrt(variance / (n + 2))
    won = sum(d > 0 for d in differences)
    lost = sum(d < 0 for d in differences)
    binary = all(score in (0.0, 1.0) for score in (*a, *b))
    return PairedDifference(
        n=n,
        difference=sum(differences) / n,
        interval=(max(centre - half, -1.0), min(centre + half, 1.0)),
        won=won,
        lost=lost,
        p_value=mcnemar(won, lost) if binary else None,
    )


def mcnemar(won: int, lost: int) -> float:
    """Return the exact two-sided McNemar p: how likely so lopsided a split of the differing pairs is.

    It is the two-sided sign test, ``2 * P(X <= min(won, lost))`` for X ~ Binomial(won + lost, 1/2).
    """
    total = won + lost
    if not total:
        return 1.0
    # In integers: 2**-total underflows a float from 1,075 differing pairs on.
    tail = sum(math.comb(total, k) for k in range(min(won, lost) + 1))
    return min(1.0, 2 * tail / 2**total)
