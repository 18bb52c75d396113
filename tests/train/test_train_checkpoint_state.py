"""Training state without pickle: what goes in comes out, bit for bit, and nothing that is read can run code."""

from __future__ import annotations

import json
import math
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn
from train_helpers import make_lm

from sari_data.errors import CheckpointError
from sari_train.config import Sft
from sari_train.optim import make_optimizer
from sari_train.state_io import (
    BODY,
    TENSORS,
    capture_rng,
    load_optimizer_state,
    named_optimizer_state,
    pack_state,
    read_state,
    restore_rng,
    seed_rng,
    unpack_state,
    write_state,
)

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.int64, torch.bool)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    if dtype == torch.bool:
        return torch.tensor(
            draw(st.lists(st.booleans(), min_size=math.prod(shape), max_size=math.prod(shape)))
        ).reshape(shape)
    size = math.prod(shape) * torch.empty((), dtype=dtype).element_size()
    raw = draw(st.binary(min_size=size, max_size=size))  # any bits: infinities and NaNs of all kinds among them
    found = torch.frombuffer(bytearray(raw), dtype=torch.uint8) if size else torch.empty(0, dtype=torch.uint8)
    found = found.view(dtype).reshape(shape)
    return found.t() if found.dim() == 2 and draw(st.booleans()) else found


PLAIN = st.none() | st.booleans() | st.integers() | st.integers(-(2**4000), 2**4000) | st.floats() | st.text()
NESTS = st.recursive(
    PLAIN | st.binary() | tensors(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.sampled_from(["$tensor", "$dict", "a/b", "a"]), inner, max_size=4)
        | st.dictionaries(st.integers() | st.booleans() | st.floats(allow_nan=False), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equality to the bit: of types, of signs of zero, of NaNs."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        raw = [t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*raw)
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items(), strict=True)
        return len(a) == len(b) and all(same(k, m) and same(v, w) for (k, v), (m, w) in pairs)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or struct.pack("d", a) == struct.pack("d", b)
    return bool(a == b)


@given(NESTS)
@hypothesis_settings(max_examples=100)
def test_what_is_packed_comes_back_to_the_bit(nested: Any) -> None:
    parts, body = pack_state(nested)
    text = json.dumps(body, allow_nan=False)
    assert same(unpack_state(load(save(parts)), json.loads(text)), nested)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (0.0, -0.0),
        (1, True),
        (1.0, 1),
        ((1,), [1]),
        ({1: 2}, {"1": 2}),
        (torch.zeros(2), torch.zeros(2, 1)),
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (torch.zeros(1), torch.zeros(1, dtype=torch.int32)),
    ],
)
def test_the_comparison_above_sees_small_differences(a: Any, b: Any) -> None:
    assert same(a, a)
    assert not same(a, b)


def test_shared_memory_is_stored_apart_and_a_view_takes_no_more_than_its_own_room() -> None:
    whole = torch.arange(10_000.0)
    state = {"a": whole[:10], "b": whole[:10], "c": whole[5:15]}
    parts, body = pack_state(state)
    assert len(save(parts)) < 1000
    assert same(unpack_state(load(save(parts)), body), state)


def test_names_that_look_alike_stay_apart() -> None:
    state = {"a/b": torch.zeros(1), "a": {"b": torch.ones(1)}, "__metadata__": torch.tensor([2.0])}
    parts, body = pack_state(state)
    assert len(parts) == 3
    assert same(unpack_state(load(save(parts)), body), state)


@pytest.mark.parametrize("value", [{1, 2}, object(), np.zeros(2), 1j])
def test_what_is_neither_plain_nor_a_tensor_is_no_state(value: Any) -> None:
    with pytest.raises(TypeError, match="at extra/odd"):
        pack_state({"extra": {"odd": value}})


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / BODY).write_bytes(b""),
        lambda folder: (folder / BODY).write_text('{"format": "other"}'),
        lambda folder: (folder / BODY).write_text("[" * 100_000),
        lambda folder: (folder / TENSORS).write_bytes(b"PK\x03\x04 and nothing more"),
        lambda folder: (folder / TENSORS).unlink(),
        lambda folder: (folder / BODY).write_text((folder / BODY).read_text().replace("$tensor", "$pickle")),
        lambda folder: (folder / BODY).write_text((folder / BODY).read_text().replace('"weight"', '"gone"')),
        lambda folder: (folder / BODY).write_text((folder / BODY).read_text().replace('"0x', '"0y')),
    ],
)
def test_state_that_cannot_be_read_is_one_sentence(tmp_path: Path, damage: Any) -> None:
    state = {"weight": torch.ones(2), "big": 2**70}
    write_state(tmp_path, state)
    assert same(read_state(tmp_path), state)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=r"training state .* cannot be read .*: give --overwrite to start anew"):
        read_state(tmp_path)


def test_random_generators_go_on_where_they_were() -> None:
    saved = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    try:
        np.random.normal()  # leaves the second of a pair behind
        states = [capture_rng(), {}]
        parts, body = pack_state(states)
        draws = [(random.random(), np.random.normal(), torch.rand(3).tolist()) for _ in range(2)]
        assert draws[0] != draws[1]
        restored = unpack_state(load(save(parts)), json.loads(json.dumps(body)))
        assert restore_rng(restored, 0)
        assert [(random.random(), np.random.normal(), torch.rand(3).tolist()) for _ in range(2)] == draws
        assert not restore_rng(restored, 2)
        found = []
        for seed, process in ((1, 0), (1, 0), (1, 1), (2, 0)):
            seed_rng(seed, process)
            found.append((random.random(), np.random.rand(), torch.rand(1).item()))
        assert found[0] == found[1]
        assert all(len({draws[i] for draws in found}) == 3 for i in range(3))
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])
        torch.set_rng_state(saved[2])


class EightBit(torch.optim.Optimizer):
    """Keeps its state as bitsandbytes does: codes in 8 bits with a scale for each block, and a map of the codes."""

    def __init__(self, weights: Any, lr: float = 1e-2) -> None:
        super().__init__(weights, {"lr": lr, "betas": (0.9, 0.95), "alpha": None})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state |= {"step": 0, "state1": torch.zeros_like(p, dtype=torch.uint8), "absmax1": torch.ones(1)}
                    state["qmap1"] = torch.linspace(-1, 1, 256)
                state["step"] += 1
                mean = 0.9 * state["qmap1"][state["state1"].long()] * state["absmax1"] + 0.1 * p.grad
                state["absmax1"] = mean.abs().max().reshape(1)
                state["state1"] = ((mean / state["absmax1"] + 1) * 127.5).round().to(torch.uint8)
                p -= group["lr"] * mean

    def load_state_dict(self, state_dict: Any) -> None:
        # torch's would turn the codes into floats.
        ids = [i for group in state_dict["param_groups"] for i in group["params"]]
        weights = [p for group in self.param_groups for p in group["params"]]
        for i, p in zip(ids, weights, strict=True):
            self.state[p] = dict(state_dict["state"][i])


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x = torch.linspace(-1, 1, 15).reshape(5, 3) * (step + 1)
        model(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def adamw(model: nn.Module, order: int = 1) -> torch.optim.Optimizer:
    weights = list(model.parameters())[::order]
    return torch.optim.AdamW([{"params": weights[:3], "weight_decay": 0.1}, {"params": weights[3:]}], lr=1e-2)


@pytest.mark.parametrize("make", [adamw, lambda model: EightBit(model.parameters())])
def test_an_optimizer_goes_on_from_its_file(make: Any, tmp_path: Path) -> None:
    straight, broken = network(), network()
    optimizer = make(straight)
    take_steps(straight, optimizer, range(4))
    half = make(broken)
    take_steps(broken, half, range(2))
    write_state(tmp_path, {"optimizer": named_optimizer_state(half, broken)})
    resumed = network(seed=1)
    resumed.load_state_dict(broken.state_dict())
    other = make(resumed)
    load_optimizer_state(other, resumed, read_state(tmp_path)["optimizer"])
    take_steps(resumed, other, range(2, 4))
    for name, weight in straight.named_parameters():
        assert torch.equal(weight, resumed.get_parameter(name)), name
    forgetful = network(seed=1)
    forgetful.load_state_dict(broken.state_dict())
    take_steps(forgetful, make(forgetful), range(2, 4))
    assert not torch.equal(forgetful.get_parameter("0.weight"), straight.get_parameter("0.weight"))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_projects_optimizers_go_by_the_weights_names(kind: str, processor: Any, tmp_path: Path) -> None:
    table = Sft(optimizer=kind, weight_decay=0.1, learning_rate=0.01)
    first, second = make_lm(processor), make_lm(processor)
    optimizers = [make_optimizer(lm, table) for lm in (first, second)]
    for weight in first.model.parameters():
        weight.grad = torch.sin(weight.detach() * 100)
    optimizers[0].step()
    state = named_optimizer_state(optimizers[0], first.model)
    parts = [state] if "state" in state else list(state.values())
    names = {name for part in parts for name in part["state"]}
    assert names == {name for name, weight in first.model.named_parameters() if weight.requires_grad}
    write_state(tmp_path, {"optimizer": state})
    load_optimizer_state(optimizers[1], second.model, read_state(tmp_path)["optimizer"])
    assert same(named_optimizer_state(optimizers[1], second.model), state)
    # What the optimizer itself takes, where the order is the same.
    third = make_optimizer(second, table)
    third.load_state_dict(read_state(tmp_path)["optimizer"])
    assert same(named_optimizer_state(third, second.model), state)
    for group in optimizers[1].param_groups:
        group["lr"] = 0.5
    inner = getattr(optimizers[1], "parts", {"": optimizers[1]})
    assert all(group["lr"] == 0.5 for part in inner.values() for group in part.param_groups)


def test_another_order_of_the_weights_is_the_same_optimizer() -> None:
    model = network()
    optimizer = adamw(model)
    take_steps(model, optimizer, range(2))
    state = named_optimizer_state(optimizer, model)
    twin = network()
    turned = torch.optim.AdamW(
        [{"params": list(twin.parameters())[2::-1], "weight_decay": 0.1}, {"params": list(twin.parameters())[3:]}],
        lr=1e-2,
    )
    load_optimizer_state(turned, twin, state)
    found = named_optimizer_state(turned, twin)["state"]
    assert found.keys() == state["state"].keys()
    assert all(same(found[name], state["state"][name]) for name in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {}, "no groups of weights"),
        (lambda s: {**s, "param_groups": s["param_groups"][:1]}, "has 1 groups of weights and here are 2"),
        (lambda s: {**s, "param_groups": s["param_groups"][::-1]}, "in one of the two only"),
    ],
)
def test_another_optimizer_is_refused(change: Any, message: str) -> None:
    model = network()
    optimizer = adamw(model)
    take_steps(model, optimizer, range(1))
    with pytest.raises(CheckpointError, match=message):
        load_optimizer_state(optimizer, model, change(named_optimizer_state(optimizer, model)))


def test_other_parts_are_refused(processor: Any) -> None:
    lm = make_lm(processor)
    optimizer = make_optimizer(lm, Sft(optimizer="muon"))
    with pytest.raises(CheckpointError, match="its parts are"):
        load_optimizer_state(optimizer, lm.model, {"state": {}, "param_groups": []})
