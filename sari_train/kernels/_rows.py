"""What the kernels of the head share: checks at the door, and the softmax over the vocabulary in blocks.

Shapes: N rows (positions), D hidden size, V vocabulary, C rows of a chunk, W columns of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sari_data.errors import InputError

# A logit so low that its probability is exactly 0 in every floating-point type, and yet finite: 0 * it is 0.
BANNED_LOGIT = -1e9
# Elements of a block of logits in the online pass: 32 MiB in float32, enough for a product at full rate.
BLOCK_ELEMENTS = 2**23
BLOCK_ROWS = 1024
# Elements of a chunk of whole rows of logits where they are needed at once: 256 MiB in float32.
CHUNK_ELEMENTS = 2**26


@dataclass(frozen=True)
class Head:
    """The head's distribution: softmax((hidden @ weight.T + bias) / temperature), without ``banned``."""

    weight_VD: Tensor
    bias_V: Tensor | None
    temperature: float
    banned: Tensor

    @property
    def size(self) -> int:
        """Number of columns V."""
        return self.weight_VD.shape[0]

    def logits(self, hidden_CD: Tensor, begin: int, end: int, out: Tensor) -> Tensor:
        """Write the scaled logits of columns ``begin`` to ``end`` into ``out`` [C, end - begin] and return it."""
        weight = self.weight_VD[begin:end]
        if out.dtype == hidden_CD.dtype:
            torch.mm(hidden_CD, weight.T, out=out)
        else:
            out.copy_(hidden_CD @ weight.T)
        if self.bias_V is not None:
            out += self.bias_V[begin:end]
        if self.temperature != 1.0:
            out /= self.temperature
        if len(self.banned):
            inside = self.banned[(self.banned >= begin) & (self.banned < end)] - begin
            out.index_fill_(1, inside, BANNED_LOGIT)
        return out


@dataclass(frozen=True)
class Scan:
    """What one pass over the vocabulary finds for each row."""

    lse_N: Tensor
    chosen_N: Tensor
    entropy_N: Tensor
    expected_ND: Tensor | None

    @property
    def logps_N(self) -> Tensor:
        """Log-probability of each row's target."""
        return self.chosen_N - self.lse_N


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums over the vocabulary are kept: the inputs', but at least float32."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def spans(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut ``range(total)`` into pieces of ``size``."""
    for begin in range(0, total, size):
        yield begin, min(begin + size, total)


def scan(
    hidden_ND: Tensor,
    targets_N: Tensor,
    head: Head,
    *,
    with_entropy: bool,
    with_expectation: bool,
    rows: int | None = None,
    columns: int | None = None,
) -> Scan:
    """Find log-sum-exp, target logit, entropy and E_p[weight] of each row, one block of logits at a time.

    The maximum, the sum of exponentials and what is weighted by them are carried from block to block and
    rescaled when the maximum rises (Milakov and Gimelshein 2018, arXiv 1805.02867). E_p[weight] is to the
    head what the output is to attention: queries ``hidden``, keys and values ``weight``.
    """
    n, kind = len(hidden_ND), accumulator(hidden_ND.dtype)
    rows = rows or max(1, min(n, BLOCK_ROWS))
    columns = columns or max(1, BLOCK_ELEMENTS // rows)
    lse_N, chosen_N = (hidden_ND.new_zeros(n, dtype=kind) for _ in range(2))
    entropy_N = hidden_ND.new_zeros(n, dtype=kind)
    expected_ND = hidden_ND.new_empty(hidden_ND.shape, dtype=kind) if with_expectation else None
    buffer = hidden_ND.new_empty(min(rows, n) * min(columns, head.size), dtype=kind)
    for begin, end in spans(n, rows):
        hidden, targets = hidden_ND[begin:end], targets_N[begin:end]
        top = hidden.new_full((end - begin,), float("-inf"), dtype=kind)
        mass, weighted, chosen = (hidden.new_zeros(end - begin, dtype=kind) for _ in range(3))
        expected = hidden.new_zeros(hidden.shape, dtype=kind) if with_expectation else None
        for first, last in spans(head.size, columns):
            z = head.logits(hidden, first, last, buffer[: (end - begin) * (last - first)].view(end - begin, -1))
            inside = (targets >= first) & (targets < last)
            at = (targets - first).clamp(0, last - first - 1)
            chosen = torch.where(inside, z.gather(1, at[:, None])[:, 0], chosen)
            new_top = torch.maximum(top, z.amax(1))
            fade = (top - new_top).exp()
            z -= new_top[:, None]
            if with_entropy:
                # sum e^x (x + new_top), with the exponentials made in slices so that one block is enough
                part = torch.stack([(s.exp() * s).sum(1) for s in z.split(max(1, columns // 64), 1)]).sum(0)
            z.exp_()
            here = z.sum(1)
            if with_entropy:
                weighted = weighted * fade + part + here * new_top
            mass = mass * fade + here
            if expected is not None:
                expected *= fade[:, None]
                _add_product(expected, z, head.weight_VD[first:last])
            top = new_top
        lse_N[begin:end] = top + mass.log()
        chosen_N[begin:end] = chosen
        if with_entropy:
            entropy_N[begin:end] = lse_N[begin:end] - weighted / mass
        if expected_ND is not None and expected is not None:
            expected_ND[begin:end] = expected / mass[:, None]
    return Scan(lse_N, chosen_N, entropy_N, expected_ND)


def add_head_gradients(
    dz_CV: Tensor, hidden_CD: Tensor, head: Head, weight_VD: Tensor | None, bias_V: Tensor | None
) -> None:
    """Add a chunk's share of the gradients of weight [V, D] and bias [V], where these are wanted."""
    if weight_VD is not None:
        _add_product(weight_VD, dz_CV.T, hidden_CD)
    if bias_V is not None:
        bias_V += dz_CV.sum(0)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add ``a @ b`` to ``total``, which is kept in the accumulator's type; the product runs in that of ``b``."""
    if a.dtype == b.dtype == total.dtype:
        total.addmm_(a, b)
        return
    for begin, end in spans(len(a), 16_384):  # the product in low precision needs room of its own
        total[begin:end] += a[begin:end].to(b.dtype) @ b


def check(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    bias_V: Tensor | None,
    temperature: float,
    banned: Sequence[int],
    *,
    ignore_index: int | None = None,
) -> Head:
    """Refuse what does not fit together, with what was expected and what was found.

    Raises:
        InputError: Shapes, types or devices differ, the temperature is not above 0, or a target is outside the
            vocabulary or banned.
    """
    if hidden_ND.ndim != 2 or weight_VD.ndim != 2 or hidden_ND.shape[1] != weight_VD.shape[1]:
        raise InputError(
            "expected hidden [N, D] and weight [V, D] with the same D; found "
            f"{list(hidden_ND.shape)} and {list(weight_VD.shape)}"
        )
    if targets_N.shape != hidden_ND.shape[:1] or targets_N.dtype != torch.long:
        raise InputError(
            f"expected targets [{len(hidden_ND)}] of type torch.int64; found {list(targets_N.shape)} of type "
            f"{targets_N.dtype}"
        )
    if bias_V is not None and bias_V.shape != weight_VD.shape[:1]:
        raise InputError(f"expected bias [{len(weight_VD)}]; found {list(bias_V.shape)}")
    if not hidden_ND.is_floating_point():
        raise InputError(f"expected hidden of a floating-point type; found {hidden_ND.dtype}")
    for name, other in (("weight", weight_VD), ("bias", bias_V)):
        if other is not None and other.dtype != hidden_ND.dtype:
            raise InputError(f"expected hidden and {name} of one type; found {hidden_ND.dtype} and {other.dtype}")
    for name, other in (("weight", weight_VD), ("targets", targets_N), ("bias", bias_V)):
        if other is not None and other.device != hidden_ND.device:
            raise InputError(f"expected hidden and {name} on one device; found {hidden_ND.device} and {other.device}")
    if not 0 < temperature < float("inf"):
        raise InputError(f"expected a temperature above 0; found {temperature}")
    ids = torch.tensor(sorted(set(banned)), dtype=torch.long, device=hidden_ND.device)
    if len(ids) and not 0 <= min(banned) <= max(banned) < len(weight_VD):
        raise InputError(f"expected banned ids from 0 to {len(weight_VD) - 1}; found {min(banned)} to {max(banned)}")
    real_N = targets_N if ignore_index is None else targets_N[targets_N != ignore_index]
    if len(real_N):
        low, high = (int(x) for x in torch.aminmax(real_N))
        if low < 0 or high >= len(weight_VD):
            raise InputError(f"expected targets from 0 to {len(weight_VD) - 1}; found {low if low < 0 else high}")
        if len(ids) and bool((hit := torch.isin(real_N, ids)).any()):
            raise InputError(f"expected targets that are not banned; found {int(real_N[hit][0])}")
    return Head(weight_VD, bias_V, float(temperature), ids)
