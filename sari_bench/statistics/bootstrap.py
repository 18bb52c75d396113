"""Bootstrap intervals by resampling clips: of a share, of a paired difference, and of a whole table of groups at once.

Whole clips are drawn with replacement, with all their questions and samples, so that what hangs together stays
together (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). The intervals are BCa
(bias-corrected and accelerated; Efron, 1987): a share near 0 or 1 is skewed, and percentiles alone are then shifted
to one side. Their levels are expanded for few clips (:func:`expanded_quantile`). All groups of a table are computed
from one set of resamples: how often each clip was drawn, times its sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sari_bench.statistics.clustering import Z95, student_quantile

RESAMPLES = 1000
_DRAWS_AT_A_TIME = 2**20  # clips drawn in one step: 8 MiB of numbers, and as much of counts
_SAME = 1e-12  # shares this close are one share: their sums were rounded differently
_NORMAL = NormalDist()

Interval = tuple[float, float]
Floats = NDArray[np.float64]


def bootstrap_interval(
    values: ArrayLike, clusters: Sequence[str] | ArrayLike | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return the 95 % BCa interval of the mean of ``values``.

    Args:
        values: One number for each answer or question, ``[n]``.
        clusters: What is drawn together: of each value its clip; absent: every value by itself.
        resamples: How many times the clips are drawn.
        seed: Of the draws. The order of the values plays no part.
    """
    numbers = np.asarray(values, np.float64)
    return bootstrap_groups(numbers, np.ones((numbers.size, 1), np.bool_), clusters, resamples, seed)[0]


def bootstrap_groups(
    values: ArrayLike,
    member: NDArray[np.bool_],
    clusters: Sequence[str] | ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Interval]:
    """Return the 95 % BCa interval of the mean of each group, all from one set of resamples.

    A resample that holds no clip of a group says nothing about it and is left out for that group.

    Args:
        values: ``[n]``, one for each answer or question; or ``[n, K]``, of each group its own.
        member: ``[n, K]``: whether an answer is in a group. No group is empty.
        clusters: Of each value its clip; absent: every value by itself.
        resamples: How many times the clips are drawn.
        seed: Of the draws.
    """
    numbers = np.asarray(values, np.float64)
    table = numbers[:, None] if numbers.ndim == 1 else numbers
    assert len(table) == len(member) > 0, f"expected as many values as members, got {len(table)} and {len(member)}"
    assert member.any(axis=0).all(), "a group without a member has no interval"
    which = _numbered(clusters, len(table))
    sums, sizes = _by_cluster(table * member, which), _by_cluster(member.astype(np.float64), which)
    return _bca(sums, sizes, _resampled(sums, sizes, resamples, seed))


def expanded_quantile(clips: int) -> float:
    """Return the normal quantile whose percentile of the resamples stands for 97.5 %, where there are so many clips.

    It is ``sqrt(G / (G - 1)) t`` with Student's t of G - 1 degrees of freedom, for G clips; its level is the expanded
    one of Hesterberg ("What Teachers Should Know about the Bootstrap", The American Statistician 69, 2015),
    ``alpha' / 2 = Phi(-sqrt(n / (n - 1)) t)``. Two things make a plain percentile interval of few clips too narrow:
    resamples scatter as the variance divided by G, not G - 1, and the plain quantile takes that variance for known. For
    a mean of symmetric values the expanded interval is about Student's own. BCa's corrections for bias and skewness
    come on top, as in Hesterberg's own R package ``resample``. With one clip nothing is known of the scatter, all
    resamples are alike, and the quantile is the plain one.
    """
    return math.sqrt(clips / (clips - 1)) * student_quantile(clips - 1) if clips > 1 else Z95


def _numbered(clusters: Sequence[str] | ArrayLike | None, count: int) -> NDArray[np.intp]:
    """Number the clusters in the order of their names, so that the order of the values plays no part."""
    if clusters is None:
        return np.arange(count)
    names = np.asarray(clusters)
    assert names.shape == (count,), f"expected a cluster for each of {count} values, got {names.shape}"
    return np.unique(names, return_inverse=True)[1].reshape(-1)


def _by_cluster(columns: Floats, which: NDArray[np.intp]) -> Floats:
    """Sum the rows of each cluster."""
    count = int(which.max()) + 1
    # As numpy.add.at, several times as fast: one bincount a column.
    return np.stack([np.bincount(which, weights=column, minlength=count) for column in columns.T], axis=1)


def _resampled(sums: Floats, sizes: Floats, resamples: int, seed: int) -> Floats:
    """Return the mean of each group in each resample, ``[R, K]``; NaN where a resample has none of the group."""
    count, groups = sums.shape
    rng = np.random.default_rng(seed)
    both = np.concatenate([sums, sizes], axis=1)
    found = np.empty((resamples, groups))
    step = max(1, _DRAWS_AT_A_TIME // count)
    for begin in range(0, resamples, step):
        rows = min(step, resamples - begin)
        drawn = rng.integers(count, size=(rows, count))
        drawn += np.arange(rows)[:, None] * count
        times = np.bincount(drawn.reshape(-1), minlength=rows * count).reshape(rows, count)
        totals = times.astype(np.float64) @ both
        with np.errstate(invalid="ignore"):
            found[begin : begin + rows] = totals[:, :groups] / totals[:, groups:]
    return found


def _bca(sums: Floats, sizes: Floats, found: Floats) -> list[Interval]:
    """Return the BCa interval of each group (Efron, 1987; acceleration by leaving out one clip at a time)."""
    estimates = sums.sum(axis=0) / sizes.sum(axis=0)
    accelerations = _accelerations(sums, sizes)
    quantiles = [expanded_quantile(clips) for clips in np.count_nonzero(sizes, axis=0).tolist()]
    intervals = []
    for column, estimate, acceleration, quantile in zip(
        found.T, estimates.tolist(), accelerations.tolist(), quantiles, strict=True
    ):
        drawn = np.sort(column[~np.isnan(column)])
        below = np.searchsorted(drawn, estimate - _SAME)
        upto = np.searchsorted(drawn, estimate + _SAME, side="right")
        # Resamples with the very same share count half: shares are few and far between in a small group.
        rank = (below + upto) / 2 / drawn.size if drawn.size else 0.5
        bias = _NORMAL.inv_cdf(min(max(rank, 0.5 / max(drawn.size, 1)), 1 - 0.5 / max(drawn.size, 1)))
        ends = []
        # The acceleration is less than 1/6 either way, so that the divisor is positive up to 10,000 resamples.
        for z in (bias - quantile, bias + quantile):
            at = _NORMAL.cdf(bias + z / (1 - acceleration * z))
            ends.append(float(np.quantile(drawn, at)) if drawn.size else estimate)
        # An interval that leaves its own estimate out would be a contradiction to whoever reads it.
        intervals.append((min(ends[0], estimate), max(ends[1], estimate)))
    return intervals


def _accelerations(sums: Floats, sizes: Floats) -> Floats:
    """Return each group's acceleration: a sixth of the skewness of what leaving out one clip does."""
    here = sizes > 0
    rest_sums, rest_sizes = sums.sum(axis=0) - sums, sizes.sum(axis=0) - sizes
    # A group's only clip leaves nothing when it is left out: then there is no skewness to know.
    known = here & (rest_sizes > 0)
    without = np.divide(rest_sums, rest_sizes, out=np.zeros_like(sums), where=known)
    means = without.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    off = np.where(known, means - without, 0.0)
    off[np.abs(off) < _SAME] = 0.0
    squares = (off**2).sum(axis=0)
    return np.divide((off**3).sum(axis=0), 6 * squares**1.5, out=np.zeros(sums.shape[1]), where=squares > 0)
