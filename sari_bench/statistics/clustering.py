"""Answers that hang together: how many independent ones a clustered sample is worth.

Questions about one clip, and samples of one question, are right or wrong together more often than by chance. An
interval that takes them for independent is too narrow (Miller, "Adding error bars to evals", arXiv 2411.00640).
Pure functions, without any dependency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

Z95 = 1.959963984540054  # the 0.975 quantile of the standard normal distribution
_EXPANDED = 50  # degrees of freedom from which the series for Student's quantile is good to seven digits


def effective_size(sizes: Sequence[int], right: Sequence[float]) -> float:
    """Return the effective sample size: how many independent answers say as much as these.

    The variance of the share p of right answers is the cluster-robust one (Liang and Zeger, 1986) with the CR1
    correction for few clusters, ``v = G / (G - 1) * sum_c (y_c - p m_c)^2 / n^2`` for G clusters of m_c answers with
    y_c right ones. The design effect is ``v / (p (1 - p) / n)``, taken as 1 where it is below: that answers about a
    clip are *less* alike than by chance is chance. The size is n over the design effect, times ``(z / t)^2`` with
    Student's t of G - 1 degrees of freedom, because v is itself an estimate (Korn and Graubard, 1998).

    Where all answers are equal they do not tell how far answers about a clip hang together. Then, and where
    there is but one cluster, the most careful size is taken: that of answers which are all alike within a cluster,
    ``n^2 / sum_c m_c^2`` (Kish, 1965).

    Args:
        sizes: Answers in each cluster, 1 or more.
        right: Right ones among them, in [0, size].

    Returns:
        The size, more than 0 and at most n.
    """
    assert len(sizes) == len(right) > 0, f"expected as many clusters twice, got {len(sizes)} and {len(right)}"
    n, clusters = sum(sizes), len(sizes)
    share = sum(right) / n
    careful = n * n / sum(size * size for size in sizes)
    if clusters == 1 or not 0 < share < 1:
        return careful
    squares = sum((correct - share * size) ** 2 for size, correct in zip(sizes, right, strict=True))
    variance = clusters / (clusters - 1) * squares / (n * n)
    design_effect = max(variance * n / (share * (1 - share)), 1.0)
    return n / design_effect * (Z95 / student_quantile(clusters - 1)) ** 2


@lru_cache(maxsize=4096)
def student_quantile(freedom: int) -> float:
    """Return the 0.975 quantile of Student's t with 1 or more degrees of freedom.

    Below _EXPANDED it is found by halving in the exact distribution (Abramowitz and Stegun, 26.7.3 and 26.7.4), from
    there on by the expansion around the normal quantile (26.7.5), which then is exact to seven digits.
    """
    assert freedom >= 1, f"expected 1 or more degrees of freedom, got {freedom}"
    if freedom >= _EXPANDED:
        z, v = Z95, freedom
        first = (z**3 + z) / (4 * v)
        second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        return z + first + second + third
    low, high = 0.0, math.pi / 2  # of the angle whose tangent is t / sqrt(freedom)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _central(middle, freedom) < 0.95 else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _central(angle: float, freedom: int) -> float:
    """Return P(\\|T\\| <= sqrt(freedom) tan(angle))."""
    sine, squared = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= squared * k / (k + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def newcombe(
    one: float, one_interval: tuple[float, float], other: float, other_interval: tuple[float, float]
) -> tuple[float, float]:
    """Return the interval of ``one - other`` for two shares of different questions, from the interval of each.

    Newcombe's hybrid score interval (Statistics in Medicine 17, 1998, method 10): the distances of each share to the
    ends of its own interval, put together as independent errors are.
    """
    difference = one - other
    low = difference - math.hypot(one - one_interval[0], other_interval[1] - other)
    high = difference + math.hypot(one_interval[1] - one, other - other_interval[0])
    return max(low, -1.0), min(high, 1.0)
