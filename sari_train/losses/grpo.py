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


def token_weights(
    mask_BC: Tensor, *, normalise: Literal["sequence", "token"] = "sequence", total: int | None = None
) -> Tensor:
    """Return what each token counts [B, C]: weights that add up to 1 over the step, 0 where there is no token.

    Args:
        mask_BC: True at completion tokens.
        normalise: As in :func:`grpo_loss`.
        total: As in :func:`grpo_loss`.
    """
    mask = mask_BC.float()
    if normalise == "sequence":
        return mask / mask.sum(-1, keepdim=True).clamp(min=1) / (len(mask) if total is None else total)
    return mask / (mask.sum() if total is None else total)


def grpo_terms(
    logps: Tensor,
    old_logps: Tensor,
    advantages: Tensor,
    weights: Tensor,
    *,
    clip_epsilon: float = 0.2,
    beta: float = 0.0,
    ref_logps: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss that some tokens add, all tensors being of one shape, and their share of the metrics.

    A loss of this form is known token by token, so that a head may make its gradients while it has the
    logits (``kernels/linear_loss.py``).
    """
    assert beta == 0 or ref_logps is not None, "a KL penalty needs the reference's log-probabilities"
    ratio = (logps - old_logps.detach()).exp()
    clipped = ratio.clamp(1 - clip_epsilon, 1 + clip_epsilon)
    gain = torch.minimum(ratio * advantages, clipped * advantages)
    kl = torch.zeros_like(logps)
    if ref_logps is not None and beta > 0:
        gap = ref_logps.detach() - logps
        kl = gap.exp() - gap - 1
        gain = gain - beta * kl
    loss = -(gain * weights).sum()
    with torch.no_grad():
        outside = (ratio * advantages > clipped * advantages).to(weights.dtype)
        shares = {"loss": loss.detach(), "kl": (kl * weights).sum(), "clip_fraction": (outside * weights).sum()}
    return loss, shares


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
    loss, shares = grpo_terms(
        logps_BC,
        old_logps_BC,
        advantages_B[:, None].expand_as(logps_BC),
        token_weights(mask_BC, normalise=normalise, total=total).to(logps_BC.dtype),
        clip_epsilon=clip_epsilon,
        beta=beta,
        ref_logps=ref_logps_BC,
    )
    return loss, {name: share.item() for name, share in shares.items()}
