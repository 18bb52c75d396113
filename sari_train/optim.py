"""The optimizer, its learning rate, and the step that both training loops take."""

from __future__ import annotations

import math

import torch

from sari_data.errors import InputError
from sari_train.config import Training
from sari_train.models.base import AudioLM


def make_optimizer(lm: AudioLM, table: Training) -> torch.optim.AdamW:
    """Return AdamW over the weights that train; only matrices decay.

    Raises:
        InputError: Nothing is left to train.
    """
    weights = [p for p in lm.model.parameters() if p.requires_grad]
    if not weights:
        raise InputError("no weight of the model is left to train: set freeze_audio to false or add adapters")
    groups = [
        {"params": [p for p in weights if p.dim() >= 2], "weight_decay": table.weight_decay},
        {"params": [p for p in weights if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=table.learning_rate, betas=(0.9, 0.98), fused=True)


def learning_rate(table: Training, step: int) -> float:
    """Return the learning rate of a step (counted from 0): a linear rise, then constant or half a cosine."""
    if step < table.warmup_steps:
        return table.learning_rate * (step + 1) / table.warmup_steps
    if table.schedule == "constant":
        return table.learning_rate
    progress = (step - table.warmup_steps) / max(1, table.steps - table.warmup_steps)
    return table.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def take_step(lm: AudioLM, optimizer: torch.optim.Optimizer, table: Training, step: int) -> dict[str, float]:
    """Clip the gradients, step, clear them; return ``grad_norm`` (before clipping) and ``learning_rate``.

    Raises:
        InputError: The gradients are not finite; the weights are left as they were.
    """
    rate = learning_rate(table, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    weights = [p for p in lm.model.parameters() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(weights, table.grad_clip).item()
    if not math.isfinite(norm):
        raise InputError(f"the gradient of step {step + 1} has norm {norm}: lower learning_rate or use dtype float32")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"grad_norm": norm, "learning_rate": rate}
