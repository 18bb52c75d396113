"""How long thoughts or responses are, against how often their answers are right: bins of about as many, and a trend."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sari_bench.scoring import Scored
from sari_bench.statistics.metrics import Tally, percent, tally

BINS = 5
WORDS, TOKENS = "words", "tokens"


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose length is ``low`` to ``high``; ``truncated`` of them ended at the length limit."""

    low: int
    high: int
    tally: Tally
    truncated: int

    def to_json(self, unit: str) -> dict[str, Any]:
        """Return the bin with its accuracy and interval in percent; its ends are called after the unit."""
        body = self.tally.to_json()
        figures = {key: body[key] for key in ("n", "correct", "accuracy", "interval", "clustered")}
        return {f"from_{unit}": self.low, f"to_{unit}": self.high, **figures, "truncated": self.truncated}


@dataclass(frozen=True, slots=True)
class Trend:
    """Whether what is longer goes with right answers.

    Args:
        n: Answers that were not cut at the length limit: how long a cut one would be is not known.
        right_longer: How often a right answer is longer than a wrong one, over all such pairs; a tie is half. 0.5:
            length says nothing. It is the Mann-Whitney U over the number of pairs.
        p_value: Two-sided p of 0.5, by the normal approximation with the correction for ties (Mann and Whitney 1947);
            ``None`` where questions were answered several times or clips repeat: such answers are not independent.
    """

    n: int
    right_longer: float
    p_value: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the trend as a JSON object; ``right_longer`` is in percent."""
        return {"n": self.n, "right_longer": percent(self.right_longer), "p_value": self.p_value}


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of some answers, all in one unit.

    Args:
        unit: ``words`` of the thought, or ``tokens`` of the whole response.
        n: How many there are.
        mean: Their mean; ``None`` where there are none.
        bins: Length against accuracy, shortest first.
        trend: The same in one figure; ``None`` where all answers are right, or all wrong.
    """

    unit: str
    n: int
    mean: float | None
    bins: tuple[Bin, ...]
    trend: Trend | None

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON object; shares are in percent."""
        return {
            f"mean_{self.unit}": None if self.mean is None else round(self.mean, 1),
            "bins": [part.to_json(self.unit) for part in self.bins],
            "trend": None if self.trend is None else self.trend.to_json(),
        }


def lengths_of(unit: str, pairs: Sequence[tuple[Scored, int]], samples: int) -> Lengths:
    """Return how the lengths of answers go with their outcomes.

    Args:
        unit: What the lengths are counted in.
        pairs: Each answer with its length.
        samples: Answers that each question was due.
    """
    total = sum(length for _, length in pairs)
    mean = total / len(pairs) if pairs else None
    return Lengths(unit, len(pairs), mean, tuple(_bins(pairs)), _trend(pairs, samples))


def cut_bins(lengths: Sequence[int], bins: int = BINS) -> list[tuple[int, int]]:
    """Return the least and greatest length of each of at most ``bins`` bins with about as many lengths in each.

    Every cut lies where the count of the lengths below comes nearest to its equal share, among the places between two
    lengths that differ: equal lengths are never parted. So there are fewer bins where many lengths are equal.
    """
    values = sorted(Counter(lengths).items())
    ends: list[int] = []  # the number of lengths up to and with each value but the last
    for _, count in values[:-1]:
        ends.append((ends[-1] if ends else 0) + count)
    cuts = {
        min(range(len(ends)), key=lambda at: (abs(ends[at] - part * len(lengths) / bins), at))
        for part in range(1, bins)
        if ends
    }
    firsts = [0, *(cut + 1 for cut in sorted(cuts))]
    lasts = [*sorted(cuts), len(values) - 1]
    return [(values[first][0], values[last][0]) for first, last in zip(firsts, lasts, strict=True) if values]


def rank_trend(right: Sequence[int], wrong: Sequence[int]) -> tuple[float, float]:
    """Return how often one of ``right`` is greater than one of ``wrong`` (ties half), and the two-sided p of one half.

    The Mann-Whitney U by midranks, its p by the normal approximation with the variance corrected for ties and without a
    correction for continuity. Where all values are equal, p is 1.
    """
    assert min(len(right), len(wrong)), "expected values on both sides"
    n, m = len(right), len(wrong)
    ranked = sorted([(value, True) for value in right] + [(value, False) for value in wrong])
    rank_sum, ties, at = 0.0, 0, 0
    for _, group in groupby(ranked, key=lambda pair: pair[0]):
        members = [is_right for _, is_right in group]
        size = len(members)
        rank_sum += sum(members) * (at + (size + 1) / 2)
        ties += size**3 - size
        at += size
    u = rank_sum - n * (n + 1) / 2
    total = n + m
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    p_value = 1.0 if variance <= 0 else math.erfc(abs(u - n * m / 2) / math.sqrt(2 * variance))
    return u / (n * m), p_value


def count_answers(items: Sequence[Scored]) -> Tally:
    """Count the outcomes of some answers, by clip where clips or samples repeat."""
    clusters = {item.gold.id: item.gold.cluster for item in items}
    return tally(((item.gold.id, item.outcome) for item in items), clusters=clusters)


def _bins(pairs: Sequence[tuple[Scored, int]]) -> list[Bin]:
    found = []
    for low, high in cut_bins([length for _, length in pairs]):
        members = [item for item, length in pairs if low <= length <= high]
        cut = sum(item.answer.finish_reason == "length" for item in members)
        found.append(Bin(low, high, count_answers(members), cut))
    return found


def _trend(pairs: Sequence[tuple[Scored, int]], samples: int) -> Trend | None:
    whole = [(item, length) for item, length in pairs if item.answer.finish_reason != "length"]
    right = [length for item, length in whole if item.outcome == "correct"]
    wrong = [length for item, length in whole if item.outcome != "correct"]
    if not right or not wrong:
        return None
    share, p_value = rank_trend(right, wrong)
    clips = {item.gold.cluster for item, _ in whole}
    return Trend(len(whole), share, p_value if samples == 1 and len(clips) == len(whole) else None)
