"""The bootstrap against scipy's, groups against each by itself, and clips that are drawn whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, norm, t

from sari_bench.statistics.bootstrap import bootstrap_groups, bootstrap_interval, expanded_quantile

RESAMPLES = 10_000
# Both ends of two such intervals are as close as so many standard deviations of the mean, 99 times in 100.
STRAY = 3 * math.sqrt(2 * 0.025 * 0.975 / RESAMPLES) / float(norm.pdf(1.96))


def _expanded(clips: int) -> float:
    """The level of Hesterberg's expanded percentiles, by scipy's distributions."""
    return float(1 - 2 * norm.cdf(-np.sqrt(clips / (clips - 1)) * t.ppf(0.975, clips - 1)))


def _scipys(values: np.ndarray, method: str = "BCa", level: float | None = None) -> tuple[float, float]:
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(7),
        method=method,
        confidence_level=_expanded(values.size) if level is None else level,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


@pytest.mark.parametrize("kind", ["share", "skewed", "few"])
def test_it_is_scipys_bca(kind: str) -> None:
    rng = np.random.default_rng(3)
    values = {
        "share": (rng.random(1000) < 0.64).astype(float),
        "skewed": rng.exponential(size=120) ** 2,
        "few": np.array([0, 0, 0, 0.25, 0.5, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1, 0.3]),
    }[kind]
    within = STRAY * values.std() / math.sqrt(values.size)
    # In the longer tail of what is skewed, and further out, the same share of resamples lies further apart.
    within *= {"share": 1, "skewed": 2, "few": 1.5}[kind]
    found = bootstrap_interval(values, resamples=RESAMPLES)
    assert found == pytest.approx(_scipys(values), abs=within)
    if kind == "skewed":
        assert _scipys(values, "percentile")[1] != pytest.approx(found[1], abs=within), "a plain percentile is another"
    if kind == "few":
        assert _scipys(values, level=0.95) != pytest.approx(found, abs=within), "nor is its level that of many clips"
    half = 1.645 * values.std() / math.sqrt(values.size)
    assert (values.mean() - half, values.mean() + half) != pytest.approx(found, abs=within), "nor is it one of 90 %"


@pytest.mark.parametrize("clips", [2, 3, 5, 10, 30, 49, 50, 51, 200, 10_000])
def test_levels_are_expanded_as_hesterberg_says(clips: int) -> None:
    found = expanded_quantile(clips)
    assert norm.cdf(-found) == pytest.approx((1 - _expanded(clips)) / 2, rel=2e-6, abs=1e-16)
    exact = math.sqrt(clips / (clips - 1)) * t.ppf(0.975, clips - 1)
    assert found == pytest.approx(exact, rel=2e-7)
    assert t.ppf(0.975, clips - 1) != pytest.approx(exact, rel=2e-7), "without the narrowness of resamples"
    off_by_one = math.sqrt(clips / (clips - 1)) * t.ppf(0.975, clips)
    assert clips > 1000 or off_by_one != pytest.approx(exact, rel=2e-7), "a degree of freedom too many"


def test_one_clip_has_the_plain_level_and_many_nearly() -> None:
    assert expanded_quantile(1) == pytest.approx(norm.ppf(0.975), abs=1e-12)
    assert expanded_quantile(1_000_000) == pytest.approx(norm.ppf(0.975), abs=5e-6)


def test_of_symmetric_values_it_is_about_students_interval() -> None:
    """What the expansion is for: the interval of a mean of few values that are normally distributed."""
    values = norm.ppf((np.arange(10) + 0.5) / 10)
    half = t.ppf(0.975, 9) * values.std(ddof=1) / math.sqrt(10)
    found = bootstrap_interval(values, resamples=RESAMPLES)
    assert found == pytest.approx((-half, half), rel=0.06)
    assert _scipys(values, level=0.95) != pytest.approx((-half, half), rel=0.15), "plain levels are far too narrow"


def test_a_group_has_the_level_of_its_own_clips() -> None:
    """12 clips of 40, each with one to four questions, against scipy's bootstrap of a ratio."""
    rng = np.random.default_rng(8)
    sizes = np.where(np.arange(40) < 12, rng.integers(1, 5, 40), 0)
    sums = sizes * rng.normal(0.5, 0.2, 40)
    clips = np.repeat(np.arange(40), np.maximum(sizes, 1))
    member = (sizes > 0)[clips]
    values = np.divide(sums, sizes, out=np.zeros(40), where=sizes > 0)[clips]
    [found] = bootstrap_groups(values, member[:, None], clips, resamples=RESAMPLES)

    def scipys(count: int) -> tuple[float, float]:
        ends = bootstrap(
            (sums, sizes),
            lambda s, m, axis: s.sum(axis) / m.sum(axis),
            paired=True,
            n_resamples=RESAMPLES,
            rng=np.random.default_rng(7),
            confidence_level=_expanded(count),
        ).confidence_interval
        return float(ends.low), float(ends.high)

    residuals = sums - sizes * sums.sum() / sizes.sum()
    within = 1.5 * STRAY * math.sqrt((residuals**2).sum()) / sizes.sum()
    assert found == pytest.approx(scipys(12), abs=within)
    assert found != pytest.approx(scipys(40), abs=within), "not that of all clips of the table"


def test_clips_are_drawn_whole() -> None:
    """Drawing clips of equal size is drawing their means; drawing questions gives an interval half as wide."""
    rng = np.random.default_rng(5)
    means = (rng.random(150) < 0.6).astype(float)
    values, clips = np.repeat(means, 4), np.repeat([f"clip {i}" for i in range(150)], 4)
    by_clip = bootstrap_interval(values, clips, resamples=RESAMPLES)
    within = STRAY * means.std() / math.sqrt(150) + 1 / 150  # means are multiples of that
    assert by_clip == pytest.approx(_scipys(means), abs=within)
    assert bootstrap_interval(values, resamples=RESAMPLES) != pytest.approx(by_clip, abs=within)


def test_a_table_of_groups_has_what_each_group_has_by_itself() -> None:
    rng = np.random.default_rng(2)
    values = (rng.random(1200) < 0.7).astype(float)
    clips = rng.integers(0, 400, 1200).astype(str)
    member = np.stack([np.ones(1200, bool), rng.random(1200) < 0.4, np.arange(1200) < 300], axis=1)
    table = bootstrap_groups(values, member, clips, resamples=RESAMPLES)
    for column, found in zip(member.T, table, strict=True):
        alone = bootstrap_interval(values[column], clips[column], resamples=RESAMPLES, seed=9)
        assert found == pytest.approx(alone, abs=STRAY * 0.46 / math.sqrt(column.sum()))
    again = bootstrap_interval(values, clips, resamples=RESAMPLES)
    assert table[0] == pytest.approx(again, abs=1e-12), "the same draws, whatever the other groups"


def test_groups_may_have_values_of_their_own() -> None:
    rng = np.random.default_rng(4)
    values = rng.random((60, 3))
    found = bootstrap_groups(values, np.ones((60, 3), bool))
    expected = [bootstrap_interval(column) for column in values.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert len({low for low, _ in found}) == 3


def test_a_paired_difference_is_that_of_the_pairs() -> None:
    rng = np.random.default_rng(0)
    before = (rng.random(500) < 0.5).astype(float)
    after = np.where(rng.random(500) < 0.8, before, 1.0)
    found = bootstrap_interval(after - before, resamples=RESAMPLES)
    within = STRAY * (after - before).std() / math.sqrt(500) + 1 / 500  # means are multiples of that
    assert found == pytest.approx(_scipys(after - before), abs=within)
    spread = 1.96 * math.sqrt((before.var() + after.var()) / 500)
    assert found[0] != pytest.approx((after - before).mean() - spread, abs=within), "not that of two samples"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, width=16), st.integers(0, 6)), min_size=1, max_size=30), st.integers(0, 99))
def test_an_interval_holds_its_estimate_whatever_the_order(pairs: list[tuple[float, int]], seed: int) -> None:
    values, clips = [value for value, _ in pairs], [clip for _, clip in pairs]
    low, high = bootstrap_interval(values, clips, resamples=50, seed=seed)
    assert low <= np.mean(values) + 1e-9
    assert np.mean(values) - 1e-9 <= high
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    turned = bootstrap_interval(values[::-1], clips[::-1], resamples=50, seed=seed)
    assert turned == pytest.approx((low, high), abs=1e-9)


def test_draws_are_seeded_and_a_small_group_may_be_absent_from_some() -> None:
    values = np.arange(40) % 3 == 0
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    member = np.zeros((40, 2), bool)
    member[:, 0] = member[:2, 1] = True  # a group of two clips of 40 is in 87 of 100 resamples
    assert bootstrap_groups(values, member)[1] == (0.0, 1.0)
    alone = np.zeros((40, 1), bool)
    alone[5] = True
    assert bootstrap_groups(values, alone) == [(0.0, 0.0)], "one clip cannot be resampled into another"
    with pytest.raises(AssertionError, match="without a member"):
        bootstrap_groups(values, np.zeros((40, 1), bool))
