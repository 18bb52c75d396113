"""Advantages against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from sari_data.errors import InputError
from sari_train.advantages import beta_density, decomposed_advantages, flat, group_advantages

REWARDS = torch.tensor([[1.0, 3.0, 1.0, 3.0], [2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 4.0]])


def test_the_groups_own_scale_by_hand() -> None:
    advantages, metrics = group_advantages(REWARDS)
    # Means 2, 2, 1; standard deviations 1, 0, sqrt(3).
    expected = torch.tensor([[-1.0, 1, -1, 1], [0, 0, 0, 0], [-1 / 3**0.5] * 3 + [3 / 3**0.5]])
    torch.testing.assert_close(advantages, expected, atol=1e-5, rtol=0)
    assert metrics == {"flat_groups": pytest.approx(1 / 3)}
    assert flat(REWARDS).tolist() == [False, True, False]


def test_no_scale_and_the_batchs_by_hand() -> None:
    gaps = torch.tensor([[-1.0, 1, -1, 1], [0, 0, 0, 0], [-1, -1, -1, 3]])
    torch.testing.assert_close(group_advantages(REWARDS, scale="none")[0], gaps)
    # All twelve rewards: mean 20 / 12; squares 1 + 9 + 1 + 9 + 4 * 4 + 16 = 52; variance 52 / 12 - (5 / 3)^2 = 14 / 9.
    deviation = math.sqrt(14 / 9)
    batch = group_advantages(REWARDS, scale="batch")[0]
    torch.testing.assert_close(batch, gaps / deviation, atol=1e-5, rtol=0)
    # It is one number for the whole step: another group changes it.
    assert not torch.allclose(group_advantages(REWARDS[:1], scale="batch")[0], batch[:1], rtol=0.01)


def test_leaving_one_out_by_hand() -> None:
    advantages, _ = group_advantages(REWARDS, baseline="leave_one_out", scale="none")
    # 1 - (3 + 1 + 3) / 3 = -4/3; 0 - 4/3; 4 - 0.
    expected = torch.tensor([[-4 / 3, 4 / 3, -4 / 3, 4 / 3], [0] * 4, [-4 / 3, -4 / 3, -4 / 3, 4.0]])
    torch.testing.assert_close(advantages, expected)
    loop = torch.tensor([[r - (sum(row) - r) / 3 for r in row] for row in REWARDS.tolist()])
    torch.testing.assert_close(advantages, loop)


@pytest.mark.parametrize("scale", ["group", "batch", "none", "beta"])
@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
def test_a_flat_group_is_exactly_zero_whatever_rounding_says(baseline: str, scale: str) -> None:
    # The mean of seven times 0.1 is not 0.1 in float32.
    rewards = torch.cat([torch.full((1, 7), 0.1), torch.tensor([[0.0, 1, 0, 1, 1, 1, 0]])])
    assert rewards[0].mean() != rewards[0, 0]
    advantages, metrics = group_advantages(rewards, baseline=baseline, scale=scale)  # type: ignore[arg-type]
    assert (advantages[0] == 0).all()
    assert (advantages[1] != 0).all()
    assert metrics["flat_groups"] == 0.5


def test_the_beta_scale_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.float64)
    # Means 1/4, 1/2, 3/4: mean 1/2, variance 1/16, so a = b = (1/4 * 16 - 1) / 2 = 3/2 and the density is that of
    # Beta(3/2, 3/2), (8 / pi) sqrt(p (1 - p)).
    density = [8 / math.pi * math.sqrt(p * (1 - p)) for p in (0.25, 0.5, 0.75)]
    assert beta_density(rewards.mean(-1)).tolist() == pytest.approx(density)
    advantages, _ = group_advantages(rewards, scale="beta")
    assert advantages[0].tolist() == pytest.approx([0.75 / density[0]] + [-0.25 / density[0]] * 3)
    assert advantages[1].tolist() == pytest.approx([0.5 / density[1]] * 2 + [-0.5 / density[1]] * 2)


def test_the_beta_scale_where_there_is_nothing_to_fit() -> None:
    alone = torch.tensor([[1.0, 0.0]])
    alike = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    for rewards in (alone, alike):
        torch.testing.assert_close(group_advantages(rewards, scale="beta")[0], rewards - 0.5)
    # Means further apart than any beta distribution's: the parameters stop at 1, which is no scale.
    apart = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    torch.testing.assert_close(group_advantages(apart, scale="beta")[0][2], torch.tensor([0.5, -0.5]))


def test_the_beta_scale_is_for_rewards_between_0_and_1() -> None:
    with pytest.raises(InputError, match=r"for rewards in \[0, 1\]; found 0 to 4"):
        group_advantages(REWARDS, scale="beta")


def test_each_reward_compared_for_itself() -> None:
    accuracy = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    form = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]])
    parts = {"accuracy": accuracy, "format": form, "watched": 1 - accuracy}
    advantages, metrics = decomposed_advantages(parts, {"accuracy": 2.0, "format": 1.0, "watched": 0.0}, scale="none")
    # 2 (1 - 1/2) + 0; and 0 + (0 - 3/4).
    expected = torch.tensor([[1.0, -1.0, -1.0, 1.0], [-0.75, 0.25, 0.25, 0.25]])
    torch.testing.assert_close(advantages, expected)
    assert metrics["flat_groups"] == 0
    both = {"accuracy": accuracy, "format": torch.ones(2, 4)}
    assert decomposed_advantages(both, {"accuracy": 1.0, "format": 1.0})[1]["flat_groups"] == 0.5
