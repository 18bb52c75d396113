"""The optimizers: which weights Muon takes, how far it moves them, and one learning rate for both."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from train_helpers import make_lm

from sari_train.config import Lora, Sft
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.optim import MuonAdamW, make_optimizer, take_step

RATE = 0.01


@pytest.fixture
def lm(processor: Any) -> AudioLM:
    return make_lm(processor)


Moved = dict[str, tuple[torch.Tensor, torch.Tensor]]


def _stepped(lm: AudioLM, table: Sft) -> tuple[Moved, torch.optim.Optimizer]:
    """Take one step along a random gradient; returns the gradient, and what was added, for each weight."""
    generator = torch.Generator().manual_seed(0)
    before, gradients = {}, {}
    for name, weight in lm.model.named_parameters():
        if weight.requires_grad:
            before[name] = weight.detach().clone()
            weight.grad = torch.randn(weight.shape, generator=generator)
            gradients[name] = weight.grad.clone()
    optimizer = make_optimizer(lm, table)
    take_step(lm, optimizer, table, 0)
    after = dict(lm.model.named_parameters())
    return {name: (gradients[name], (after[name] - old).detach()) for name, old in before.items()}, optimizer


def _table(**changes: object) -> Sft:
    return Sft(learning_rate=RATE, warmup_steps=0, schedule="constant", grad_clip=1e9, **changes)  # type: ignore[arg-type]


def test_muon_moves_matrices_by_orthogonal_ones_and_adamw_the_rest(lm: AudioLM) -> None:
    moved, optimizer = _stepped(lm, _table(optimizer="muon"))
    assert isinstance(optimizer, MuonAdamW)
    inside = {n for n, (_, d) in moved.items() if d.dim() == 2 and ".layers." in n}
    assert any("language_model" in n for n in inside)
    assert any("audio_tower" in n for n in inside)
    for name, (gradient, change) in moved.items():
        if name in inside:
            scale = RATE * 0.2 * math.sqrt(max(change.shape))
            values = torch.linalg.svdvals(change / scale)
            # Orthogonal as far as five Newton-Schulz steps bring it; those of a random matrix go up to 2.
            assert values.quantile(0.1) > 0.5, name
            assert values.max() < 1.3, name
            # Of all orthogonal matrices it is the one that goes down the gradient most.
            falls = -(gradient * change).sum() / (scale * torch.linalg.svdvals(gradient).sum())
            assert 0.75 < falls < 1.2, name
        else:
            # AdamW's first step is the learning rate against the gradient's sign.
            assert torch.allclose(change, -RATE * gradient.sign(), rtol=1e-3), name


def test_adamw_is_the_default_and_moves_everything_alike(lm: AudioLM) -> None:
    moved, optimizer = _stepped(lm, _table())
    assert type(optimizer) is torch.optim.AdamW
    assert all(torch.allclose(d, -RATE * g.sign(), rtol=1e-3) for g, d in moved.values())


def test_a_learning_rate_reaches_both_parts_after_a_restart(lm: AudioLM) -> None:
    _, first = _stepped(lm, _table(optimizer="muon"))
    state = first.state_dict()
    second = make_optimizer(lm, _table(optimizer="muon"))
    second.load_state_dict(state)
    assert isinstance(second, MuonAdamW)
    for group in second.param_groups:
        group["lr"] = 0.125
    assert all(g["lr"] == 0.125 for part in second.parts.values() for g in part.param_groups)
    assert all(len(part.state) > 0 for part in second.parts.values())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_adapters_alone_train_with_either(lm: AudioLM, optimizer: str) -> None:
    add_lora(lm, Lora(rank=2), seed=0)
    moved, _ = _stepped(lm, _table(optimizer=optimizer))
    assert moved
    assert all(d.abs().max() > 0 for _, d in moved.values())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_norms_and_biases_do_not_decay(processor: Any, optimizer: str) -> None:
    changes = []
    for decay in (0.0, 0.5):
        moved, _ = _stepped(make_lm(processor), _table(optimizer=optimizer, weight_decay=decay))
        changes.append({name: change for name, (_, change) in moved.items()})
    decayed = {n for n in changes[0] if not torch.allclose(changes[0][n], changes[1][n], atol=1e-7)}
    assert decayed == {n for n, change in changes[0].items() if change.dim() >= 2}


def test_the_encoders_positions_do_not_train_in_a_loaded_model(small_folder: Any) -> None:
    loaded = load_model(str(small_folder))
    moved, _ = _stepped(loaded, _table())
    assert moved
    assert not any("embed_positions" in name for name in moved)
