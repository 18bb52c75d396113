"""Audio Flamingo 3: a Whisper encoder with average pooling over windows of 30 s, a small MLP, a Qwen2 text model.

A clip of up to ten minutes is cut into windows that are encoded apart, and their states follow one another in one
run of ``<sound>`` placeholders.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sari_train.models.whisper import WhisperHalf, by_window, pooled_tokens


class AudioFlamingo3(WhisperHalf):
    """Adapter for ``AudioFlamingo3ForConditionalGeneration`` (Goel et al. 2025, arXiv 2507.08128).

    It hears the processor's ``max_audio_len`` (600 s) in one span. Its published chat template writes one ``<sound>``
    a turn, so that longer audio can be refused or cut, but not split.
    """

    stop_tokens = ("<|im_end|>", "<|endoftext|>")
    banned_tokens = ("<sound>", "<|im_start|>")

    def __init__(self, model: Any, processor: Any, *, name: str = "model", path: str | None = None) -> None:
        super().__init__(model, processor, name=name, path=path)
        self._window_samples = processor.feature_extractor.n_samples
        # Whole windows only, as the processor counts them.
        self.max_seconds *= int(processor.max_audio_len * self.sampling_rate // self._window_samples)

    def extract(self, samples: np.ndarray) -> tuple[Tensor, int, int]:
        """Return the log-mel features of the windows, one after another; each is scaled by its own maximum."""
        size = self._window_samples
        parts = [super(AudioFlamingo3, self).extract(samples[at : at + size]) for at in range(0, len(samples), size)]
        mels, frames, tokens = zip(*parts, strict=True)
        return torch.cat(mels, dim=1), sum(frames), sum(tokens)

    def audio_states(self, mel_AMF: Tensor, frames_A: Tensor) -> Tensor:
        """Run the encoder over the windows, each by itself."""
        return by_window(mel_AMF, frames_A, self.window, super().audio_states, pooled_tokens)
