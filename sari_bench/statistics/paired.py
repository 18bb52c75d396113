"""Two runs on the same questions, clip by clip: an exact test that lets clips repeat, and how many questions it takes.

The unit is the clip throughout, because questions about one clip are no independent evidence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from sari_bench.statistics.bootstrap import RESAMPLES, bootstrap_groups
from sari_bench.statistics.clustering import Z95
from sari_bench.statistics.metrics import PairedDifference, paired_difference

_Z80 = 0.8416212335729143  # the 0.8 quantile of the standard normal distribution
_MOST_STEPS = 2**18  # that the sums of differences may span; each costs 16 bytes
_LEAST_P = 1e-12
_LEAST_DIFFERING = 6  # clips: the least exact two-sided p of five is 2 / 2**5, of six 2 / 2**6
_NOTHING = 1e-9  # a difference this small is the rounding of none


def sign_flip_p(sums: Sequence[float]) -> float:
    """Return the exact two-sided p of a sum of differences, each clip's sign as likely to be the other one.

    Fisher's randomisation test with the clip as its unit: had both runs been the same, each clip's difference would
    have come out with either sign. p is the share of all ``2^G`` choices of signs whose sum is as far from 0 as the one
    found. Where every clip has one question with one sample it is the exact McNemar p.

    The distribution is not sampled but computed whole, from its characteristic function ``prod_c cos(s_c t)``; what is
    less than the rounding of that, _LEAST_P, is returned as _LEAST_P. Sums are multiples of a common step (one over the
    number of samples); where they span more than _MOST_STEPS of it they are rounded to coarser ones.

    Args:
        sums: Of each clip, the sum of its questions' differences.
    """
    values = np.asarray(sums, np.float64)
    values = values[np.abs(values) > _NOTHING]
    sizes = np.abs(values)
    if not sizes.size:
        return 1.0
    denominators = [Fraction(value).limit_denominator(10_000).denominator for value in np.unique(sizes.round(9))]
    step = max(1 / math.lcm(*denominators), float(sizes.sum()) / _MOST_STEPS)
    steps = np.rint(sizes / step).astype(np.int64)
    # Of the rounded sums, not the sum rounded: on a coarser step that may be one that no choice of signs reaches.
    observed, total = abs(int((np.sign(values) * steps).sum())), int(steps.sum())
    length = 2 * total + 1
    angles = 2 * np.pi / length * np.arange(total + 1)
    product = np.ones(total + 1)
    for size, count in zip(*np.unique(steps, return_counts=True), strict=True):
        product *= np.cos(int(size) * angles) ** int(count)
    masses = np.fft.irfft(product, n=length)  # of the sums 0, 1, ..., total, -total, ..., -1
    p_value = 2 * float(masses[observed : total + 1].sum()) if observed else 1.0
    return min(1.0, max(p_value, _LEAST_P))


def questions_needed(differences: Sequence[float], clusters: Sequence[str]) -> int | None:
    """Return with how many questions a difference as found would be told from none four times in five.

    ``N = ((z_0.975 sqrt(v0) + z_0.8 sqrt(v1)) / d)^2`` with the mean difference d, and the variance that one
    question adds where there is no difference (v0, around 0) and where it is d (v1). With one sample and no repeated
    clip v0 is the share of questions on which the runs differ and v1 is v0 - d^2: Connor's formula for McNemar's test
    (Biometrics 43, 1987). Where clips repeat, the squares are those of the clips' sums. It is never less than
    what six clips that differ take, with fewer of which the exact test tells nothing.

    Args:
        differences: Of each question, b minus a.
        clusters: Of each question its clip.

    Returns:
        The number, of questions spread over clips as these are; ``None`` where there is no difference.
    """
    n = len(differences)
    mean = sum(differences) / n
    if abs(mean) < _NOTHING:
        return None
    sums, sizes = Counter[str](), Counter[str](clusters)
    for cluster, difference in zip(clusters, differences, strict=True):
        sums[cluster] += difference  # type: ignore[assignment]  # typeshed knows counts as int alone
    null = sum(sums[cluster] ** 2 for cluster in sizes) / n
    other = sum((sums[cluster] - mean * size) ** 2 for cluster, size in sizes.items()) / n
    # Connor's is a formula for large samples: whatever it says, no p is below 0.05 with fewer than six that differ.
    least = _LEAST_DIFFERING * n / sum(abs(total) > _NOTHING for total in sums.values())
    return math.ceil(max(((Z95 * math.sqrt(null) + _Z80 * math.sqrt(other)) / mean) ** 2, least - _NOTHING))


def compare_groups(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence[str],
    groups: Sequence[Sequence[int]],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[PairedDifference]:
    """Compare two runs on groups of questions; all bootstrap intervals come from one set of resamples.

    Where all differences of a group are equal, its bootstrap interval would have no width. There it is Bonett and
    Price's, of one pair for each clip.

    Args:
        a: Score of each question in the first run, in [0, 1].
        b: The same questions' scores in the second run.
        clusters: Of each question its clip.
        groups: Places of the questions of each group; none is empty.
        resamples: How many times the clips are drawn.
        seed: Of the draws.
    """
    differences = np.asarray(b, np.float64) - np.asarray(a, np.float64)
    member = np.zeros((len(a), len(groups)), np.bool_)
    for number, places in enumerate(groups):
        member[list(places), number] = True
    intervals = bootstrap_groups(differences, member, list(clusters), resamples, seed)
    found = []
    for places, interval in zip(groups, intervals, strict=True):
        mine = [clusters[place] for place in places]
        parts = [float(differences[place]) for place in places]
        sums: dict[str, float] = dict.fromkeys(sorted(set(mine)), 0.0)
        for cluster, part in zip(mine, parts, strict=True):
            sums[cluster] += part
        if interval[1] - interval[0] < _NOTHING:
            # All differences are equal, and resampling knows no other: one pair for each clip, and Bonett and Price.
            sizes = Counter(mine)
            means = [total / sizes[cluster] for cluster, total in sums.items()]
            interval = paired_difference([0.0] * len(means), means).interval
        found.append(
            replace(
                paired_difference([a[place] for place in places], [b[place] for place in places]),
                clusters=len(sums),
                bootstrap=interval,
                flip_p=sign_flip_p(list(sums.values())),
                needed=questions_needed(parts, mine),
            )
        )
    return found
