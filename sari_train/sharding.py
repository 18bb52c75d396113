"""Weights in shards (FSDP2): each process holds a part of every weight, gradient and optimizer state.

Every layer of the text model is gathered when its turn comes, in the forward pass and again in the backward pass, and
its gradients are summed straight into the shards. The rest (embeddings, head, audio tower, projector) is one group
that stays whole from a micro-batch's forward pass to the end of its backward pass: whether a process runs the tower
depends on which clips it has encoded before, and what is gathered must not depend on that.

Sampling needs each layer once a token, so the weights are gathered once a step and kept meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from sari_data.errors import InputError
from sari_train.config import Training
from sari_train.distributed import Processes, Task
from sari_train.kernels.packing import pack
from sari_train.models.base import AudioLM
from sari_train.models.hooks import WHOLE, within

T = TypeVar("T")


class Sharded(Processes):
    """Several processes, each with a part of every weight.

    Args:
        rank: This process.
        size: All of them.
        place: The device of this process.
        reshard: Let go of a layer's weights after its forward pass and gather them again for the backward pass.
    """

    sharded = True

    def __init__(self, rank: int, size: int, place: torch.device, *, reshard: bool = True) -> None:
        super().__init__(rank, size, place)
        self.reshard = reshard

    def check(self, table: Training) -> None:
        """Optimizers that want a whole matrix, and weights that cannot be cut, are refused."""
        super().check(table)
        if table.optimizer != "adamw":
            raise InputError(
                f"optimizer {table.optimizer} needs every weight whole, but FSDP2 cuts them: set optimizer to adamw, "
                "or launch with recipes/accelerate/ddp.yaml"
            )
        if table.lora is not None and table.lora.quantize is not None:
            raise InputError(
                "weights in 4 or 8 bits cannot be cut by FSDP2: leave out lora.quantize, or launch with "
                "recipes/accelerate/ddp.yaml"
            )

    def prepare(self, lm: AudioLM) -> None:
        """Shard the layers of the text model, each by itself, and the rest as one group."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        mesh = init_device_mesh(self.place.type, (self.size,))
        layers = getattr(lm.text_model, "layers", None)
        if layers is None or not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
            raise InputError(
                f"model {lm.name!r} cannot be sharded here ({type(lm.text_model).__name__}, torch {torch.__version__}):"
                " it needs a text model with layers and torch 2.13 or newer; launch with recipes/accelerate/ddp.yaml"
            )
        for layer in layers:
            fully_shard(layer, mesh=mesh, reshard_after_forward=self.reshard)
        fully_shard(lm.model, mesh=mesh, reshard_after_forward=False)
        for module in _groups(lm):
            # Gradients are summed: the losses are normalised by totals of the whole step.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
        # A micro-batch that holds a process's place has no gradient for most weights.
        lm.model.set_reduce_scatter_unused_params(True)

    def backward(self, lm: AudioLM, tasks: Sequence[Task[T]]) -> list[T]:
        """One micro-batch after another; all processes run as many, because each of them gathers and sums weights."""
        most = max(self.gather([len(tasks)]))
        extras: list[T] = []
        for number in range(most):
            with torch.enable_grad():
                if number < len(tasks):
                    loss, extra = within(lm.model, lambda module, task: task(), tasks[number])
                    extras.append(extra)
                else:
                    loss = within(lm.model, lambda module: _nothing(lm))
                loss.backward()
        return extras

    def sum_gradients(self, lm: AudioLM) -> None:
        """Nothing is left to do: every backward pass has summed its own."""

    @contextmanager
    def whole_weights(self, lm: AudioLM) -> Iterator[None]:
        """Gather every weight, and shard it again at the end."""
        groups = _groups(lm)
        if getattr(lm.model, WHOLE, False):  # inside another such block
            yield
            return
        _begin(lm)
        try:
            for module in groups:
                module.unshard()
                setattr(module, WHOLE, True)
            yield
        finally:
            for module in groups:
                setattr(module, WHOLE, False)
                module.reshard()

    def states(self, lm: AudioLM, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor] | None, Any]:
        """Gather weights and optimizer states one by one; only the main process keeps them, on the CPU."""
        from sari_train.state_io import named_optimizer_state

        model = lm.model if lm.adapter is None else lm.adapter
        weights: dict[str, Tensor] = {}
        known: dict[int, Tensor] = {}
        for name, tensor in model.state_dict().items():
            if lm.adapter is not None and ".lora_" not in name:
                continue
            place = id(getattr(tensor, "_local_tensor", tensor))
            if place not in known:  # tied weights stay one tensor
                known[place] = self._kept(tensor)
            weights[name] = known[place]
        state = _map_tensors(named_optimizer_state(optimizer, lm.model), self._kept)
        return (weights, state) if self.is_main else ({}, {})

    def load_optimizer(self, lm: AudioLM, optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
        """Cut each state that has its weight's shape as the weight is cut."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        weights = dict(lm.model.named_parameters())

        def cut(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
            weight = weights.get(name)
            found = dict(state)
            for key, value in state.items():
                if isinstance(weight, DTensor) and isinstance(value, Tensor) and value.shape == weight.shape:
                    whole = value.to(weight.device)
                    found[key] = distribute_tensor(whole, weight.device_mesh, weight.placements, src_data_rank=None)
            return found

        parts = {name: cut(name, state) for name, state in saved["state"].items()}
        super().load_optimizer(lm, optimizer, {**saved, "state": parts})

    def _kept(self, tensor: Tensor) -> Tensor:
        gather = getattr(tensor, "full_tensor", None)
        whole = tensor if gather is None else gather()
        return whole.detach().cpu() if self.is_main else torch.empty(0)


def _groups(lm: AudioLM) -> list[Any]:
    """The modules that are gathered as one, the outermost first."""
    from torch.distributed.fsdp import FSDPModule

    return [module for module in lm.model.modules() if isinstance(module, FSDPModule)]


def _begin(lm: AudioLM) -> None:
    """Let FSDP2 find its root, which it else does at the first forward pass: here weights are gathered before it."""
    lm.model._get_fsdp_state()._lazy_init()


def _nothing(lm: AudioLM) -> Tensor:
    """A loss of 0 over one made-up row, which takes part in all that the layers gather and sum."""
    ids_T = torch.full((4,), lm.stop_ids[0], device=lm.device)
    packing = pack([2], [(3,)], lm.device)
    hidden = lm.packed_backbone(lm.embed_tokens(ids_T), packing)
    return (hidden.float() * 0).sum()


def _map_tensors(nested: Any, function: Any) -> Any:
    if isinstance(nested, Tensor):
        return function(nested)
    if isinstance(nested, Mapping):
        return {key: _map_tensors(value, function) for key, value in nested.items()}
    if isinstance(nested, list | tuple):
        return type(nested)(_map_tensors(value, function) for value in nested)
    return nested
