"""The audio half of the adapters whose tower is Whisper's encoder, with or without average pooling behind it.

Shapes: A spans or windows, M mel bands, F frames, S states, D tower width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sari_data.errors import CheckpointError
from sari_train.models.base import ENCODED_FRAMES
from sari_train.models.text_half import TextHalf

# Frames kept past a span's end: those that its last position sees, and some to spare.
MARGIN = 8


class WhisperHalf(TextHalf):
    """An adapter for a model with ``audio_tower``, ``multi_modal_projector`` and ``language_model``.

    Attributes:
        window: Frames of the tower's window.
        stop_tokens: The tokens of ``stop_ids``.
        banned_tokens: The tokens of ``banned_ids``; the first is the audio placeholder.
    """

    stop_tokens: tuple[str, ...]
    banned_tokens: tuple[str, ...]

    def __init__(self, model: Any, processor: Any, *, name: str = "model", path: str | None = None) -> None:
        super().__init__(model, processor, name=name, path=path)
        config, extractor = model.config, processor.feature_extractor
        self.audio_token_id = config.audio_token_id
        self.stop_ids = self.ids_of(self.stop_tokens)
        self.banned_ids = self.ids_of(self.banned_tokens)
        if self.banned_ids[0] != self.audio_token_id:
            raise CheckpointError(
                f"the tokenizer of model {name!r} gives {self.banned_tokens[0]} the id {self.banned_ids[0]}, but its "
                f"config.json says {self.audio_token_id}: use the tokenizer it was trained with"
            )
        self.control_tokens = self.stop_tokens + self.banned_tokens
        self.context_length = config.text_config.max_position_embeddings
        self.sampling_rate = extractor.sampling_rate
        self.max_seconds = extractor.n_samples / extractor.sampling_rate
        self.window = config.audio_config.max_source_positions * 2
        if extractor.nb_max_frames != self.window or extractor.feature_size != config.audio_config.num_mel_bins:
            raise CheckpointError(
                f"model {name!r} expects {config.audio_config.num_mel_bins} mel bands and {self.window} frames, but "
                f"its processor makes {extractor.feature_size} and {extractor.nb_max_frames}: use the processor it was "
                "trained with"
            )
        # Whisper's sinusoids do not train; transformers freezes them in a new model but not in a loaded one.
        model.model.audio_tower.embed_positions.requires_grad_(False)
        self.use_text_attention()

    def extract(self, samples: np.ndarray) -> tuple[Tensor, int, int]:
        """Return the log-mel features of at most one window, with true frames and audio tokens."""
        out = self.processor.feature_extractor(
            samples,
            sampling_rate=self.sampling_rate,
            padding="max_length",
            return_attention_mask=True,
            return_tensors="pt",
        )
        frames = int(out["attention_mask"].sum())
        # The window's silence is not kept; no position that counts sees more than two frames of it.
        return out["input_features"][0][:, : frames + MARGIN].clone(), frames, pooled_tokens(frames)

    def audio_states(self, mel_AMF: Tensor, frames_A: Tensor) -> Tensor:
        """Run the encoder with average pooling over as many frames as the longest window has, not over all of it.

        The result is that of the whole window: a position of the second convolution sees frames 2 j - 2 to
        2 j + 2, and positions past a window's end are hidden from every query, as in transformers' own forward.
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
        """Apply the projector."""
        return self.model.model.multi_modal_projector(states)

    def freeze_audio(self) -> None:
        """Freeze the audio tower; the projector goes on learning."""
        self.model.model.audio_tower.requires_grad_(False)
        self.forget_states()
        self.audio_frozen = True


def pooled_tokens(frames: int) -> int:
    """Return the audio tokens of so many frames: two strided steps, the second convolution and the average pooling."""
    return max(0, (((frames - 1) // 2 + 1) - 2) // 2 + 1)


def by_window(
    mel_AMF: Tensor,
    frames_A: Tensor,
    window: int,
    run: Callable[[Tensor, Tensor], Tensor],
    tokens: Callable[[int], int],
) -> Tensor:
    """Run a tower over spans of several windows, each window by itself, a bounded number of them at once.

    Args:
        mel_AMF: Features; a window of a span starts every ``window`` frames.
        frames_A: True frames of each span.
        window: Frames of a window.
        run: The tower: windows' features and true frames to states [windows, S, D].
        tokens: States that a window of so many true frames has.

    Returns:
        The states of each span, one window's after another's, padded with zeros to [A, longest, D].
    """
    parts = []  # (span, first frame, true frames) of each window that has a state
    for span, frames in enumerate(frames_A.tolist()):
        parts += [(span, at, min(window, frames - at)) for at in range(0, frames, window)]
    parts = [part for part in parts if tokens(part[2])]
    found: list[list[Tensor]] = [[] for _ in range(len(mel_AMF))]
    for first in range(0, len(parts), max(1, ENCODED_FRAMES // window)):
        some = parts[first : first + max(1, ENCODED_FRAMES // window)]
        features = [mel_AMF[span, :, at : at + window] for span, at, _ in some]
        width = max(x.shape[1] for x in features)
        mel = torch.stack([torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in features])
        states = run(mel, torch.tensor([frames for *_, frames in some], device=mel.device))
        for (span, _, frames), state_SD in zip(some, states, strict=True):
            found[span].append(state_SD[: tokens(frames)])
    return torch.nn.utils.rnn.pad_sequence([torch.cat(states) for states in found], batch_first=True)
