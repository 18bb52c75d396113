"""Adaptive sampling: further answers go where the band of a question is still open.

Rounds: every question gets its first answers; then the predictor learns from all answers so far, the priors are fitted,
and the questions that are not settled get a few more: all of them, or where there is a budget those first whose
band gains most by another answer. Everything follows from the answers and the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from sari_data.calibration.features import Features
from sari_data.calibration.posterior import Beliefs, Counts, Floats, Prior, fit_prior, refit_prior
from sari_data.calibration.predictor import predict
from sari_data.calibration.table import Adaptive

# With a budget, a round asks at most this share of all questions, so that the next round can think again.
ROUND_SHARE = 0.25
# The predictor learns again once there are this many times as many answers as when it last did.
LEARN_AGAIN = 1.25

Ask = Callable[[Counts, Counts], Counts]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What adaptive sampling found, a row a question.

    Args:
        passes_N: Right answers.
        samples_N: Answers.
        beliefs: What is believed of each question in the end.
        prior: The priors in the end.
        scores_N: What the predictor said of each question in the end, without its answers.
        rounds: How many rounds there were.
        foreseen_A: For each time that a question was asked further, the chance of a right answer that was believed in
            before. To leave an answer out afterwards would be no test: which questions were asked on depends on it.
        right_A: Right answers that came then.
        wrong_A: Wrong answers that came then.
    """

    passes_N: Counts
    samples_N: Counts
    beliefs: Beliefs
    prior: Prior
    scores_N: Floats
    rounds: int
    foreseen_A: Floats
    right_A: Counts
    wrong_A: Counts


def sample(
    ask: Ask,
    features: Features,
    folds_N: Counts,
    table: Adaptive,
    advance: Callable[[int], None] | None = None,
    failed: Collection[int] = (),
) -> Outcome:
    """Ask until every question is settled, has had the most answers, or the budget is used up.

    Args:
        ask: Takes how many further answers each row is to get and the index of the first; returns the right ones.
        features: What the predictor goes by.
        folds_N: The part that each question is in; its clip decides.
        table: When to stop.
        advance: Called with the number of questions that were finished since the last call.
        failed: The rows that ``ask`` found to have no answer, which it adds to: they count as never asked.
    """
    count = len(folds_N)
    samples_N = np.full(count, table.first, dtype=np.int64)
    passes_N = ask(samples_N, np.zeros(count, dtype=np.int64))
    passes_N, samples_N = _less_failed(passes_N, samples_N, failed)
    total = count * table.most if table.budget is None else int(table.budget * count)
    told, rounds, learnt = 0, 1, 0
    scores_N, prior = np.zeros(0), None
    foreseen: list[tuple[Floats, Counts, Counts]] = [(np.zeros(0), samples_N[:0], samples_N[:0])]
    while True:
        if prior is None or samples_N.sum() >= LEARN_AGAIN * learnt:
            scores_N, learnt = predict(features, passes_N, samples_N - passes_N, folds_N), int(samples_N.sum())
            prior = fit_prior(scores_N, passes_N, samples_N - passes_N, folds_N)
        else:
            prior = refit_prior(prior, scores_N, passes_N, samples_N - passes_N)
        beliefs = Beliefs(prior.weights_NK, passes_N, samples_N - passes_N)
        wanted_N = next_answers(beliefs, samples_N, total, table, failed)
        if not wanted_N.any():
            break
        closed = count - int(np.sum(is_open(beliefs, samples_N, table, failed)))
        if advance is not None and closed > told:
            advance(closed - told)
        told = max(told, closed)
        right_N = ask(wanted_N, samples_N)
        right_N, wanted_N = _less_failed(right_N, wanted_N, failed)
        asked = np.flatnonzero(wanted_N)
        foreseen.append((beliefs.means_N[asked], right_N[asked], (wanted_N - right_N)[asked]))
        passes_N, samples_N = _less_failed(passes_N + right_N, samples_N + wanted_N, failed)
        rounds += 1
    if advance is not None and told < count:
        advance(count - told)
    told_A = (np.concatenate(parts) for parts in zip(*foreseen, strict=True))
    return Outcome(passes_N, samples_N, beliefs, prior, scores_N, rounds, *told_A)


def _less_failed(passes_N: Counts, samples_N: Counts, failed: Collection[int]) -> tuple[Counts, Counts]:
    """Return the counts with no answer to the rows that failed."""
    passes_N, samples_N = passes_N.copy(), samples_N.copy()
    passes_N[list(failed)] = samples_N[list(failed)] = 0
    return passes_N, samples_N


def is_open(beliefs: Beliefs, samples_N: Counts, table: Adaptive, failed: Collection[int] = ()) -> np.ndarray:
    """Return which questions [N] are not settled and may have further answers; those that failed may not."""
    unsure_N = beliefs.masses().max(-1) < table.confidence
    found: np.ndarray = (unsure_N | (table.confidence >= 1)) & (samples_N < table.most)
    found[list(failed)] = False
    return found


def next_answers(
    beliefs: Beliefs, samples_N: Counts, total: int, table: Adaptive, failed: Collection[int] = ()
) -> Counts:
    """Return how many further answers [N] each question gets in the next round; none where sampling is over.

    Args:
        beliefs: What is believed now.
        samples_N: Answers so far.
        total: Most answers in all.
        table: When to stop.
        failed: Rows that cannot be asked.
    """
    wanted_N = np.zeros(len(samples_N), dtype=np.int64)
    rows = np.flatnonzero(is_open(beliefs, samples_N, table, failed))
    left = total - int(samples_N.sum())
    if left <= 0 or not len(rows):
        return wanted_N
    if table.budget is not None:
        gains_N = beliefs.gains(table.most - samples_N)
        # Rounded, so that what only differs by the order of additions is a tie; ties go by the row.
        rows = rows[np.argsort(-np.round(gains_N[rows], 9), kind="stable")]
        rows = rows[: max(1, round(ROUND_SHARE * len(samples_N)))]
    steps = np.minimum(table.step, table.most - samples_N[rows])
    before = np.cumsum(steps) - steps
    wanted_N[rows] = np.clip(left - before, 0, steps)
    return wanted_N
