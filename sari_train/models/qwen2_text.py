"""The Qwen2 text model over a packed sequence, by its own modules and weights.

Differs from ``Qwen2Model.forward`` in what is kept for the backward pass (``kernels/layers.py``), and in the last
layer: of a prompt, only keys and values are computed there, and its last token, because nothing else of it is
wanted. A module that is not what the config says (an adapter in it, another class) is called as it is.

Shapes: T tokens, K kept tokens, H hidden size, h query heads, d head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP, Qwen2RMSNorm, rotate_half

from sari_train.kernels.layers import gated_linear, rms_norm
from sari_train.kernels.packing import Packing
from sari_train.kernels.prepacked import has_hooks, is_plain
from sari_train.kernels.shared_prefix import shared_prefix_attention
from sari_train.models.cache import SharedCache
from sari_train.models.hooks import within


def packed_hidden(
    model: Any, embeds_TH: Tensor, packing: Packing, *, checkpointing: bool = False, cache: SharedCache | None = None
) -> Tensor:
    """Return the final hidden states [K, H] of the kept tokens.

    Args:
        model: A ``Qwen2Model`` whose attention implementation is ``models.attention.NAME``.
        embeds_TH: Input embeddings of the packed sequence.
        packing: Its layout.
        checkpointing: Keep only each layer's input, and run the layer again in the backward pass.
        cache: Takes the keys and values of all tokens, where given.
    """
    hidden = embeds_TH[None]
    rotary = model.rotary_emb(hidden, packing.positions[None])
    *layers, last = model.layers[: model.config.num_hidden_layers]

    def run(layer: Any, hidden: Tensor) -> Tensor:
        return within(layer, _layer, hidden, position_embeddings=rotary, packing=packing, past_key_values=cache)

    for layer in layers:
        hidden = checkpoint(run, layer, hidden, use_reentrant=False) if checkpointing else run(layer, hidden)
    if checkpointing:
        kept = checkpoint(within, last, _last_layer, hidden[0], rotary, packing, use_reentrant=False)
    else:
        kept = within(last, _last_layer, hidden[0], rotary, packing, cache)
    return normed(model.norm, kept)


def _layer(layer: Any, hidden: Tensor, **options: Any) -> Tensor:
    # Written so that no name holds on to what the attention returned.
    hidden = hidden + layer.self_attn(normed(layer.input_layernorm, hidden), attention_mask=None, **options)[0]
    return hidden + _mlp(layer.mlp, normed(layer.post_attention_layernorm, hidden))


def normed(norm: Any, hidden: Tensor) -> Tensor:
    """Apply a norm of the model's."""
    if type(norm) is Qwen2RMSNorm and not has_hooks(norm):
        return rms_norm(hidden, norm.weight, norm.variance_epsilon)
    return norm(hidden)


def _mlp(mlp: Any, normed: Tensor) -> Tensor:
    plain = type(mlp) is Qwen2MLP and not has_hooks(mlp) and is_plain(mlp.down_proj) and mlp.down_proj.bias is None
    # Under autocast a product's type is not that of its weight: the module knows what to do then.
    if not plain or mlp.config.hidden_act != "silu" or torch.is_autocast_enabled(normed.device.type):
        return mlp(normed)
    if not torch.is_grad_enabled() and not has_hooks(mlp.gate_proj):
        gated = torch.nn.functional.silu(mlp.gate_proj(normed), inplace=True).mul_(mlp.up_proj(normed))
        return torch.nn.functional.linear(gated, mlp.down_proj.weight)
    return gated_linear(mlp.gate_proj(normed), mlp.up_proj(normed), mlp.down_proj.weight)


def _last_layer(
    layer: Any, hidden_TH: Tensor, rotary: tuple[Tensor, Tensor], packing: Packing, cache: SharedCache | None = None
) -> Tensor:
    kept_K = packing.kept
    attention = layer.self_attn
    normed_TH = normed(layer.input_layernorm, hidden_TH)
    cos_Td, sin_Td = (x[0] for x in rotary)
    k_kTd = rotated(_heads(attention.k_proj(normed_TH), attention), cos_Td, sin_Td)
    v_kTd = _heads(attention.v_proj(normed_TH), attention)
    if cache is not None:
        cache.update(k_kTd[None], v_kTd[None], attention.layer_idx)
    if (few := packing.for_last_layer) is None:
        q_hTd = rotated(_heads(attention.q_proj(normed_TH), attention), cos_Td, sin_Td)
        out_hKd = shared_prefix_attention(q_hTd, k_kTd, v_kTd, packing, attention.scaling)[:, kept_K]
    else:
        q_hKd = rotated(_heads(attention.q_proj(normed_TH[kept_K]), attention), cos_Td[kept_K], sin_Td[kept_K])
        out_hKd = shared_prefix_attention(q_hKd, k_kTd, v_kTd, few, attention.scaling)
    hidden_KH = hidden_TH[kept_K] + attention.o_proj(out_hKd.transpose(0, 1).flatten(1))
    return hidden_KH + _mlp(layer.mlp, normed(layer.post_attention_layernorm, hidden_KH))


def _heads(x_TD: Tensor, attention: Any) -> Tensor:
    return x_TD.unflatten(-1, (-1, attention.head_dim)).transpose(0, 1)


def rotated(x_hTd: Tensor, cos_Td: Tensor, sin_Td: Tensor) -> Tensor:
    """Apply rotary position embeddings to the heads of queries or keys."""
    return x_hTd * cos_Td + rotate_half(x_hTd) * sin_Td
