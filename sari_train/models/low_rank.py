"""The adapter that a run starts from: reading it, keeping it beside quantised weights, joining it with another.

Shapes: R rank, I inputs and O outputs of a linear layer. An adapter adds scale * B_OR A_RI to the layer's weight. Two
of them one after the other add s1 B1 A1 + s2 B2 A2, which is one adapter of rank R1 + R2: [s1 B1, s2 B2] [A1; A2].
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Settings of peft under which a layer's update is not scale * B A, or under which more than linear layers change.
_MORE = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "target_parameters",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "monteclora_config",
    "velora_config",
    "kasa_config",
)
# Any other way of beginning, peft's PiSSA for instance, changes the base's weights too.
_BEGINNINGS = (True, False, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to one linear layer's weight: scale * B_OR A_RI."""

    a_RI: Tensor
    b_OR: Tensor
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """R."""
        return int(self.a_RI.shape[0])

    def scaled(self) -> LowRank:
        """The same update with its scale inside B."""
        return LowRank(self.a_RI, self.b_OR * self.scale)

    def weight(self) -> Tensor:
        """The update [O, I] itself."""
        return self.b_OR @ self.a_RI * self.scale


@dataclass(frozen=True, slots=True)
class Start:
    """The adapters that a model was loaded with, as one.

    Attributes:
        base: The model under them all, as an adapter's configuration names it; ``None`` where it has no name.
        updates: What they add, by the name of the linear layer in the model; on the CPU.
        obstacle: Why they cannot be told as updates of linear layers; ``None`` where they can.
    """

    base: str | None
    updates: Mapping[str, LowRank]
    obstacle: str | None = None


def fold(first: Mapping[str, LowRank], second: Mapping[str, LowRank]) -> dict[str, LowRank]:
    """Return the one adapter that equals two, with every scale inside B.

    A layer that both have gets their ranks side by side; one that a single adapter has keeps its rank.

    Args:
        first: By the layers' names.
        second: By the layers' names, of the same model.
    """
    found = {name: update.scaled() for name, update in first.items()}
    for name, update in second.items():
        own, before = update.scaled(), found.get(name)
        if before is not None:
            a_RI = torch.cat([before.a_RI, own.a_RI.to(before.a_RI.device)])
            b_OR = torch.cat([before.b_OR, own.b_OR.to(before.b_OR.device)], dim=1)
            own = LowRank(a_RI, b_OR)
        found[name] = own
    return dict(sorted(found.items()))


def read_updates(wrapped: Any) -> tuple[dict[str, LowRank], str | None]:
    """Return what a loaded peft model's adapter adds, by layer, and why that is not all of it (or ``None``).

    The numbers are copies on the CPU in the type that peft holds them in, which is float32 also where the model is in
    half precision.
    """
    from peft.tuners.lora import LoraLayer

    name = "default"
    config = wrapped.peft_config[name]
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind != "LORA":
        return {}, f"its peft_type is {kind}"
    odd = [key for key in _MORE if getattr(config, key, None)]
    if config.bias != "none":
        odd.append("bias")
    if config.init_lora_weights not in _BEGINNINGS:
        odd.append("init_lora_weights")
    if odd:
        return {}, f"it sets {', '.join(odd)}"
    model = wrapped.get_base_model()
    embeddings = model.get_input_embeddings().weight
    found = {}
    for key, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        if not isinstance(layer.get_base_layer(), torch.nn.Linear):
            return {}, f"it adapts {key}, which is no linear layer"
        if layer.get_base_layer().weight is embeddings:
            return {}, f"it adapts {key}, whose weight is the embeddings' too"
        a_RI, b_OR = (getattr(layer, part)[name].weight.detach().cpu().clone() for part in ("lora_A", "lora_B"))
        found[key] = LowRank(a_RI, b_OR, float(layer.scaling[name]))
    return found, None


class _Add:
    """A forward hook that adds a low-rank update to what a linear layer returns."""

    def __init__(self, update: LowRank, device: torch.device) -> None:
        self.update = LowRank(update.a_RI.to(device), update.scaled().b_OR.to(device))

    def __call__(self, module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        a_RI, b_OR = self.update.a_RI, self.update.b_OR
        added = torch.nn.functional.linear(torch.nn.functional.linear(inputs[0].to(a_RI.dtype), a_RI), b_OR)
        return output + added.to(output.dtype)


def keep_beside(model: torch.nn.Module, updates: Mapping[str, LowRank]) -> None:
    """Let linear layers add their update when they are called, their weights being left as they are.

    For quantised layers: those would round a merged update away, most of whose entries are less than half of one of
    their steps. Adapters of the run come on top, and a model whose adapters are off still has these.

    Args:
        model: Changed in place.
        updates: By the layers' names in it.
    """
    for name, update in updates.items():
        layer = model.get_submodule(name)
        layer.register_forward_hook(_Add(update, layer.weight.device))  # type: ignore[arg-type]


def kept_beside(layer: torch.nn.Module) -> list[LowRank]:
    """Return what :func:`keep_beside` gave to a layer."""
    return [hook.update for hook in layer._forward_hooks.values() if isinstance(hook, _Add)]


@contextmanager
def calling_peft() -> Iterator[None]:
    """Keep off the terminal that peft asks transformers for ``is_gradient_checkpointing`` by its former name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield
