"""A text model of the Llama family and its head for decoding: one new token a row, the rows' prompts shared.

The family is that of ``models/text.py``, the prompts' keys and values are in a ``models/cache.py``.

On a CPU, projections that read the same input run as one, from weights laid out for few rows
(``kernels/prepacked.py``).
Modules with adapters, quantised ones, mixtures of experts, those of a large model and those on another device are
called as they are.

Shapes: B rows, H hidden size, h query heads, k key heads, d head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sari_train.kernels import prepacked
from sari_train.kernels.decode import decode_attention
from sari_train.kernels.prepacked import Prepacked, is_plain
from sari_train.models.cache import SharedCache, SharedLayer
from sari_train.models.text import head_norms, is_gated, normed, rotated, whole

Product = Callable[[Tensor], Tensor]


class TextDecoder:
    """Decodes tokens while the weights stay as they are; batches that run side by side may share one.

    Args:
        model: A text model without its head, after ``models.text.prepare_text_model``.
        head: Its head.
    """

    def __init__(self, model: Any, head: nn.Module) -> None:
        self.model = model
        weights = [*model.layers.parameters(), *head.parameters()]
        size = sum(p.numel() * p.element_size() for p in weights)
        joined = weights[0].device.type == "cpu" and size <= prepacked.PREPACKED_BYTES
        self._layers = [_Layer(layer, joined) for layer in model.layers[: model.config.num_hidden_layers]]
        self.logits = _side_by_side([head], joined)

    def step(self, embeds_BH: Tensor, positions_B: Tensor, cache: SharedCache) -> Tensor:
        """Return the final hidden states [B, H] of one new token a row, which the cache takes too."""
        cos, sin = self.model.rotary_emb(embeds_BH[:, None], positions_B[:, None])  # [B, 1, d]
        hidden = embeds_BH
        for layer, cached in zip(self._layers, cache.layers, strict=True):
            assert isinstance(cached, SharedLayer)
            hidden = layer(hidden, cos, sin, cached, cache)
        return normed(self.model.norm, hidden)


class _Layer:
    def __init__(self, layer: Any, joined: bool) -> None:
        self.module = layer
        attention, mlp = layer.self_attn, layer.mlp
        self.head_size, self.scale = attention.head_dim, attention.scaling
        self.key_heads = attention.k_proj.out_features // attention.head_dim
        self.qkv = _side_by_side([attention.q_proj, attention.k_proj, attention.v_proj], joined)
        self.o = _side_by_side([attention.o_proj], joined)
        self.q_norm, self.k_norm = head_norms(attention)
        self.mlp: Product = partial(whole, mlp)
        if is_gated(mlp):
            gate_up, down = _side_by_side([mlp.gate_proj, mlp.up_proj], joined), _side_by_side([mlp.down_proj], joined)
            self.mlp = lambda x: down(_gated(gate_up(x), mlp.act_fn))

    def __call__(self, hidden_BH: Tensor, cos: Tensor, sin: Tensor, cached: SharedLayer, cache: SharedCache) -> Tensor:
        qkv = self.qkv(normed(self.module.input_layernorm, hidden_BH)).unflatten(-1, (-1, self.head_size))
        qk = qkv[:, : -self.key_heads]
        if self.q_norm is not None:
            q, k = qk.split([qk.shape[1] - self.key_heads, self.key_heads], 1)
            qk = torch.cat([normed(self.q_norm, q), normed(self.k_norm, k)], 1)
        # Queries and keys are rotated alike, so together.
        qk = rotated(qk, cos, sin)
        q_Bhd, k_Bkd = qk[:, : -self.key_heads], qk[:, -self.key_heads :]
        keys, values = cached.update(k_Bkd[:, :, None], qkv[:, -self.key_heads :, None])
        out = decode_attention(q_Bhd, cached.prompt_keys, cached.prompt_values, keys, values, cache.sharing, self.scale)
        hidden_BH = hidden_BH + self.o(out.flatten(1))
        return hidden_BH + self.mlp(normed(self.module.post_attention_layernorm, hidden_BH))


def _side_by_side(modules: list[nn.Module], joined: bool) -> Product:
    """Return a function to the outputs of all modules, one after another."""
    if joined and all(map(is_plain, modules)):
        return Prepacked(modules)  # type: ignore[arg-type]
    if len(modules) == 1:
        return modules[0]
    return lambda x: torch.cat([module(x) for module in modules], -1)


def _gated(gate_up: Tensor, activation: Product) -> Tensor:
    gate, up = gate_up.chunk(2, -1)
    return activation(gate).mul_(up)
