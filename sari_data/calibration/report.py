"""What a calibration says of itself: how many in each band, and whether its probabilities can be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np

from sari_data.calibration.listening import FLAGS, Unheard
from sari_data.calibration.posterior import Counts, Floats
from sari_data.calibration.sampling import Outcome
from sari_data.types import BANDS

BINS = 10
_DIGITS = 4


def reliability(right_N: Floats, wrong_N: Floats, passes_N: Counts, failures_N: Counts) -> dict[str, Any]:
    """Return the Brier score and the reliability curve of predicted chances, weighed by answers.

    Args:
        right_N: The chance that was predicted for each question's right answers, none of which it may have seen.
        wrong_N: The same for its wrong answers.
        passes_N: Right answers.
        failures_N: Wrong answers.

    Returns:
        ``answers``; ``brier``: the mean of (chance - 1)^2 over right and chance^2 over wrong answers;
        ``brier_of_mean``: what the mean share alone would get; ``bins``: for each tenth of [0, 1] with answers in it
        ``from``, ``to``, ``answers``, the mean ``predicted`` chance and the ``observed`` share of right answers.
    """
    total = int(passes_N.sum() + failures_N.sum())
    if not total:
        return {"answers": 0, "brier": None, "brier_of_mean": None, "bins": []}
    chances = np.concatenate([np.nan_to_num(right_N), np.nan_to_num(wrong_N)])
    counts = np.concatenate([passes_N, failures_N])
    hits = np.repeat([1.0, 0.0], len(passes_N))
    share = passes_N.sum() / total
    where = np.minimum((chances * BINS).astype(np.int64), BINS - 1)
    bins = []
    for at in range(BINS):
        inside = np.where(where == at, counts, 0)
        if inside.sum():
            bins.append(
                {
                    "from": at / BINS,
                    "to": (at + 1) / BINS,
                    "answers": int(inside.sum()),
                    "predicted": round(float(chances @ inside / inside.sum()), _DIGITS),
                    "observed": round(float(hits @ inside / inside.sum()), _DIGITS),
                }
            )
    return {
        "answers": total,
        "brier": round(float(counts @ (chances - hits) ** 2 / total), _DIGITS),
        "brier_of_mean": round(float(share * (1 - share)), _DIGITS),
        "bins": bins,
    }


def describe_adaptive(found: Outcome, confidence: float) -> dict[str, Any]:
    """Return what the summary says of adaptive sampling.

    ``predictor`` is scored on answers that its fit left out; ``estimates`` on all further answers, each by what was
    believed of its question before it was asked.
    """
    failures_N = found.samples_N - found.passes_N
    believed_A = found.foreseen_A
    return {
        "rounds": found.rounds,
        "settled": int(np.sum(found.beliefs.masses()[found.samples_N > 0].max(-1) >= confidence)),
        "predictor": {
            "knots": found.prior.knots,
            "log_likelihood": round(found.prior.held_out, _DIGITS),
            "log_likelihood_without": round(found.prior.held_out_without, _DIGITS),
            **reliability(found.scores_N, found.scores_N, found.passes_N, failures_N),
        },
        "estimates": reliability(believed_A, believed_A, found.right_A, found.wrong_A),
    }


def tally_bands(bands_N: Counts) -> dict[str, int]:
    """Return how many questions are in each band, by their indices into BANDS."""
    return {band: int(np.sum(bands_N == at)) for at, band in enumerate(BANDS)}


def describe_listening(unheard: dict[str, Unheard], margin: float, confidence: float) -> dict[str, Any]:
    """Return what the summary says of the listening check."""
    told: dict[str, Any] = {"margin": margin, "confidence": confidence}
    marked = np.zeros(0, dtype=bool)
    for heard, found in unheard.items():
        asked = found.samples_N > 0
        share = found.passes_N[asked] / found.samples_N[asked]
        told[heard] = {
            "asked": int(found.samples_N.sum()),
            "mean_pass_rate": round(float(share.mean()), _DIGITS) if asked.any() else None,
            "not_asked": int(np.sum(~asked)),
            "marked": int(found.marked_N.sum()),
            "flag": FLAGS[heard],
        }
        marked = found.marked_N if not len(marked) else marked | found.marked_N
    told["marked"] = int(marked.sum())
    return told
