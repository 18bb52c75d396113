"""The sign-flip test against every choice of signs, McNemar's and scipy's; power against Connor; adjusted p."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from sari_bench.statistics.adjust import holm, note_for
from sari_bench.statistics.paired import compare_groups, questions_needed, sign_flip_p

EIGHTHS = st.integers(-8, 8).map(lambda eighths: eighths / 8)


@settings(max_examples=80, deadline=None)
@given(st.lists(EIGHTHS, max_size=10))
def test_the_flip_test_counts_every_choice_of_signs(sums: list[float]) -> None:
    choices = list(itertools.product((1, -1), repeat=len(sums)))
    as_far = [abs(sum(s * v for s, v in zip(signs, sums, strict=True))) >= abs(sum(sums)) for signs in choices]
    assert sign_flip_p(sums) == pytest.approx(sum(as_far) / len(choices), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_of_single_questions_it_is_mcnemars_exact_test(won: int, lost: int) -> None:
    expected = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert sign_flip_p([1.0] * won + [-1.0] * lost + [0.0] * 5) == pytest.approx(max(expected, 1e-12), abs=1e-11)


def test_thirds_and_scipys_permutation_test_agree() -> None:
    sums = [1 / 3, 2 / 3, 2 / 3, -1 / 3, 1.0, 1 / 3, 1 / 3, -2 / 3, 1 / 3, 4 / 3]
    expected = permutation_test((sums,), np.sum, permutation_type="samples", n_resamples=math.inf).pvalue
    assert sign_flip_p(sums) == pytest.approx(expected, rel=1e-9)
    assert sign_flip_p([round(value) for value in sums]) != pytest.approx(expected, rel=1e-3)


def test_a_lattice_too_fine_to_hold_is_rounded_and_a_tiny_p_is_not_made_up() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(-7, 9, 3000) / 8
    fine = coarse + rng.integers(-3, 4, 3000) / 9973
    assert sign_flip_p(fine.tolist()) == pytest.approx(sign_flip_p(coarse.tolist()), rel=0.05)
    assert sign_flip_p([1.0] * 2000) == 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_on_a_coarse_lattice_too_the_sum_found_is_one_that_signs_reach(seed: int) -> None:
    sums = np.random.default_rng(seed).normal(size=8) * 1e5 / 7
    signs = np.array(list(itertools.product((1, -1), repeat=8)))
    as_far = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-6
    # One choice of signs more or less would be 2 / 2**8.
    assert sign_flip_p(sums.tolist()) == pytest.approx(as_far.mean(), abs=1e-6)


def test_questions_about_one_clip_count_as_one_in_the_flip_test() -> None:
    """Ten questions of two clips that all favour B: McNemar would be sure, two clips are not."""
    [found] = compare_groups([0.0] * 10, [1.0] * 10, ["x"] * 5 + ["y"] * 5, [range(10)])
    assert found.p_value == pytest.approx(2 / 2**10)
    assert found.flip_p == pytest.approx(0.5)
    assert found.by_clip
    assert found.verdict == "undecided"
    [single] = compare_groups([0.0] * 10, [1.0] * 10, [str(i) for i in range(10)], [range(10)])
    assert (single.by_clip, single.verdict) == (False, "better")
    assert single.flip_p == pytest.approx(single.p_value)


@pytest.mark.parametrize(("won", "lost", "n"), [(30, 15, 500), (120, 80, 1000), (9, 2, 90)])
def test_the_number_of_questions_is_connors(won: int, lost: int, n: int) -> None:
    differences = [1.0] * won + [-1.0] * lost + [0.0] * (n - won - lost)
    differ, gain = (won + lost) / n, (won - lost) / n
    connor = ((1.959964 * math.sqrt(differ) + 0.841621 * math.sqrt(differ - gain**2)) / gain) ** 2
    assert questions_needed(differences, [str(i) for i in range(n)]) == math.ceil(connor)


def test_no_fewer_questions_are_said_to_decide_than_six_clips_that_differ() -> None:
    """Connor's formula alone says 4 and 39: two clips or four cannot have an exact p below 0.05, whatever they say."""
    assert questions_needed([1.0, 1.0], ["a", "b"]) == 6
    assert questions_needed([1.0] * 10, ["a"] * 10) == 60
    assert questions_needed([1.0, 0.0, 0.0], ["a", "b", "c"]) == 22, "here the formula itself asks for more than 18"


def test_so_many_questions_decide_four_times_in_five() -> None:
    """A simulation at the number of questions that the formula gives."""
    needed = questions_needed([1.0] * 12 + [-1.0] * 6 + [0.0] * 82, [str(i) for i in range(100)])
    assert needed is not None
    rng = np.random.default_rng(0)
    draws = rng.multinomial(needed, [0.12, 0.06, 0.82], size=800)
    decided = np.mean([binomtest(won, won + lost).pvalue < 0.05 for won, lost, _ in draws.tolist()])
    assert 0.74 <= decided <= 0.84
    assert questions_needed([1.0, -1.0], ["a", "b"]) is None
    twice = questions_needed(([1.0] * 12 + [-1.0] * 6 + [0.0] * 82) * 2, [str(i) for i in range(100)] * 2)
    assert twice == pytest.approx(2 * needed, abs=1), "two questions about a clip that agree are as good as one"


P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(P_VALUES)
def test_holm_is_its_definition(p_values: list[float]) -> None:
    """Independent: p_i is the least level at which step-down testing rejects it (Holm, 1979, section 2)."""
    found = holm(p_values)
    ordered = sorted(p_values)
    m = len(ordered)
    for p_value, adjusted in zip(p_values, found, strict=True):
        steps = [(m - rank) * p for rank, p in enumerate(ordered) if p <= p_value]
        # Of equal p-values the first in the order is met first: all have the largest step up to the first of them.
        first = max((m - rank) * p for rank, p in enumerate(ordered) if p < p_value or rank == ordered.index(p_value))
        assert min(1.0, first) <= adjusted + 1e-12
        assert adjusted <= min(1.0, max(steps)) + 1e-12
        assert p_value <= adjusted <= min(1.0, m * p_value) + 1e-12


def test_holm_of_a_worked_example() -> None:
    # As statsmodels.stats.multitest.multipletests(..., method="holm") gives it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, 0.04, 0.03, 0.005]) != pytest.approx([0.04, 0.16, 0.12, 0.02]), "Bonferroni's would be that"
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_the_note_says_what_chance_alone_would_give() -> None:
    assert note_for(1) == ""
    assert note_for(27).startswith(
        "27 groups were tested: of unadjusted p < 0.05 about 1.35 are expected by chance alone;"
    )
    assert note_for(4, 2, 1).endswith("(found: 2); the adjusted p (Holm) allows for that: 1 of them below 0.05")
    assert "about 0.2 are" in note_for(4, 2, 1)
