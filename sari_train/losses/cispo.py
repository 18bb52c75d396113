"""Clip the importance weight, not the token: CISPO, MiniMax-M1 2025, arXiv 2506.13585, equations 4 and 5.

    J = 1 / sum_i |o_i|  sum_i sum_t sg( clip(r_it, 1 - eps_low, 1 + eps_high) ) A_i log pi(o_it)

sg is the stop-gradient: every token keeps its gradient, also those whose ratio is clipped (rare words such as
"wait" that begin a change of mind are the first to leave the interval of GRPO). The value is a mean log-probability
and does not tell how well the policy does; the gradient on the first update is that of the other losses.

As in the paper there is no lower bound (eps_low = 1: a ratio is never below 0). The paper does not state
eps_high; 4 bounds the weight at 5, the value of Khatri et al. 2025, arXiv 2510.13786. (TRL's ``epsilon_high`` is for
this loss the bound itself, 5.) The paper's sums run over one group; here, as in TRL, over the whole step.
"""

from __future__ import annotations

from torch import Tensor

from sari_train.losses.base import Gain, Loss


def weighted_gain(
    logps: Tensor, old_logps: Tensor, advantages: Tensor, *, low: float, high: float, rows: Tensor | None = None
) -> Gain:
    """Return sg(clip(r)) A log pi; a ratio counts as clipped on either side whatever the advantage.

    Arguments as in :class:`~sari_train.losses.base.GainFunction`; ``rows`` is not used.
    """
    ratio = (logps.detach() - old_logps).exp()
    return Gain(ratio.clamp(1 - low, 1 + high) * advantages * logps, ratio < 1 - low, ratio > 1 + high)


CISPO = Loss(
    name="cispo",
    source="MiniMax-M1, arXiv 2506.13585, equations 4 and 5",
    gain=weighted_gain,
    weighting="token",
    per_token=True,
    clip_low=1.0,
    clip_high=4.0,
    scale="group",
)
