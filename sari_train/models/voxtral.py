"""Voxtral: a Whisper encoder over windows of 30 s, four states joined to one, a small MLP, a Llama text model.

The audio is padded to whole windows and the encoder hears the padding: a window always has the same number of
tokens, 375 in the published models. The windows' states follow one another in one run of ``[AUDIO]`` placeholders
behind one ``[BEGIN_AUDIO]``.
"""

from __future__ import annotations

import base64
from itertools import groupby
from typing import Any

import numpy as np
from torch import Tensor

from sari_data.audio import encode_wav
from sari_data.errors import CheckpointError
from sari_train.models.whisper import WhisperHalf, by_window


class Voxtral(WhisperHalf):
    """Adapter for ``VoxtralForConditionalGeneration`` (Liu et al. 2025, arXiv 2507.13264).

    Its processor has no limit; the model hears as many windows as its context has room for. The chat is rendered by
    Mistral's own tokenizer, which the package mistral-common brings.
    """

    stop_tokens = ("</s>",)
    banned_tokens = ("[AUDIO]", "[BEGIN_AUDIO]", "[INST]", "[/INST]", "<s>")

    def __init__(self, model: Any, processor: Any, *, name: str = "model", path: str | None = None) -> None:
        if getattr(processor.tokenizer, "backend", "") != "mistral_common" and not processor.tokenizer.chat_template:
            raise CheckpointError(
                f"the tokenizer of model {name!r} has no chat template: install mistral-common[audio], which renders "
                "Voxtral's chats from the model's tekken.json"
            )
        super().__init__(model, processor, name=name, path=path)
        audio = model.config.audio_config
        self._joined, left = divmod(audio.intermediate_size, audio.hidden_size)
        self._window_tokens = audio.max_source_positions // self._joined
        if left or audio.max_source_positions % self._joined:
            raise CheckpointError(
                f"model {name!r} joins states of width {audio.hidden_size} to {audio.intermediate_size}, which does "
                f"not divide its {audio.max_source_positions} positions evenly: correct its config.json"
            )
        self.max_seconds *= self.context_length // self._window_tokens

    def extract(self, samples: np.ndarray) -> tuple[Tensor, int, int]:
        """Return the log-mel features of all windows, padded to whole ones and scaled by their common maximum."""
        extractor = self.processor.feature_extractor
        mel_MF = extractor(
            samples,
            sampling_rate=self.sampling_rate,
            padding=True,
            truncation=False,
            pad_to_multiple_of=extractor.n_samples,
            return_tensors="pt",
        )["input_features"][0]
        return mel_MF, mel_MF.shape[1], mel_MF.shape[1] // self.window * self._window_tokens

    def audio_states(self, mel_AMF: Tensor, frames_A: Tensor) -> Tensor:
        """Run the encoder over the windows, each by itself, and join neighbouring states."""
        return by_window(mel_AMF, frames_A, self.window, self._window_states, lambda _: self._window_tokens)

    def _window_states(self, mel_AMF: Tensor, frames_A: Tensor) -> Tensor:
        states = self.model.model.audio_tower(mel_AMF).last_hidden_state
        return states.unflatten(1, (-1, self._joined)).flatten(2)

    def chat_ids(self, text: str, spans: int) -> tuple[int, ...]:
        """Render the turn with a moment of silence for each span, and keep one of its placeholders."""
        moment = encode_wav(np.zeros(self.sampling_rate // 10), self.sampling_rate)
        audio = {"type": "audio", "base64": base64.b64encode(moment).decode()}
        message = {"role": "user", "content": [audio] * spans + [{"type": "text", "text": text}]}
        ids = self.tokenizer.apply_chat_template([message], add_generation_prompt=True, return_dict=False)
        runs = ((token, list(run)) for token, run in groupby(ids))
        return tuple(i for token, run in runs for i in (run[:1] if token == self.audio_token_id else run))
