"""The thinker of Qwen2.5-Omni: a Whisper encoder that listens in windows of 2 s, and a Qwen2 text model.

Shapes: A clips, M mel bands, F frames, W windows, S positions in a window, D tower width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sari_train.models.omni import OmniThinker, in_reading_order, seen, window_layer, windows


class Qwen2_5Omni(OmniThinker):
    """Adapter for ``Qwen2_5OmniThinkerForConditionalGeneration`` (Xu et al. 2025, arXiv 2503.20215)."""

    model_class = "Qwen2_5OmniThinkerForConditionalGeneration"
    full_class = "Qwen2_5OmniForConditionalGeneration"
    audio_tokens = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
    other_tokens = ("<|IMAGE|>", "<|VIDEO|>", "<|vision_bos|>", "<|vision_eos|>", "<|vision_pad|>")
    projectors = ("proj",)

    def __init__(self, model: Any, processor: Any, *, name: str = "model", path: str | None = None) -> None:
        super().__init__(model, processor, name=name, path=path)
        # The processor cuts what is longer (300 s as published), without a word.
        self.max_seconds = processor.feature_extractor.n_samples / self.sampling_rate
        # A table that nothing reads.
        self.tower.audio_bos_eos_token.requires_grad_(False)

    def extract(self, samples: np.ndarray) -> tuple[Tensor, int, int]:
        """Return the log-mel features of the true frames, with their number and that of the audio tokens.

        The processor pads every clip to 300 s. A frame sees half a Fourier window of silence at most, so with one
        window of it the features are the same; the loudest bin, which they are relative to, is never in silence
        (but for a silent clip, which is silence either way).
        """
        extractor = self.processor.feature_extractor
        enough = -(-(len(samples) + extractor.n_fft) // extractor.hop_length) * extractor.hop_length
        out = extractor(
            samples,
            sampling_rate=self.sampling_rate,
            padding="max_length",
            max_length=min(enough, extractor.n_samples),
            return_attention_mask=True,
            return_tensors="pt",
        )
        frames = int(out["attention_mask"].sum())
        return out["input_features"][0][:, :frames].clone(), frames, (frames + 1) // 4

    def audio_states(self, mel_AMF: Tensor, frames_A: Tensor) -> Tensor:
        """Run the tower up to its projector; each window of frames is padded with zeros and sees itself only."""
        tower = self.tower
        mel_WMF, left_W, used_AW = windows(mel_AMF, frames_A, 2 * tower.n_window)
        real_W1F = (torch.arange(mel_WMF.shape[-1], device=mel_WMF.device) < left_W[:, None])[:, None]
        hidden = torch.nn.functional.gelu(tower.conv1(mel_WMF)) * real_W1F
        hidden_WSD = torch.nn.functional.gelu(tower.conv2(hidden)).transpose(1, 2)
        positions = hidden_WSD.shape[1]
        hidden_WSD = hidden_WSD + tower.positional_embedding.positional_embedding[:positions].to(hidden_WSD.dtype)
        mask = seen((left_W - 1) // 2 + 1, positions)
        for layer in tower.layers:
            hidden_WSD = window_layer(layer, hidden_WSD, mask)
        # Pairs of positions are averaged, across windows where these hold an odd number.
        hidden = in_reading_order(hidden_WSD, used_AW)[:, : 2 * ((int(frames_A.max()) + 1) // 4)]
        return tower.ln_post((hidden[:, 0::2] + hidden[:, 1::2]) / 2)

    def project(self, states: Tensor) -> Tensor:
        """Apply the tower's last layer."""
        return self.tower.proj(states)
