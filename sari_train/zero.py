"""DeepSpeed's ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054), stages 1 and 2: optimizer states in parts.

DeepSpeed sums gradients in hooks, in the order in which a backward pass makes them, so every process would have to run
as many micro-batches, with the same layers in the same order; what a process has to run depends on its prompts here.
So each adds up the gradients of its own micro-batches first, and DeepSpeed gets the sum in one backward pass over
<weight, gradient>, which is the same everywhere. Whole gradients are held until then; the states never are.

Losses are normalised by totals of the whole step, and DeepSpeed averages over the processes: what it gets is
multiplied by their number. Weights are float32 (``mixed_precision = "bf16"`` computes in 16 bits): of 16-bit weights
DeepSpeed keeps a copy in float32 that would be in no checkpoint.

Stage 3 cuts the weights too, and gathers them in hooks of every module, which the packed passes do not call: FSDP2
does that here (``sharding.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from sari_data.errors import CheckpointError, InputError
from sari_train.config import Training
from sari_train.distributed import Processes, Task
from sari_train.models.base import AudioLM

T = TypeVar("T")
# AdamW's states that have a weight's shape.
_STATES = ("exp_avg", "exp_avg_sq")


class Zero(Processes):
    """Several processes, each with all weights and a part of the optimizer's states."""

    _engine: Any
    _groups: list[dict[str, Any]]

    def check(self, table: Training) -> None:
        """Optimizers and types that DeepSpeed would treat otherwise than the recipe says are refused."""
        super().check(table)
        if table.optimizer != "adamw" or (table.lora is not None and table.lora.quantize is not None):
            raise InputError(
                "DeepSpeed cuts the optimizer's states into flat parts, which optimizer muon or adamw_8bit and "
                "lora.quantize do not bear: take adamw and whole weights, or launch with recipes/accelerate/ddp.yaml"
            )
        if table.dtype != "float32":
            raise InputError(
                f"with DeepSpeed the weights must be float32; found dtype {table.dtype}: set dtype to float32 and "
                "mixed_precision to bf16, or launch with recipes/accelerate/fsdp2.yaml"
            )

    def adopt(self, lm: AudioLM, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Hand model and optimizer to DeepSpeed."""
        import deepspeed

        names = {id(weight): name for name, weight in lm.model.named_parameters()}
        # DeepSpeed puts flat tensors in the weights' place; checkpoints go by the names.
        self._groups = [{**g, "params": [names[id(p)] for p in g["params"]]} for g in optimizer.param_groups]
        config = {
            "train_micro_batch_size_per_gpu": 1,  # nothing follows from it here
            "gradient_accumulation_steps": 1,
            "zero_optimization": {"stage": 2},
            "zero_allow_untested_optimizer": True,
            "gradient_clipping": 1.0,  # set anew in every step
        }
        self._engine = deepspeed.initialize(model=lm.model, optimizer=optimizer, config=config)[0]
        inner = self._engine.optimizer
        for group in inner.optimizer.param_groups:
            for flat in group["params"]:
                inner.optimizer.state[flat] = {"step": torch.zeros((), device=flat.device)} | {
                    key: torch.zeros_like(flat) for key in _STATES
                }
        # DeepSpeed ties states to weights after it has stepped the first group, when the others have none yet.
        inner._hp_optimizer_states_linked = False
        inner._lazy_init_hp_params_optimizer_state()
        return _Stepper(self._engine)

    def backward(self, lm: AudioLM, tasks: Sequence[Task[T]]) -> list[T]:
        """Add up this process's gradients, then give DeepSpeed the sum."""
        weights = [p for p in lm.model.parameters() if p.requires_grad]
        sums = [torch.zeros_like(p) for p in weights]
        extras: list[T] = []
        with torch.enable_grad():
            for task in tasks:
                loss, extra = task()
                for total, found in zip(sums, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
                    if found is not None:
                        total += found
                extras.append(extra)
            flat = [torch.dot(p.reshape(-1), g.reshape(-1)) for p, g in zip(weights, sums, strict=True)]
            self._engine.backward(torch.stack(flat).sum() * self.size, scale_wrt_gas=False)
        return extras

    def sum_gradients(self, lm: AudioLM) -> None:
        """DeepSpeed has done it in its backward pass."""

    def clip_gradients(self, weights: Sequence[Tensor], bound: float) -> float:
        """DeepSpeed clips when it steps; here the bound is set. Its norm is -1 where it is not finite."""
        inner = self._engine.optimizer
        inner.clip_grad = bound
        norm = float(inner.scaled_global_norm())
        return norm if norm >= 0 else float("nan")

    def states(self, lm: AudioLM, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor] | None, Any]:
        """The optimizer's states are gathered one by one; of the weights, views of DeepSpeed's flat ones, a copy."""
        from deepspeed.utils import safe_get_full_optimizer_state

        model = lm.model if lm.adapter is None else lm.adapter
        copies: dict[int, Tensor] = {}  # tied weights stay one tensor
        kept: dict[str, Tensor] = {}
        for name, tensor in model.state_dict().items() if self.is_main else ():
            if lm.adapter is None or ".lora_" in name:
                kept[name] = copies.setdefault(tensor.data_ptr(), tensor.detach().cpu().clone())
        weights = dict(lm.model.named_parameters())
        found: dict[str, dict[str, Tensor]] = {}
        for group, here in zip(self._groups, self._engine.optimizer.optimizer.param_groups, strict=True):
            step = self._inner_state(here["params"][0])["step"]
            for name in group["params"]:
                state = {key: safe_get_full_optimizer_state(weights[name], key).cpu() for key in _STATES}
                found[name] = {"step": step.cpu().clone()} | state
        return kept, {"state": found, "param_groups": [dict(group) for group in self._groups]}

    def load_optimizer(self, lm: AudioLM, optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
        """Give each process its part of a checkpoint's states."""
        from deepspeed.utils import safe_set_full_optimizer_state

        weights = dict(lm.model.named_parameters())
        if [set(g["params"]) for g in saved.get("param_groups", ())] != [set(g["params"]) for g in self._groups]:
            raise CheckpointError(
                "the checkpoint's optimizer is another than this run's: give --overwrite to start anew, or choose "
                "another out"
            )
        for name, state in saved["state"].items():
            for key in _STATES:
                safe_set_full_optimizer_state(weights[name], state[key].to(self.place), key)
        for group, here in zip(self._groups, self._engine.optimizer.optimizer.param_groups, strict=True):
            for flat in here["params"]:
                self._inner_state(flat)["step"].copy_(saved["state"][group["params"][0]]["step"])

    def _inner_state(self, flat: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self._engine.optimizer.optimizer.state[flat]
        return state


class _Stepper(torch.optim.Optimizer):
    """DeepSpeed's engine as the optimizer that a training loop steps."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        super().__init__([torch.zeros(0, requires_grad=True)], {})
        self.param_groups = engine.optimizer.param_groups  # the loop sets their learning rate

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Clip, step, and let go of the gradients."""
        self._engine.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Let go of gradients that no step was taken on."""
        inner = self._engine.optimizer
        inner.zero_grad(set_to_none=True)
        for kept in (inner.averaged_gradients, inner.all_grad_tensors):
            for key in kept:
                kept[key] = None
