"""The mean over the tokens of each micro-batch: what TRL's users get as ``loss_type="bnpo"``.

    J = mean over micro-batches of  1 / sum_i |o_i|  sum_i sum_t min(r_it A_i, clip(r_it, 1 - eps, 1 + eps) A_i)

where the sums run over one micro-batch. With one micro-batch in a step that is the token mean of DAPO; with more,
tokens of a micro-batch with short completions count more, and the result depends on how the step is split. It is
here so that runs made with TRL can be repeated.

The paper of that name (Xiao et al. 2025, BNPO: beta normalization policy optimization, arXiv 2506.02864) is about
something else, the advantage: rewards are divided by the density of a beta distribution that is fitted to the
groups' pass rates. That is :func:`sari_train.advantages.group_advantages` with ``scale="beta"``, and it goes with any
loss.
"""

from __future__ import annotations

from sari_train.losses.base import Loss
from sari_train.losses.grpo import clipped_gain

BNPO = Loss(
    name="bnpo",
    source='TRL, GRPOConfig.loss_type = "bnpo"; the advantage of arXiv 2506.02864 is scale = "beta"',
    gain=clipped_gain,
    weighting="micro_batch",
    per_token=True,
    clip_low=0.2,
    clip_high=0.2,
    scale="group",
)
