"""The head's kernels against eager float64, and that each tolerance would catch a planted error.

The reference below shares no code with the kernels: whole logits, ``log_softmax``, autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sari_data.errors import InputError
from sari_train.kernels import _rows
from sari_train.kernels.linear_logprob import linear_logprob
from sari_train.kernels.linear_loss import linear_cross_entropy, linear_loss

N, D, V = 37, 24, 101
TEMPERATURE = 0.7
BANNED = (3, 50, 100)
FLOAT32, FLOAT64 = 1e-5, 1e-9


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows and columns at once, or odd pieces of both."""
    if request.param == "many blocks":
        monkeypatch.setattr(_rows, "BLOCK_ROWS", 10)
        monkeypatch.setattr(_rows, "BLOCK_ELEMENTS", 170)
        monkeypatch.setattr(_rows, "CHUNK_ELEMENTS", 7 * V + 5)


def draw(dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Tensor]:
    """Hidden states, head and targets; logits spread over about +-8."""
    generator = torch.Generator().manual_seed(seed)
    hidden, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((N, D), (V, D), (V,))
    )
    allowed = torch.tensor([v for v in range(V) if v not in BANNED])
    targets = allowed[torch.randint(len(allowed), (N,), generator=generator)]
    return {"hidden_ND": hidden.to(dtype), "weight_VD": (weight * 0.5).to(dtype), "bias_V": bias.to(dtype)} | {
        "targets_N": targets
    }


def reference(given: dict[str, Tensor], *, temperature: float = TEMPERATURE, banned: Any = BANNED) -> Tensor:
    """Log-probabilities [N, V] by the definition, in float64."""
    logits = given["hidden_ND"].double() @ given["weight_VD"].double().T + given["bias_V"].double()
    logits = logits / temperature
    keep = torch.ones(V, dtype=torch.bool)
    keep[list(banned)] = False
    return logits.masked_fill(~keep, float("-inf")).log_softmax(-1)


def objective(logps: Tensor, at: slice, scale: Tensor) -> Tensor:
    """A loss as GRPO's: clipped ratios to other log-probabilities, with weights of both signs."""
    ratio = (logps - (logps.detach() - 0.3 * scale[at].sign())).exp()
    return -torch.minimum(ratio * scale[at], ratio.clamp(0.8, 1.2) * scale[at]).sum() + 0.1 * (logps**2).sum()


def relative(found: Tensor, expected: Tensor) -> float:
    """Global relative error: the norm of the difference over the norm."""
    return ((found.detach().double() - expected.detach().double()).norm() / expected.detach().double().norm()).item()


def leaves(given: dict[str, Tensor], wanted: tuple[str, ...]) -> dict[str, Tensor]:
    return {k: v.clone().requires_grad_(k in wanted) if v.is_floating_point() else v for k, v in given.items()}


ALL = ("hidden_ND", "weight_VD", "bias_V")
SETTINGS: list[tuple[str, ...]] = [ALL, ("hidden_ND",), ("hidden_ND", "bias_V"), ("weight_VD",), ("bias_V",)]


def expected_grads(given: dict[str, Tensor], wanted: tuple[str, ...], **changes: Any) -> dict[str, Tensor]:
    """Gradients of the objective by autograd through the reference."""
    variables = leaves({k: v.double() if v.is_floating_point() else v for k, v in given.items()}, wanted)
    scale = torch.linspace(-1, 1, N, dtype=torch.float64)
    logps = reference(variables, **changes).gather(-1, variables["targets_N"][:, None])[:, 0]
    objective(logps, slice(0, N), scale).backward()
    return {name: variables[name].grad for name in wanted}  # type: ignore[misc]


def generic(variables: dict[str, Tensor], scale: Tensor, **options: Any) -> Tensor:
    logps, _ = linear_logprob(**variables, **options)
    return objective(logps, slice(0, N), scale)


def fused(variables: dict[str, Tensor], scale: Tensor, **options: Any) -> Tensor:
    return linear_loss(**variables, objective=lambda logps, at: objective(logps, at, scale), **options).loss


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)])
@pytest.mark.parametrize("wanted", SETTINGS, ids="+".join)
@pytest.mark.parametrize("form", [generic, fused])
def test_gradients_are_those_of_the_definition(
    form: Callable[..., Tensor], wanted: tuple[str, ...], dtype: torch.dtype, bound: float
) -> None:
    given = draw(dtype)
    variables = leaves(given, wanted)
    scale = torch.linspace(-1, 1, N, dtype=dtype)
    loss = form(variables, scale, temperature=TEMPERATURE, banned=BANNED)
    (3 * loss).backward()
    for name, expected in expected_grads(given, wanted).items():
        found = variables[name].grad
        assert found is not None
        assert found.dtype == dtype
        assert relative(found, 3 * expected) < bound, name
    assert all(variables[name].grad is None for name in set(ALL) - set(wanted))


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)])
def test_values_are_those_of_the_definition(dtype: torch.dtype, bound: float) -> None:
    given = draw(dtype)
    table = reference(given)
    logps, entropy = linear_logprob(**given, temperature=TEMPERATURE, banned=BANNED)
    together = linear_loss(**leaves(given, ALL), objective=lambda x, _: x.sum(), temperature=TEMPERATURE, banned=BANNED)
    expected = table.gather(-1, given["targets_N"][:, None])[:, 0]
    spread = -(table.exp() * table.masked_fill(table.isinf(), 0)).sum(-1)
    for found in (logps, together.logps_N):
        assert relative(found, expected) < bound
    for found in (entropy, together.entropy_N):
        assert relative(found, spread) < bound
        assert not found.requires_grad
    assert relative(together.loss, expected.sum()) < bound
    bare, nothing = linear_logprob(**given, temperature=TEMPERATURE, banned=BANNED, with_entropy=False)
    assert torch.equal(bare, logps)
    assert not nothing.any()


@pytest.mark.parametrize(
    "planted",
    [
        {"temperature": 1.0},
        {"temperature": TEMPERATURE * (1 + 2e-5)},
        {"banned": BANNED[:2]},
        {"drop": "bias_V"},
        {"shift": 1},
    ],
    ids=str,
)
def test_the_tolerances_would_catch_a_planted_error(planted: dict[str, Any]) -> None:
    given = draw(torch.float32)
    wrong = dict(given)
    if planted.get("drop"):
        wrong["bias_V"] = torch.zeros(V)
    if planted.get("shift"):
        wrong["targets_N"] = given["targets_N"].roll(1)
    changes = {k: v for k, v in planted.items() if k in ("temperature", "banned")}
    right, other = expected_grads(given, ALL), expected_grads(wrong, ALL, **changes)
    for name in ALL:
        assert relative(other[name], right[name]) > 2 * FLOAT32, name
    right_logps, other_logps = (
        reference(x, **c).gather(-1, x["targets_N"][:, None])[:, 0] for x, c in ((given, {}), (wrong, changes))
    )
    assert relative(other_logps, right_logps) > FLOAT32


@pytest.mark.parametrize("wanted", [ALL, ("hidden_ND",)], ids="+".join)
def test_gradcheck(wanted: tuple[str, ...]) -> None:
    variables = leaves({k: v[:5] if k in ("hidden_ND", "targets_N") else v for k, v in draw().items()}, wanted)
    inputs = [variables[name] for name in ALL]

    def logps(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return linear_logprob(hidden, weight, variables["targets_N"], bias_V=bias, temperature=TEMPERATURE)[0]

    assert torch.autograd.gradcheck(logps, inputs)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("wanted", [ALL, ("hidden_ND",)], ids="+".join)
def test_cross_entropy_is_that_of_torch(wanted: tuple[str, ...], reduction: Any, smoothing: float) -> None:
    given = draw()
    given["targets_N"][::4] = -100
    ours, theirs = leaves(given, wanted), leaves(given, wanted)
    loss = linear_cross_entropy(**ours, label_smoothing=smoothing, reduction=reduction)
    logits = theirs["hidden_ND"] @ theirs["weight_VD"].T + theirs["bias_V"]
    expected = torch.nn.functional.cross_entropy(
        logits, given["targets_N"], label_smoothing=smoothing, reduction=reduction
    )
    (2 * loss).backward()
    (2 * expected).backward()
    assert relative(loss, expected) < FLOAT64
    for name in wanted:
        assert relative(ours[name].grad, theirs[name].grad) < FLOAT64  # type: ignore[arg-type]


def test_bfloat16_stays_within_its_own_rounding() -> None:
    """The kernel in bfloat16 is no further from float64 on the same inputs than eager bfloat16 is."""
    given = draw(torch.bfloat16)
    expected = expected_grads(given, ALL)
    scale = torch.linspace(-1, 1, N)
    eager = leaves(given, ALL)
    logits = (eager["hidden_ND"] @ eager["weight_VD"].T + eager["bias_V"]).float() / TEMPERATURE
    logits = logits.index_fill(-1, torch.tensor(BANNED), float("-inf"))
    objective(logits.log_softmax(-1).gather(-1, given["targets_N"][:, None])[:, 0], slice(0, N), scale).backward()
    for form in (generic, fused):
        ours = leaves(given, ALL)
        form(ours, scale, temperature=TEMPERATURE, banned=BANNED).backward()
        for name in ALL:
            grad = ours[name].grad
            assert grad is not None
            assert grad.dtype == torch.bfloat16
            assert relative(grad, expected[name]) < 1.2 * relative(eager[name].grad, expected[name]) + 1e-3  # type: ignore[arg-type]
            assert relative(grad, expected[name]) < 0.03


def test_under_autocast_the_kernels_keep_their_type() -> None:
    given = draw(torch.float32)
    plain, _ = linear_logprob(**given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, _ = linear_logprob(**given)
        loss = linear_cross_entropy(**leaves(given, ALL))
    assert torch.equal(plain, cast)
    assert loss.dtype == torch.float32


def test_the_largest_logits_do_not_overflow() -> None:
    given = draw(torch.float32)
    given["hidden_ND"] *= 1e4
    logps, entropy = linear_logprob(**given)
    assert torch.isfinite(logps).all()
    assert torch.isfinite(entropy).all()
    table = reference(given, temperature=1.0, banned=())
    assert relative(logps, table.gather(-1, given["targets_N"][:, None])[:, 0]) < FLOAT32


def test_gradients_of_one_pass_are_used_once() -> None:
    loss = linear_cross_entropy(**leaves(draw(), ALL))
    loss.backward(retain_graph=True)
    with pytest.raises(AssertionError, match="run it again"):
        loss.backward()


def test_no_rows_give_nothing() -> None:
    given = {k: v[:0] if k in ("hidden_ND", "targets_N") else v for k, v in draw().items()}
    assert linear_logprob(**given)[0].shape == (0,)
    assert float(linear_cross_entropy(**given, reduction="sum")) == 0.0
    with pytest.raises(InputError, match="nothing to take a mean of"):
        linear_cross_entropy(**given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_VD": torch.zeros(V, D + 1, dtype=torch.float64)}, r"same D; found \[37, 24\] and \[101, 25\]"),
        ({"hidden_ND": torch.zeros(N, D)}, "one type; found torch.float32 and torch.float64"),
        ({"hidden_ND": torch.zeros(N, D, dtype=torch.long)}, "floating-point type; found torch.int64"),
        ({"targets_N": torch.zeros(N - 1, dtype=torch.long)}, r"targets \[37\]"),
        ({"targets_N": torch.zeros(N, dtype=torch.int32)}, "torch.int64"),
        ({"targets_N": torch.full((N,), V)}, "targets from 0 to 100; found 101"),
        ({"targets_N": torch.full((N,), -1)}, "found -1"),
        ({"targets_N": torch.full((N,), 3), "banned": (3,)}, "not banned; found 3"),
        ({"banned": (V,)}, "banned ids from 0 to 100; found 101"),
        ({"bias_V": torch.zeros(V - 1, dtype=torch.float64)}, r"bias \[101\]; found \[100\]"),
        ({"temperature": 0.0}, "temperature above 0; found 0.0"),
        ({"weight_VD": torch.zeros(V, D, dtype=torch.float64, device="meta")}, "one device; found cpu and meta"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    for call in (linear_logprob, lambda **k: linear_loss(objective=lambda x, _: x.sum(), **k)):
        with pytest.raises(InputError, match=message):
            call(**(draw() | change))


def test_cross_entropy_refuses_what_it_cannot_mean() -> None:
    for change in ({"label_smoothing": 1.0}, {"reduction": "none"}):
        with pytest.raises(InputError):
            linear_cross_entropy(**draw(), **change)  # type: ignore[arg-type]
