"""Supervised fine-tuning: cross entropy of the completion, and of nothing else."""

from __future__ import annotations

from torch import Tensor


def sft_loss(logps_BC: Tensor, mask_BC: Tensor, *, tokens: int | None = None) -> tuple[Tensor, dict[str, float]]:
    """Return the mean negative log-probability of the completion tokens.

    Args:
        logps_BC: Log-probability of each completion token.
        mask_BC: True where there is one.
        tokens: Completion tokens of the whole step, where this is one of its micro-batches; the losses
            and metrics of the micro-batches then add up to those of the step.

    Returns:
        (loss, {"loss": nats a token}).
    """
    total = int(mask_BC.sum()) if tokens is None else tokens
    loss = -(logps_BC * mask_BC).sum() / total
    return loss, {"loss": loss.item()}
