"""Group relative policy optimisation: the clipped surrogate of Shao et al. 2024, arXiv 2402.03300, eq. 3.

For completion i of a group with advantage A_i, and token t:

    r_it = pi(o_it) / pi_old(o_it)
    J    = mean_i 1/|o_i| sum_t [ min(r_it A_i, clip(r_it, 1 - eps, 1 + eps) A_i) - beta KL_it ]
    KL   = pi_ref / pi - log(pi_ref / pi) - 1          (k3: unbiased, never negative)

and the loss is -J. ``normalise="token"`` weighs every token alike instead (sum over all tokens divided
by their number), as in DAPO (Yu et al. 2025, arXiv 2503.14476).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def grpo_loss(
    logps_BC: Tensor,
    old_logps_BC: Tensor,
    advantages_B: Tensor,
    mask_BC: Tensor,
    *,
    clip_epsilon: float = 0.2,
    beta: float = 0.0,
    ref_logps_BC: Tensor | None = None,
    normalise: Literal["sequence", "token"] = "sequence",
    total: int | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss and its metrics.

    Args:
        logps_BC: Log-probabilities under the policy that learns.
        old_logps_BC: Those under the policy that sampled; no gradient.
        advantages_B: One advantage for each completion.
        mask_BC: True at completion tokens.
        clip_epsilon: Half width of the interval around 1 in which the ratio has a gradient.
        beta: Weight of the KL divergence to the reference.
        ref_logps_BC: Log-probabilities under the reference; needed where ``beta`` > 0.
        normalise: ``sequence`` (mean over each completion's tokens, then over completions) or ``token``.
        total: Completions (``sequence``) or tokens (``token``) of the whole step, where this is one of its
            micro-batches; losses and metrics of the micro-batches then add up to those of the step.

    Returns:
        (loss, metrics): ``loss``, ``kl`` (nats; 0 without a reference), ``clip_fraction``.
    """
    assert beta == 0 or ref_logps_BC is not None, "a KL penalty needs the reference's log-probabilities"
    mask = mask_BC.to(logps_BC.dtype)
    if normalise == "sequence":
        count = len(logps_BC) if total is None else total
        weights_BC = mask / mask.sum(-1, keepdim=True).clamp(min=1) / count
    else:
        count = int(mask_BC.sum()) if total is None else total
        weights_BC = mask / count
    ratio_BC = (logps_BC - old_logps_BC.detach()).exp()
    advantages_B1 = advantages_B[:, None]
    clipped_BC = ratio_BC.clamp(1 - clip_epsilon, 1 + clip_epsilon)
    gain_BC = torch.minimum(ratio_BC * advantages_B1, clipped_BC * advantages_B1)
    metrics = {}
    kl = 0.0
    if ref_logps_BC is not None and beta > 0:
        gap_BC = ref_logps_BC.detach() - logps_BC
        kl_BC = gap_BC.exp() - gap_BC - 1
        gain_BC = gain_BC - beta * kl_BC
        kl = (kl_BC.detach() * weights_BC).sum().item()
    loss = -(gain_BC * weights_BC).sum()
    with torch.no_grad():
        outside_BC = (ratio_BC * advantages_B1 > clipped_BC * advantages_B1).to(mask.dtype)
        metrics = {"loss": loss.item(), "kl": kl, "clip_fraction": (outside_BC * weights_BC).sum().item()}
    return loss, metrics
