"""What a policy loss is, and the one function that turns it into numbers.

All losses here have the form

    L = - sum_n w_n [ c_n gain_n - beta KL_n ]

over the completion tokens n of a step. The weights w say what is averaged over what (``token_weights``),
the gain is the loss's own (one file each beside this one), KL is an estimator of :mod:`sari_train.losses.kl`,
and c corrects for a sampler with other numbers (:mod:`sari_train.losses.correction`; 1 without one). Both
the loss and what is reported of it are sums over tokens, so those of micro-batches, and of processes, add up.

On the first update after a rollout the old log-probabilities are the current ones, detached: the ratio is
exactly 1, nothing is clipped, and the gradient of every loss here is that of the plain policy gradient.

Shapes: B rows, C columns of completion tokens, N completion tokens of a micro-batch, row after row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from sari_train.losses.kl import KL, KLName

Weighting = Literal["sequence", "token", "constant", "micro_batch"]


class Gain(NamedTuple):
    """What each token adds to the objective, and which ratios left the interval.

    Args:
        gain_N: The objective's terms, with their gradient.
        below_N: True where the ratio fell below the interval and the bound, not the ratio, counts.
        above_N: The same above it.
    """

    gain_N: Tensor
    below_N: Tensor
    above_N: Tensor


class GainFunction(Protocol):
    """Log-probabilities to gains; see :class:`Gain`."""

    def __call__(
        self,
        logps: Tensor,
        old_logps: Tensor,
        advantages: Tensor,
        *,
        low: float,
        high: float,
        rows: Tensor | None = None,
    ) -> Gain:
        """Return the gains.

        Args:
            logps: Log-probabilities [N] under the policy that learns, in nats.
            old_logps: Those [N] under the policy that sampled.
            advantages: Advantage [N] of each token's completion.
            low: The interval for the ratio begins at 1 - low.
            high: It ends at 1 + high.
            rows: Index [N] of each token's completion, not decreasing; losses of whole sequences need it.
        """
        ...


@dataclass(frozen=True)
class Loss:
    """A policy loss with its paper's settings, which count where a recipe leaves the key out.

    Args:
        name: As in a recipe.
        source: Paper and equation.
        gain: What a token adds to the objective.
        weighting: What is averaged over what; see :func:`token_weights`.
        per_token: Whether a token's gain depends on nothing but this token, so that a fused head may make
            gradients slice by slice. False: the tokens of a completion must be together, but for the first
            update after a rollout, where every ratio is 1 whatever the slice.
        clip_low: How far below 1 a ratio counts.
        clip_high: How far above 1.
        scale: What a reward's distance from the baseline is divided by (:mod:`sari_train.advantages`).
    """

    name: str
    source: str
    gain: GainFunction
    weighting: Weighting
    per_token: bool
    clip_low: float
    clip_high: float
    scale: Literal["group", "batch", "none"]


def policy_terms(
    loss: Loss,
    logps_N: Tensor,
    old_N: Tensor,
    advantages_N: Tensor,
    weights_N: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    beta: float = 0.0,
    kl: KLName = "k3",
    ref_N: Tensor | None = None,
    correction_N: Tensor | None = None,
    rows_N: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss that some tokens add, and their shares of the metrics.

    Args:
        loss: Which loss.
        logps_N: Log-probabilities under the policy that learns; what the gradient is for.
        old_N: Those under the policy that sampled; no gradient.
        advantages_N: Advantage of each token's completion.
        weights_N: From :func:`token_weights`.
        clip_low: The interval for the ratio begins at 1 - clip_low.
        clip_high: It ends at 1 + clip_high.
        beta: Weight of the KL divergence to the reference in the loss.
        kl: Its estimator.
        ref_N: Log-probabilities under the reference; needed where ``beta`` > 0. With ``beta`` 0 the
            divergence is measured and has no gradient (it may be part of the reward).
        correction_N: Weight of each token's gain, without gradient; absent: 1. The divergence is not corrected.
        rows_N: Index of each token's completion, not decreasing; needed where not ``loss.per_token``.

    Returns:
        (loss, shares): a scalar with gradient, and detached scalars: ``loss``; ``kl`` (nats; 0 without a
        reference), ``clip_low_fraction``, ``clip_high_fraction`` and ``clip_fraction`` (their sum), each a sum
        over tokens times their weights; and ``weight``, the weights' sum. Shares of micro-batches add up to the
        step's. The weights of a whole step add up to 1 unless tokens are left out or the weighting is
        ``constant``: there a share divided by ``weight`` is the mean.
    """
    assert beta == 0 or ref_N is not None, "a KL penalty needs the reference's log-probabilities"
    assert loss.per_token or rows_N is not None, f"{loss.name} needs the index of each token's completion"
    found = loss.gain(logps_N, old_N.detach(), advantages_N, low=clip_low, high=clip_high, rows=rows_N)
    gain_N = found.gain_N if correction_N is None else found.gain_N * correction_N.detach()
    kl_N = torch.zeros_like(logps_N) if ref_N is None else KL[kl](logps_N, ref_N.detach())
    if beta > 0:
        gain_N = gain_N - beta * kl_N
    value = -(gain_N * weights_N).sum()
    with torch.no_grad():
        below, above = ((side_N * weights_N).sum() for side_N in (found.below_N, found.above_N))
        shares = {
            "loss": value.detach(),
            "kl": (kl_N.detach() * weights_N).sum(),
            "clip_low_fraction": below,
            "clip_high_fraction": above,
            "clip_fraction": below + above,
            "weight": weights_N.sum(),
        }
    return value, shares


def token_weights(mask_BC: Tensor, *, weighting: Weighting, total: int, max_new_tokens: int) -> Tensor:
    """Return what each token counts [B, C], float32: 0 where there is no token.

    ``sequence``: the mean over each completion's tokens, then over completions. ``token``: the mean over all
    tokens. ``constant``: the sum over each completion's tokens divided by ``max_new_tokens``, then the mean over
    completions. ``micro_batch``: the mean over this micro-batch's tokens, then over micro-batches; alone of the
    four it depends on how a step is split.

    Args:
        mask_BC: True at the completion tokens that count.
        weighting: Which of the four.
        total: What there is of the unit (``step_total``) in the whole step, all micro-batches and processes.
        max_new_tokens: Bound on a completion's length; only ``constant`` uses it.
    """
    assert total > 0, f"a step holds at least one completion, token or micro-batch; found {total}"
    mask = mask_BC.float()
    if weighting == "sequence":
        return mask / mask.sum(-1, keepdim=True).clamp(min=1) / total
    if weighting == "token":
        return mask / total
    if weighting == "constant":
        return mask / (max_new_tokens * total)
    return mask / mask.sum().clamp(min=1) / total


def step_total(weighting: Weighting, *, completions: int, tokens: int, micro_batches: int) -> int:
    """Return what :func:`token_weights` takes as ``total``, from the counts of the whole step."""
    return {"sequence": completions, "constant": completions, "token": tokens, "micro_batch": micro_batches}[weighting]
