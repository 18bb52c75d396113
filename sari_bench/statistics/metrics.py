"""Counts, groups and intervals: pure functions over outcomes, without any dependency.

All intervals are 95 % and in [0, 1] (differences in [-1, 1]); output turns them into percent. docs/statistics.md says
which figure is how, and when not to trust it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, TypeVar

from sari_bench.statistics.clustering import Z95, effective_size
from sari_data.errors import BenchmarkError
from sari_data.types import DIFFICULTIES, DOMAINS

OUTCOMES = ("correct", "wrong", "unparsed", "truncated", "refused", "missing")
UNGRADABLE = "ungradable"  # present only where a benchmark has golds that are not among their choices

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
        clusters: Distinct clips that ``n`` is about; 0 where that was not asked.
        effective: How many independent answers ``n`` is worth (:func:`~.clustering.effective_size`); ``None``
            where no clip repeats.
    """

    n: int
    correct: int
    outcomes: Mapping[str, int] = field(default_factory=dict)
    questions: int = 0
    clusters: int = 0
    effective: float | None = None

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
    def clustered(self) -> tuple[float, float] | None:
        """The 95 % interval by clip: Wilson's, of as many answers as ``n`` is worth; ``None`` where no clip repeats.

        Wilson's form with an effective size stays in [0, 1], is never without width, and is one of the two that are
        recommended after simulations of clustered samples (Franco, Little, Louis and Slud, 2019).
        """
        if not self.n or self.effective is None:
            return None
        return wilson(self.correct / self.n * self.effective, self.effective)

    @property
    def best_interval(self) -> tuple[float, float] | None:
        """The interval to show: by clip where clips (or samples of a question) repeat, else Wilson's."""
        return self.clustered or self.interval

    @property
    def unread(self) -> int:
        """Answers out of which no choice could be read: unparsed, truncated and refused ones."""
        return sum(self.outcomes.get(name, 0) for name in ("unparsed", "truncated", "refused"))

    def to_json(self) -> dict[str, Any]:
        """Return counts, accuracy and intervals (percent, two decimals) and the outcomes."""
        return {
            "n": self.n,
            "correct": self.correct,
            "accuracy": percent(self.accuracy),
            "interval": percents(self.interval),
            "clustered": percents(self.clustered),
            "clusters": self.clusters,
            "outcomes": dict(self.outcomes),
        }


def percent(share: float | None) -> float | None:
    """Return a share as percent with two decimals."""
    return None if share is None else round(share * 100, 2)


def percents(interval: tuple[float, float] | None) -> list[float] | None:
    """Return both ends of an interval as percent with two decimals."""
    return None if interval is None else [round(end * 100, 2) for end in interval]


def range_text(interval: tuple[float, float] | None) -> str:
    """Return both ends of an interval in percent for people, or a dash."""
    return "–" if interval is None else f"{interval[0] * 100:.1f}–{interval[1] * 100:.1f}"


def tally(
    outcomes: Iterable[tuple[str, str]], *, drop_missing: bool = False, clusters: Mapping[str, str] | None = None
) -> Tally:
    """Count ``(question id, outcome)`` pairs.

    Args:
        outcomes: One pair for each answer; every outcome is one of OUTCOMES or UNGRADABLE.
        drop_missing: Leave unanswered questions out of the denominator, as MMAU's own code does.
        clusters: Of each question id the clip that it is about (``Gold.cluster``); absent: no interval by clip.
    """
    pairs = list(outcomes)
    ids = [identifier for identifier, _ in pairs]
    clips = None if clusters is None else [clusters[identifier] for identifier in ids]
    return count_outcomes(ids, [outcome for _, outcome in pairs], clips, drop_missing=drop_missing)


def count_outcomes(
    ids: Sequence[str], outcomes: Sequence[str], clips: Sequence[str] | None = None, *, drop_missing: bool = False
) -> Tally:
    """Count outcomes as :func:`tally` does, given as columns: the question, the outcome and the clip of each answer."""
    counts = Counter(outcomes)
    unknown = set(counts) - {*OUTCOMES, UNGRADABLE}
    assert not unknown, f"outcomes that no scorer may return: {sorted(unknown)}"
    names = (*OUTCOMES, UNGRADABLE) if UNGRADABLE in counts else OUTCOMES
    if drop_missing and counts["missing"]:
        kept = [outcome != "missing" for outcome in outcomes]
        ids, outcomes = list(compress(ids, kept)), list(compress(outcomes, kept))
        clips = None if clips is None else list(compress(clips, kept))
    sizes = Counter(clips)
    effective = None
    if clips is not None and 0 < len(sizes) < len(clips):
        right = Counter([clip for clip, outcome in zip(clips, outcomes, strict=True) if outcome == "correct"])
        effective = effective_size([*sizes.values()], [right[clip] for clip in sizes])
    return Tally(
        n=len(ids),
        correct=counts["correct"],
        outcomes={name: counts[name] for name in names},
        questions=len(set(ids)),
        clusters=len(sizes),
        effective=effective,
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


def wilson(correct: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion.

    Solves ``|p - correct/n| = z * sqrt(p (1 - p) / n)`` for p (Wilson, 1927).

    Args:
        correct: Number of successes, in [0, n]; may be fractional (a mean over samples times n).
        n: Number of trials, more than 0; an effective number may be fractional.
        z: Normal quantile.
    """
    assert n > 0, f"an interval needs n > 0, got {n}"
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
        interval: Its 95 % interval, questions taken as independent (Bonett and Price).
        won: Questions on which B does better than A.
        lost: Questions on which B does worse.
        p_value: Exact two-sided McNemar p; ``None`` where scores are means over several samples.
        clusters: Distinct clips among the questions; 0 where that was not asked.
        bootstrap: 95 % interval of the difference by resampling clips; ``None`` where that was not asked.
        flip_p: Exact p of flipping signs clip by clip (:func:`~.paired.sign_flip_p`). Where no clip repeats
            and there is one sample it is McNemar's.
        adjusted_p: The deciding p, adjusted for all groups of the table that this is one of (Holm).
        needed: Questions with which such a difference would be told from none four times in five.
        flat: Whether all differences are equal, so that ``bootstrap`` is Bonett and Price's, of one pair a clip.
        stored: The verdict as it was reached, where the figures were read back rounded; empty: the figures decide.
    """

    n: int
    difference: float
    interval: tuple[float, float]
    won: int
    lost: int
    p_value: float | None
    clusters: int = 0
    bootstrap: tuple[float, float] | None = None
    flip_p: float | None = None
    adjusted_p: float | None = None
    needed: int | None = None
    flat: bool = False
    stored: str = ""

    @property
    def by_clip(self) -> bool:
        """Whether clips decide: where they repeat, or where scores are means over several samples."""
        return self.bootstrap is not None and (self.p_value is None or 0 < self.clusters < self.n)

    @property
    def deciding_interval(self) -> tuple[float, float]:
        """The interval that a verdict rests on."""
        return self.bootstrap if self.by_clip and self.bootstrap is not None else self.interval

    @property
    def deciding_p(self) -> float | None:
        """The p that a verdict rests on."""
        return self.flip_p if self.by_clip else self.p_value

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``undecided``: whether the interval excludes 0, and on which side.

        With few questions or clips an interval is only approximate; then the exact p must be below 0.05 too.
        """
        if self.stored:
            return self.stored
        low, high = self.deciding_interval
        if self.deciding_p is not None and self.deciding_p >= 0.05:
            return "undecided"
        return "better" if low > 0 else "worse" if high < 0 else "undecided"

    def to_json(self) -> dict[str, Any]:
        """Return the difference and intervals in percentage points, the counts and every p."""
        return {
            "n": self.n,
            "points": percent(self.difference),
            "interval": percents(self.interval),
            "won": self.won,
            "lost": self.lost,
            "p_value": self.p_value,
            "clips": self.clusters,
            "bootstrap": percents(self.bootstrap),
            "flip_p": self.flip_p,
            "decided_by": "clip" if self.by_clip else "question",
            "adjusted_p": self.adjusted_p,
            "verdict": self.verdict,
            "questions_needed": self.needed,
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
    # In integers: 2**-total underflows a float from 1,075 differing pairs on. Each term comes from the one before it.
    tail = term = 1
    for k in range(min(won, lost)):
        term = term * (total - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / 2**total)
