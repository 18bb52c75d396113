"""The bootstrap against scipy's, groups against each by itself, and clips that are drawn whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, norm

from sari_bench.statistics.bootstrap import bootstrap_groups, bootstrap_interval

RESAMPLES = 10_000
# Both ends of two such intervals are as close as so many standard deviations of the mean, 99 times in 100.
STRAY = 3 * math.sqrt(2 * 0.025 * 0.975 / RESAMPLES) / float(norm.pdf(1.96))


def _scipys(values: np.ndarray, method: str = "BCa") -> tuple[float, float]:
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, rng=np.random.default_rng(7), method=method)
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
    # In the longer tail of what is skewed the same share of resamples lies further apart.
    within *= 2 if kind == "skewed" else 1
    found = bootstrap_interval(values, resamples=RESAMPLES)
    assert found == pytest.approx(_scipys(values), abs=within)
    if kind == "skewed":
        assert _scipys(values, "percentile")[1] != pytest.approx(found[1], abs=within), "a plain percentile is another"
    half = 1.645 * values.std() / math.sqrt(values.size)
    assert (values.mean() - half, values.mean() + half) != pytest.approx(found, abs=within), "nor is it one of 90 %"


def test_clips_are_drawn_whole() -> None:
    """Drawing clips of equal size is drawing their means; drawing questions gives an interval half as wide."""
    rng = np.random.default_rng(5)
    means = (rng.random(150) < 0.6).astype(float)
    values, clips = np.repeat(means, 4), np.repeat([f"clip {i}" for i in range(150)], 4)
    by_clip = bootstrap_interval(values, clips, resamples=RESAMPLES)
    within = STRAY * means.std() / math.sqrt(150)
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
