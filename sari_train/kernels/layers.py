"""Two parts of a transformer layer that keep less for the backward pass than autograd would, and make it again there.

What is made again costs a few operations an element; what is not kept are whole tensors of every layer. Of the RMS
norm autograd keeps the input and the normed input, here the input and one number a row. Of a gated MLP's second half
(Shazeer 2020, arXiv 2002.05202) it keeps gate, SiLU(gate), up and their product, here gate and up.

Shapes: any leading dimensions, written as ``...``; H hidden size, F inner size of the MLP.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sari_data.errors import InputError
from sari_train.kernels._rows import accumulator


def rms_norm(x: Tensor, weight_H: Tensor, eps: float) -> Tensor:
    """Return weight * x / sqrt(mean(x^2) + eps) over the last dimension (Zhang and Sennrich 2019, arXiv 1910.07467).

    The mean and the division are in float32 at least and what the weight multiplies is in the type of ``x``, as in
    transformers' Llama and Qwen2.

    Args:
        x: [..., H].
        weight_H: Of the type of ``x``, or a wider one, which is then that of the result.
        eps: Added to the mean square.

    Raises:
        InputError: The weight does not have the size of the last dimension.
    """
    if weight_H.shape != x.shape[-1:]:
        raise InputError(f"expected a weight [{x.shape[-1]}] for inputs {list(x.shape)}; found {list(weight_H.shape)}")
    return _RmsNorm.apply(x, weight_H, eps) if torch.is_grad_enabled() else _norm(x, weight_H, eps)[0]


def _norm(x: Tensor, weight_H: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the result and the factor [..., 1] of each row."""
    wide = x.to(accumulator(x.dtype))
    scale = wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
    return weight_H * (wide * scale if wide is x else wide.mul_(scale).to(x.dtype)), scale


def gated_linear(gate: Tensor, up: Tensor, weight_HF: Tensor) -> Tensor:
    """Return (SiLU(gate) * up) @ weight.T, [..., H].

    Args:
        gate: [..., F].
        up: [..., F].
        weight_HF: Weight of the last projection, which has no bias.

    Raises:
        InputError: Shapes or types that do not fit together.
    """
    if gate.shape != up.shape or weight_HF.ndim != 2 or weight_HF.shape[1] != gate.shape[-1]:
        raise InputError(
            "expected gate and up [..., F] and weight [H, F]; found "
            f"{list(gate.shape)}, {list(up.shape)} and {list(weight_HF.shape)}"
        )
    if len({gate.dtype, up.dtype, weight_HF.dtype}) > 1:
        raise InputError(
            f"expected gate, up and weight of one type; found {gate.dtype}, {up.dtype} and {weight_HF.dtype}"
        )
    return _GatedLinear.apply(gate, up, weight_HF)


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        out, scale = _norm(x, weight, eps)
        ctx.save_for_backward(x, weight, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, scale = ctx.saved_tensors
        normed = x.to(scale.dtype) * scale
        dx = dw = None
        if ctx.needs_input_grad[1]:
            dw = (grad * normed.to(x.dtype)).reshape(-1, x.shape[-1]).sum(0, dtype=scale.dtype).to(weight.dtype)
        if ctx.needs_input_grad[0]:
            inner = (grad * weight).to(scale.dtype)
            # d/dx of x s with s = (mean(x^2) + eps)^(-1/2): s (dn - n mean(dn n)).
            normed *= (inner * normed).mean(-1, keepdim=True)
            dx = inner.sub_(normed).mul_(scale).to(x.dtype)
        return dx, dw, None


class _GatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up, weight)
        return torch.nn.functional.linear(torch.nn.functional.silu(gate).mul_(up), weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        gate, up, weight = ctx.saved_tensors
        wants_gate, wants_up, wants_weight = ctx.needs_input_grad
        dgate = dup = dweight = None
        active = torch.nn.functional.silu(gate)
        if wants_weight:
            dweight = grad.reshape(-1, grad.shape[-1]).T @ (active * up).reshape(-1, up.shape[-1])
        if wants_gate or wants_up:
            inner = grad @ weight
            if wants_up:
                dup = active.mul_(inner)
            if wants_gate:
                dgate = torch.ops.aten.silu_backward(inner.mul_(up), gate)
        return dgate, dup, dweight
