"""Weights for tokens whose sampler had other numbers than the trainer: truncated importance sampling.

An inference engine with other kernels or other precision samples from mu, not from the policy pi_old that the
trainer computes from the same weights. The gradient's expectation is then over the wrong distribution, and

    c_t = min( pi_old(o_t) / mu(o_t), cap )

puts it right up to the cap, which bounds the variance (Yao et al. 2025, "Your efficient RL framework secretly
brings you off-policy RL training"; the estimator is Ionides 2008's). Multiply a token's gain by it; it has no
gradient. It is apart from the loss's own ratio pi / pi_old, which is about later updates on one rollout.

A loss of whole sequences gets one weight for each: the length-normalised ratio of GSPO (arXiv 2507.18071,
equation 7) between pi_old and mu, so that the product of both is GSPO's ratio between pi and mu:

    c_i = min( exp( 1/|o_i| sum_t log pi_old(o_it) / mu(o_it) ), cap )

verl's GSPO averages in the same way (the geometric mean of its token weights); TRL's ``sequence_truncate`` takes
the product of the ratios, which is unbiased but for the cap and of a variance that grows with the length.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


@torch.no_grad()
def sampler_correction(
    trainer_N: Tensor,
    sampler_N: Tensor,
    *,
    cap: float,
    level: Literal["token", "sequence"] = "token",
    rows_N: Tensor | None = None,
) -> Tensor:
    """Return the weight of each token [N], in (0, cap], without gradient.

    Args:
        trainer_N: Log-probabilities that the trainer computes with the weights that sampled.
        sampler_N: Those that the sampler reported.
        cap: Bound on the weight.
        level: ``token``, or ``sequence`` for losses that are not ``per_token``.
        rows_N: Index of each token's completion, not decreasing; needed with ``sequence``.
    """
    assert cap > 0, f"the cap of the correction must be above 0; found {cap}"
    gap_N = trainer_N - sampler_N
    if level == "sequence":
        assert rows_N is not None, "one weight for each completion needs the index of each token's completion"
        gap_N = sequence_mean(gap_N, rows_N)
    return gap_N.exp().clamp(max=cap)


@torch.no_grad()
def sequence_mean(values_N: Tensor, rows_N: Tensor) -> Tensor:
    """Return for each token [N] the mean over its completion's tokens, without gradient.

    Sums run in the tokens' order, on a GPU too, so that the same tokens give the same bits.

    Args:
        values_N: One value for each token.
        rows_N: Index of each token's completion, 0 or more, not decreasing.
    """
    assert len(rows_N) == len(values_N), f"expected {len(values_N)} row indices, got {len(rows_N)}"
    assert bool((rows_N[1:] >= rows_N[:-1]).all()), "expected the tokens row after row"
    lengths_B = torch.bincount(rows_N)
    sums_B = torch.segment_reduce(values_N.detach(), "sum", lengths=lengths_B)
    return (sums_B / lengths_B.clamp(min=1))[rows_N]
