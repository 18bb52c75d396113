"""The thinker of Qwen3-Omni: a tower of its own that listens in windows of 8 s, and a mixture of experts.

Shapes: A clips, M mel bands, F frames, W windows or chunks, S positions in one, D tower width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sari_data.errors import CheckpointError
from sari_train.models.omni import OmniThinker, in_reading_order, seen, window_layer, windows

# Positions of a chunk of 100 frames, after three strided convolutions; transformers counts on it.
_POSITIONS = 13


class Qwen3Omni(OmniThinker):
    """Adapter for ``Qwen3OmniMoeThinkerForConditionalGeneration`` (Xu et al. 2025, arXiv 2509.17765)."""

    model_class = "Qwen3OmniMoeThinkerForConditionalGeneration"
    full_class = "Qwen3OmniMoeForConditionalGeneration"
    audio_tokens = ("<|audio_pad|>", "<|audio_start|>", "<|audio_end|>")
    other_tokens = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>")
    projectors = ("proj1", "proj2")

    def __init__(self, model: Any, processor: Any, *, name: str = "model", path: str | None = None) -> None:
        super().__init__(model, processor, name=name, path=path)
        config = model.config.audio_config
        self.chunk = 2 * config.n_window
        if _after(self.chunk) != _POSITIONS or config.n_window_infer % self.chunk:
            raise CheckpointError(
                f"the audio tower of model {name!r} must make {_POSITIONS} positions of a chunk and listen in whole "
                f"chunks, but its config has n_window {config.n_window} and n_window_infer {config.n_window_infer}: "
                "take the published configuration"
            )
        # The processor cuts nothing: the text model's context is the bound.
        hop = processor.feature_extractor.hop_length
        self.max_seconds = self.context_length // _POSITIONS * self.chunk * hop / self.sampling_rate

    def extract(self, samples: np.ndarray) -> tuple[Tensor, int, int]:
        """Return the log-mel features, with the numbers of frames and of audio tokens; nothing is padded."""
        extractor = self.processor.feature_extractor
        if len(samples) <= extractor.n_fft // 2:  # less than its first frame reaches over
            return torch.empty(extractor.feature_size, 0), 0, 0
        out = extractor(
            samples,
            sampling_rate=self.sampling_rate,
            padding=True,
            truncation=False,
            return_attention_mask=True,
            return_tensors="pt",
        )
        frames = int(out["attention_mask"].sum())
        return out["input_features"][0][:, :frames].clone(), frames, self._tokens(frames)

    def _tokens(self, frames: int) -> int:
        return frames // self.chunk * _POSITIONS + _after(frames % self.chunk)

    def audio_states(self, mel_AMF: Tensor, frames_A: Tensor) -> Tensor:
        """Run the tower up to its projector; the states are those of each clip by itself.

        The convolutions see what pads a chunk. A clip's last chunk is padded to the size of the others; one of less
        than a chunk is not padded, so such clips run by themselves, those of one length together.
        """
        lengths = frames_A.clamp(max=self.chunk)
        found: list[Tensor] = [torch.empty(0)] * len(mel_AMF)
        for length in lengths.unique().tolist():
            rows_A = (lengths == length).nonzero()[:, 0]
            states = self._listen(mel_AMF[rows_A], frames_A[rows_A])
            for row, state_SD in zip(rows_A.tolist(), states, strict=True):
                found[row] = state_SD[: self._tokens(int(frames_A[row]))]
        return torch.nn.utils.rnn.pad_sequence(found, batch_first=True)

    def _listen(self, mel_AMF: Tensor, frames_A: Tensor) -> Tensor:
        tower = self.tower
        mel_WMF, _, used_AW = windows(mel_AMF, frames_A, self.chunk)
        parts = []
        for mel in mel_WMF.split(tower.conv_chunksize):
            hidden = mel[:, None]
            for convolution in (tower.conv2d1, tower.conv2d2, tower.conv2d3):
                hidden = torch.nn.functional.gelu(convolution(hidden))
            parts.append(tower.conv_out(hidden.permute(0, 3, 1, 2).flatten(2)))
        hidden_WSD = torch.cat(parts)
        positions = hidden_WSD.shape[1]
        hidden_WSD = hidden_WSD + tower.positional_embedding.positional_embedding[:positions].to(hidden_WSD.dtype)
        # The layers' windows are several chunks.
        tokens_A = torch.tensor([self._tokens(frames) for frames in frames_A.tolist()], device=mel_AMF.device)
        span = min(tower.n_window_infer // self.chunk, used_AW.shape[1]) * positions
        hidden_ADT = in_reading_order(hidden_WSD, used_AW).transpose(1, 2)
        hidden_WDS, left_W, used_AW = windows(hidden_ADT, tokens_A, span)
        hidden_WSD = hidden_WDS.transpose(1, 2)
        mask = seen(left_W, hidden_WSD.shape[1])
        for layer in tower.layers:
            hidden_WSD = window_layer(layer, hidden_WSD, mask)
        return tower.ln_post(in_reading_order(hidden_WSD, used_AW))

    def project(self, states: Tensor) -> Tensor:
        """Apply the tower's last layers."""
        return self.tower.proj2(self.tower.act(self.tower.proj1(states)))


def _after(frames: int) -> int:
    """Positions that are left of so many frames after three convolutions with a stride of 2."""
    for _ in range(3):
        frames = (frames - 1) // 2 + 1
    return frames
