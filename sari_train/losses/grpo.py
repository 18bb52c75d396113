"""Group relative policy optimisation: the clipped surrogate of Shao et al. 2024, arXiv 2402.03300, equation 3.

For completion i with advantage A_i, and token t:

    r_it = pi(o_it) / pi_old(o_it)
    J    = mean_i 1/|o_i| sum_t [ min(r_it A_i, clip(r_it, 1 - eps, 1 + eps) A_i) - beta KL_it ]

The advantage is the reward's distance from its group's mean in units of the group's standard deviation
(section 4.1.2). The paper does not state eps; 0.2 is that of PPO (Schulman et al. 2017, arXiv 1707.06347,
equation 7), where the surrogate comes from.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sari_train.losses.base import Gain, Loss


def clipped_gain(
    logps: Tensor, old_logps: Tensor, advantages: Tensor, *, low: float, high: float, rows: Tensor | None = None
) -> Gain:
    """Return min(r A, clip(r, 1 - low, 1 + high) A): no gradient where the ratio has left on the side that gains.

    Arguments as in :class:`~sari_train.losses.base.GainFunction`; ``rows`` is not used.
    """
    return clip_ratio((logps - old_logps).exp(), advantages, low=low, high=high)


def clip_ratio(ratio: Tensor, advantages: Tensor, *, low: float, high: float) -> Gain:
    """Return the clipped surrogate of a ratio, which GSPO shares with the losses of tokens."""
    free, held = ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages
    outside = (free > held).detach()
    return Gain(torch.minimum(free, held), outside & (advantages < 0), outside & (advantages > 0))


GRPO = Loss(
    name="grpo",
    source="DeepSeekMath, arXiv 2402.03300, equation 3",
    gain=clipped_gain,
    weighting="sequence",
    per_token=True,
    clip_low=0.2,
    clip_high=0.2,
    scale="group",
)
