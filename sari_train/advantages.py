"""Advantages relative to the group: what a sample earned beyond its siblings (arXiv 2402.03300, section 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def group_advantages(rewards_PG: Tensor, *, scale_std: bool = True) -> tuple[Tensor, dict[str, float]]:
    """Return (advantages [P, G], metrics) from the rewards of P prompts with G samples each.

    The group's mean is taken off; with ``scale_std`` the rest is divided by the group's standard
    deviation (of the group as a whole, divisor G). A group whose samples all earned the same teaches
    nothing: its advantages are exactly 0, and ``flat_groups`` is the share of such groups.
    """
    assert rewards_PG.dim() == 2, f"expected rewards [prompts, samples], got {tuple(rewards_PG.shape)}"
    flat_P1 = (rewards_PG == rewards_PG[:, :1]).all(-1, keepdim=True)
    centred_PG = rewards_PG - rewards_PG.mean(-1, keepdim=True)
    if scale_std:
        centred_PG = centred_PG / (rewards_PG.std(-1, keepdim=True, correction=0) + 1e-6)
    advantages_PG = torch.where(flat_P1, torch.zeros_like(centred_PG), centred_PG)
    return advantages_PG, {"flat_groups": flat_P1.float().mean().item()}
