"""Attention over a packed sequence in which completions share their prompt's keys and values.

A query of a completion sees its whole prompt and its own completion so far. The two sets of keys are
attended to apart and the parts merged: with O_i the output over set i and L_i the log-sum-exp of its scores,

    L = logaddexp(L_1, L_2)        O = sum_i O_i exp(L_i - L)

(Dao et al. 2022, arXiv 2205.14135, section 3.1; Juravsky et al. 2024, "Hydragen", arXiv 2402.05099, who do
this for decoding). The prompt's part is one call for all G completions: their queries are stacked, so
the prompt's keys and values are read once and never repeated.

Backward: with P = exp(S - L), a part's score gradient is P * (dO V' - rowsum(dO * O)), in which only the
*merged* O and L occur. So each part runs the stock backward pass of its own call, given the merged O
and L, and the gradients of shared queries and keys add up.

Grouped queries (fewer key heads than query heads) stay folded: no key is copied for a head.

Shapes: h query heads, k key heads, T tokens, Q queries, d head size, R runs of tokens, S the longest run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sari_data.errors import InputError
from sari_train.kernels import stock
from sari_train.kernels.packing import Grid, Packing


def shared_prefix_attention(q_hQd: Tensor, k_kTd: Tensor, v_kTd: Tensor, packing: Packing, scale: float) -> Tensor:
    """Return the attention's output [h, Q, d].

    Args:
        q_hQd: Queries; all T tokens, or under ``packing.last_only`` the kept ones.
        k_kTd: Keys, with as many heads or fewer (h a multiple of k).
        v_kTd: Values.
        packing: Where prompts and completions lie.
        scale: Multiplies the scores.

    Raises:
        InputError: Shapes, types or devices that do not fit together.
    """
    if torch.is_autocast_enabled(q_hQd.device.type):
        # As autocast does for scaled_dot_product_attention.
        kind = torch.get_autocast_dtype(q_hQd.device.type)
        q_hQd, k_kTd, v_kTd = q_hQd.to(kind), k_kTd.to(kind), v_kTd.to(kind)
    queries = packing.queries
    if (
        q_hQd.ndim != 3
        or q_hQd.shape[1] != queries
        or k_kTd.shape != v_kTd.shape
        or k_kTd.shape[1:] != (packing.tokens, q_hQd.shape[2])
        or q_hQd.shape[0] % k_kTd.shape[0]
    ):
        raise InputError(
            f"expected queries [h, {queries}, d], keys and values [k, {packing.tokens}, d] with h a multiple of k; "
            f"found {list(q_hQd.shape)}, {list(k_kTd.shape)} and {list(v_kTd.shape)}"
        )
    if len({x.dtype for x in (q_hQd, k_kTd, v_kTd)}) > 1 or len({x.device for x in (q_hQd, k_kTd, v_kTd)}) > 1:
        raise InputError(
            "expected queries, keys and values of one type on one device; found "
            + ", ".join(f"{x.dtype} on {x.device}" for x in (q_hQd, k_kTd, v_kTd))
        )
    return _SharedPrefix.apply(q_hQd, k_kTd, v_kTd, packing, scale)


class _SharedPrefix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, packing: Packing, scale: float) -> Tensor:
        out = q.new_empty(q.shape[1], q.shape[0], q.shape[2]).transpose(0, 1)
        lse = q.new_empty(q.shape[:2], dtype=stock.lse_type(q.dtype))
        if (grid := packing.prompt_grid) is not None:
            out[:, grid.query_rows], lse[:, grid.query_rows] = _attend_grid(q, k, v, grid, scale)
        for q_rows, k_rows, causal in _prompt_parts(packing):
            out[:, q_rows], lse[:, q_rows] = _attend(q[:, q_rows], k[:, k_rows], v[:, k_rows], causal, scale)
        if (grid := packing.suffix_grid) is not None:
            rows = grid.query_rows
            out[:, rows], lse[:, rows] = merge(out[:, rows], lse[:, rows], *_attend_grid(q, k, v, grid, scale))
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.packing, ctx.scale = packing, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        packing, scale = ctx.packing, ctx.scale
        totals = dq, dk, dv = [x.new_zeros(x.transpose(0, 1).shape).transpose(0, 1) for x in (q, k, v)]
        for q_rows, k_rows, causal in _prompt_parts(packing):
            one, two, three = _attend_backward(
                grad[:, q_rows], q[:, q_rows], k[:, k_rows], v[:, k_rows], out[:, q_rows], lse[:, q_rows], causal, scale
            )
            dq[:, q_rows] += one
            dk[:, k_rows] += two
            dv[:, k_rows] += three
        for grid in (packing.prompt_grid, packing.suffix_grid):
            if grid is None:
                continue
            parts = stock.attend_backward(
                _gather(grad, grid.queries_RS),
                _gather(q, grid.queries_RS),
                _gather(k, grid.keys_RS),
                _gather(v, grid.keys_RS),
                _gather(out, grid.queries_RS),
                # With this a query in the padding has probabilities exp(score - inf) = 0 and adds nothing.
                lse[:, grid.queries_RS].masked_fill(~grid.real_RS, float("inf")).transpose(0, 1).contiguous(),
                causal=True,
                scale=scale,
            )
            rows = (grid.query_rows, grid.key_rows, grid.key_rows)
            for total, part, some in zip(totals, parts, rows, strict=True):
                total.transpose(0, 1).index_add_(0, some, part.transpose(1, 2)[grid.real_RS])
        return dq, dk, dv, None, None


def merge(o_hQd: Tensor, l_hQ: Tensor, part_hQd: Tensor, part_hQ: Tensor) -> tuple[Tensor, Tensor]:
    """Merge the outputs and log-sum-exps of attention over two disjoint sets of keys."""
    total_hQ = torch.logaddexp(l_hQ, part_hQ)
    merged = o_hQd * (l_hQ - total_hQ).exp()[..., None] + part_hQd * (part_hQ - total_hQ).exp()[..., None]
    return merged.to(o_hQd.dtype), total_hQ


def _prompt_parts(packing: Packing) -> list[tuple[slice, slice, bool]]:
    """Calls whose keys are one prompt's: (queries, keys, causal); the prompt's own, and those of its completions."""
    parts = []
    for (q0, q1, q2), (k0, k1, _) in zip(packing.query_spans, packing.spans, strict=True):
        if packing.last_only:
            q1 = q0  # the last token sees all of its prompt, as its completions do
        elif packing.prompt_grid is None:
            parts.append((slice(q0, q1), slice(k0, k1), True))
        if q2 > q1:
            parts.append((slice(q1, q2), slice(k0, k1), False))
    return parts


def _attend_grid(q: Tensor, k: Tensor, v: Tensor, grid: Grid, scale: float) -> tuple[Tensor, Tensor]:
    """Causal attention within each run of a grid; returns output [h, rows, d] and log-sum-exp [h, rows]."""
    out, lse = stock.attend(
        _gather(q, grid.queries_RS), _gather(k, grid.keys_RS), _gather(v, grid.keys_RS), causal=True, scale=scale
    )
    return out.transpose(1, 2)[grid.real_RS].transpose(0, 1), lse.transpose(1, 2)[grid.real_RS].T


def _attend(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Attend from [h, Q, d] to [k, P, d]."""
    h, count, d = q.shape
    if causal:
        out, lse = stock.attend(q[None], k[None], v[None], causal=True, scale=scale)
        return out[0], lse[0]
    out, lse = stock.attend(_fold(q, k), k[None], v[None], causal=False, scale=scale)
    return out.reshape(h, count, d), lse.reshape(h, count)


def _attend_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    if causal:
        dq, dk, dv = stock.attend_backward(
            grad[None], q[None], k[None], v[None], out[None], lse[None], causal=True, scale=scale
        )
        return dq[0], dk[0], dv[0]
    dq, dk, dv = stock.attend_backward(
        _fold(grad, k),
        _fold(q, k),
        k[None],
        v[None],
        _fold(out, k),
        lse.reshape(1, len(k), -1),
        causal=False,
        scale=scale,
    )
    return dq.reshape(q.shape), dk[0], dv[0]


def _fold(x_hQd: Tensor, k_kTd: Tensor) -> Tensor:
    """Stack the queries of the heads that share a key head: [h, Q, d] to [1, k, (h / k) Q, d]."""
    return x_hQd.reshape(1, len(k_kTd), -1, x_hQd.shape[-1])


def _gather(x_hTd: Tensor, index_RS: Tensor) -> Tensor:
    """Take tokens into a padded batch [R, h, S, d]; what stands in the padding is of no account."""
    # A token's heads lie side by side in memory: it is one row that is copied.
    return x_hTd.transpose(0, 1)[index_RS].transpose(1, 2)
