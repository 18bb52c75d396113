"""A text model of the Llama family over a packed sequence, by its own modules and weights.

The family is Llama, Mistral, Qwen2, and the text models inside Qwen2.5-Omni and Qwen3-Omni: pre-norm layers of
rotary attention and a gated MLP. Qwen3 norms each head's query and key before they are rotated, and may have a mixture
of experts in the MLP's place.

Differs from the models' own ``forward`` in what is kept for the backward pass (``kernels/layers.py``), and in the last
layer: of a prompt, only keys and values are computed there, and its last token, because nothing else of it is
wanted. A norm or an MLP that is not of a class known here (an adapter in it, a mixture of experts) is called as it is.

Shapes: T tokens, K kept tokens, H hidden size, h heads, d head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.models.llama.modeling_llama import rotate_half

from sari_data.errors import CheckpointError
from sari_train.kernels.layers import gated_linear, rms_norm
from sari_train.kernels.packing import Packing
from sari_train.kernels.prepacked import has_hooks, is_plain
from sari_train.kernels.shared_prefix import shared_prefix_attention
from sari_train.models import attention as sari_attention
from sari_train.models.cache import SharedCache
from sari_train.models.hooks import within

# Classes by name, so that no model's code is imported that is not in use. All compute weight * x / rms(x) ...
_NORMS = {
    "LlamaRMSNorm",
    "MistralRMSNorm",
    "Qwen2RMSNorm",
    "Qwen2_5OmniRMSNorm",
    "Qwen3OmniMoeTextRMSNorm",
    "Qwen3OmniMoeThinkerTextRMSNorm",
}
# ... down(act(gate(x)) * up(x)) ...
_MLPS = {"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3OmniMoeThinkerTextMLP"}
# ... and rotary attention with q_proj, k_proj, v_proj and o_proj, and perhaps q_norm and k_norm.
_ATTENTIONS = {
    "LlamaAttention",
    "MistralAttention",
    "Qwen2Attention",
    "Qwen2_5OmniAttention",
    "Qwen3OmniMoeThinkerTextAttention",
}


def prepare_text_model(model: Any, name: str) -> None:
    """Let a text model attend through ``models/attention.py``.

    Args:
        model: The text model without its head.
        name: The whole model's name, for errors.

    Raises:
        CheckpointError: Its layers are not of the family, or attend through a sliding window.
    """
    kinds = {type(layer.self_attn).__name__ for layer in model.layers}
    if kinds - _ATTENTIONS:
        raise CheckpointError(
            f"the text model of {name!r} attends with {', '.join(sorted(kinds - _ATTENTIONS))}; supported are "
            f"{', '.join(sorted(_ATTENTIONS))}: take another model"
        )
    of_config = model.config.sliding_window if kinds == {"MistralAttention"} else None
    windows = [getattr(layer.self_attn, "sliding_window", None) or of_config for layer in model.layers]
    if any(windows):
        raise CheckpointError(
            f"model {name!r} uses sliding-window attention, which is not supported: set sliding_window to null (and "
            "use_sliding_window to false) in the text part of its config.json"
        )
    model.set_attn_implementation(sari_attention.NAME)


def packed_hidden(
    model: Any, embeds_TH: Tensor, packing: Packing, *, checkpointing: bool = False, cache: SharedCache | None = None
) -> Tensor:
    """Return the final hidden states [K, H] of the kept tokens.

    Args:
        model: The text model without its head, after :func:`prepare_text_model`.
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
    """Apply a norm of the model's over the last dimension."""
    if type(norm).__name__ in _NORMS and not has_hooks(norm):
        return rms_norm(hidden, norm.weight, norm.variance_epsilon)
    return norm(hidden)


def is_gated(mlp: nn.Module) -> bool:
    """Whether an MLP is the family's, with SiLU, and nothing hooks into it; its projections may be anything."""
    return (
        type(mlp).__name__ in _MLPS and not has_hooks(mlp) and type(mlp.act_fn).__name__ in ("SiLUActivation", "SiLU")
    )


def whole(mlp: Any, normed: Tensor) -> Tensor:
    """Call an MLP as it is, with a batch dimension before [..., H], since a mixture of experts insists on one."""
    return mlp(normed) if normed.ndim == 3 else mlp(normed[None])[0]


def _mlp(mlp: Any, normed: Tensor) -> Tensor:
    # Under autocast a product's type is not that of its weight: the module knows what to do then.
    if not is_gated(mlp) or torch.is_autocast_enabled(normed.device.type):
        return whole(mlp, normed)
    if not is_plain(mlp.down_proj) or mlp.down_proj.bias is not None:
        return whole(mlp, normed)
    if not torch.is_grad_enabled() and not has_hooks(mlp.gate_proj):
        gated = torch.nn.functional.silu(mlp.gate_proj(normed), inplace=True).mul_(mlp.up_proj(normed))
        return torch.nn.functional.linear(gated, mlp.down_proj.weight)
    return gated_linear(mlp.gate_proj(normed), mlp.up_proj(normed), mlp.down_proj.weight)


def _last_layer(
    layer: Any, hidden_TH: Tensor, rotary: tuple[Tensor, Tensor], packing: Packing, cache: SharedCache | None = None
) -> Tensor:
    kept_K = packing.kept
    attention = layer.self_attn
    q_norm, k_norm = head_norms(attention)
    normed_TH = normed(layer.input_layernorm, hidden_TH)
    cos_Td, sin_Td = (x[0] for x in rotary)
    k_kTd = rotated(_heads(attention.k_proj(normed_TH), attention, k_norm), cos_Td, sin_Td)
    v_kTd = _heads(attention.v_proj(normed_TH), attention)
    if cache is not None:
        cache.update(k_kTd[None], v_kTd[None], attention.layer_idx)
    if (few := packing.for_last_layer) is None:
        q_hTd = rotated(_heads(attention.q_proj(normed_TH), attention, q_norm), cos_Td, sin_Td)
        out_hKd = shared_prefix_attention(q_hTd, k_kTd, v_kTd, packing, attention.scaling)[:, kept_K]
    else:
        q_hKd = _heads(attention.q_proj(normed_TH[kept_K]), attention, q_norm)
        q_hKd = rotated(q_hKd, cos_Td[kept_K], sin_Td[kept_K])
        out_hKd = shared_prefix_attention(q_hKd, k_kTd, v_kTd, few, attention.scaling)
    hidden_KH = hidden_TH[kept_K] + attention.o_proj(out_hKd.transpose(0, 1).flatten(1))
    return hidden_KH + _mlp(layer.mlp, normed(layer.post_attention_layernorm, hidden_KH))


def head_norms(attention: Any) -> tuple[Any, Any]:
    """Return the norms of the heads' queries and keys, ``None`` where there are none."""
    return getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)


def _heads(x_TD: Tensor, attention: Any, norm: Any = None) -> Tensor:
    x_Thd = x_TD.unflatten(-1, (-1, attention.head_dim))
    return (x_Thd if norm is None else normed(norm, x_Thd)).transpose(0, 1)


def rotated(x_hTd: Tensor, cos_Td: Tensor, sin_Td: Tensor) -> Tensor:
    """Apply rotary position embeddings to the heads of queries or keys."""
    return x_hTd * cos_Td + rotate_half(x_hTd) * sin_Td
