"""Losses and advantages against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from sari_train.advantages import group_advantages
from sari_train.losses.grpo import grpo_loss

MASK = torch.tensor([[True, True], [True, False]])


def test_grpo_with_the_sampling_policy_itself() -> None:
    """Ratio 1: the loss is minus the mean advantage, the gradient minus advantage over length and rows."""
    logps = torch.tensor([[-1.0, -2.0], [-3.0, -99.0]], requires_grad=True)
    loss, metrics = grpo_loss(logps, logps.detach(), torch.tensor([1.0, -0.5]), MASK)
    assert loss.item() == pytest.approx(-0.25)
    loss.backward()
    torch.testing.assert_close(logps.grad, torch.tensor([[-0.25, -0.25], [0.25, 0.0]]))
    assert metrics["clip_fraction"] == 0


def test_grpo_clips_on_the_side_that_would_gain() -> None:
    old = torch.zeros(4, 1)
    logps = torch.log(torch.tensor([[1.5], [1.5], [0.5], [0.5]])).requires_grad_()
    mask = torch.ones(4, 1, dtype=torch.bool)
    loss, metrics = grpo_loss(logps, old, torch.tensor([1.0, -1.0, 1.0, -1.0]), mask, clip_epsilon=0.2)
    assert loss.item() == pytest.approx(-(1.2 - 1.5 + 0.5 - 0.8) / 4)
    assert metrics["clip_fraction"] == 0.5
    loss.backward()
    assert logps.grad is not None
    torch.testing.assert_close(logps.grad[:, 0], torch.tensor([0.0, 1.5, -0.5, 0.0]) / 4)


def test_grpo_penalises_the_distance_to_the_reference() -> None:
    logps, ref = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.5, -1.0]])
    mask = torch.tensor([[True, True]])
    k3 = (math.exp(-0.5) + 0.5 - 1 + math.exp(1.0) - 1.0 - 1) / 2
    loss, metrics = grpo_loss(logps, logps, torch.tensor([0.0]), mask, beta=0.1, ref_logps_BC=ref)
    assert metrics["kl"] == pytest.approx(k3)
    assert loss.item() == pytest.approx(0.1 * k3)


def test_sequence_and_token_normalisation_differ_as_defined() -> None:
    logps = torch.zeros(2, 2)
    advantages = torch.tensor([1.0, 3.0])
    assert grpo_loss(logps, logps, advantages, MASK)[0].item() == pytest.approx(-(1 + 3) / 2)
    token = grpo_loss(logps, logps, advantages, MASK, normalise="token")[0].item()
    assert token == pytest.approx(-(1 + 1 + 3) / 3)


@pytest.mark.parametrize("normalise", ["sequence", "token"])
def test_micro_batches_add_up(normalise: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logps, old, ref = (torch.randn(8, 5, generator=generator) * 0.2 for _ in range(3))
    advantages = torch.randn(8, generator=generator)
    mask = torch.arange(5) < torch.randint(1, 6, (8, 1), generator=generator)

    def run(rows: slice, total: int | None) -> tuple[float, dict[str, float]]:
        loss, metrics = grpo_loss(
            logps[rows],
            old[rows],
            advantages[rows],
            mask[rows],
            beta=0.1,
            ref_logps_BC=ref[rows],
            normalise=normalise,
            total=total,  # type: ignore[arg-type]
        )
        return loss.item(), metrics

    whole = run(slice(None), None)
    total = 8 if normalise == "sequence" else int(mask.sum())
    parts = [run(slice(i, i + 1), total) for i in range(8)]
    assert sum(p[0] for p in parts) == pytest.approx(whole[0], abs=1e-6)
    for name in whole[1]:
        assert sum(p[1][name] for p in parts) == pytest.approx(whole[1][name], abs=1e-6)


def test_advantages_by_hand() -> None:
    rewards = torch.tensor([[1.0, 3.0, 1.0, 3.0], [2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 4.0]])
    advantages, metrics = group_advantages(rewards)
    expected = torch.tensor([[-1.0, 1, -1, 1], [0, 0, 0, 0], [-1 / 3**0.5] * 3 + [3 / 3**0.5]])
    torch.testing.assert_close(advantages, expected, atol=1e-5, rtol=0)
    assert metrics["flat_groups"] == pytest.approx(1 / 3)
    unscaled, _ = group_advantages(rewards, scale_std=False)
    torch.testing.assert_close(unscaled[2], torch.tensor([-1.0, -1, -1, 3]))


def test_a_flat_group_is_exactly_zero_whatever_rounding_says() -> None:
    rewards = torch.full((1, 7), 0.1)
    assert (group_advantages(rewards)[0] == 0).all()
