"""The policy losses against numbers worked out by hand and against plain loops in float64."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sari_train.losses import LOSSES
from sari_train.losses.base import Gain, Loss, policy_terms, step_total, token_weights

# Two completions, of two tokens and of one; the last column of the second is padding.
MASK = torch.tensor([[True, True], [True, False]])
LONGEST = 10


def flatten(mask_BC: Tensor, *values_BC: Tensor) -> list[Tensor]:
    """Take the tokens out of padded rows, and the index of each token's row first."""
    rows, columns = mask_BC.nonzero(as_tuple=True)
    return [rows, *(value[rows, columns] for value in values_BC)]


def by_hand(
    name: str, ratios: list[list[float]], advantages: list[float], at: float = -1.0
) -> tuple[float, list[float], dict[str, float]]:
    """Loss, gradient by token and metrics of two completions with these ratios, at one log-probability."""
    loss = LOSSES[name]
    logps = torch.full((3,), at, requires_grad=True)
    old = at - torch.tensor([r for row in ratios for r in row]).log()
    rows = torch.tensor([0, 0, 1])
    total = step_total(loss.weighting, completions=2, tokens=3, micro_batches=1)
    weights_BC = token_weights(MASK, weighting=loss.weighting, total=total, max_new_tokens=LONGEST)
    value, shares = policy_terms(
        loss,
        logps,
        old,
        torch.tensor(advantages)[rows],
        flatten(MASK, weights_BC)[1],
        clip_low=loss.clip_low,
        clip_high=loss.clip_high,
        rows_N=rows,
    )
    value.backward()
    assert logps.grad is not None
    return value.item(), logps.grad.tolist(), {k: v.item() for k, v in shares.items()}


def test_the_registry_has_each_loss_under_its_name_with_its_papers_settings() -> None:
    settings = {n: (x.weighting, x.clip_low, x.clip_high, x.scale, x.per_token) for n, x in LOSSES.items()}
    assert settings == {
        "grpo": ("sequence", 0.2, 0.2, "group", True),
        "dr_grpo": ("constant", 0.2, 0.2, "none", True),
        "dapo": ("token", 0.2, 0.28, "group", True),
        "bnpo": ("micro_batch", 0.2, 0.2, "group", True),
        "gspo": ("sequence", 3e-4, 4e-4, "group", False),
        "cispo": ("token", 1.0, 4.0, "group", True),
    }
    papers = {"grpo": "2402.03300", "dr_grpo": "2503.20783", "dapo": "2503.14476"}
    papers |= {"bnpo": "2506.02864", "gspo": "2507.18071", "cispo": "2506.13585"}
    assert all(papers[name] in loss.source and loss.name == name for name, loss in LOSSES.items())


def test_grpo_by_hand() -> None:
    # A = 1: min(1.5, 1.2) = 1.2, no gradient; min(0.5, 0.8) = 0.5. A = -2: min(-2 * 1.25, -2 * 1.2) = -2.5.
    # Loss: -1/2 [ 1/2 (1.2 + 0.5) - 2.5 ] = 0.825.
    value, gradient, shares = by_hand("grpo", [[1.5, 0.5], [1.25]], [1.0, -2.0])
    assert value == pytest.approx(0.825)
    # d(r A w)/d log pi = r A w: weights are 1/4, 1/4 and 1/2.
    assert gradient == pytest.approx([0.0, -0.5 / 4, 2.5 / 2])
    assert (shares["clip_high_fraction"], shares["clip_low_fraction"], shares["clip_fraction"]) == (0.25, 0.0, 0.25)
    assert shares["weight"] == 1
    # The other side: A = -1 and ratio 0.5 is held at 0.8; ratio 1.5 is free.
    value, gradient, shares = by_hand("grpo", [[0.5, 1.5], [1.0]], [-1.0, 0.0])
    assert value == pytest.approx((0.8 + 1.5) / 4)
    assert gradient == pytest.approx([0.0, 1.5 / 4, 0.0])
    assert (shares["clip_high_fraction"], shares["clip_low_fraction"]) == (0.0, 0.25)


def test_dr_grpo_by_hand() -> None:
    # Sums over tokens, divided by 10 tokens and 2 completions: -(1.2 + 0.5 - 2.5) / 20 = 0.04.
    value, gradient, shares = by_hand("dr_grpo", [[1.5, 0.5], [1.25]], [1.0, -2.0])
    assert value == pytest.approx(0.04)
    assert gradient == pytest.approx([0.0, -0.5 / 20, 2.5 / 20])
    # Its weights add up to 3 / 20, so the mean of a metric is its share divided by that.
    assert shares["clip_fraction"] / shares["weight"] == pytest.approx(1 / 3)


def test_dapo_by_hand() -> None:
    # The ratio 1.25 is inside 1.28 here: -(1.28 + 0.5 + 1.25) / 3 = -1.01.
    value, gradient, shares = by_hand("dapo", [[1.5, 0.5], [1.25]], [1.0, 1.0])
    assert value == pytest.approx(-1.01)
    assert gradient == pytest.approx([0.0, -0.5 / 3, -1.25 / 3])
    assert shares["clip_fraction"] == pytest.approx(1 / 3)
    assert by_hand("dapo", [[0.5, 1], [1]], [-1.0, 0.0])[0] == pytest.approx((0.8 + 1) / 3)


def test_bnpo_by_hand_is_the_mean_over_micro_batches_of_token_means() -> None:
    # As one micro-batch: -(1.2 + 0.5 + 1.2) / 3. As two: -[ (1.2 + 0.5) / 2 + 1.2 ] / 2.
    value, gradient, _ = by_hand("bnpo", [[1.5, 0.5], [1.25]], [1.0, 1.0])
    assert value == pytest.approx(-2.9 / 3)
    assert gradient == pytest.approx([0.0, -0.5 / 3, 0.0])
    weights = [token_weights(MASK[i : i + 1], weighting="micro_batch", total=2, max_new_tokens=LONGEST) for i in (0, 1)]
    assert [w.tolist() for w in weights] == [[[0.25, 0.25]], [[0.5, 0.0]]]


def test_gspo_by_hand() -> None:
    # Ratios 1.0004 and 1.0002: their geometric mean, 1.0003, is inside 1.0004, so nothing is held although
    # one token is at the bound. -1/2 [ 1.0003 - 2 * 0.9995 ].
    value, gradient, shares = by_hand("gspo", [[1.0004, 1.0002], [0.9995]], [1.0, -2.0])
    # A = -2 and 0.9995 < 0.9997: held, the completion has no gradient.
    assert value == pytest.approx(-(1.0003 - 2 * 0.9997) / 2, abs=1e-6)
    assert gradient == pytest.approx([-1.0003 / 4, -1.0003 / 4, 0.0], abs=1e-6)
    assert (shares["clip_low_fraction"], shares["clip_high_fraction"]) == (0.5, 0.0)
    # Both tokens of a completion are held together: sqrt(1.002 * 0.9999) = 1.00095 > 1.0004.
    value, gradient, shares = by_hand("gspo", [[1.002, 0.9999], [1.0]], [1.0, 0.0])
    assert value == pytest.approx(-1.0004 / 2, abs=1e-6)
    assert gradient == [0.0, 0.0, 0.0]
    assert shares["clip_high_fraction"] == 0.5


def test_cispo_by_hand() -> None:
    # Weights 5 (held, from 7), 0.01 (no bound below) and 2, times A, times the log-probability -3, over 3 tokens.
    value, gradient, shares = by_hand("cispo", [[7.0, 0.01], [2.0]], [1.0, -1.0], at=-3.0)
    assert value == pytest.approx(-(5 * -3 + 0.01 * -3 + -2 * -3) / 3)
    # Every token keeps its gradient, the held one too.
    assert gradient == pytest.approx([-5 / 3, -0.01 / 3, 2 / 3])
    assert (shares["clip_low_fraction"], shares["clip_high_fraction"]) == (0.0, pytest.approx(1 / 3))


@pytest.mark.parametrize("name", LOSSES)
def test_on_the_first_update_the_ratio_is_one_and_the_gradient_the_plain_policy_gradient(name: str) -> None:
    value, gradient, shares = by_hand(name, [[1.0, 1.0], [1.0]], [1.0, -0.5])
    per_token = {"sequence": [1 / 4, 1 / 4, 1 / 2], "constant": [1 / 20] * 3}.get(LOSSES[name].weighting, [1 / 3] * 3)
    expected = [-w * a for w, a in zip(per_token, [1.0, 1.0, -0.5], strict=True)]
    assert gradient == pytest.approx(expected, rel=1e-7)
    assert shares["clip_fraction"] == 0
    assert value == pytest.approx(sum(expected) * (-1.0 if name == "cispo" else 1.0))


# --- against a plain loop -------------------------------------------------------------------------------------


def random_step(seed: int, spread: float) -> dict[str, Tensor]:
    """Eight completions of one to five tokens, float64, with ratios about ``spread`` away from 1."""
    generator = torch.Generator().manual_seed(seed)
    normal = [torch.randn(8, 5, generator=generator, dtype=torch.float64) for _ in range(4)]
    logps = -1.5 + 0.5 * normal[0]
    return {
        "mask": torch.arange(5) < torch.randint(1, 6, (8, 1), generator=generator),
        "logps": logps,
        "old": logps + spread * normal[1],
        "ref": logps + 0.3 * normal[2],
        "correction": (0.2 * normal[3]).exp(),
        "advantages": torch.randn(8, generator=generator, dtype=torch.float64),
    }


SPREADS = {"gspo": 1e-3, "cispo": 1.0}  # so that some ratios leave the interval and some do not


def reference(name: str, step: dict[str, Tensor], beta: float, kl: str) -> tuple[float, Tensor]:
    """The formula of each paper as loops over completions and tokens, and autograd's gradient [8, 5]."""
    logps = step["logps"].clone().requires_grad_()
    lengths = step["mask"].sum(-1).tolist()
    low, high = LOSSES[name].clip_low, LOSSES[name].clip_high
    objective = torch.zeros((), dtype=torch.float64)
    for i, length in enumerate(lengths):
        a = step["advantages"][i]
        # Equation 5 of GSPO as it stands: the ratio of the whole completion, with its whole gradient.
        whole = (logps[i, :length] - step["old"][i, :length]).mean().exp()
        for t in range(length):
            ratio = whole if name == "gspo" else (logps[i, t] - step["old"][i, t]).exp()
            if name == "cispo":
                term = min(ratio.item(), 1 + high) * a * logps[i, t]
            else:
                held = min(max(ratio.item(), 1 - low), 1 + high)
                term = ratio * a if ratio.item() * a <= held * a else held * a
            # One correction for all tokens where the ratio is that of the completion.
            term = term * step["correction"][i, 0 if name == "gspo" else t]
            d = logps[i, t] - step["ref"][i, t]
            term = term - beta * {"k1": d, "k2": d**2 / 2, "k3": (-d).exp() - 1 + d}[kl]
            weight = {
                "grpo": 1 / (length * 8),
                "gspo": 1 / (length * 8),
                "dr_grpo": 1 / (LONGEST * 8),
            }.get(name, 1 / sum(lengths))
            objective = objective + weight * term
    (-objective).backward()
    assert logps.grad is not None
    return -objective.item(), logps.grad


def package(
    loss: Loss, step: dict[str, Tensor], beta: float, kl: str, rows: slice = slice(None), micro_batches: int = 1
) -> tuple[float, Tensor, dict[str, float]]:
    """Loss, gradient and shares of some of the completions, as one micro-batch of the step."""
    logps = step["logps"][rows].clone().requires_grad_()
    mask = step["mask"][rows]
    total = step_total(loss.weighting, completions=8, tokens=int(step["mask"].sum()), micro_batches=micro_batches)
    weights = token_weights(mask, weighting=loss.weighting, total=total, max_new_tokens=LONGEST).double()
    correction = step["correction"][rows]
    if not loss.per_token:
        correction = correction[:, :1].expand_as(mask)
    row_N, logps_N, old_N, ref_N, weights_N, correction_N = flatten(
        mask, logps, step["old"][rows], step["ref"][rows], weights, correction
    )
    value, shares = policy_terms(
        loss,
        logps_N,
        old_N,
        step["advantages"][rows][row_N],
        weights_N,
        clip_low=loss.clip_low,
        clip_high=loss.clip_high,
        beta=beta,
        kl=kl,  # type: ignore[arg-type]
        ref_N=ref_N,
        correction_N=correction_N,
        rows_N=row_N,
    )
    value.backward()
    assert logps.grad is not None
    return value.item(), logps.grad, {k: v.item() for k, v in shares.items()}


@pytest.mark.parametrize("kl", ["k1", "k2", "k3"])
@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_equals_its_formula_as_a_loop(name: str, kl: str) -> None:
    step = random_step(1, SPREADS.get(name, 0.3))
    value, gradient, shares = package(LOSSES[name], step, 0.1, kl)
    expected, expected_gradient = reference(name, step, 0.1, kl)
    # Weights are made in float32; the rest is float64.
    assert value == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-9)
    assert 0 < shares["clip_fraction"] < shares["weight"], "the case must have tokens on both sides of the bounds"
    assert shares["loss"] == value


def wrong(loss: Loss, change: Callable[[Gain, Tensor], Tensor]) -> Loss:
    """The loss with its gain spoilt: ``change`` gets the gain and the advantages."""

    def gain(logps: Tensor, old_logps: Tensor, advantages: Tensor, **options: object) -> Gain:
        found = loss.gain(logps, old_logps, advantages, **options)  # type: ignore[arg-type]
        return found._replace(gain_N=change(found, advantages))

    return dataclasses.replace(loss, gain=gain)


@pytest.mark.parametrize("name", LOSSES)
def test_the_tolerance_catches_planted_errors(name: str) -> None:
    step = random_step(1, SPREADS.get(name, 0.3))
    loss = LOSSES[name]
    spoilt = {
        "wrong sign": wrong(loss, lambda found, _: -found.gain_N),
        "bounds swapped or elsewhere": dataclasses.replace(
            loss, clip_low=loss.clip_high * 0.5, clip_high=loss.clip_low * 0.5
        ),
        "clipped tokens dropped": wrong(loss, lambda found, _: found.gain_N * ~(found.below_N | found.above_N)),
        "another mean": dataclasses.replace(loss, weighting="sequence" if loss.weighting == "token" else "token"),
    }
    if loss.weighting == "micro_batch":  # one micro-batch has the token mean
        spoilt["another mean"] = dataclasses.replace(loss, weighting="sequence")
    expected, expected_gradient = reference(name, step, 0.1, "k3")
    for what, other in spoilt.items():
        value, gradient, _ = package(other, step, 0.1, "k3")
        assert value != pytest.approx(expected, rel=1e-6), what
        if what != "clipped tokens dropped" or name == "cispo":  # their gradient is 0 in the others
            assert not torch.allclose(gradient, expected_gradient, rtol=1e-6, atol=1e-9), what


def test_a_clip_on_the_wrong_side_is_caught() -> None:
    """max in place of min would clip what loses instead of what gains."""
    step = random_step(1, 0.3)

    def most(logps: Tensor, old_logps: Tensor, advantages: Tensor, *, low: float, high: float, **_: object) -> Gain:
        ratio = (logps - old_logps).exp()
        none = torch.zeros_like(ratio, dtype=torch.bool)
        return Gain(torch.maximum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages), none, none)

    value, gradient, _ = package(dataclasses.replace(LOSSES["grpo"], gain=most), step, 0.0, "k3")
    expected, expected_gradient = reference("grpo", step, 0.0, "k3")
    assert value != pytest.approx(expected, rel=1e-6)
    assert not torch.allclose(gradient, expected_gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_micro_batches_add_up(name: str) -> None:
    step = random_step(2, SPREADS.get(name, 0.3))
    loss = LOSSES[name]
    whole, gradient, shares = package(loss, step, 0.1, "k3")
    for size in (1, 3):
        parts = [package(loss, step, 0.1, "k3", slice(i, i + size), -(-8 // size)) for i in range(0, 8, size)]
        sums = {k: sum(p[2][k] for p in parts) for k in shares}
        if loss.weighting == "micro_batch":
            # The one that depends on the split: it is the mean over micro-batches, and the weights still add up to 1.
            assert sums["weight"] == pytest.approx(1)
            assert sums["loss"] != pytest.approx(whole, rel=1e-6)
            continue
        assert sum(p[0] for p in parts) == pytest.approx(whole, rel=1e-6)
        torch.testing.assert_close(torch.cat([p[1] for p in parts]), gradient, rtol=1e-6, atol=1e-9)
        assert sums == pytest.approx(shares, rel=1e-6, abs=1e-9)


def sliced(loss: Loss, step: dict[str, Tensor], first: bool) -> tuple[Tensor, Tensor]:
    """Gradients [N] of the whole at once and of slices of four tokens, as a fused head makes them."""
    row_N, logps_N, old_N = flatten(step["mask"], step["logps"], step["old"])
    total = step_total(loss.weighting, completions=8, tokens=len(row_N), micro_batches=1)
    weights_BC = token_weights(step["mask"], weighting=loss.weighting, total=total, max_new_tokens=LONGEST)
    weights_N = flatten(step["mask"], weights_BC)[1].double()
    found = []
    for size in (len(row_N), 4):
        leaf = logps_N.clone().requires_grad_()
        for at in range(0, len(row_N), size):
            some = slice(at, at + size)
            old = leaf[some].detach() if first else old_N[some]
            policy_terms(
                loss,
                leaf[some],
                old,
                step["advantages"][row_N[some]],
                weights_N[some],
                clip_low=loss.clip_low,
                clip_high=loss.clip_high,
                rows_N=row_N[some],
            )[0].backward()
        assert leaf.grad is not None
        found.append(leaf.grad)
    return found[0], found[1]


@pytest.mark.parametrize("name", LOSSES)
def test_which_losses_may_be_made_slice_by_slice(name: str) -> None:
    loss, step = LOSSES[name], random_step(3, SPREADS.get(name, 0.3))
    assert torch.equal(*sliced(loss, step, first=True))
    assert torch.equal(*sliced(loss, step, first=False)) == loss.per_token


@pytest.mark.parametrize("name", LOSSES)
def test_only_the_policy_that_learns_gets_a_gradient(name: str) -> None:
    loss = LOSSES[name]
    logps, old, ref, correction = (torch.full((2,), x, requires_grad=True) for x in (-1.0, -1.1, -1.2, 0.9))
    value, _ = policy_terms(
        loss,
        logps,
        old,
        torch.ones(2),
        torch.ones(2),
        clip_low=0.5,
        clip_high=0.5,
        beta=0.1,
        ref_N=ref,
        correction_N=correction,
        rows_N=torch.tensor([0, 1]),
    )
    value.backward()
    assert logps.grad is not None
    assert old.grad is ref.grad is correction.grad is None


def test_the_divergence_is_measured_without_a_penalty_and_penalised_with_one() -> None:
    logps = torch.tensor([-1.0, -2.0], requires_grad=True)
    ref, weights = torch.tensor([-1.5, -1.0]), torch.full((2,), 0.5)
    # k3 with d = 0.5 and -1: (e^-0.5 - 1 + 0.5 + e - 1 - 1) / 2.
    k3 = (math.exp(-0.5) - 0.5 + math.exp(1.0) - 2.0) / 2
    for beta in (0.0, 0.1):
        value, shares = policy_terms(
            LOSSES["grpo"], logps, logps, torch.zeros(2), weights, clip_low=0.2, clip_high=0.2, beta=beta, ref_N=ref
        )
        assert shares["kl"].item() == pytest.approx(k3)
        assert value.item() == pytest.approx(beta * k3)
    # d k3 / d log pi = 1 - e^-d, times beta and weight.
    value.backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == pytest.approx([0.05 * (1 - math.exp(-0.5)), 0.05 * (1 - math.exp(1.0))])
    with pytest.raises(AssertionError, match="needs the reference"):
        policy_terms(LOSSES["grpo"], logps, logps, weights, weights, clip_low=0.2, clip_high=0.2, beta=0.1)
    with pytest.raises(AssertionError, match="gspo needs the index"):
        policy_terms(LOSSES["gspo"], logps, logps, weights, weights, clip_low=0.2, clip_high=0.2)


def test_token_weights_by_hand() -> None:
    def weights(weighting: str, total: int) -> list[list[float]]:
        found = token_weights(MASK, weighting=weighting, total=total, max_new_tokens=LONGEST)  # type: ignore[arg-type]
        assert found.dtype == torch.float32
        return found.tolist()

    assert weights("sequence", 4) == [[0.125, 0.125], [0.25, 0.0]]
    assert weights("token", 8) == [[0.125, 0.125], [0.125, 0.0]]
    assert weights("constant", 4) == [[pytest.approx(1 / 40)] * 2, [pytest.approx(1 / 40), 0.0]]
    assert weights("micro_batch", 2) == [[pytest.approx(1 / 6)] * 2, [pytest.approx(1 / 6), 0.0]]
    # A completion that is masked as a whole weighs nothing, and divides nothing by 0.
    for weighting in ("sequence", "token", "constant", "micro_batch"):
        nothing = token_weights(
            torch.zeros(1, 3, dtype=torch.bool),
            weighting=weighting,  # type: ignore[arg-type]
            total=5,
            max_new_tokens=LONGEST,
        )
        assert nothing.tolist() == [[0.0] * 3]
