"""One attention call with its log-sum-exp, and its backward pass for a given output and log-sum-exp.

On the CPU these are the operators behind ``scaled_dot_product_attention``, which that function does not
show. Elsewhere they are written out in blocks of queries, in operations that every device has.

Shapes: B rows, h query heads, k key heads, Q queries, T keys, d head size.
"""

from __future__ import annotations

import torch
from torch import Tensor

aten = torch.ops.aten

# Scores of one block take at most this many elements (64 MiB in float32).
BLOCK_ELEMENTS = 2**24


def lse_type(dtype: torch.dtype) -> torch.dtype:
    """The type of a log-sum-exp: that of the inputs, but at least float32."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return (output [B, h, Q, d], log-sum-exp of the scores [B, h, Q]).

    Args:
        q: Queries [B, h, Q, d].
        k: Keys [B, k, T, d], h a multiple of k.
        v: Values [B, k, T, d].
        causal: Query i sees keys up to i.
        scale: Multiplies the scores.
        mask: Bool, broadcastable to [B, h, Q, T], true where a query sees a key. A query that sees none has
            output 0 and a log-sum-exp of 0 (CPU) or -inf: do not ask for one.
    """
    if q.device.type == "cpu":
        bias = None if mask is None else _bias(mask, q)
        return aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, attn_mask=bias, scale=scale)
    return attend_in_blocks(q, k, v, causal=causal, scale=scale, mask=mask)


def attend_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, *, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v.

    ``out`` and ``lse`` may be those over more keys than ``k``: the gradients are then this set's share.
    """
    if q.device.type == "cpu":
        return aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, q, k, v, out, lse, 0.0, causal, scale=scale
        )
    return attend_in_blocks_backward(grad, q, k, v, out, lse, causal=causal, scale=scale)


def attend_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``attend`` in operations that every device has."""
    k_full, v_full = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    outs, lses = [], []
    for begin, end in _blocks(q, k):
        scores = _scores(q, k_full, begin, end, causal, scale)
        if mask is not None:
            rows = mask if mask.shape[-2] == 1 else mask[..., begin:end, :]
            scores = scores.masked_fill(~rows, float("-inf"))
        lse = scores.logsumexp(-1)
        outs.append((scores - lse[..., None]).exp().to(v.dtype) @ v_full)
        lses.append(lse)
    return torch.cat(outs, 2), torch.cat(lses, 2)


def attend_in_blocks_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, *, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """``attend_backward`` in operations that every device has."""
    share = q.shape[1] // k.shape[1]
    k_full, v_full = (x.repeat_interleave(share, 1) for x in (k, v))
    kind = lse_type(q.dtype)
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k_full, dtype=kind), torch.zeros_like(v_full, dtype=kind)
    for begin, end in _blocks(q, k):
        here = grad[:, :, begin:end]
        probs = (_scores(q, k_full, begin, end, causal, scale) - lse[:, :, begin:end, None]).exp()
        delta = (here.to(kind) * out[:, :, begin:end].to(kind)).sum(-1, keepdim=True)
        ds = (probs * ((here @ v_full.mT).to(kind) - delta) * scale).to(q.dtype)
        dq[:, :, begin:end] = ds @ k_full
        dk += (ds.mT @ q[:, :, begin:end]).to(kind)
        dv += (probs.to(q.dtype).mT @ here).to(kind)
    folded = (x.unflatten(1, (-1, share)).sum(2).to(k.dtype) for x in (dk, dv))
    return dq, *folded


def _blocks(q: Tensor, k: Tensor) -> list[tuple[int, int]]:
    size = max(1, BLOCK_ELEMENTS // max(1, q.shape[0] * q.shape[1] * k.shape[2]))
    return [(begin, min(begin + size, q.shape[2])) for begin in range(0, q.shape[2], size)]


def _scores(q: Tensor, k_full: Tensor, begin: int, end: int, causal: bool, scale: float) -> Tensor:
    scores = (q[:, :, begin:end] @ k_full.mT).to(lse_type(q.dtype)) * scale
    if causal:
        rows, columns = (torch.arange(a, b, device=q.device) for a, b in ((begin, end), (0, k_full.shape[2])))
        scores = scores.masked_fill(columns > rows[:, None], float("-inf"))
    return scores


def _bias(mask: Tensor, q: Tensor) -> Tensor:
    """The CPU operator adds its mask to the scores."""
    return torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill_(~mask, float("-inf"))
