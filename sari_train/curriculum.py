"""The order of prompts: from easy to hard by pass rate, or at random.

A schedule is a pure function of the questions, the seed and the number of draws. A run that goes on
from a checkpoint therefore needs nothing but its position in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sari_data.errors import InputError
from sari_data.types import AudioQuestion

Curriculum = Literal["easy_to_hard", "random"]


def schedule(
    questions: Sequence[AudioQuestion], draws: int, *, curriculum: Curriculum, mode: str, seed: int
) -> list[int]:
    """Return ``draws`` indices into ``questions`` in the order of training.

    Every question is drawn equally often, give or take once; which are drawn once more is random.
    ``easy_to_hard`` goes through the whole run once from the highest pass rate to the lowest (SARI,
    arXiv 2504.15900, section 3); among equals no question returns before all others have been drawn.
    ``random`` shuffles each pass on its own.

    Raises:
        InputError: No questions, or ``easy_to_hard`` with questions that have no pass rate.
    """
    if not questions:
        raise InputError("the corpus has no questions to train on: build one with `sari-data build`")
    rng = np.random.default_rng([seed, 0xC0])
    passes = -(-draws // len(questions))
    order = [(turn, int(i)) for turn in range(passes) for i in rng.permutation(len(questions))][:draws]
    if curriculum == "random":
        return [i for _, i in order]
    rates = [pass_rate(question, mode) for question in questions]
    uncalibrated = sum(rate is None for rate in rates)
    if uncalibrated:
        raise InputError(
            f"curriculum easy_to_hard needs a pass rate for every question, but {uncalibrated} of {len(questions)} "
            "have none: run `sari-data calibrate` on the corpus, or set grpo.curriculum to random"
        )
    # The sort is stable: among equal rates the passes follow one another, each in its shuffled order.
    return [i for _, i in sorted(order, key=lambda item: -(rates[item[1]] or 0.0))]


def pass_rate(question: AudioQuestion, mode: str) -> float | None:
    """Return the share of samples that passed, over all calibrations in ``mode`` (over all where there is none)."""
    found = [r for r in question.pass_rates if r.mode == mode] or list(question.pass_rates)
    samples = sum(r.samples for r in found)
    return sum(r.passes for r in found) / samples if samples else None
