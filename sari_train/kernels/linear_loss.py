"""Losses of the head that are known while its logits are: one pass, three matrix products, no logits [N, V].

``linear_logprob`` serves any loss, and pays for it with a fourth product where the head trains. If the loss is
a sum over tokens, sum_n f(log p_n), then g_n = f'(log p_n) is known as soon as a chunk of rows has been
through the softmax, and with it (T is the temperature)

    dz = g (onehot(y) - p) / T        dh = W' dz        dW = sum_n dz h'        db = sum_n dz

can be made before the chunk's logits are dropped. GRPO's clipped objective is such a sum (each token's
weight, advantage, old and reference log-probabilities are constants), and so is the cross entropy. A loss
of whole sequences (GSPO) is not.

With a frozen head, J = (W_y - E_p[W]) / T comes from the online pass of ``linear_logprob`` instead, and
two products do.

Label smoothing s takes (1 - s) of the loss from the target and s from the mean over the vocabulary,
which adds k (1/V - p) / T to dz for the gradient k of that mean.

Memory beyond inputs, outputs and gradients: one chunk of whole rows of logits, at most 256 MiB in
float32, whatever N is.

Shapes: N rows, D hidden size, V vocabulary, C rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sari_data.errors import InputError
from sari_train.kernels import _rows
from sari_train.kernels._rows import Head, accumulator, add_head_gradients, check, spans
from sari_train.kernels.linear_logprob import linear_logprob

# (log-probabilities [C] of some rows, which rows) to the loss that they add, a scalar.
Objective = Callable[[Tensor, slice], Tensor]


@dataclass(frozen=True, slots=True)
class LinearLoss:
    """A loss with what was found on the way: ``logps_N`` and ``entropy_N`` carry no gradient."""

    loss: Tensor
    logps_N: Tensor
    entropy_N: Tensor


def linear_loss(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    objective: Objective,
    *,
    bias_V: Tensor | None = None,
    temperature: float = 1.0,
    banned: Sequence[int] = (),
    with_entropy: bool = True,
) -> LinearLoss:
    """Return the sum of ``objective`` over all rows, with gradients for hidden, weight and bias.

    Args:
        hidden_ND: Hidden states, float32, float64, float16 or bfloat16; weight and bias have the same type.
        weight_VD: Weight of the head.
        targets_N: The tokens asked for, int64.
        objective: Called once or more with the log-probabilities of consecutive rows and the slice of them;
            returns the loss these rows add. It may use operations that autograd knows; nothing but the
            log-probabilities gets a gradient.
        bias_V: Bias of the head, where it has one.
        temperature: Divides the logits.
        banned: Tokens outside the distribution.
        with_entropy: Compute the entropy; zeros otherwise.

    Raises:
        InputError: Inputs that do not fit together, as in ``linear_logprob``.
    """
    check(hidden_ND, weight_VD, targets_N, bias_V, temperature, banned)
    trains = [x is not None and x.requires_grad and torch.is_grad_enabled() for x in (weight_VD, bias_V)]
    if not any(trains):
        logps_N, entropy_N = linear_logprob(
            hidden_ND,
            weight_VD,
            targets_N,
            bias_V=bias_V,
            temperature=temperature,
            banned=banned,
            with_entropy=with_entropy,
        )
        return LinearLoss(objective(logps_N, slice(0, len(logps_N))), logps_N.detach(), entropy_N)
    with torch.autocast(hidden_ND.device.type, enabled=False):
        return LinearLoss(
            *_LinearLoss.apply(
                hidden_ND,
                weight_VD,
                bias_V,
                targets_N,
                lambda logps, _means, at: objective(logps, at),
                temperature,
                tuple(banned),
                with_entropy,
                False,
            )
        )


def linear_cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    *,
    bias_V: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Literal["sum", "mean"] = "mean",
) -> Tensor:
    """Return the cross entropy of ``targets_N``, as ``torch.nn.functional.cross_entropy`` of the logits would.

    Args:
        hidden_ND: Hidden states, float32, float64, float16 or bfloat16; weight and bias have the same type.
        weight_VD: Weight of the head.
        targets_N: The right tokens, int64; rows with ``ignore_index`` take no part.
        bias_V: Bias of the head, where it has one.
        ignore_index: Marks rows without a target.
        label_smoothing: Share of the target's mass that goes to all tokens alike.
        reduction: ``sum``, or ``mean`` over the rows that take part.

    Raises:
        InputError: Inputs that do not fit together, or no row that takes part under ``mean``.
    """
    if not 0 <= label_smoothing < 1:
        raise InputError(f"expected label_smoothing from 0 to below 1; found {label_smoothing}")
    if reduction not in ("sum", "mean"):
        raise InputError(f"expected reduction 'sum' or 'mean'; found {reduction!r}")
    check(hidden_ND, weight_VD, targets_N, bias_V, 1.0, (), ignore_index=ignore_index)
    used = targets_N != ignore_index
    count = int(used.sum())
    if count == 0 and reduction == "mean":
        raise InputError(
            f"expected a target in some row; found only {ignore_index}: there is nothing to take a mean of"
        )
    if count < len(targets_N):
        hidden_ND, targets_N = hidden_ND[used], targets_N[used]
    scale = 1.0 / count if reduction == "mean" else 1.0

    def objective(logps_C: Tensor, means_C: Tensor, _: slice) -> Tensor:
        return -scale * ((1 - label_smoothing) * logps_C + label_smoothing * means_C).sum()

    with torch.autocast(hidden_ND.device.type, enabled=False):
        loss, _, _ = _LinearLoss.apply(
            hidden_ND, weight_VD, bias_V, targets_N, objective, 1.0, (), False, label_smoothing > 0
        )
    return loss


class _LinearLoss(torch.autograd.Function):
    """Loss and, where they are wanted, all gradients for an upstream gradient of 1, in one pass over chunks of rows."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        objective: Callable[[Tensor, Tensor, slice], Tensor],
        temperature: float,
        banned: tuple[int, ...],
        with_entropy: bool,
        with_means: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        n, v, kind = len(hidden_ND), len(weight_VD), accumulator(hidden_ND.dtype)
        head = Head(weight_VD, bias_V, temperature, torch.tensor(banned, dtype=torch.long, device=hidden_ND.device))
        wanted = ctx.needs_input_grad[:3]
        hidden_grad = torch.empty_like(hidden_ND) if wanted[0] else None
        weight_grad = torch.zeros_like(weight_VD, dtype=kind) if wanted[1] else None
        bias_grad = hidden_ND.new_zeros(v, dtype=kind) if wanted[2] else None
        loss = hidden_ND.new_zeros((), dtype=kind)
        logps_N, entropy_N = (hidden_ND.new_zeros(n, dtype=kind) for _ in range(2))
        rows = max(1, min(n, _rows.CHUNK_ELEMENTS // v))
        buffer = hidden_ND.new_empty(rows * v, dtype=kind)
        for begin, end in spans(n, rows):
            hidden, targets = hidden_ND[begin:end], targets_N[begin:end]
            z = head.logits(hidden, 0, v, buffer[: (end - begin) * v].view(-1, v))
            chosen = z.gather(1, targets[:, None])[:, 0]
            means = z.mean(1) if with_means else torch.zeros_like(chosen)
            top = z.amax(1)
            z -= top[:, None]
            if with_entropy:
                weighted = torch.cat([(part.exp() * part).sum(1) for part in z.split(max(1, rows // 64))])
            mass = z.exp_().sum(1)
            lse = top + mass.log()
            if with_entropy:
                entropy_N[begin:end] = mass.log() - weighted / mass
            logps_N[begin:end] = chosen - lse
            with torch.enable_grad():
                logp = (chosen - lse).requires_grad_()
                mean = (means - lse).requires_grad_() if with_means else means
                part = objective(logp, mean, slice(begin, end))
                g, k = (
                    torch.autograd.grad(part, (logp, mean))
                    if with_means
                    else (
                        torch.autograd.grad(part, logp)[0],
                        None,
                    )
                )
            loss += part.detach()
            if not any(wanted):
                continue
            dz = z.mul_(((-g if k is None else -g - k) / (mass * temperature))[:, None])
            if k is not None:
                dz.add_((k / (v * temperature))[:, None])
            dz.scatter_add_(1, targets[:, None], (g / temperature)[:, None])
            if hidden_grad is not None:
                hidden_grad[begin:end] = dz.to(hidden.dtype) @ weight_VD
            add_head_gradients(dz, hidden, head, weight_grad, bias_grad)
        # Not save_for_backward: the gradients are handed over, not kept, so that dW is never there twice.
        ctx.grads, ctx.kind = (hidden_grad, weight_grad, bias_grad), hidden_ND.dtype
        ctx.mark_non_differentiable(logps_N, entropy_N)
        return loss, logps_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        assert ctx.grads is not None, "the gradients of linear_loss were made in one pass and are used up: run it again"
        grads, ctx.grads = ctx.grads, None
        scaled = (None if found is None else found.mul_(grad).to(ctx.kind) for found in grads)
        return (*scaled, *(None,) * 6)
