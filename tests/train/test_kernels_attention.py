"""Shared-prefix attention against one masked softmax in float64, and that planted errors would show."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sari_data.errors import InputError
from sari_train.kernels import packing as packing_module
from sari_train.kernels import stock
from sari_train.kernels.packing import Packing, pack
from sari_train.kernels.shared_prefix import shared_prefix_attention

CPU = torch.device("cpu")
FLOAT32, FLOAT64 = 1e-5, 1e-9
PACKINGS = {
    "two groups": pack([7, 12], [[3, 5, 2], [4, 4]], CPU),
    "one completion": pack([5], [[6]], CPU),
    "completions of one token": pack([6, 3], [[1, 1], [1, 4]], CPU),
    "no completions": pack([4, 9], [[], []], CPU),
    "rows": pack([4, 9, 2], [[3], [1], [7]], CPU),
    "rows and groups": pack([4, 9], [[3], [1, 5]], CPU),
    "long prompt": pack([130], [[70, 2, 33]], CPU),
}


def draw(packing: Packing, heads: int = 4, key_heads: int = 2, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    queries = packing.queries
    shapes = [(heads, queries, 16), (key_heads, packing.tokens, 16), (key_heads, packing.tokens, 16)]
    drawn = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    return [x.to(dtype).requires_grad_() for x in drawn]


def reference(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """One softmax over the whole sequence, keys repeated for each head."""
    share = len(q) // len(k)
    k, v = (x.double().repeat_interleave(share, 0) for x in (k, v))
    scores = (q.double() @ k.mT) * scale
    return scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v


def grads(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return list(torch.autograd.grad((out.double() * weights).sum(), inputs))


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.fixture(params=["fused", "blocks"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's own operators, or the ones written out for every device, in odd blocks; prompts together or apart."""
    if request.param == "blocks":
        monkeypatch.setattr(packing_module, "TOGETHER", 5)
    for packing in PACKINGS.values():
        packing.__dict__.pop("prompt_grid", None)
    if request.param == "blocks":
        monkeypatch.setattr(stock, "BLOCK_ELEMENTS", 100)
        monkeypatch.setattr(stock, "attend", stock.attend_in_blocks)
        monkeypatch.setattr(stock, "attend_backward", stock.attend_in_blocks_backward)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)])
@pytest.mark.parametrize("heads", [(4, 2), (4, 4), (6, 1)])
@pytest.mark.parametrize("name", PACKINGS)
@pytest.mark.parametrize("last", [False, True])
def test_equal_to_one_masked_softmax(
    name: str, heads: tuple[int, int], dtype: torch.dtype, bound: float, last: bool
) -> None:
    packing = PACKINGS[name]
    if last:
        assert (packing.for_last_layer is None) == (name in ("one completion", "rows", "rows and groups"))
        packing = packing.for_last_layer or packing
    inputs = draw(packing, *heads, dtype=dtype)
    expected = reference(*inputs, packing.mask(), 0.3)
    found = shared_prefix_attention(*inputs, packing, 0.3)
    assert found.dtype == dtype
    assert relative(found, expected) < bound
    for ours, theirs in zip(grads(found, inputs), grads(expected, inputs), strict=True):
        assert relative(ours, theirs) < bound


def test_the_mask_is_that_of_the_rows_one_by_one() -> None:
    """Packing, positions and mask against rows that are run apart: prompt and completion, causal."""
    packing = PACKINGS["two groups"]
    q, k, v = (x.detach() for x in draw(packing))
    found = shared_prefix_attention(q, k, v, packing, 0.3)
    positions, checked = packing.positions, 0
    for (start, middle, _), group in zip(packing.spans, packing.groups, strict=True):
        at = middle
        for size in group.suffixes:
            rows = [*range(start, middle), *range(at, at + size)]
            assert positions[rows].tolist() == list(range(len(rows)))
            causal = torch.ones(len(rows), len(rows), dtype=torch.bool).tril()
            alone = reference(q[:, rows], k[:, rows], v[:, rows], causal, 0.3)
            assert relative(found[:, rows], alone) < FLOAT64
            at += size
            checked += 1
    assert checked == 5


@pytest.mark.parametrize("planted", ["a mask row", "a key too many", "one head", "the scale", "no merge"])
def test_the_tolerances_would_catch_a_planted_error(planted: str) -> None:
    packing = PACKINGS["two groups"]
    inputs = draw(packing)
    mask, scale = packing.mask(), 0.3
    right = reference(*inputs, mask, scale)
    wrong_mask, changed = mask.clone(), list(inputs)
    if planted == "a mask row":
        wrong_mask[8, 2] = False
    elif planted == "a key too many":
        wrong_mask[7, 8] = True  # the first completion's first token sees its second
    elif planted == "no merge":
        wrong_mask[7:17, :7] = False
    elif planted == "one head":
        changed[0] = inputs[0][[0, 2, 1, 3]]
    else:
        scale *= 1 + 1e-4
    wrong = reference(*changed, wrong_mask, scale)
    assert relative(wrong, right) > 2 * FLOAT32
    for a, b in zip(grads(wrong, inputs), grads(right, inputs), strict=True):
        assert relative(a, b) > 2 * FLOAT32


def test_gradcheck() -> None:
    packing = pack([3, 2], [[3, 2], [2, 1]], CPU)
    inputs = draw(packing)
    assert torch.autograd.gradcheck(lambda *x: shared_prefix_attention(*x, packing, 0.4), inputs)
    short = Packing(packing.groups, packing.device, last_only=True)
    assert torch.autograd.gradcheck(lambda *x: shared_prefix_attention(*x, short, 0.4), draw(short))


def test_bfloat16_stays_within_its_own_rounding() -> None:
    packing = PACKINGS["long prompt"]
    inputs = draw(packing, dtype=torch.bfloat16)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    expected = reference(*exact, packing.mask(), 0.3)
    found = shared_prefix_attention(*inputs, packing, 0.3)
    assert relative(found, expected) < 6e-3
    for ours, theirs in zip(grads(found, inputs), grads(expected, exact), strict=True):
        assert relative(ours, theirs) < 8e-3


def test_prompts_are_not_repeated_for_their_completions() -> None:
    """The tokens that layers run over: the prompt once, a completion without its last token."""
    packing = pack([100], [[10] * 8], CPU)
    assert packing.tokens == 100 + 8 * 9
    assert len(packing.kept) == 1 + 8 * 9
    rows = packing.predicting()[0]
    assert [len(r) for r in rows] == [10] * 8
    assert rows[1][:2].tolist() == [0, 10]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(4, 5, 16)}, r"queries \[h, 32, d\]"),
        ({"k": torch.zeros(3, 32, 16), "v": torch.zeros(3, 32, 16)}, "h a multiple of k"),
        ({"v": torch.zeros(2, 32, 8)}, r"\[2, 32, 8\]"),
        ({"v": torch.zeros(2, 32, 16, dtype=torch.float64)}, "one type on one device"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    packing = PACKINGS["two groups"]
    q, k, v = draw(packing, dtype=torch.float32)
    given = {"q": q, "k": k, "v": v} | change
    with pytest.raises(InputError, match=message):
        shared_prefix_attention(given["q"], given["k"], given["v"], packing, 0.3)


@pytest.mark.parametrize(("prompts", "completions"), [([0], [[1]]), ([3], [[2, 0]]), ([], []), ([3], [])])
def test_empty_prompts_and_completions_are_refused(prompts: list[int], completions: list[list[int]]) -> None:
    with pytest.raises(InputError, match="expected"):
        pack(prompts, completions, CPU)
