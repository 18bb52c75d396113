"""The listening check: is a question passed as often by somebody who does not hear its audio?

Each question is asked without any audio, and with the audio of another question. It is marked where both hold with the
stated confidence, given the answers and a uniform prior on each unheard chance:

- it is passed more often than by guessing:        P(p_unheard > 1 / options)          >= confidence
- its own audio makes it little likelier, if at all:  P(p_own - p_unheard <= margin)      >= confidence

The first keeps questions out that nobody can answer, heard or not. The second is a test of non-inferiority: equal
shares in a few answers are no evidence of equal chances, and with 8 answers on each side only a question that is passed
nearly always in both can be told. Fewer answers or a smaller margin mark fewer questions, never more.

Shapes: N questions, P points of a quadrature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sari_data import pairing
from sari_data.calibration.asking import Questioner, Survey
from sari_data.calibration.posterior import COMPONENTS, RIGHT_K, WRONG_K, Beliefs, Counts, Floats
from sari_data.calibration.table import Calibrate

FLAGS = {"none": "passes_without_audio", "other": "passes_with_other_audio"}
# Answers that come before the first look, and between looks, where the method is adaptive.
FIRST, STEP = 4, 2

_POINTS = 128


@dataclass(frozen=True, slots=True)
class Unheard:
    """The answers to the questions without their audio, a row a question.

    Args:
        passes_N: Right answers.
        samples_N: Answers; 0 where there was no other clip to hear, or the responder could not answer.
        as_often_N: How likely it is that the own audio helps by no more than the margin.
        marked_N: Which questions are marked.
    """

    passes_N: Counts
    samples_N: Counts
    as_often_N: Floats
    marked_N: np.ndarray


def flat_beliefs(passes_N: Counts, samples_N: Counts) -> Beliefs:
    """Return what is believed of chances on a uniform prior, for a fixed number of answers to each question."""
    assert COMPONENTS[0] == (0.5, 2.0), "the first component is the uniform distribution"
    prior_NK = np.zeros((len(passes_N), len(COMPONENTS)))
    prior_NK[:, 0] = 1.0
    return Beliefs(prior_NK, passes_N, samples_N - passes_N)


def listen(
    questioner: Questioner, own: Beliefs, heard: str, table: Calibrate, done: Callable[[int], None] | None = None
) -> Unheard:
    """Ask the questions with ``none`` of their audio or with an ``other`` clip, and mark those passed as often.

    Where the method is ``fixed`` each gets as many answers; where it is ``adaptive`` a question is
    asked no more once it is marked, or once one of the two conditions is as unlikely as it had to be likely.

    Args:
        questioner: Who asks whom.
        own: What is believed of each question with its own audio.
        heard: ``none`` or ``other``.
        table: What the recipe says.
        done: Called with the number of questions that were finished since the last call.
    """
    known, check, most = questioner.known, table.listening_check, table.unheard_samples
    donors = pair_clips(known, questioner.sampling.seed) if heard == "other" else {}
    may_N = np.array([heard == "none" or row in donors for row in range(len(known))], dtype=bool)
    may_N[list(questioner.failed["own"])] = False  # there is nothing to compare with
    passes_N, samples_N = np.zeros(len(known), dtype=np.int64), np.zeros(len(known), dtype=np.int64)
    open_N = may_N
    told = 0
    while open_N.any():
        step = most if table.method == "fixed" else STEP if samples_N.any() else FIRST
        wanted_N = np.where(open_N, np.minimum(step, most - samples_N), 0)
        if heard == "none":
            passes_N = passes_N + questioner.ask(wanted_N, samples_N, heard="none")
        else:
            passes_N = passes_N + questioner.ask_with(wanted_N, samples_N, donors)
        samples_N = samples_N + wanted_N
        lost = list(questioner.failed[heard])
        may_N[lost], passes_N[lost], samples_N[lost] = False, 0, 0
        as_often_N, beats_N = verdicts(own, passes_N, samples_N, known.guesses, check.margin)
        least_N = np.minimum(as_often_N, beats_N)
        settled_N = (least_N >= check.confidence) | (least_N <= 1 - check.confidence)
        open_N = may_N & (samples_N < most) & ~settled_N
        closed = len(known) - int(open_N.sum())
        if done is not None and closed > told:
            done(closed - told)
        told = max(told, closed)
    as_often_N, beats_N = verdicts(own, passes_N, samples_N, known.guesses, check.margin)
    if done is not None and told < len(known):
        done(len(known) - told)
    marked_N = may_N & (np.minimum(as_often_N, beats_N) >= check.confidence)
    return Unheard(passes_N, samples_N, as_often_N, marked_N)


def verdicts(
    own: Beliefs, passes_N: Counts, samples_N: Counts, guesses_N: Floats, margin: float
) -> tuple[Floats, Floats]:
    """Return how likely each question's two conditions hold: (little helped by its audio [N], beats guessing [N])."""
    from scipy.special import betainc

    beats_N = 1 - betainc(1.0 + passes_N, 1.0 + samples_N - passes_N, guesses_N)
    return chance_as_often(own, passes_N, samples_N, margin), beats_N


def chance_as_often(own: Beliefs, passes_N: Counts, samples_N: Counts, margin: float) -> Floats:
    """Return P(p_own - p_unheard <= margin) of each question [N], p_unheard ~ Beta(1 + passes, 1 + failures).

    That is the integral of p_unheard's density times the share of p_own's belief below p_unheard + margin, by
    Gauss-Legendre quadrature; beyond 1 - margin that share is 1.
    """
    from scipy.special import betainc, betaln

    nodes_P, sizes_P = np.polynomial.legendre.leggauss(_POINTS)
    at_P, sizes_P = (nodes_P + 1) / 2 * (1 - margin), sizes_P / 2 * (1 - margin)
    right_N, wrong_N = 1.0 + passes_N, 1.0 + samples_N - passes_N
    chances_N = 1 - betainc(right_N, wrong_N, 1 - margin)
    weights_NK = own.weights_NK
    for rows, own_passes, own_failures in own.alike():
        below_KP = betainc((RIGHT_K + own_passes)[:, None], (WRONG_K + own_failures)[:, None], at_P + margin)
        logs_NP = (right_N[rows, None] - 1) * np.log(at_P) + (wrong_N[rows, None] - 1) * np.log1p(-at_P)
        density_NP = np.exp(logs_NP - betaln(right_N[rows], wrong_N[rows])[:, None])
        chances_N[rows] += (density_NP * sizes_P * (weights_NK[rows] @ below_KP)).sum(-1)
    found: Floats = np.clip(chances_N, 0.0, 1.0)
    return found


def pair_clips(known: Survey, seed: int) -> dict[int, bytes]:
    """Return for each row the other clip that it is heard with, as :func:`sari_data.pairing.pair_clips` pairs them."""
    return pairing.pair_clips(known.clips, known.domains, seed)
