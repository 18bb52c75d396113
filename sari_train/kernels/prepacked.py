"""Linear layers for decoding on a CPU: few rows, the same weights again and again.

With few rows a product's time is that of reading the weight, and the matrix library first rearranges it into blocks, at
every call. Here that is done once: oneDNN's own layout (the operators that torch's compiler emits for frozen
weights), and projections that read the same input joined into one. It is a second copy of the weights, so it is made
for weights up to PREPACKED_BYTES, only on a CPU, and dropped after the batches that it was made for.

Shapes: B rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Weights beyond this are read where they are: a second copy of a large model would cost more than it saves.
PREPACKED_BYTES = 2**30
# Rows that the layout is chosen for; it serves any number.
ROWS = 16
_PACKED_TYPES = (torch.float32, torch.bfloat16)


class Prepacked:
    """One or more linear layers that read the same input, as one product.

    Args:
        layers: Plain linear layers of one type with the same number of inputs.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        weight = torch.cat([layer.weight for layer in layers]) if len(layers) > 1 else layers[0].weight
        self.weight, self.bias = weight.detach(), _joined_bias(layers)
        self._packed = _can_pack(weight)
        if self._packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, ROWS)

    def __call__(self, x_BI: Tensor) -> Tensor:
        """Return [B, O]; O is the layers' outputs, one after another."""
        if self._packed:
            return torch.ops.mkldnn._linear_pointwise(x_BI, self.weight, self.bias, "none", [], "")
        return nn.functional.linear(x_BI, self.weight, self.bias)


def is_plain(module: nn.Module) -> bool:
    """Whether a module is a linear layer and nothing else: no adapter, no quantization, no hooks."""
    return type(module) is nn.Linear and not has_hooks(module)


def has_hooks(module: nn.Module) -> bool:
    """Whether calling the module does more than its forward pass."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _can_pack(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype in _PACKED_TYPES
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        # Some processors have no products in bfloat16.
        and (weight.dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _joined_bias(layers: Sequence[nn.Linear]) -> Tensor | None:
    if all(layer.bias is None for layer in layers):
        return None
    parts: list[Tensor] = [
        layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.detach() for layer in layers
    ]
    return torch.cat(parts) if len(parts) > 1 else parts[0]
