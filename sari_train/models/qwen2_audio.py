"""Qwen2-Audio: a Whisper encoder with average pooling, a linear projector, a Qwen2 text model.

Audio and text are joined here rather than by ``Qwen2AudioForConditionalGeneration.forward``: that
builds logits for the whole prompt, encodes a clip once for every row that shares it, and falls into
a legacy path when no two audio placeholders are adjacent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sari_data.errors import CheckpointError
from sari_train.kernels.packing import Packing
from sari_train.models import attention
from sari_train.models.base import AudioLM
from sari_train.models.cache import SharedCache
from sari_train.models.text import packed_hidden
from sari_train.models.text_decode import TextDecoder

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")
# Tokens that a response must never hold: an audio placeholder without audio breaks the next forward pass.
BANNED_TOKENS = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|im_start|>")

# Frames kept past a clip's end: those that its last position sees, and some to spare.
MARGIN = 8


class Qwen2Audio(AudioLM):
    """Adapter for ``Qwen2AudioForConditionalGeneration`` (Chu et al. 2024, arXiv 2407.10759)."""

    def __init__(self, model: Any, processor: Any, *, name: str = "model", path: str | None = None) -> None:
        super().__init__(model, processor, name=name, path=path)
        config, extractor = model.config, processor.feature_extractor
        self.audio_token_id = config.audio_token_id
        self.stop_ids = self._ids(STOP_TOKENS)
        self.banned_ids = self._ids(BANNED_TOKENS)
        self.control_tokens = STOP_TOKENS + BANNED_TOKENS
        self.context_length = config.text_config.max_position_embeddings
        self.sampling_rate = extractor.sampling_rate
        self.max_seconds = extractor.n_samples / extractor.sampling_rate
        frames = config.audio_config.max_source_positions * 2
        if extractor.nb_max_frames != frames or extractor.feature_size != config.audio_config.num_mel_bins:
            raise CheckpointError(
                f"model {name!r} expects {config.audio_config.num_mel_bins} mel bands and {frames} frames, but its "
                f"processor makes {extractor.feature_size} and {extractor.nb_max_frames}: use the processor it was "
                "trained with"
            )
        # Whisper's sinusoids do not train; transformers freezes them in a new model but not in a loaded one.
        model.model.audio_tower.embed_positions.requires_grad_(False)
        # Masks here are boolean, and None means causal: only scaled_dot_product_attention reads both so.
        model.set_attn_implementation("sdpa")
        model.model.language_model.set_attn_implementation(attention.NAME)
        if getattr(config.text_config, "use_sliding_window", False):
            raise CheckpointError(
                f"model {name!r} uses sliding-window attention, which is not supported: set "
                "text_config.use_sliding_window to false"
            )

    def _ids(self, tokens: tuple[str, ...]) -> tuple[int, ...]:
        known = self.tokenizer.get_vocab()
        missing = [token for token in tokens if token not in known]
        if missing:
            raise CheckpointError(
                f"the tokenizer of model {self.name!r} lacks {', '.join(missing)}: use the one it was trained with"
            )
        return tuple(known[token] for token in tokens)

    @property
    def text_model(self) -> torch.nn.Module:
        """The Qwen2 model without its head."""
        return self.model.model.language_model

    def extract(self, samples: np.ndarray) -> tuple[Tensor, int, int]:
        """Return Whisper's log-mel features, padded to the window, with true frames and audio tokens."""
        out = self.processor.feature_extractor(
            samples,
            sampling_rate=self.sampling_rate,
            padding="max_length",
            return_attention_mask=True,
            return_tensors="pt",
        )
        frames = int(out["attention_mask"].sum())
        # The window's silence is not kept; no position that counts sees more than two frames of it.
        return out["input_features"][0][:, : frames + MARGIN].clone(), frames, self._tokens(frames)

    @staticmethod
    def _tokens(frames: int) -> int:
        # Two strided steps: the second convolution, then the average pooling.
        return max(0, (((frames - 1) // 2 + 1) - 2) // 2 + 1)

    def audio_states(self, mel_AMF: Tensor, frames_A: Tensor) -> Tensor:
        """Run the encoder over as many frames as the longest clip has, not over the whole window.

        The result is that of the whole window: a position of the second convolution sees frames 2 j - 2 to
        2 j + 2, and positions past a clip's end are hidden from every query, as in transformers' own forward.
        """
        tower = self.model.model.audio_tower
        positions_A = (frames_A - 1) // 2 + 1
        count = int(positions_A.max())
        hidden = torch.nn.functional.gelu(tower.conv1(mel_AMF))
        hidden = torch.nn.functional.gelu(tower.conv2(hidden))[:, :, :count].permute(0, 2, 1)
        hidden = hidden + tower.embed_positions.weight[:count]
        valid_AS = torch.arange(count, device=mel_AMF.device)[None, :] < positions_A[:, None]
        mask = None if bool(valid_AS.all()) else valid_AS[:, None, None, :].expand(-1, 1, count, -1)
        for layer in tower.layers:
            hidden = layer(hidden, mask)
        return tower.layer_norm(tower.avg_pooler(hidden.permute(0, 2, 1)).permute(0, 2, 1))

    def project(self, states: Tensor) -> Tensor:
        """Apply the linear projector."""
        return self.model.model.multi_modal_projector(states)

    def backbone(self, embeds_BTH: Tensor, positions_BT: Tensor) -> Tensor:
        """Run the Qwen2 text model; no mask, given in the mapping that it takes as it is, means causal."""
        return self.text_model(
            inputs_embeds=embeds_BTH,
            position_ids=positions_BT,
            attention_mask={"full_attention": None},
            use_cache=False,
        ).last_hidden_state

    def packed_backbone(self, embeds_TH: Tensor, packing: Packing, *, cache: SharedCache | None = None) -> Tensor:
        """Run the Qwen2 text model over a packed sequence."""
        recompute = self.checkpointing and torch.is_grad_enabled()
        return packed_hidden(self.text_model, embeds_TH, packing, checkpointing=recompute, cache=cache)

    def decoder(self) -> TextDecoder:
        """Return a decoder of the Qwen2 text model with the weights as they are now."""
        return TextDecoder(self.text_model, self.model.get_output_embeddings())

    def new_cache(self) -> SharedCache:
        """Return an empty cache with one layer for each of the text model's."""
        return SharedCache(self.model.config.text_config.num_hidden_layers)

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token, over all layers."""
        config = self.model.config.text_config
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * config.num_hidden_layers * config.num_key_value_heads * head_size * self.dtype.itemsize

    def freeze_audio(self) -> None:
        """Freeze the audio tower; the projector goes on learning."""
        self.model.model.audio_tower.requires_grad_(False)
        self.forget_states()
        self.audio_frozen = True
