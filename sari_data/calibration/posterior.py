"""What is known of each question's chance to be answered right: a mixture of beta distributions.

A single beta distribution cannot say "either it is known, or it is guessed", which is how multiple-choice questions
are answered. So the prior of a question mixes a fixed set of beta distributions (COMPONENTS), narrow and wide, over
all of [0, 1]; what is learnt is how much of each. The weights depend on the question through the predictor's score
alone: at a few knots (quantiles of the score) there is a set of weights each, with straight lines between them, all
fitted by expectation maximisation to the answers so far. After a right and b wrong answers, the component Beta(r, w)
has become Beta(r + a, w + b), and the weights follow Bayes' rule: a beta posterior for each question and component.

How many knots there are is chosen by the likelihood of answers that were left out of the fit. With one knot the
predictor has no say, so one that knows nothing costs nothing. Sampling stops by what the answers were, which leaves
their likelihood, and with it the belief, as it would be for so many samples from the start.

Shapes: N questions, K components, J knots, B bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sari_data.calibration.bands import EDGES

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

# (mean, strength: how many answers it is worth) of each beta distribution that the priors are mixed from.
COMPONENTS = (
    (0.5, 2.0),
    *((mean, 12.0) for mean in (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)),
    *((mean, 40.0) for mean in (0.01, 0.06, 0.15, 0.35, 0.65, 0.85, 0.94, 0.99)),
    *((mean, 200.0) for mean in (0.002, 0.998)),
)
RIGHT_K = np.array([mean * strength for mean, strength in COMPONENTS])
WRONG_K = np.array([(1 - mean) * strength for mean, strength in COMPONENTS])

# Numbers of knots that are tried, the fewest first: of equals it wins.
KNOTS = (1, 2, 4, 8)
# Answers' worth of pull: of equal weights on the common ones, and of the common weights on a knot's own.
COMMON_PULL, KNOT_PULL = 0.1 * len(COMPONENTS), 5.0
ROUNDS = 60
# Further answers that are looked ahead to, where there is room for them.
LOOKAHEAD = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of each question before its own answers.

    Args:
        weights_NK: Weight of each component; rows add up to 1.
        knots: How many knots the weights were fitted with; 1: the predictor has no say.
        held_out: Mean log-likelihood of a question's answers that the fit had not seen, with so many knots.
        held_out_without: The same with one knot.
    """

    weights_NK: Floats
    knots: int
    held_out: float
    held_out_without: float


def log_evidence(passes_N: Counts, failures_N: Counts) -> Floats:
    """Return the log-probability [N, K] of a question's answers, one after another, under each component."""
    from scipy.special import betaln

    right_NK, wrong_NK = RIGHT_K + passes_N[:, None], WRONG_K + failures_N[:, None]
    found: Floats = betaln(right_NK, wrong_NK) - betaln(RIGHT_K, WRONG_K)
    return found


def fit_prior(
    scores_N: Floats, passes_N: Counts, failures_N: Counts, folds_N: Counts, knots: Sequence[int] = KNOTS
) -> Prior:
    """Fit the priors to the answers so far, with the number of knots under which left-out answers are likeliest.

    Args:
        scores_N: What the predictor says of each question; each from a fit that did not see the question's answers.
        passes_N: Right answers.
        failures_N: Wrong answers.
        folds_N: Which part each question is in; each part in turn is left out.
        knots: Numbers of knots to choose from.
    """
    logs_NK = log_evidence(passes_N, failures_N)
    scale_N1 = logs_NK.max(-1, keepdims=True)
    likely_NK = np.exp(logs_NK - scale_N1)
    found: dict[int, float] = {}
    for count in sorted({1, *knots}):
        seats_NJ = _seats(scores_N, count)
        total = 0.0
        for fold in np.unique(folds_N):
            out = folds_N == fold
            weights_JK = _fit(likely_NK[~out], seats_NJ[~out])
            total += float(np.log((likely_NK[out] * (seats_NJ[out] @ weights_JK)).sum(-1)).sum())
        found[count] = (total + float(scale_N1.sum())) / max(len(scores_N), 1)
    best = max(sorted(set(knots)), key=lambda count: round(found[count], 9))
    seats_NJ = _seats(scores_N, best)
    return Prior(seats_NJ @ _fit(likely_NK, seats_NJ), best, found[best], found[1])


def refit_prior(prior: Prior, scores_N: Floats, passes_N: Counts, failures_N: Counts) -> Prior:
    """Fit the weights again to more answers, with as many knots as before."""
    logs_NK = log_evidence(passes_N, failures_N)
    seats_NJ = _seats(scores_N, prior.knots)
    weights_JK = _fit(np.exp(logs_NK - logs_NK.max(-1, keepdims=True)), seats_NJ)
    return Prior(seats_NJ @ weights_JK, prior.knots, prior.held_out, prior.held_out_without)


def _seats(scores_N: Floats, knots: int) -> Floats:
    """Return how much each knot [N, J] says of a question: those beside its score's rank share it; equals sit alike."""
    if knots == 1 or len(scores_N) < 2:
        return np.full((len(scores_N), knots), 1 / knots)
    ordered_N = np.sort(scores_N)
    low_N, high_N = (np.searchsorted(ordered_N, scores_N, side=side) for side in ("left", "right"))
    rank_N = (low_N + high_N - 1) / 2 / (len(scores_N) - 1) * (knots - 1)
    return np.maximum(0.0, 1 - np.abs(rank_N[:, None] - np.arange(knots)))


def _fit(likely_NK: Floats, seats_NJ: Floats) -> Floats:
    """Return the weights [J, K] at the knots by expectation maximisation: penalised, concave, from equal weights."""
    common_K = np.full(likely_NK.shape[1], 1 / likely_NK.shape[1])
    for _ in range(ROUNDS):
        shares_NK = likely_NK * common_K
        shares_NK /= shares_NK.sum(-1, keepdims=True)
        common_K = shares_NK.sum(0) + COMMON_PULL / len(common_K)
        common_K /= common_K.sum()
    weights_JK = np.tile(common_K, (seats_NJ.shape[1], 1))
    if len(weights_JK) == 1:
        return weights_JK
    for _ in range(ROUNDS):
        shares_NK = likely_NK / (likely_NK * (seats_NJ @ weights_JK)).sum(-1, keepdims=True)
        weights_JK = weights_JK * (seats_NJ.T @ shares_NK) + KNOT_PULL * common_K
        weights_JK /= weights_JK.sum(-1, keepdims=True)
    return weights_JK


@dataclass(frozen=True, slots=True)
class Beliefs:
    """Priors and answers together: what is believed of each question now.

    Args:
        prior_NK: Weights of the components before the question's answers.
        passes_N: Right answers.
        failures_N: Wrong answers.
    """

    prior_NK: Floats
    passes_N: Counts
    failures_N: Counts

    @property
    def weights_NK(self) -> Floats:
        """Weights of the components after the answers."""
        logs_NK = log_evidence(self.passes_N, self.failures_N)
        weights_NK = self.prior_NK * np.exp(logs_NK - logs_NK.max(-1, keepdims=True))
        found: Floats = weights_NK / weights_NK.sum(-1, keepdims=True)
        return found

    @property
    def means_N(self) -> Floats:
        """The estimate of each question's chance: the mean of its posterior, in (0, 1)."""
        right_NK = RIGHT_K + self.passes_N[:, None]
        found: Floats = (self.weights_NK * right_NK / (right_NK + WRONG_K + self.failures_N[:, None])).sum(-1)
        return found

    def masses(self) -> Floats:
        """Return how likely it is that the chance lies in each band: [N, B], rows that add up to 1."""
        masses_NB = np.empty((len(self.passes_N), len(EDGES) + 1))
        weights_NK = self.weights_NK
        for rows, passes, failures in self.alike():
            masses_NB[rows] = weights_NK[rows] @ band_masses(RIGHT_K + passes, WRONG_K + failures)
        return masses_NB

    def gains(self, room_N: Counts) -> Floats:
        """Return how much likelier one further answer makes it, on average, that a question's band is called right.

        The call is the likeliest band, which is right with the largest of the masses. A single answer rarely changes
        it, several may: the gain is that of the best number of further answers in LOOKAHEAD, divided by that number.

        Args:
            room_N: How many further answers each question may have.
        """
        from scipy.special import betaln, gammaln

        gains_N, weights_NK = np.zeros(len(self.passes_N)), self.weights_NK
        for rows, passes, failures in self.alike():
            right_K, wrong_K = RIGHT_K + passes, WRONG_K + failures
            now_N = (weights_NK[rows] @ band_masses(right_K, wrong_K)).max(-1)
            for count in LOOKAHEAD:
                found = np.arange(count + 1.0)
                right_FK, wrong_FK = right_K + found[:, None], wrong_K + count - found[:, None]
                ways_F1 = (gammaln(count + 1) - gammaln(found + 1) - gammaln(count - found + 1))[:, None]
                chances_FK = np.exp(ways_F1 + betaln(right_FK, wrong_FK) - betaln(right_K, wrong_K))
                joint_FKB = chances_FK[..., None] * band_masses(right_FK, wrong_FK)
                then_N = np.einsum("nk,fkb->nfb", weights_NK[rows], joint_FKB, optimize=True).max(-1).sum(-1)
                fits = room_N[rows] >= count
                gains_N[rows] = np.where(fits, np.maximum(gains_N[rows], (then_N - now_N) / count), gains_N[rows])
        return gains_N

    def alike(self) -> Iterator[tuple[Counts, int, int]]:
        """Yield the questions with the same answers together: (rows, passes, failures)."""
        pairs_N2 = np.stack([self.passes_N, self.failures_N], axis=1)
        kinds, which_N = np.unique(pairs_N2, axis=0, return_inverse=True)
        order = np.argsort(which_N.ravel(), kind="stable")
        starts = np.searchsorted(which_N.ravel()[order], np.arange(len(kinds) + 1))
        for at, (passes, failures) in enumerate(kinds.tolist()):
            yield order[starts[at] : starts[at + 1]], passes, failures


def band_masses(right: Floats, wrong: Floats) -> Floats:
    """Return how much of Beta(right, wrong) lies in each band: [..., B], rows that add up to 1."""
    from scipy.special import betainc

    below = betainc(right[..., None], wrong[..., None], np.asarray(EDGES))
    ends = np.zeros((*np.shape(right), 1))
    found: Floats = np.diff(np.concatenate([ends, below, ends + 1], axis=-1), axis=-1)
    return found
