"""Intervals and tests against scipy, groups that add up, and outcomes that cover every answer."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap

from sari_bench.counting import are, counted
from sari_bench.statistics.metrics import OUTCOMES, UNGRADABLE, group, mcnemar, paired_difference, tally, wilson
from sari_data.errors import BenchmarkError

COUNTS = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=80, deadline=None)
@given(COUNTS)
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    correct, n = counts
    expected = binomtest(correct, n).proportion_ci(method="wilson")
    assert wilson(correct, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_wilson_tolerance_catches_the_plain_normal_interval() -> None:
    expected = binomtest(700, 1000).proportion_ci(method="wilson")
    half = 1.959964 * math.sqrt(0.7 * 0.3 / 1000)
    assert (0.7 - half, 0.7 + half) != pytest.approx((expected.low, expected.high), abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_sign_test(won: int, lost: int) -> None:
    expected = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_where_a_power_of_two_underflows() -> None:
    assert 0 < mcnemar(1500, 1400) < 1
    assert mcnemar(1500, 1400) == pytest.approx(binomtest(1500, 2900).pvalue, rel=1e-9)


def test_paired_interval_agrees_with_a_bootstrap_of_pairs() -> None:
    rng = np.random.default_rng(0)
    before = (rng.random(900) < 0.55).astype(float)
    after = np.where(rng.random(900) < 0.6, before, rng.random(900) < 0.9).astype(float)
    found = paired_difference(before.tolist(), after.tolist())
    resampled = bootstrap((after - before,), np.mean, n_resamples=4000, rng=rng, method="percentile")
    expected = resampled.confidence_interval
    assert found.interval == pytest.approx((expected.low, expected.high), abs=0.004)
    # Taking the pairs for two independent samples gives an interval that this tolerance refuses.
    spread = math.sqrt((before.var() + after.var()) / 900) * 1.96
    assert found.interval[0] != pytest.approx((after - before).mean() - spread, abs=0.004)


@pytest.mark.parametrize(("n", "both", "won", "lost"), [(30, 0.6, 0.10, 0.05), (100, 0.5, 0.2, 0.1)])
def test_paired_interval_covers_the_truth_about_95_times_in_100(n: int, both: float, won: float, lost: float) -> None:
    rng = np.random.default_rng(1)
    draws = rng.choice(4, size=(1500, n), p=[both, won, lost, 1 - both - won - lost])
    covered = 0
    for row in draws:
        found = paired_difference(
            np.isin(row, (0, 2)).astype(float).tolist(), np.isin(row, (0, 1)).astype(float).tolist()
        )
        covered += found.interval[0] <= won - lost <= found.interval[1]
    assert 0.93 <= covered / 1500 <= 0.985


def test_a_paired_interval_is_never_without_width() -> None:
    same = paired_difference([1.0, 0.0, 1.0], [1.0, 0.0, 1.0])
    assert same.difference == 0
    assert same.interval[0] < 0 < same.interval[1]
    assert same.p_value == 1.0


def test_means_over_samples_have_no_mcnemar_p() -> None:
    found = paired_difference([0.25, 0.5], [0.75, 0.5])
    assert (found.won, found.lost, found.p_value) == (1, 0, None)
    assert found.difference == pytest.approx(0.25)


@given(st.lists(st.tuples(st.integers(0, 20).map(str), st.sampled_from([*OUTCOMES, UNGRADABLE]))), st.booleans())
def test_outcomes_add_up(pairs: list[tuple[str, str]], drop_missing: bool) -> None:
    found = tally(pairs, drop_missing=drop_missing)
    assert sum(found.outcomes.values()) == len(pairs)
    assert found.n == len(pairs) - (found.outcomes["missing"] if drop_missing else 0)
    assert found.correct == sum(outcome == "correct" for _, outcome in pairs)
    assert found.interval is None or 0 <= found.interval[0] <= found.accuracy <= found.interval[1] <= 1


def test_several_samples_of_a_question_do_not_narrow_the_interval() -> None:
    rng = random.Random(0)
    once = [(str(index), rng.choice(("correct", "wrong"))) for index in range(50)]
    assert tally(once * 8).interval == pytest.approx(tally(once).interval)
    assert tally(once * 8).n == 400


def test_an_unknown_outcome_is_our_fault() -> None:
    with pytest.raises(AssertionError, match="sorta"):
        tally([("a", "sorta")])


def test_groups_fail_on_a_missing_label() -> None:
    assert group(["a", "b", "a"], lambda item: item, "skill") == {"a": ["a", "a"], "b": ["b"]}
    assert group(["a", "b"], lambda item: "", "skill") == {}
    with pytest.raises(BenchmarkError, match="1 of 3 questions have no skill"):
        group(["a", "", "b"], lambda item: item, "skill")


def test_labels_with_an_order_keep_it() -> None:
    labels = ["hard", "easy", "medium"]
    assert list(group(labels, lambda item: item, "difficulty")) == ["easy", "medium", "hard"]


def test_counts_in_sentences_have_the_plural_that_they_need() -> None:
    assert [counted(count, "clip") for count in (0, 1, 2, 1200)] == ["0 clips", "1 clip", "2 clips", "1,200 clips"]
    assert [are(count) for count in (0, 1, 2)] == ["are", "is", "are"]
