"""Bands and posteriors: against scipy, against loops, and against answers whose chances are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sari_data.calibration.bands import EDGES, band_indices
from sari_data.calibration.posterior import COMPONENTS, RIGHT_K, WRONG_K, Beliefs, fit_prior, log_evidence
from sari_data.types import BANDS

counts = st.integers(min_value=0, max_value=40)


def beliefs(passes: list[int], failures: list[int], weights: np.ndarray | None = None) -> Beliefs:
    prior = np.full((len(passes), len(COMPONENTS)), 1 / len(COMPONENTS)) if weights is None else weights
    return Beliefs(prior, np.array(passes), np.array(failures))


def density(passes: int, failures: int, prior_K: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The posterior on a grid, by Bayes' rule on the prior's density and the likelihood; no closed form."""
    prior = sum(w * stats.beta.pdf(points, a, b) for w, a, b in zip(prior_K, RIGHT_K, WRONG_K, strict=True))
    found = prior * points**passes * (1 - points) ** failures
    return found / found.sum()


def test_the_bands_are_what_a_fixed_eight_says() -> None:
    expected = ["never", "hard", "hard", "medium", "medium", "medium", "easy", "easy", "always"]
    assert [BANDS[band] for band in band_indices(np.arange(9) / 8)] == expected
    assert [BANDS[band] for band in band_indices(EDGES)] == list(BANDS[1:])
    assert band_indices([0.0, 1.0]).tolist() == [0, 4]


@pytest.mark.parametrize(("passes", "failures"), [(0, 0), (3, 0), (0, 2), (5, 3), (12, 20)])
def test_masses_and_means_are_those_of_bayes_rule_on_a_grid(passes: int, failures: int) -> None:
    rng = np.random.default_rng(passes)
    prior = rng.dirichlet(np.ones(len(COMPONENTS)))
    points = (np.arange(400_000) + 0.5) / 400_000
    expected = density(passes, failures, prior, points)
    found = beliefs([passes], [failures], prior[None])
    masses = [expected[band_indices(points) == band].sum() for band in range(5)]
    # The grid's own error: the components at the ends rise without bound towards 0 and 1.
    assert found.masses()[0] == pytest.approx(masses, abs=3e-3)
    assert found.means_N[0] == pytest.approx(float(expected @ points), abs=3e-3)
    # The tolerance notices a posterior without the prior.
    bare = np.diff(stats.beta(passes + 1, failures + 1).cdf([0, *EDGES, 1]))
    assert np.abs(bare - found.masses()[0]).max() > 0.02


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=8))
def test_estimates_are_chances_and_bands_rise_with_the_passes(pairs: list[tuple[int, int]]) -> None:
    found = beliefs([a for a, _ in pairs], [b for _, b in pairs])
    assert np.all((found.means_N > 0) & (found.means_N < 1))
    assert found.masses().sum(-1) == pytest.approx(np.ones(len(pairs)))
    total = sum(pairs[0])
    ladder = beliefs(list(range(total + 1)), [total - n for n in range(total + 1)])
    assert np.all(np.diff(ladder.means_N) > 0)
    assert np.all(np.diff(ladder.masses().argmax(-1)) >= 0)
    assert np.all(np.diff(np.cumsum(ladder.masses(), axis=-1)[:, :-1], axis=0) <= 1e-12), "stochastic order"


def test_evidence_is_the_product_of_predictions_one_answer_after_another() -> None:
    passes, failures = 3, 2
    for component, (right, wrong) in enumerate(zip(RIGHT_K, WRONG_K, strict=True)):
        expected, a, b = 0.0, right, wrong
        for answer in (1, 0, 1, 1, 0):
            expected += math.log((a if answer else b) / (a + b))
            a, b = a + answer, b + 1 - answer
        found = log_evidence(np.array([passes]), np.array([failures]))[0, component]
        assert found == pytest.approx(expected, abs=1e-9)


def test_the_gain_of_one_answer_is_a_mean_over_what_it_may_be() -> None:
    found = beliefs([2, 0, 5], [1, 3, 5])
    means = found.means_N
    after_right = beliefs([3, 1, 6], [1, 3, 5]).masses().max(-1)
    after_wrong = beliefs([2, 0, 5], [2, 4, 6]).masses().max(-1)
    expected = means * after_right + (1 - means) * after_wrong - found.masses().max(-1)
    assert found.gains(np.ones(3, dtype=np.int64)) == pytest.approx(np.maximum(expected, 0), abs=1e-9)
    assert np.all(found.gains(np.full(3, 8)) >= found.gains(np.ones(3, dtype=np.int64)))
    assert not found.gains(np.zeros(3, dtype=np.int64)).any()


def answers(seed: int, chances: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    passes = np.random.default_rng(seed).binomial(samples, chances)
    return passes, samples - passes


def test_a_predictor_that_knows_nothing_costs_nothing_and_one_that_knows_helps() -> None:
    rng = np.random.default_rng(5)
    chances = np.where(rng.random(400) < 0.5, 0.97, 0.3)
    passes, failures = answers(6, chances, 3)
    folds = np.arange(400) % 5
    useless = fit_prior(rng.random(400), passes, failures, folds)
    useful = fit_prior(np.clip(chances + rng.normal(0, 0.05, 400), 0, 1), passes, failures, folds)
    assert useless.knots == 1
    assert useless.held_out == useless.held_out_without
    assert useful.knots > 1
    assert useful.held_out > useful.held_out_without + 0.1


def test_a_score_that_leaks_the_answers_is_believed_too_much() -> None:
    """Why scores must come from fits that did not see a question's answers: those that did are wrong about new ones."""
    rng = np.random.default_rng(8)
    chances = rng.uniform(0.2, 0.8, 400)
    passes, failures = answers(9, chances, 4)
    folds = np.arange(400) % 5
    leaking = fit_prior(passes / 4, passes, failures, folds)
    honest = fit_prior(rng.random(400), passes, failures, folds)
    assert leaking.knots > 1
    assert leaking.held_out > honest.held_out + 0.2, "looks better on the answers it has seen"
    errors = [np.mean((Beliefs(p.weights_NK, passes, failures).means_N - chances) ** 2) for p in (leaking, honest)]
    assert errors[0] > 1.2 * errors[1], "and is worse about the truth"


def test_band_probabilities_come_true() -> None:
    rng = np.random.default_rng(1)
    chances = np.where(rng.random(3000) < 0.4, rng.beta(60, 1, 3000), rng.beta(4, 7, 3000))
    passes, failures = answers(2, chances, 4)
    prior = fit_prior(np.zeros(3000), passes, failures, np.arange(3000) % 5)
    masses = Beliefs(prior.weights_NK, passes, failures).masses()
    sure, right = masses.max(-1), masses.argmax(-1) == band_indices(chances)
    for low, high in ((0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        inside = (sure >= low) & (sure < high)
        if inside.sum() > 100:
            assert np.mean(sure[inside]) == pytest.approx(np.mean(right[inside]), abs=0.08)
    assert np.mean(sure) == pytest.approx(np.mean(right), abs=0.05)
    sixfold = Beliefs(prior.weights_NK, 6 * passes, 6 * failures).masses()
    missed = abs(np.mean(sixfold.max(-1)) - np.mean(sixfold.argmax(-1) == band_indices(chances)))
    assert missed > 0.05, "the tolerance notices answers that were counted six times"
