"""The weights as a checkpoint names them, and how they get to a vLLM server.

Two ways, both vLLM's own (read in the sources of 0.33):

- ``nccl``: the weight-transfer endpoints. Names, types and shapes go over HTTP; the tensors are broadcast from this
  process's GPU to the server's, which join one NCCL group. The group's id is made here and sent along
  (``nccl_unique_id_b64``), so vLLM need not be installed where the trainer runs.
- ``disk``: the weights are written as safetensors into a folder that the server sees too, and its workers load them
  with ``reload_weights``. Slower, but it needs no GPU on the trainer's side and no second network.

Either way the server then has a new weight version, which it names in every answer.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from sari_data.errors import InputError, ResponderError, StorageError
from sari_train.models.base import AudioLM
from sari_train.models.low_rank import kept_beside
from sari_train.rollouts.client import Client

# Bytes of weights in one file on the way over the disk.
SHARD_BYTES = 2 * 2**30


class Transport(Protocol):
    """One way for the weights to reach the server; the engine has paused it, and starts it again."""

    def send(self, lm: AudioLM, version: str) -> None:
        """Give the server the weights that ``lm`` has now, under the name ``version``.

        Raises:
            ResponderError: The server did not take them.
        """
        ...

    def close(self) -> None:
        """Remove what lies around."""
        ...


def checkpoint_tensors(lm: AudioLM) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights as a saved checkpoint of the model holds them: its names, tied weights once.

    Adapters are merged into their layers' weights one layer at a time (W + alpha / rank * B A, computed as peft merges
    them); the model is left as it is. A sharded weight is gathered when its turn comes, so every process must go
    through the iterator.
    """
    from transformers.core_model_loading import revert_weight_conversion

    layers = _adapted_layers(lm)
    own: dict[str, Tensor] = {}
    origin: dict[int, str] = {}
    kept = lm.model.state_dict().keys()
    named = [*lm.model.named_parameters(), *((n, b) for n, b in lm.model.named_buffers() if n in kept)]
    for name, tensor in named:  # a tied weight is in the list once
        if ".lora_" in name or ".modules_to_save." in name:
            continue
        plain = name.replace(".base_layer.", ".")
        own[plain] = tensor.detach()
        origin[id(own[plain])] = plain
    for name, tensor in revert_weight_conversion(lm.model, dict(own)).items():
        source = origin.get(id(tensor))
        layer = layers.get(source.rpartition(".")[0]) if source is not None and source.endswith(".weight") else None
        # vLLM serves a thinker only as a part of the whole model.
        stem = "thinker." if lm.full_class is not None and not name.startswith("thinker.") else ""
        yield stem + name, _whole(tensor) if layer is None else _merged(layer)


def _adapted_layers(lm: AudioLM) -> dict[str, Any]:
    if lm.adapter is None:
        return {}
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in lm.model.named_modules() if isinstance(module, LoraLayer)}


@torch.no_grad()
def _merged(layer: Any) -> Tensor:
    """The weight of a layer with its adapter, in the type of the base's weight."""
    base = layer.get_base_layer()
    if type(base.weight) in (torch.nn.Parameter, Tensor) or hasattr(base.weight, "full_tensor"):
        weight = _whole(base.weight.detach())
    else:  # a quantised layer
        from peft.utils.integrations import dequantize_module_weight

        weight = dequantize_module_weight(base).detach()
        for update in kept_beside(base):
            weight = weight + update.weight().to(weight.dtype)
    for name in layer.active_adapters:
        a_RI, b_OR = (_whole(getattr(layer, part)[name].weight.detach()) for part in ("lora_A", "lora_B"))
        weight = weight + (b_OR @ a_RI * layer.scaling[name]).to(weight.dtype)
    return weight


def _whole(tensor: Tensor) -> Tensor:
    """A tensor that several processes hold in parts, put together; any other as it is."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


class DiskTransport:
    """Writes the weights into a folder that the server sees as well.

    Args:
        client: The server.
        folder: Made anew for every version, and removed at the end. Its path must mean the same to the server.
        sends: False for a process that only helps to gather the weights.
    """

    def __init__(self, client: Client, folder: Path, *, sends: bool = True) -> None:
        self.client, self.folder, self.sends = client, folder, sends

    def send(self, lm: AudioLM, version: str) -> None:
        """See :class:`Transport`; the files are there only as long as the server reads them."""
        if not self.sends:
            return _go_through(lm)
        target = self.folder / version
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            target.mkdir(parents=True)
            write_shards(checkpoint_tensors(lm), target)
        except OSError as error:
            raise StorageError(
                f"the weights for the rollout server cannot be written to {target} ({error}): free some space, or let "
                "the server take them over NCCL (docs/rollout-server.md)"
            ) from error
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(target)}}
        self.client.post("/collective_rpc", body, retries=0)
        self.client.post("/update_weight_version", {"new_version": version}, retries=0)
        self.close()

    def close(self) -> None:
        """Remove the folder."""
        if self.sends:
            shutil.rmtree(self.folder, ignore_errors=True)


def _go_through(lm: AudioLM) -> None:
    """Take part in gathering every weight."""
    for _ in checkpoint_tensors(lm):
        pass


def write_shards(tensors: Iterator[tuple[str, Tensor]], folder: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors as safetensors files of about ``shard_bytes`` each, with the index that loaders read."""
    from safetensors.torch import save_file

    index: dict[str, str] = {}
    shard: dict[str, Tensor] = {}
    size = total = 0

    def flush() -> None:
        nonlocal size
        if shard:
            name = f"model-{len(set(index.values())) + 1:05d}.safetensors"
            save_file(shard, folder / name, metadata={"format": "pt"})
            index.update(dict.fromkeys(shard, name))
            shard.clear()
            size = 0

    for name, tensor in tensors:
        whole = tensor.detach().to("cpu").contiguous()
        shard[name] = whole.clone() if whole.data_ptr() == tensor.data_ptr() else whole
        size += whole.numel() * whole.element_size()
        total += whole.numel() * whole.element_size()
        if size >= shard_bytes:
            flush()
    flush()
    body = {"metadata": {"total_size": total}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(body), encoding="utf-8")


class Broadcast(Protocol):
    """The data path of the weight-transfer endpoints, with this process as rank 0."""

    def init_info(self, world_size: int) -> dict[str, Any]:
        """Return what the server's workers need to join a group of ``world_size``."""
        ...

    def join(self, world_size: int) -> None:
        """Join; returns once all are there."""
        ...

    def send(self, tensor: Tensor) -> None:
        """Hand one tensor to every worker."""
        ...

    def finish(self) -> None:
        """Return once everything has arrived."""
        ...


class NcclBroadcast:
    """NCCL through torch's own binding: one group of this GPU and the server's, made from an id that is made here.

    Raises:
        InputError: This process has no GPU.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda" or not torch.cuda.nccl.is_available([torch.empty(0, device=device)]):
            raise InputError(
                f"the rollout server takes weights over NCCL, but the model that learns is on {device}: train on a "
                "GPU, or start the server without --weight-transfer-config, so that they go over the disk"
            )
        self._device = device
        self._id: bytes = torch.cuda.nccl.unique_id()
        self._group: object = None

    def init_info(self, world_size: int) -> dict[str, Any]:
        """The server's workers are ranks 1 and up; tensors come one at a time, not packed."""
        shared = base64.b64encode(self._id).decode("ascii")
        return {"nccl_unique_id_b64": shared, "rank_offset": 1, "world_size": world_size, "packed": False}

    def join(self, world_size: int) -> None:
        """Join as rank 0, with the sum over one number that vLLM's workers begin with."""
        with torch.cuda.device(self._device):
            self._group = torch.cuda.nccl.init_rank(world_size, self._id, 0)
            torch.cuda.nccl.all_reduce([torch.zeros(1, device=self._device)], comms=[self._group])
            torch.cuda.synchronize(self._device)

    def send(self, tensor: Tensor) -> None:
        """Queue the broadcast; the GPU's stream keeps the order and the memory."""
        with torch.cuda.device(self._device):
            torch.cuda.nccl.broadcast([tensor.detach().to(self._device).contiguous()], root=0, comms=[self._group])

    def finish(self) -> None:
        """Wait for the GPU."""
        torch.cuda.synchronize(self._device)


class EndpointTransport:
    """Sends the weights through vLLM's weight-transfer endpoints.

    Args:
        client: The server.
        broadcast: The data path; ``None`` for a process that only helps to gather the weights.
    """

    def __init__(self, client: Client, broadcast: Broadcast | None) -> None:
        self.client, self.broadcast = client, broadcast
        self._joined = False
        self._info: dict[str, Any] = {}

    def send(self, lm: AudioLM, version: str) -> None:
        """See :class:`Transport`. The server receives while it answers the request, so that runs in a thread."""
        if not self._info:  # names and shapes stay what they are
            found = [(name, tensor.dtype, list(tensor.shape)) for name, tensor in checkpoint_tensors(lm)]
            self._info = {
                "names": [name for name, _, _ in found],
                "dtype_names": [str(dtype).removeprefix("torch.") for _, dtype, _ in found],
                "shapes": [shape for _, _, shape in found],
            }
        broadcast = self.broadcast
        if broadcast is None:
            return _go_through(lm)
        if not self._joined:
            size = 1 + _number(self.client.get("/get_world_size"), "world_size")
            info = {"init_info": broadcast.init_info(size)}
            self._beside("/init_weight_transfer_engine", info, lambda: broadcast.join(size))
            self._joined = True
        self.client.post("/start_weight_update", retries=0)

        def send_all() -> None:
            for _, tensor in checkpoint_tensors(lm):
                broadcast.send(tensor)

        self._beside("/update_weights", {"update_info": self._info}, send_all)
        broadcast.finish()
        self.client.post("/finish_weight_update", {"weight_version": version}, retries=0)

    def close(self) -> None:
        """The group ends with the process; the server lets go of its side where it still can."""
        if self._joined:
            try:
                self.client.post("/shutdown_weight_transfer_engine", retries=0)
            except ResponderError:
                return  # a server that is gone holds nothing

    def _beside(self, path: str, body: object, act: Any) -> None:
        """Ask the server, and act while it does what it was asked."""
        pool = ThreadPoolExecutor(1)
        try:
            asked = pool.submit(self.client.post, path, body, retries=0)
            act()
            asked.result()
        finally:
            # Not waited for: where act() failed, the server waits in a collective that nobody joins any more.
            pool.shutdown(wait=False)


def _number(body: object, key: str) -> int:
    found = body.get(key) if isinstance(body, dict) else None
    if not isinstance(found, int):
        raise ResponderError(f"the rollout server's answer has no number {key!r}: it must be vLLM 0.33 or newer")
    return found
