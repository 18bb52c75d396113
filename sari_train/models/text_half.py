"""The text half of an adapter, which all architectures here have in common: a Qwen2 or Llama type model and its head.

An adapter inherits from :class:`TextHalf`, names its text model if that is not ``model.model.language_model``, and
adds the audio half.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sari_data.errors import CheckpointError
from sari_train.kernels.packing import Packing
from sari_train.models.base import AudioLM
from sari_train.models.cache import SharedCache
from sari_train.models.text import packed_hidden, prepare_text_model
from sari_train.models.text_decode import TextDecoder


class TextHalf(AudioLM):
    """Everything of :class:`AudioLM` that concerns the text model alone."""

    @property
    def text_model(self) -> torch.nn.Module:
        """The text model without its head."""
        return self.model.model.language_model

    @property
    def text_config(self) -> Any:
        """The text model's configuration."""
        return self.text_model.config

    def use_text_attention(self) -> None:
        """Let the text model attend by ``models/attention.py``, and everything else by one fused operator.

        Raises:
            CheckpointError: A text model of another family, or one that attends within a sliding window.
        """
        # Masks here are boolean, and None means causal: only scaled_dot_product_attention reads both so.
        self.model.set_attn_implementation("sdpa")
        prepare_text_model(self.text_model, self.name)

    def ids_of(self, tokens: tuple[str, ...]) -> tuple[int, ...]:
        """Return the ids of tokens that the tokenizer must have.

        Raises:
            CheckpointError: It lacks one.
        """
        known = self.tokenizer.get_vocab()
        missing = [token for token in tokens if token not in known]
        if missing:
            raise CheckpointError(
                f"the tokenizer of model {self.name!r} lacks {', '.join(missing)}: use the one it was trained with"
            )
        return tuple(known[token] for token in tokens)

    def backbone(self, embeds_BTH: Tensor, positions_BT: Tensor) -> Tensor:
        """Run the text model causally; models that choose a mask for each layer take no mask in a mapping as it is."""
        mask = {"full_attention": None} if hasattr(self.text_config, "layer_types") else None
        return self.text_model(
            inputs_embeds=embeds_BTH, position_ids=positions_BT, attention_mask=mask, use_cache=False
        ).last_hidden_state

    def packed_backbone(self, embeds_TH: Tensor, packing: Packing, *, cache: SharedCache | None = None) -> Tensor:
        """Run the text model over a packed sequence."""
        recompute = self.checkpointing and torch.is_grad_enabled()
        return packed_hidden(self.text_model, embeds_TH, packing, checkpointing=recompute, cache=cache)

    def decoder(self) -> TextDecoder:
        """Return a decoder of the text model with the weights as they are now."""
        return TextDecoder(self.text_model, self.model.get_output_embeddings())

    def new_cache(self) -> SharedCache:
        """Return an empty cache with one layer for each of the text model's."""
        return SharedCache(self.text_config.num_hidden_layers)

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token, over all layers."""
        config = self.text_config
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * config.num_hidden_layers * config.num_key_value_heads * head_size * self.dtype.itemsize
