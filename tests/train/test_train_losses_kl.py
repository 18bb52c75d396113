"""Estimators of the KL divergence, and the correction for a sampler with other numbers."""

from __future__ import annotations

import math

import pytest
import torch

from sari_train.losses.correction import sampler_correction, sequence_mean
from sari_train.losses.kl import KL, k1, k2, k3, sequence_kl


def test_estimators_by_hand() -> None:
    logps, ref = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.0])  # d = 0.5 and -1
    assert k1(logps, ref).tolist() == [0.5, -1.0]
    assert k2(logps, ref).tolist() == [0.125, 0.5]
    assert k3(logps, ref).tolist() == pytest.approx([math.exp(-0.5) - 1 + 0.5, math.exp(1.0) - 1 - 1])
    assert set(KL) == {"k1", "k2", "k3"}


def test_what_is_unbiased_in_value_and_what_in_gradient() -> None:
    """Over a distribution of three tokens the expectations are sums: no sampling, no tolerance for luck."""
    logits = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([0.0, 0.4, 0.2], dtype=torch.float64).log_softmax(0)
    logps = logits.log_softmax(0)
    exact = (logps.exp() * (logps - ref)).sum()
    (true_gradient,) = torch.autograd.grad(exact, logits, retain_graph=True)
    p = logps.detach().exp()
    values = {name: (p * estimator(logps, ref)).sum() for name, estimator in KL.items()}
    assert values["k1"].item() == pytest.approx(exact.item())
    assert values["k3"].item() == pytest.approx(exact.item())
    assert abs(values["k2"].item() - exact.item()) > 0.01
    # As a loss over tokens that were sampled (p is then a constant), only k2 has the divergence's gradient.
    gradient = {n: torch.autograd.grad(v, logits, retain_graph=True)[0] for n, v in values.items()}
    torch.testing.assert_close(gradient["k2"], true_gradient)
    torch.testing.assert_close(gradient["k1"], torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    assert not torch.allclose(gradient["k3"], true_gradient, rtol=0.01)
    assert (gradient["k3"] * true_gradient).sum() > 0


def test_k3_and_k2_are_never_negative() -> None:
    d = torch.arange(-50, 51) / 10
    for estimator in (k2, k3):
        found = estimator(d, torch.zeros(101))
        assert (found[d != 0] > 0).all()
        assert found[50] == 0
    # As close to each other as they are where d is small, in float32 too.
    small = torch.full((1,), 1e-4)
    torch.testing.assert_close(k3(small, torch.zeros(1)), torch.full((1,), 0.5e-8), rtol=1e-3, atol=0)


def test_the_divergence_of_a_completion_is_the_sum_over_its_tokens() -> None:
    logps = torch.tensor([[-1.0, -2.0], [-3.0, float("nan")]], requires_grad=True)
    ref = torch.tensor([[-1.5, -1.0], [-2.0, 0.0]])
    mask = torch.tensor([[True, True], [True, False]])
    found = sequence_kl(logps, ref, mask, "k1")
    assert found.tolist() == [-0.5, -1.0]
    assert not found.requires_grad
    assert sequence_kl(logps, ref, mask, "k2").tolist() == [0.625, 0.5]


def test_correction_by_hand() -> None:
    trainer = torch.log(torch.tensor([0.4, 0.1, 0.9]))
    sampler = torch.log(torch.tensor([0.2, 0.2, 0.1]))
    # Ratios 2, 1/2 and 9.
    assert sampler_correction(trainer, sampler, cap=2.5).tolist() == pytest.approx([2.0, 0.5, 2.5])
    # One weight for each completion: sqrt(2 * 1/2) = 1, and 9 held at 2.5.
    rows = torch.tensor([0, 0, 1])
    whole = sampler_correction(trainer, sampler, cap=2.5, level="sequence", rows_N=rows)
    assert whole.tolist() == pytest.approx([1.0, 1.0, 2.5])
    # The same numbers need no correction, to the bit.
    assert (sampler_correction(trainer, trainer, cap=2.0, level="sequence", rows_N=rows) == 1).all()
    leaf = trainer.clone().requires_grad_()
    assert not sampler_correction(leaf, sampler, cap=2.0).requires_grad


def test_the_correction_makes_the_gradient_that_of_the_trainers_policy() -> None:
    """E_mu[c grad log pi A] = E_pi[grad log pi A] below the cap; without c it is another gradient."""
    logits = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64, requires_grad=True)
    logps, mu = logits.log_softmax(0), torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    reward = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    correction = sampler_correction(logps, mu.log(), cap=10.0)
    (exact,) = torch.autograd.grad((logps.exp() * reward).sum(), logits, retain_graph=True)
    (corrected,) = torch.autograd.grad((mu * correction * logps * reward).sum(), logits, retain_graph=True)
    (plain,) = torch.autograd.grad((mu * logps * reward).sum(), logits)
    torch.testing.assert_close(corrected, exact)
    assert not torch.allclose(plain, exact, rtol=0.01)


def test_means_over_completions_with_gaps_between_their_indices() -> None:
    values, rows = torch.tensor([1.0, 2.0, 6.0, 5.0]), torch.tensor([1, 1, 1, 4])
    assert sequence_mean(values, rows).tolist() == [3.0, 3.0, 3.0, 5.0]
    with pytest.raises(AssertionError, match="row after row"):
        sequence_mean(values, torch.tensor([1, 4, 1, 1]))
