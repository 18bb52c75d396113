"""Estimators of KL(pi || pi_ref) from the tokens that pi sampled: Schulman 2020, "Approximating KL divergence".

With the log-ratio d = log pi(o_t) - log pi_ref(o_t), in nats:

    k1 = d                      unbiased, of either sign, high variance
    k2 = d^2 / 2                biased, never negative, low variance
    k3 = exp(-d) - 1 + d        unbiased, never negative; arXiv 2402.03300, equation 4

These statements are about values. As part of a loss an estimator is used for its gradient, and there the
order is another one. The gradient of KL(pi || pi_ref) is E_pi[d grad log pi]. That is exactly what k2 gives.
k1 gives grad log pi, whose mean is 0: nothing but noise. k3 gives (1 - exp(-d)) grad log pi, the same as k2
where d is small and bounded above where it is not. As part of the reward an estimator is a number, and the
gradient comes from the policy gradient: there k1 is the unbiased choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

KLName = Literal["k1", "k2", "k3"]


def k1(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """Return d for each token, with its gradient for ``logps``."""
    return logps - ref_logps


def k2(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """Return d^2 / 2 for each token, with its gradient for ``logps``."""
    return (logps - ref_logps).square() / 2


def k3(logps: Tensor, ref_logps: Tensor) -> Tensor:
    """Return exp(-d) - 1 + d for each token, with its gradient for ``logps``."""
    gap = ref_logps - logps
    return gap.expm1() - gap  # exp(gap) - 1 would round d^2 / 2 away where d is small


KL: Mapping[KLName, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}


@torch.no_grad()
def sequence_kl(logps_BC: Tensor, ref_logps_BC: Tensor, mask_BC: Tensor, kl: KLName) -> Tensor:
    """Return the divergence of each completion [B], the sum of its tokens' estimates in nats, without gradient.

    What ``kl_in = "reward"`` takes off a completion's reward, times beta: the penalty of the whole answer, as
    in Ouyang et al. 2022, arXiv 2203.02155, equation 2.

    Args:
        logps_BC: Log-probabilities under the policy that sampled.
        ref_logps_BC: Those under the reference.
        mask_BC: True at completion tokens; what stands elsewhere is not read.
        kl: The estimator.
    """
    estimate_BC = KL[kl](logps_BC, ref_logps_BC)
    return torch.where(mask_BC, estimate_BC, torch.zeros_like(estimate_BC)).sum(-1)
