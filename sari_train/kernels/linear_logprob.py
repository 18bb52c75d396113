"""Log-probabilities of chosen tokens from hidden states, without logits [N, V].

Forward, for row n with hidden state h, target y and temperature T:

    z = (W h + b) / T        log p(y) = z_y - logsumexp(z)        entropy = logsumexp(z) - sum_v p_v z_v

Backward, for an upstream gradient g of log p(y), with dz = g (onehot(y) - p) / T:

    dh = W' dz = g J with J = (W_y - E_p[W]) / T        dW = sum_n dz h'        db = sum_n dz

Two paths. With a *frozen head* J [N, D] is found in the forward pass, beside log p, by one online pass over
blocks of the vocabulary; the backward pass of any later loss is then one product with g. Two matrix
products in all, as many as logits and their backward pass take. With a *trainable head* the blocks
are made again in the backward pass, because dW needs each p: four matrix products instead of three.
``linear_loss`` avoids the fourth where the loss is known in the forward pass.

Memory beyond inputs, outputs and gradients: one block of logits (frozen, and every forward pass: 32 MiB in
float32) or one chunk of whole rows (trainable, in the backward pass: at most 256 MiB), whatever N is.

Shapes: N rows, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sari_train.kernels import _rows
from sari_train.kernels._rows import Head, accumulator, add_head_gradients, check, scan, spans


def linear_logprob(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    *,
    bias_V: Tensor | None = None,
    temperature: float = 1.0,
    banned: Sequence[int] = (),
    with_entropy: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return (log-probability of each target [N], entropy of its distribution in nats [N]).

    Both are float32 (float64 for float64 inputs). Gradients reach hidden, weight and bias through the
    log-probabilities, each computed only where it is needed; the entropy has none.

    Args:
        hidden_ND: Hidden states, float32, float64, float16 or bfloat16; weight and bias have the same type.
        weight_VD: Weight of the head.
        targets_N: The tokens asked for, int64.
        bias_V: Bias of the head, where it has one.
        temperature: Divides the logits.
        banned: Tokens outside the distribution.
        with_entropy: Compute the entropy; zeros otherwise.

    Raises:
        InputError: See :func:`sari_train.kernels._rows.check`.
    """
    check(hidden_ND, weight_VD, targets_N, bias_V, temperature, banned)
    with torch.autocast(hidden_ND.device.type, enabled=False):
        return _LinearLogprob.apply(hidden_ND, weight_VD, bias_V, targets_N, temperature, tuple(banned), with_entropy)


class _LinearLogprob(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        temperature: float,
        banned: tuple[int, ...],
        with_entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        ids = torch.tensor(banned, dtype=torch.long, device=hidden_ND.device)
        head = Head(weight_VD, bias_V, temperature, ids)
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        frozen = wants_hidden and not wants_weight and not wants_bias
        found = scan(hidden_ND, targets_N, head, with_entropy=with_entropy, with_expectation=frozen)
        ctx.mark_non_differentiable(found.entropy_N)
        ctx.set_materialize_grads(False)
        ctx.frozen, ctx.temperature = frozen, temperature
        if frozen:
            assert found.expected_ND is not None
            # In place: the expectation is not wanted for anything else.
            jacobian_ND = found.expected_ND.neg_().add_(weight_VD[targets_N]).div_(temperature)
            ctx.save_for_backward(jacobian_ND.to(hidden_ND.dtype))
        elif any(ctx.needs_input_grad):
            ctx.save_for_backward(hidden_ND, weight_VD, bias_V, targets_N, ids, found.lse_N)
        return found.logps_N, found.entropy_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad_N is None:
            return (None,) * 7
        if ctx.frozen:
            (jacobian_ND,) = ctx.saved_tensors
            return (jacobian_ND * grad_N[:, None].to(jacobian_ND.dtype), *(None,) * 6)
        hidden_ND, weight_VD, bias_V, targets_N, ids, lse_N = ctx.saved_tensors
        head = Head(weight_VD, bias_V, ctx.temperature, ids)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            return (*_backward(head, hidden_ND, targets_N, lse_N, grad_N, ctx.needs_input_grad), *(None,) * 4)


def _backward(
    head: Head, hidden_ND: Tensor, targets_N: Tensor, lse_N: Tensor, grad_N: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of hidden, weight and bias, from logits that are made again chunk by chunk."""
    n, v, kind = len(hidden_ND), head.size, accumulator(hidden_ND.dtype)
    hidden_grad = torch.empty_like(hidden_ND) if wanted[0] else None
    weight_grad = torch.zeros_like(head.weight_VD, dtype=kind) if wanted[1] else None
    bias_grad = hidden_ND.new_zeros(v, dtype=kind) if wanted[2] else None
    rows = max(1, min(n, _rows.CHUNK_ELEMENTS // v))
    buffer = hidden_ND.new_empty(rows * v, dtype=kind)
    for begin, end in spans(n, rows):
        hidden, scale = hidden_ND[begin:end], grad_N[begin:end, None].to(kind) / head.temperature
        dz = head.logits(hidden, 0, v, buffer[: (end - begin) * v].view(-1, v))
        dz.sub_(lse_N[begin:end, None]).exp_().mul_(-scale)
        dz.scatter_add_(1, targets_N[begin:end, None], scale)
        if hidden_grad is not None:
            hidden_grad[begin:end] = dz.to(hidden.dtype) @ head.weight_VD
        add_head_gradients(dz, hidden, head, weight_grad, bias_grad)
    like = hidden_ND.dtype
    return (
        hidden_grad,
        None if weight_grad is None else weight_grad.to(like),
        None if bias_grad is None else bias_grad.to(like),
    )
