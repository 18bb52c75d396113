"""The processes that share one run: alone, side by side with whole weights, or with the weights in shards.

Every process reads the same recipe, model and corpus, and takes its part of each step: its prompts or chains, its
micro-batches. Losses are normalised by totals of the whole step, so the step's gradient is the *sum* over processes,
however the work was divided: a run of two processes equals a run of one with twice the accumulation, but for rounding.
Nothing of ``torch.distributed`` is imported before a second process is there.

What is left out: torch's DistributedDataParallel. It averages, and it hooks into a module's forward, which the packed
passes do not call; one sum of all gradients at the end of a step is what it comes to with accumulation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from torch import Tensor

from sari_data.errors import InputError
from sari_train.config import Training
from sari_train.models.base import AudioLM
from sari_train.parallel import backward_all

T = TypeVar("T")
Task = Callable[[], tuple[Tensor, T]]

# Bytes of gradients that are summed over the processes in one go.
BUCKET_BYTES = 64 * 2**20


class World:
    """What a training loop asks of the processes that it runs in; ``rank`` of ``size``. This one is alone.

    A step's prompts are divided among the processes (:meth:`share`), what each found out is told to all
    (:meth:`gather`), and gradients are added up (:meth:`sum_gradients`). Whatever sums or gathers must be called by
    every process, in the same order.

    Attributes:
        rank: Which process this is, from 0.
        size: How many there are.
        sharded: Each process holds a part of every weight.
    """

    rank = 0
    size = 1
    sharded = False

    @property
    def is_main(self) -> bool:
        """Whether this process writes and shows."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """Return the device of this process, for the recipe's ``device``."""
        return wanted

    def check(self, table: Training) -> None:
        """Refuse a recipe that these processes cannot run.

        Raises:
            InputError: One sentence.
        """

    def agree(self, what: str, value: str) -> None:
        """Make sure that all processes have the same ``value``.

        Raises:
            InputError: They do not; raised by all of them.
        """

    def prepare(self, lm: AudioLM) -> None:
        """Make a model ready for training, in place: after its weights are loaded, before its optimizer is made."""

    def adopt(self, lm: AudioLM, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the optimizer that the loop steps, over a model that :meth:`prepare` made ready."""
        return optimizer

    def share(self, items: Sequence[T]) -> list[T]:
        """Return this process's items: every ``size``-th."""
        return list(items[self.rank :: self.size])

    def gather(self, items: Iterable[T]) -> list[T]:
        """Return the items of all processes, process after process, in all of them."""
        return list(items)

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return each value summed over the processes, the same in all; all give the same names."""
        return dict(values)

    def backward(self, lm: AudioLM, tasks: Sequence[Task[T]]) -> list[T]:
        """Add the gradients of this process's micro-batches to the weights; see ``parallel.backward_all``."""
        return backward_all(lm, tasks)

    def sum_gradients(self, lm: AudioLM) -> None:
        """Add up the processes' gradients, in place."""

    def clip_gradients(self, weights: Sequence[Tensor], bound: float) -> float:
        """Scale the gradients down to norm ``bound`` where it is larger; return the norm before."""
        norm = torch.nn.utils.clip_grad_norm_(weights, bound)
        gather = getattr(norm, "full_tensor", None)
        return float(norm if gather is None else gather())

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process, then in all others; every process goes on once all have done so."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()
        self.barrier()

    @contextmanager
    def whole_weights(self, lm: AudioLM) -> Iterator[None]:
        """Have every weight whole in this process, for passes without gradients."""
        yield

    def states(self, lm: AudioLM, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor] | None, Any]:
        """Return (weights, optimizer state by the weights' names), whole, for a checkpoint; ``None``: as they are."""
        return None, None

    def load_optimizer(self, lm: AudioLM, optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
        """Give the optimizer a checkpoint's state, which holds whole tensors by the weights' names."""
        from sari_train.state_io import load_optimizer_state

        load_optimizer_state(optimizer, lm.model, saved)

    def barrier(self) -> None:
        """Wait for all processes."""

    def leave(self) -> None:
        """Part with the other processes, at the end of a command that went well."""


ALONE = World()


class Processes(World):
    """Several processes, each with all weights: what others call data-parallel.

    Args:
        rank: This process.
        size: All of them; ``torch.distributed`` must have been initialised.
        place: The device of this process.
    """

    def __init__(self, rank: int, size: int, place: torch.device) -> None:
        self.rank, self.size, self.place = rank, size, place

    def device(self, wanted: str) -> str:
        """The one that the launcher gave this process; the recipe may say which kind it must be."""
        if wanted not in ("auto", self.place.type):
            raise InputError(
                f"device is {wanted!r}, but process {self.rank} of {self.size} was given {self.place}: set it to auto"
            )
        return str(self.place)

    def check(self, table: Training) -> None:
        """A step must have something for every process."""
        for key in ("batch_size", "prompts_per_step"):
            found = getattr(table, key, self.size)
            if found < self.size:
                raise InputError(
                    f"{key} is {found}, which does not suffice for {self.size} processes: raise it, or start fewer"
                )

    def agree(self, what: str, value: str) -> None:
        """Compare by gathering."""
        found = self.gather([value])
        if len(set(found)) > 1:
            odd = next(i for i, other in enumerate(found) if other != found[0])
            raise InputError(
                f"the processes must run the same {what}, but process {odd} has {found[odd]} and process 0 {found[0]}: "
                "give all of them the same recipe, model and corpus"
            )

    def prepare(self, lm: AudioLM) -> None:
        """Nothing changes; the weights are the same everywhere, because all read the same files and seeds."""

    def gather(self, items: Iterable[T]) -> list[T]:
        """Through pickle between the run's own processes."""
        from torch import distributed

        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, list(items))
        return [item for part in found for item in part]

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Summed in the order of the processes, in double precision: the same last digit in all of them."""
        found = self.gather([dict(values)])
        assert all(part.keys() == found[0].keys() for part in found), "every process gives the same names"
        return {name: sum(part[name] for part in found) for name in found[0]}

    def sum_gradients(self, lm: AudioLM) -> None:
        """Sum in flat buckets; a weight without a gradient here counts as 0 where another process has one."""
        from torch import distributed

        weights = [p for p in lm.model.parameters() if p.requires_grad]
        present = torch.tensor([p.grad is not None for p in weights], dtype=torch.int32, device=self.place)
        distributed.all_reduce(present)
        wanted = [p for p, count in zip(weights, present.tolist(), strict=True) if count]
        for p in wanted:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        for bucket in _buckets([p.grad for p in wanted if p.grad is not None]):
            flat = torch.cat([g.reshape(-1) for g in bucket])
            distributed.all_reduce(flat)
            at = 0
            for g in bucket:
                g.copy_(flat[at : at + g.numel()].view_as(g))
                at += g.numel()

    def barrier(self) -> None:
        """By gathering nothing, which works on every backend."""
        self.gather([None])

    def leave(self) -> None:
        """Let go of the connections."""
        from torch import distributed

        distributed.destroy_process_group()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type together, in their order, up to a size."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size >= BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel() * tensor.element_size()
    if bucket:
        yield bucket


def join(device: str = "auto") -> World:
    """Join the processes that a launcher (``accelerate launch``, ``torchrun``) started; without one be alone.

    Args:
        device: The recipe's: ``cpu`` keeps the processes off the GPUs.

    Raises:
        InputError: The launcher asks for something that this trainer does not do.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return ALONE
    _check_launcher(os.environ)
    if _said(os.environ, "ACCELERATE_USE_DEEPSPEED") and find_spec("deepspeed") is None:
        raise InputError(
            "the launcher asks for DeepSpeed, which is not installed: `pip install 'sari-audio[deepspeed]'`, or launch "
            "with recipes/accelerate/fsdp2.yaml"
        )
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    if state.process_index > 0:
        from sari_data.console import mute

        mute()  # what the run tells, the main process tells
    place = (state.process_index, state.num_processes, state.device)
    if _said(os.environ, "ACCELERATE_USE_DEEPSPEED"):
        from sari_train.zero import Zero

        return Zero(*place)
    if _said(os.environ, "ACCELERATE_USE_FSDP"):
        from sari_train.sharding import Sharded

        return Sharded(*place, reshard=os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false")
    return Processes(*place)


def _said(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "false").lower() in ("true", "1")


def _check_launcher(environment: Mapping[str, str]) -> None:
    """Settings of accelerate's that would change what is computed, or that nothing here has tried."""
    if _said(environment, "ACCELERATE_USE_DEEPSPEED"):
        stage = environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
        if stage not in ("1", "2"):
            raise InputError(
                f"expected DeepSpeed's zero_stage to be 1 or 2, found {stage}: use "
                "recipes/accelerate/deepspeed_zero2.yaml, or to cut the weights too recipes/accelerate/fsdp2.yaml"
            )
        for what in ("OPTIMIZER", "PARAM"):
            if environment.get(f"ACCELERATE_DEEPSPEED_OFFLOAD_{what}_DEVICE", "none") != "none":
                raise InputError(f"DeepSpeed's offload_{what.lower()}_device is not supported: set it to none")
    if environment.get("ACCELERATE_MIXED_PRECISION", "no") != "no":
        raise InputError(
            "mixed_precision of the launcher must be 'no', because the recipe says it (dtype, mixed_precision); found "
            f"{environment['ACCELERATE_MIXED_PRECISION']!r}: correct the launcher's config"
        )
    if not _said(environment, "ACCELERATE_USE_FSDP"):
        return
    if environment.get("FSDP_VERSION", "1") != "2":
        raise InputError(
            f"expected fsdp_version 2 in the launcher's config, found {environment.get('FSDP_VERSION', '1')}: launch "
            "with recipes/accelerate/fsdp2.yaml"
        )
    for name, key, instead in (
        ("FSDP_OFFLOAD_PARAMS", "fsdp_offload_params", "false"),
        (
            "FSDP_ACTIVATION_CHECKPOINTING",
            "fsdp_activation_checkpointing",
            "false, and checkpointing in the recipe to true",
        ),
    ):
        if _said(environment, name):
            raise InputError(f"{key} is not supported: set it to {instead}")
