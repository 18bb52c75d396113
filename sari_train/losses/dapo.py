"""Token-level mean and a wider interval above 1: DAPO, Yu et al. 2025, arXiv 2503.14476, equations 8 to 12.

    J = 1 / sum_i |o_i|  sum_i sum_t min(r_it A_i, clip(r_it, 1 - eps_low, 1 + eps_high) A_i)

eps_low = 0.2 and eps_high = 0.28 ("clip-higher": an unlikely token may grow by more before its gradient stops,
which keeps the entropy from collapsing). Every token counts alike, so a long answer counts more than a short one.
The paper's sums run over one group, then over groups; here, as in TRL and verl, over the whole step. Its dynamic
sampling is ``grpo.dynamic_sampling``; its masking of truncated completions ``grpo.mask_truncated``.
"""

from __future__ import annotations

from sari_train.losses.base import Loss
from sari_train.losses.grpo import clipped_gain

DAPO = Loss(
    name="dapo",
    source="DAPO, arXiv 2503.14476, equations 8 to 12",
    gain=clipped_gain,
    weighting="token",
    per_token=True,
    clip_low=0.2,
    clip_high=0.28,
    scale="group",
)
