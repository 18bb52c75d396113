"""Advantages relative to the group: what a sample earned beyond its siblings.

    A_pg = (R_pg - baseline_pg) / scale_p

Baselines. ``mean``: the group's mean (GRPO, Shao et al. 2024, arXiv 2402.03300, section 4.1.2). ``leave_one_out``: the
mean of the others (RLOO, Ahmadian et al. 2024, arXiv 2402.14740), which does not depend on the sample itself and so
leaves the gradient unbiased; it is G / (G - 1) times the distance from the group's mean.

Scales. ``group``: the group's standard deviation (GRPO). ``batch``: that of all rewards of the step (Liu et al. 2025,
arXiv 2508.08221; TRL's ``scale_rewards="batch"``), so that a group which hardly differs is not blown up to the size of
one that does. ``none``: 1 (Dr. GRPO, Liu et al. 2025, arXiv 2503.20783). ``beta``: the density of a beta distribution
at the group's mean (BNPO, Xiao et al. 2025, arXiv 2506.02864; see :func:`beta_density`), for rewards in [0, 1].

Standard deviations are those of the samples themselves (divisor: their number).

Shapes: P prompts, G samples of each. All prompts of a step must be in one call, whichever process sampled them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from sari_data.errors import InputError

Baseline = Literal["mean", "leave_one_out"]
Scale = Literal["group", "batch", "none", "beta"]

# Added to a standard deviation, so that differences of rounding alone do not become lessons.
EPSILON = 1e-6
# Bound on the inverse of a density, which is 0 where a mean lies at an end of [0, 1]; as in the paper's code.
MOST_WEIGHT = 1e6


def flat(rewards_PG: Tensor) -> Tensor:
    """Return True [P] for groups whose samples all earned the same: they teach nothing."""
    return (rewards_PG == rewards_PG[:, :1]).all(-1)


def group_advantages(
    rewards_PG: Tensor, *, baseline: Baseline = "mean", scale: Scale = "group"
) -> tuple[Tensor, dict[str, float]]:
    """Return (advantages [P, G], metrics) from the rewards of P prompts with G >= 2 samples each.

    The advantages of a flat group are exactly 0, and the metric ``flat_groups`` is the share of such groups.

    Raises:
        InputError: ``scale`` is ``beta`` and a reward lies outside [0, 1].
    """
    assert rewards_PG.dim() == 2, f"expected rewards [prompts, samples], got {tuple(rewards_PG.shape)}"
    size = rewards_PG.shape[1]
    assert size > 1, "a group needs two samples or more, or there is nothing to compare with"
    flat_P1 = flat(rewards_PG)[:, None]
    means_P1 = rewards_PG.mean(-1, keepdim=True)
    gaps_PG = rewards_PG - means_P1
    if baseline == "leave_one_out":
        gaps_PG = gaps_PG * (size / (size - 1))
    if scale == "group":
        gaps_PG = gaps_PG / (rewards_PG.std(-1, keepdim=True, correction=0) + EPSILON)
    elif scale == "batch":
        gaps_PG = gaps_PG / (rewards_PG.std(correction=0) + EPSILON)
    elif scale == "beta":
        lowest, highest = rewards_PG.min().item(), rewards_PG.max().item()
        if lowest < 0 or highest > 1 + 1e-9:  # a weighted sum of ones may be rounded above 1
            raise InputError(
                f'scale = "beta" is for rewards in [0, 1]; found {lowest:.3g} to {highest:.3g}: '
                "take another grpo.scale, or rewards within these bounds"
            )
        gaps_PG = gaps_PG * (1 / beta_density(means_P1[:, 0])).clamp(max=MOST_WEIGHT)[:, None]
    advantages_PG = torch.where(flat_P1, torch.zeros_like(gaps_PG), gaps_PG)
    return advantages_PG, {"flat_groups": flat_P1.float().mean().item()}


def decomposed_advantages(
    parts_PG: Mapping[str, Tensor], weights: Mapping[str, float], *, baseline: Baseline = "mean", scale: Scale = "group"
) -> tuple[Tensor, dict[str, float]]:
    """Return the weighted sum of each reward's own advantages, and the share of groups that are flat in all of them.

    The advantage decomposition of BNPO: each reward is compared with its own group and scale, before weighting. With
    ``group_advantages`` of the weighted sum, a reward that varies more decides the scale for all.

    Args:
        parts_PG: Each reward before weighting, by name.
        weights: Weight of each; names without weight, or with 0, are left out.
        baseline: As in :func:`group_advantages`.
        scale: As in :func:`group_advantages`.

    Raises:
        InputError: ``scale`` is ``beta`` and a reward lies outside [0, 1].
    """
    used = [name for name in parts_PG if weights.get(name, 0)]
    assert used, "no reward has a weight"
    advantages_PG = torch.zeros_like(parts_PG[used[0]])
    for name in used:
        advantages_PG = (
            advantages_PG + weights[name] * group_advantages(parts_PG[name], baseline=baseline, scale=scale)[0]
        )
    flat_P = torch.stack([flat(parts_PG[name]) for name in used]).all(0)
    return advantages_PG, {"flat_groups": flat_P.float().mean().item()}


def beta_density(means_P: Tensor) -> Tensor:
    """Return the density [P] at the groups' means of the beta distribution with which BNPO normalises.

    Beta(a, b) is fitted to the means by their mean m and variance v (divisor P - 1):

        a = (m (1 - m) / v - 1) m        b = (m (1 - m) / v - 1) (1 - m)

    and the density is that of Beta(1 + a / 3, 1 + b / 3), neither parameter below 1, which the paper finds to make the
    gradient's variance least. Where there is nothing to fit (one group, or means that are all the same) it is 1.

    Args:
        means_P: Mean reward of each group, in [0, 1].
    """
    if len(means_P) < 2 or means_P.var() == 0:
        return torch.ones_like(means_P)
    means_P = means_P.clamp(0, 1)  # a mean of ones may be rounded above 1
    mean = means_P.mean()
    spread = mean * (1 - mean) / means_P.var() - 1
    alpha, beta = (1 + spread * side / 3 for side in (mean, 1 - mean))
    return torch.distributions.Beta(alpha.clamp(min=1), beta.clamp(min=1)).log_prob(means_P).exp()
