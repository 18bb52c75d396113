"""Norm, gated MLP and prepacked products against plain formulas in float64, and that planted errors would show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from sari_data.errors import InputError
from sari_train.kernels.layers import gated_linear, rms_norm
from sari_train.kernels.prepacked import Prepacked, is_plain

FLOAT32, FLOAT64 = 1e-5, 1e-9
EPS = 1e-3  # large enough that leaving it out shows


def draw(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [x.to(dtype).requires_grad_() for x in drawn]


def plain_norm(x: Tensor, weight: Tensor, eps: float = EPS) -> Tensor:
    return weight * x / (x.square().mean(-1, keepdim=True) + eps).sqrt()


def plain_gated(gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
    return (gate * gate.sigmoid() * up) @ weight.T


def with_grads(function: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    out = function(*inputs)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = [x for x in inputs if x.requires_grad]
    return [out, *torch.autograd.grad((out.double() * weights).sum(), wanted)]


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


NORM = ((2, 5, 24), (24,))
GATED = ((2, 5, 24), (2, 5, 24), (8, 24))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)])
@pytest.mark.parametrize("kept", [3, 1, 2])
def test_the_norm_and_its_gradients(dtype: torch.dtype, bound: float, kept: int) -> None:
    inputs, exact = draw(*NORM, dtype=dtype), draw(*NORM)
    for at, (one, other) in enumerate(zip(inputs, exact, strict=True)):
        for tensor in (one, other):
            tensor.requires_grad_(bool(kept & (1 << at)))
    found = with_grads(lambda x, weight: rms_norm(x, weight, EPS), inputs)
    expected = with_grads(plain_norm, exact)
    assert len(found) == len(expected) == 1 + kept.bit_count()
    assert all(relative(a, b) < bound for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_gated_product_and_its_gradients(dtype: torch.dtype, bound: float, frozen: bool) -> None:
    inputs, exact = draw(*GATED, dtype=dtype), draw(*GATED)
    for each in (inputs, exact):
        each[2].requires_grad_(not frozen)
    found, expected = with_grads(gated_linear, inputs), with_grads(plain_gated, exact)
    assert all(relative(a, b) < bound for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, weight: plain_norm(x, weight, 0.0),
        lambda x, weight: plain_norm(x - x.mean(-1, keepdim=True), weight),
        lambda x, weight: weight * x / (x.square().mean(-1, keepdim=True) + EPS).sqrt().detach(),
    ],
    ids=["no eps", "mean taken off", "root without a gradient"],
)
def test_an_error_in_the_norm_would_be_caught(wrong: Callable[..., Tensor]) -> None:
    found, expected = with_grads(wrong, draw(*NORM)), with_grads(plain_norm, draw(*NORM))
    assert max(relative(a, b) for a, b in zip(found, expected, strict=True)) > 10 * FLOAT32


@pytest.mark.parametrize(
    "wrong",
    [
        lambda gate, up, weight: plain_gated(up, gate, weight),
        lambda gate, up, weight: (gate.sigmoid() * up) @ weight.T,
        lambda gate, up, weight: (gate * gate.sigmoid().detach() * up) @ weight.T,
    ],
    ids=["exchanged", "a sigmoid only", "the sigmoid without a gradient"],
)
def test_an_error_in_the_gated_product_would_be_caught(wrong: Callable[..., Tensor]) -> None:
    found, expected = with_grads(wrong, draw(*GATED)), with_grads(plain_gated, draw(*GATED))
    assert max(relative(a, b) for a, b in zip(found, expected, strict=True)) > 10 * FLOAT32


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(lambda x, weight: rms_norm(x, weight, EPS), draw(*NORM))
    assert torch.autograd.gradcheck(gated_linear, draw(*GATED))


def test_equal_to_transformers_in_low_precision() -> None:
    """bfloat16 to the last digit in the forward pass; gradients within rounding of it."""
    x, weight = draw(*NORM, dtype=torch.bfloat16)
    norm = Qwen2RMSNorm(24, eps=EPS).to(torch.bfloat16)
    norm.weight = nn.Parameter(weight.detach().clone())
    found = with_grads(lambda x, weight: rms_norm(x, weight, EPS), [x, weight])
    assert torch.equal(found[0], norm(x))
    exact = with_grads(plain_norm, [t.detach().double().requires_grad_() for t in (x, weight)])
    assert all(relative(a, b) < 2e-2 for a, b in zip(found, exact, strict=True))
    gate, up, down = draw(*GATED, dtype=torch.bfloat16)
    assert torch.equal(gated_linear(gate, up, down), (ACT2FN["silu"](gate) * up) @ down.T)
    exact = with_grads(plain_gated, [t.detach().double().requires_grad_() for t in (gate, up, down)])
    low = with_grads(gated_linear, [gate, up, down])
    assert all(relative(a, b) < 2e-2 for a, b in zip(low, exact, strict=True))


def test_less_is_kept_than_by_autograd() -> None:
    def kept(function: Callable[..., Tensor], inputs: list[Tensor]) -> int:
        found: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            result = function(*inputs)
        assert result.requires_grad
        return sum(found.values())

    gate, up, weight = draw((100, 24), (100, 24), (8, 24), dtype=torch.float32)
    assert kept(gated_linear, [gate, up, weight]) == 4 * (2 * 100 * 24 + 8 * 24)
    # ACT2FN's SiLU keeps its input, the product both factors, the last layer the product.
    assert kept(lambda g, u, w: (nn.functional.silu(g) * u) @ w.T, [gate, up, weight]) >= 4 * (4 * 100 * 24 + 8 * 24)
    x, scale = draw((100, 24), (24,), dtype=torch.float32)
    assert kept(lambda x, w: rms_norm(x, w, EPS), [x, scale]) == 4 * (100 * 24 + 24 + 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("rows", [1, 3, 16, 40])
def test_prepacked_layers_give_the_layers_outputs(dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(24, 8), nn.Linear(24, 40, bias=False), nn.Linear(24, 16)]
    layers = [layer.to(dtype) for layer in layers]
    x = torch.randn(rows, 24).to(dtype)
    with torch.no_grad():
        expected = torch.cat([nn.functional.linear(x, layer.weight, layer.bias) for layer in layers], -1)
        joined, alone = Prepacked(layers)(x), Prepacked(layers[1:2])(x)
    bound = {torch.float32: FLOAT32, torch.bfloat16: 1e-2, torch.float64: FLOAT64}[dtype]
    assert relative(joined, expected) < bound
    assert relative(alone, expected[:, 8:48]) < bound
    assert relative(joined.roll(1, -1), expected) > 0.1
    assert relative(Prepacked([nn.Linear(24, 8).to(dtype), *layers[1:]])(x), expected) > 0.1


def test_what_is_more_than_a_linear_layer_is_left_as_it_is() -> None:
    class Other(nn.Linear):
        pass

    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda *_: None)
    assert is_plain(nn.Linear(2, 2))
    assert not any(map(is_plain, (Other(2, 2), hooked, nn.Sequential(nn.Linear(2, 2)))))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rms_norm(torch.ones(2, 3), torch.ones(4), EPS), r"expected a weight \[3\]"),
        (lambda: gated_linear(torch.ones(2, 3), torch.ones(2, 4), torch.ones(5, 3)), "expected gate and up"),
        (lambda: gated_linear(torch.ones(2, 3), torch.ones(2, 3), torch.ones(5, 4)), "expected gate and up"),
        (lambda: gated_linear(torch.ones(2, 3), torch.ones(2, 3), torch.ones(5, 3).double()), "of one type"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
