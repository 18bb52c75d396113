"""GRPO without its two biases: Dr. GRPO, Liu et al. 2025, arXiv 2503.20783, section 3.2.

    J = mean_i 1/L sum_t min(r_it A_i, clip(r_it, 1 - eps, 1 + eps) A_i),   A_i = R_i - mean of the group

L is a constant, the bound on a completion's length (the paper's code divides by its generation budget). With
1/|o_i| in its place, as in GRPO, a long wrong answer is pushed away less for each token than a short one. And
division by the group's standard deviation gives questions that are nearly always or nearly never solved more
weight than others: ``scale = "none"``.

The loss, and with it the gradient, is smaller than GRPO's by the completions' mean length over L; the learning
rate may have to make up for it where L is generous.
"""

from __future__ import annotations

from sari_train.losses.base import Loss
from sari_train.losses.grpo import clipped_gain

DR_GRPO = Loss(
    name="dr_grpo",
    source="Dr. GRPO, arXiv 2503.20783, section 3.2",
    gain=clipped_gain,
    weighting="constant",
    per_token=True,
    clip_low=0.2,
    clip_high=0.2,
    scale="none",
)
