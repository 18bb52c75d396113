"""The optimizer, its learning rate, and the step that both training loops take."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sari_data.errors import InputError
from sari_train.config import Training
from sari_train.distributed import ALONE, World
from sari_train.models.base import AudioLM

BETAS = (0.9, 0.98)


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the matrices inside the layers, AdamW for all other weights, as one optimizer.

    Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon) replaces a matrix's momentum by the nearest
    orthogonal matrix. Its step is scaled to the root mean square of AdamW's (Liu et al. 2025, "Muon is
    Scalable for LLM Training", arXiv 2502.16982), so one learning rate serves both.
    """

    def __init__(self, muon: torch.optim.Optimizer, adamw: torch.optim.Optimizer) -> None:
        self.parts: dict[str, torch.optim.Optimizer] = {"muon": muon, "adamw": adamw}
        super().__init__([p for part in self.parts.values() for g in part.param_groups for p in g["params"]], {})
        self._share_groups()

    def _share_groups(self) -> None:
        # The very dictionaries of the parts: a learning rate set here is set there.
        self.param_groups = [group for part in self.parts.values() for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take both steps."""
        for part in self.parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return both states by name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take both states."""
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self._share_groups()


def split_weights(lm: AudioLM) -> tuple[list[Tensor], list[Tensor]]:
    """Return the weights that train: the matrices inside the layers, and all others (embeddings, head, norms)."""
    inside: list[Tensor] = []
    other: list[Tensor] = []
    for name, weight in lm.model.named_parameters():
        if weight.requires_grad:
            (inside if weight.dim() == 2 and ".layers." in name else other).append(weight)
    return inside, other


def make_optimizer(lm: AudioLM, table: Training) -> torch.optim.Optimizer:
    """Return the optimizer over the weights that train; norms and biases do not decay.

    Raises:
        InputError: Nothing is left to train, or the optimizer's package is not installed.
    """
    inside, other = split_weights(lm)
    if not inside and not other:
        raise InputError("no weight of the model is left to train: set freeze_audio to false or add adapters")
    if table.optimizer != "muon":
        inside, other = [], inside + other
    groups = [
        {"params": [p for p in other if p.dim() >= 2], "weight_decay": table.weight_decay},
        {"params": [p for p in other if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    parts: list[torch.optim.Optimizer] = []
    if inside:
        decay = table.weight_decay
        parts.append(
            torch.optim.Muon(inside, lr=table.learning_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        )
    if groups and table.optimizer == "adamw_8bit":
        parts.append(_adamw_8bit()(groups, lr=table.learning_rate, betas=BETAS))
    elif groups:
        parts.append(torch.optim.AdamW(groups, lr=table.learning_rate, betas=BETAS, fused=True))
    return parts[0] if len(parts) == 1 else MuonAdamW(*parts)


def _adamw_8bit() -> Any:
    """AdamW with states in 8 bits (Dettmers et al. 2021, arXiv 2110.02861)."""
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise InputError(
            "optimizer adamw_8bit needs bitsandbytes, which is not installed: `pip install 'sari-audio[quantize]'`, or "
            "set optimizer to adamw"
        ) from error
    return AdamW8bit


def learning_rate(table: Training, step: int) -> float:
    """Return the learning rate of a step (counted from 0): a linear rise, then constant or half a cosine."""
    if step < table.warmup_steps:
        return table.learning_rate * (step + 1) / table.warmup_steps
    if table.schedule == "constant":
        return table.learning_rate
    progress = (step - table.warmup_steps) / max(1, table.steps - table.warmup_steps)
    return table.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def take_step(
    lm: AudioLM, optimizer: torch.optim.Optimizer, table: Training, step: int, world: World = ALONE
) -> dict[str, float]:
    """Add up the processes' gradients, clip them, step, clear them.

    Where the gradient is not finite no step is taken, and the weights stay as they are.

    Returns:
        ``grad_norm`` (before clipping) and ``learning_rate``; where no step was taken, ``skipped_update`` besides.
    """
    rate = learning_rate(table, step)
    for group in optimizer.param_groups:
        group["lr"] = rate
    world.sum_gradients(lm)
    norm = world.clip_gradients([p for p in lm.model.parameters() if p.grad is not None], table.grad_clip)
    finite = math.isfinite(norm)
    if finite:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"grad_norm": norm, "learning_rate": rate} | ({} if finite else {"skipped_update": 1.0})
