"""One ratio for a whole completion: GSPO, Zheng et al. 2025, arXiv 2507.18071, equations 5 and 7.

    s_i = exp( 1/|o_i| sum_t log pi(o_it) / pi_old(o_it) )
    J   = mean_i min(s_i A_i, clip(s_i, 1 - eps_low, 1 + eps_high) A_i)

eps_low = 3e-4 and eps_high = 4e-4 (section 5.1): the mean over a completion varies far less than a token's ratio.
A completion is clipped as a whole.

It is computed in the paper's token form (GSPO-token, equations 13 and 14), in which sg is the stop-gradient:

    s_it = sg(s_i) pi(o_it) / sg(pi(o_it))
    J    = mean_i 1/|o_i| sum_t min(s_it A_i, clip(s_it, 1 - eps_low, 1 + eps_high) A_i)

Since all tokens of a completion have the same advantage, value and gradient are those of equation 5 (the paper's
equations 11 and 18): each token's gradient is s_i A_i / |o_i|. The gradient is thus local, but the value of s_i
needs the whole completion: no slices, but for the first update after a rollout, where s_i = 1.
"""

from __future__ import annotations

from torch import Tensor

from sari_train.losses.base import Gain, Loss
from sari_train.losses.correction import sequence_mean
from sari_train.losses.grpo import clip_ratio


def sequence_gain(
    logps: Tensor, old_logps: Tensor, advantages: Tensor, *, low: float, high: float, rows: Tensor | None = None
) -> Gain:
    """Return the clipped surrogate of each completion's ratio, at each of its tokens.

    Arguments as in :class:`~sari_train.losses.base.GainFunction`.
    """
    assert rows is not None, "GSPO needs the index of each token's completion"
    # The bracket is 0 to the bit: with the interval at 1 +- 3e-4 the rounding of a sum of other order would show.
    ratio = (sequence_mean(logps - old_logps, rows) + (logps - logps.detach())).exp()
    return clip_ratio(ratio, advantages, low=low, high=high)


GSPO = Loss(
    name="gspo",
    source="GSPO, arXiv 2507.18071, equations 5 and 7, computed as 13 and 14",
    gain=sequence_gain,
    weighting="sequence",
    per_token=False,
    clip_low=3e-4,
    clip_high=4e-4,
    scale="group",
)
