"""Training state on disk without pickle: tensors in safetensors, all else in JSON, and back bit for bit.

A training state is a nest of dicts, lists and tuples with tensors and plain values at its ends. :func:`pack_state`
parts it into tensors by name and a JSON value that says where each belongs; nothing that is read back can run code.
An optimizer's state goes by the names of the weights, not by their numbers, so it outlives another order of groups
and has the form of a gathered state of several processes.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sari_data.errors import CheckpointError

TENSORS = "state.safetensors"
BODY = "state.json"
FORMAT = "sari-training-state"
FORMAT_VERSION = 1

# A JSON object with one key that begins so stands for a value that JSON lacks.
_MARK = "$"
_INT64 = 2**63


def pack_state(nested: Any) -> tuple[dict[str, Tensor], Any]:
    """Part a nest of dicts, lists and tuples into its tensors and a value that JSON can hold.

    Args:
        nested: None, bools, ints of any size, floats (infinite ones and NaN too), strings, bytes and tensors of any
            type and shape, in dicts (keys of any of the plain types), lists and tuples.

    Returns:
        Tensors on the CPU by name, no two of which share memory, and the JSON value; :func:`unpack_state` puts them
        together again.

    Raises:
        TypeError: Something else is in it, which a training state must not hold.
    """
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()

    def add(tensor: Tensor, path: tuple[str, ...]) -> str:
        # Names are for people; the value's place is known by the reference, so any unique name will do.
        stem = "/".join(path).encode("ascii", "backslashreplace").decode() or "value"
        name, number = stem, 1
        while name in tensors or name == "__metadata__":
            number += 1
            name = f"{stem}#{number}"
        dense = tensor.detach().cpu().contiguous()
        place = dense.untyped_storage().data_ptr()
        whole = dense.untyped_storage().nbytes() == dense.nbytes
        if place in storages or not whole:
            dense = dense.clone()  # the file holds each number once, and no more than it needs
        storages.add(dense.untyped_storage().data_ptr())
        tensors[name] = dense
        return name

    def pack(value: Any, path: tuple[str, ...]) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str(value)
        if isinstance(value, int):
            return int(value) if -_INT64 <= value < _INT64 else {"$int": hex(value)}
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"$float": str(float(value))}
        if isinstance(value, bytes):
            return {"$bytes": value.hex()}
        if isinstance(value, Tensor):
            return {"$tensor": add(value, path)}
        if isinstance(value, tuple):
            return {"$tuple": [pack(item, (*path, str(i))) for i, item in enumerate(value)]}
        if isinstance(value, list):
            return [pack(item, (*path, str(i))) for i, item in enumerate(value)]
        if isinstance(value, Mapping):
            if all(isinstance(key, str) and not key.startswith(_MARK) for key in value):
                return {key: pack(item, (*path, key)) for key, item in value.items()}
            pairs = [[pack(key, (*path, "key")), pack(item, (*path, str(key)))] for key, item in value.items()]
            return {"$dict": pairs}
        raise TypeError(f"a training state cannot hold a {type(value).__name__} (at {'/'.join(path) or 'its top'})")

    return tensors, pack(nested, ())


def unpack_state(tensors: Mapping[str, Tensor], body: Any) -> Any:
    """Put together what :func:`pack_state` parted.

    Raises:
        ValueError: The two do not belong together, or no ``pack_state`` wrote them.
    """
    if isinstance(body, list):
        return [unpack_state(tensors, item) for item in body]
    if not isinstance(body, dict):
        return body
    kind = next(iter(body), "")
    if not kind.startswith(_MARK):
        return {key: unpack_state(tensors, item) for key, item in body.items()}
    held = body[kind]
    try:
        if kind == "$tensor":
            return tensors[held]
        if kind == "$tuple":
            return tuple(unpack_state(tensors, item) for item in held)
        if kind == "$dict":
            return {unpack_state(tensors, key): unpack_state(tensors, item) for key, item in held}
        if kind == "$int":
            return int(held, 16)
        if kind == "$float":
            return float(held)
        if kind == "$bytes":
            return bytes.fromhex(held)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{kind} with {held!r:.80}") from error
    raise ValueError(f"unknown mark {kind!r:.80}")


def write_state(folder: Path, nested: Mapping[str, Any]) -> None:
    """Write a training state into ``folder`` (which it makes) as ``state.safetensors`` and ``state.json``.

    Raises:
        OSError, safetensors.SafetensorError: The disk is full or not writable.
    """
    tensors, body = pack_state(dict(nested))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / TENSORS)
    whole = {"format": FORMAT, "format_version": FORMAT_VERSION, "state": body}
    (folder / BODY).write_text(json.dumps(whole, allow_nan=False) + "\n", encoding="utf-8")


def read_state(folder: Path) -> dict[str, Any]:
    """Read what :func:`write_state` wrote; tensors are on the CPU.

    Raises:
        CheckpointError: It is absent, damaged, or of another format.
    """
    try:
        whole = json.loads((folder / BODY).read_text(encoding="utf-8"))
        if (whole["format"], whole["format_version"]) != (FORMAT, FORMAT_VERSION):
            raise ValueError(f"{whole['format']} version {whole['format_version']}")
        nested = unpack_state(load_file(folder / TENSORS), whole["state"])
        if not isinstance(nested, dict):
            raise ValueError("its top is no object")
    except Exception as error:  # safetensors, JSON and the file system each have errors of their own
        raise CheckpointError(
            f"the training state {folder} cannot be read ({type(error).__name__}: {str(error)[:150]}), so the run "
            "cannot go on: give --overwrite to start anew, or choose another out"
        ) from error
    return nested


def named_optimizer_state(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, Any]:
    """Return an optimizer's state with the weights' names in place of their numbers.

    The form is that of torch's gathered state dicts (``torch.distributed.checkpoint.state_dict``), and what an
    optimizer itself takes in ``load_state_dict`` where its weights come in the same order. An optimizer made of
    several (``optimizer.parts``, a dict) gives one such state for each.

    Args:
        optimizer: Its weights are the model's; what no name is known for goes by its number.
        model: Where the names come from.
    """
    parts = getattr(optimizer, "parts", None)
    if isinstance(parts, dict):
        return {name: named_optimizer_state(part, model) for name, part in parts.items()}
    names = _names(optimizer, model)
    body = optimizer.state_dict()
    groups = [{**group, "params": [names[i] for i in group["params"]]} for group in body["param_groups"]]
    return {**body, "state": {names[i]: state for i, state in body["state"].items()}, "param_groups": groups}


def load_optimizer_state(optimizer: torch.optim.Optimizer, model: torch.nn.Module, saved: Mapping[str, Any]) -> None:
    """Give an optimizer the state that :func:`named_optimizer_state` returned, weight by weight.

    Raises:
        CheckpointError: The state is of an optimizer with other parts, groups or weights.
    """
    parts = getattr(optimizer, "parts", None)
    if isinstance(parts, dict):
        if saved.keys() != parts.keys():
            raise _other_optimizer(f"its parts are {sorted(map(str, saved))} and here {sorted(parts)}")
        for name in parts:
            load_optimizer_state(parts[name], model, saved[name])
        share_groups = getattr(optimizer, "_share_groups", None)  # loading makes new groups in the parts
        if share_groups is not None:
            share_groups()
        return
    if not {"state", "param_groups"} <= saved.keys():
        raise _other_optimizer("it has no groups of weights")
    names = iter(_names(optimizer, model))
    groups = saved["param_groups"]
    if len(groups) != len(optimizer.param_groups):
        raise _other_optimizer(f"it has {len(groups)} groups of weights and here are {len(optimizer.param_groups)}")
    ordered = []
    for there, here in zip(groups, optimizer.param_groups, strict=True):
        wanted = [next(names) for _ in here["params"]]
        if set(wanted) != set(there["params"]):
            odd = sorted(set(wanted) ^ set(there["params"]))
            raise _other_optimizer(f"{len(odd)} weights are in one of the two only ({odd[0]}, ...)")
        # torch matches by place: the state's order becomes the optimizer's.
        ordered.append({**there, "params": wanted})
    optimizer.load_state_dict({**saved, "param_groups": ordered})


def _other_optimizer(what: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint's optimizer is another than this run's ({what}): give --overwrite to start anew, or choose "
        "another out"
    )


def _names(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> list[str]:
    """The weights' names in the optimizer's order, which numbers them in its state dict."""
    known = {id(weight): name for name, weight in model.named_parameters()}
    weights: Iterable[Tensor] = (weight for group in optimizer.param_groups for weight in group["params"])
    return [known.get(id(weight), f"#{i}") for i, weight in enumerate(weights)]


def seed_rng(seed: int, process: int = 0) -> None:
    """Seed this process's random generators; each process of a run gets a stream of its own."""
    drawn = np.random.SeedSequence([seed, process]).generate_state(4, np.uint32)
    random.seed(int(drawn[0]))
    np.random.seed(int(drawn[1]))
    torch.manual_seed(int(drawn[2]) << 32 | int(drawn[3]))


def capture_rng() -> dict[str, Any]:
    """Return the states of this process's random generators: Python's, numpy's, torch's, and its GPU's if in use."""
    name, keys, *rest = np.random.get_state(legacy=True)
    numpy = (name, np.asarray(keys).tolist(), *rest)
    found: dict[str, Any] = {"python": random.getstate(), "numpy": numpy, "torch": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def restore_rng(states: Sequence[Mapping[str, Any]], process: int = 0) -> bool:
    """Set this process's random generators to what :func:`capture_rng` found.

    Args:
        states: One state for each process of the run, in the processes' order.
        process: Which of them this is, from 0.

    Returns:
        False where the checkpoint has none for it (it was written by fewer processes); nothing is then set.
    """
    if process >= len(states):
        return False
    state = states[process]
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    return True
