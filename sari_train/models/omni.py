"""What the adapters of the Omni models have in common: only the thinker, and of it only what hears and writes.

A published Omni model is a thinker (text, audio, images, video in; text out), a talker and a vocoder. Here the
thinker alone is loaded, from a full checkpoint or from one of its own, and its visual encoder rests.

Its rotary embeddings have three axes (time, height, width), which differ only inside images and videos. Over text and
audio all three count alike, one by one, so a token's position is its place in the row: what ``models/text.py`` gives.

The audio towers work through windows of the mel spectrogram that see nothing of each other. Here a batch's windows
run side by side, and only those that hold true frames.

Shapes: A clips, M mel bands, F frames, W windows, S positions in a window, D tower width, d head size.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from sari_data.errors import CheckpointError
from sari_train.models.omni_processor import OmniProcessor
from sari_train.models.text_half import TextHalf

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")


class OmniThinker(TextHalf):
    """An adapter for a model with ``audio_tower``, ``visual`` and ``language_model``.

    The last linear layers of the tower take its states to the text model's width; they are the projector here.

    Attributes:
        audio_tokens: The placeholder and what stands before and behind it; no response may hold them.
        other_tokens: Further tokens of the tokenizer that no response may hold, where it has them.
        projectors: Names of the tower's modules that are the projector.
    """

    audio_tokens: tuple[str, ...]
    other_tokens: tuple[str, ...]
    projectors: tuple[str, ...]

    def __init__(self, model: Any, processor: Any, *, name: str = "model", path: str | None = None) -> None:
        super().__init__(model, processor, name=name, path=path)
        config, extractor = model.config, processor.feature_extractor
        known = self.tokenizer.get_vocab()
        banned = (*self.audio_tokens, "<|im_start|>", *(token for token in self.other_tokens if token in known))
        self.audio_token_id = config.audio_token_id
        self.stop_ids = self.ids_of(STOP_TOKENS)
        self.banned_ids = self.ids_of(banned)
        self.control_tokens = STOP_TOKENS + banned
        if self.ids_of(self.audio_tokens[:1]) != (self.audio_token_id,):
            raise CheckpointError(
                f"model {name!r} expects audio at token {self.audio_token_id}, but its tokenizer has "
                f"{self.audio_tokens[0]} at {self.ids_of(self.audio_tokens[:1])[0]}: use the one it was trained with"
            )
        self.context_length = config.text_config.max_position_embeddings
        self.sampling_rate = extractor.sampling_rate
        if extractor.feature_size != config.audio_config.num_mel_bins:
            raise CheckpointError(
                f"model {name!r} expects {config.audio_config.num_mel_bins} mel bands, but its processor makes "
                f"{extractor.feature_size}: use the processor it was trained with"
            )
        # No gradient reaches the eyes; an optimizer must not take them for weights that learn.
        model.model.visual.requires_grad_(False)
        self.use_text_attention()

    @classmethod
    def load_processor(cls, source: str) -> OmniProcessor:
        """Return the processor of a folder or hub id, without its eyes.

        The class in transformers needs torchvision for the parts that are of no use here.
        """
        return OmniProcessor.load(source)

    @property
    def tower(self) -> Any:
        """The audio tower, projector and all."""
        return self.model.model.audio_tower

    @abstractmethod
    def project(self, states: Tensor) -> Tensor:
        """Apply the tower's last layers."""

    def freeze_audio(self) -> None:
        """Freeze the audio tower; its projector goes on as it was."""
        for name, part in self.tower.named_children():
            if name not in self.projectors:
                part.requires_grad_(False)
        self.forget_states()
        self.audio_frozen = True


def windows(mel_AMF: Tensor, frames_A: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cut features into windows.

    Args:
        mel_AMF: Features; what follows a clip's true frames may be anything.
        frames_A: True frames.
        size: Frames of a window.

    Returns:
        (features [W, M, size or the longest clip's frames] with zeros behind the true ones, clip after clip; true
        frames [W]; which windows of [A, windows of the longest clip] these are)
    """
    longest = int(frames_A.max())
    count = -(-longest // size)
    frame_F = torch.arange(count * size, device=mel_AMF.device)
    mel_AMF = torch.nn.functional.pad(mel_AMF[..., :longest], (0, count * size - longest))
    mel_AMF = mel_AMF.where(frame_F < frames_A[:, None, None], 0)
    left_AW = (frames_A[:, None] - frame_F[::size]).clamp(max=size)
    mel_WMF = mel_AMF.unflatten(-1, (count, size)).transpose(1, 2)[left_AW > 0]
    return mel_WMF[..., : min(size, longest)], left_AW[left_AW > 0], left_AW > 0


def in_reading_order(x_WSD: Tensor, used_AW: Tensor) -> Tensor:
    """Put windows' positions one behind another, clip by clip: [A, windows * S, D], zeros where no window is.

    All windows of a clip but its last must be full.
    """
    whole = x_WSD.new_zeros(*used_AW.shape, *x_WSD.shape[1:])
    return whole.masked_scatter(used_AW[..., None, None], x_WSD).flatten(1, 2)


def window_layer(layer: Any, hidden_WSD: Tensor, mask_W11S: Tensor | None) -> Tensor:
    """Run a layer of an Omni audio tower over windows side by side.

    Args:
        layer: With ``self_attn``, its layer norms, ``fc1`` and ``fc2``.
        hidden_WSD: Its input.
        mask_W11S: True at the positions that are there; ``None`` where all are.
    """
    attention, normed = layer.self_attn, layer.self_attn_layer_norm(hidden_WSD)
    q, k, v = (
        project(normed).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_W11S, scale=attention.scaling)
    hidden = hidden_WSD + attention.out_proj(out.transpose(1, 2).flatten(2))
    hidden = hidden + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden))))
    if hidden.dtype == torch.float16:  # as the layer's own forward does
        bound = torch.finfo(hidden.dtype).max - 1000
        hidden = hidden.clamp(-bound, bound)
    return hidden


def seen(sizes_W: Tensor, positions: int) -> Tensor | None:
    """Return the mask of windows with so many positions each, or ``None`` where all are full."""
    if bool((sizes_W == positions).all()):
        return None
    return (torch.arange(positions, device=sizes_W.device) < sizes_W[:, None])[:, None, None]
