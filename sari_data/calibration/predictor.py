"""The predictor: how likely a question's answers are right, learnt from the other questions' answers so far.

A logistic regression on :mod:`~sari_data.calibration.features`. Every question is predicted by a fit that saw neither
its answers nor those to other questions about its clip: what it says can then be weighed against the question's own
answers without counting them twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sari_data.calibration.features import Features

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]

FOLDS = 5
# How freely the regression follows the data (the inverse of its penalty); chosen by left-out likelihood.
FREEDOMS = (0.1, 1.0, 10.0)


def fold_of(clips: Sequence[bytes], seed: int) -> Counts:
    """Return the part [N] that each question is in: by a hash of its clip, so that a clip's questions stay together."""
    marks = [hashlib.sha256(b"%d|" % seed + clip).digest()[:8] for clip in clips]
    return np.array([int.from_bytes(mark, "big") % FOLDS for mark in marks], dtype=np.int64)


def predict(features: Features, passes_N: Counts, failures_N: Counts, folds_N: Counts) -> Floats:
    """Return the predicted chance [N] of a right answer for each question, from the other folds' answers.

    Where the other folds hold only right or only wrong answers, it is their smoothed share.
    """
    import warnings

    from scipy.sparse import csr_matrix, hstack
    from sklearn.exceptions import ConvergenceWarning

    sound = csr_matrix(features.sound_ND / np.sqrt(max(features.sound_ND.shape[1], 1)))
    table = hstack([features.words, sound], format="csr")
    best, best_loss = np.full(len(passes_N), 0.5), np.inf
    with warnings.catch_warnings():
        # A regression that is stopped early is scored on left-out answers like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for freedom in FREEDOMS:
            found = np.empty(len(passes_N))
            for fold in np.unique(folds_N):
                out = folds_N == fold
                found[out] = _fit(table, passes_N, failures_N, ~out, out, freedom)
            loss = -float(np.sum(passes_N * np.log(found) + failures_N * np.log1p(-found)))
            if loss < best_loss - 1e-9:
                best, best_loss = found, loss
    return best


def _fit(table: Any, passes_N: Counts, failures_N: Counts, seen: Mask, out: Mask, freedom: float) -> Floats:
    from scipy.sparse import vstack
    from sklearn.linear_model import LogisticRegression

    rows, asked = table[seen], table[out]
    right, wrong = passes_N[seen], failures_N[seen]
    share = (right.sum() + 0.5) / (right.sum() + wrong.sum() + 1)
    if not right.sum() or not wrong.sum():
        return np.full(asked.shape[0], share)
    model = LogisticRegression(C=freedom, max_iter=100, tol=1e-3)
    labels = np.repeat([1, 0], rows.shape[0])
    model.fit(vstack([rows, rows]), labels, sample_weight=np.concatenate([right, wrong]).astype(np.float64))
    found: Floats = np.clip(model.predict_proba(asked)[:, 1], 1e-4, 1 - 1e-4)
    return found
