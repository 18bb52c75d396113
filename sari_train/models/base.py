"""What the trainer, the rollout and the responder need from an audio-language model.

An architecture is one subclass in one file of this folder. The seam is four steps: waveform to
features (:meth:`AudioLM.extract`), features to audio embeddings (:meth:`AudioLM.audio_states` and
:meth:`AudioLM.project`), embeddings through the text model (:meth:`AudioLM.backbone`), hidden states
to logits (:meth:`AudioLM.head`). Each step is called on its own so that audio is encoded once for a
clip however many rows share it, and the head runs only where a logit is wanted.

Shapes: A clips, B rows, T tokens, F frames, M mel bands, H hidden size, V vocabulary.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sari_data.errors import InputError
from sari_data.types import AudioRef
from sari_train.kernels.packing import Packing
from sari_train.models.cache import SharedCache

# Frames that the tower runs over at once (with clips of 30 s: ten of them); results do not depend on it.
ENCODED_FRAMES = 32_768


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip's features: ``mel_MF`` (its true frames and a margin of silence), true frames and audio tokens."""

    key: str
    mel_MF: Tensor
    frames: int
    tokens: int


class BoundedCache:
    """Least-recently-used cache of tensors, bounded in bytes."""

    def __init__(self, max_bytes: int = 512 * 2**20) -> None:
        self.max_bytes = max_bytes
        self._items: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()  # micro-batches may run side by side

    def get(self, key: Any) -> Any:
        """Return the value and mark it as used, or ``None``."""
        with self._lock:
            item = self._items.get(key)
            if item is None:
                return None
            self._items.move_to_end(key)
            return item[0]

    def put(self, key: Any, value: Any, size: int) -> None:
        """Keep ``value`` (``size`` bytes) and drop the least recently used beyond the bound."""
        with self._lock:
            if key in self._items:
                self._bytes -= self._items.pop(key)[1]
            self._items[key] = (value, size)
            self._bytes += size
            while self._bytes > self.max_bytes and len(self._items) > 1:
                self._bytes -= self._items.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()
            self._bytes = 0


class Decoder(Protocol):
    """The text model and its head for one new token a row, while the weights stay as they are; threads may share it."""

    def step(self, embeds_BH: Tensor, positions_B: Tensor, cache: SharedCache) -> Tensor:
        """Run the text model without its head: [B, H] to [B, H]; the cache takes the new keys and values."""
        ...

    def logits(self, hidden_BH: Tensor) -> Tensor:
        """Return logits [B, V] of hidden states [B, H]."""
        ...


class AudioLM(ABC):
    """An audio-language model with its processor, behind the four steps that this package uses.

    The transformers model stays in evaluation mode, in training too: the models are trained without
    dropout, and rollouts and log-probs then come from the same function.

    Attributes:
        model: The transformers model; ``save_pretrained`` of it is a checkpoint.
        processor: Its processor (chat template, tokenizer, feature extractor).
        tokenizer: The processor's tokenizer.
        name: Short name for reports.
        path: Where the weights came from (folder or hub id), or ``None`` for a model made in memory.
        stop_ids: Tokens that end a response; the first is the one that a target ends with.
        banned_ids: Tokens that a response must never hold; sampling and GRPO's log-probs leave them out.
        control_tokens: Strings that must not stand in a prompt or target.
        adapter: The peft wrapper where LoRA is on, else ``None``.
        audio_frozen: The audio tower does not train; its states are then computed once for a clip.
        checkpointing: Keep only each text layer's input for the backward pass, and run the layer again there.
    """

    audio_token_id: int
    stop_ids: tuple[int, ...]
    banned_ids: tuple[int, ...]
    control_tokens: tuple[str, ...]
    context_length: int
    sampling_rate: int
    max_seconds: float

    def __init__(self, model: Any, processor: Any, *, name: str = "model", path: str | None = None) -> None:
        self.model = model.eval()
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.name = name
        self.path = path
        self.adapter: Any = None
        self.audio_frozen = False
        self.checkpointing = False
        self.prompt_ids: dict[str, tuple[int, ...]] = {}
        self._clips = BoundedCache()
        self._states = BoundedCache()
        self._keys = BoundedCache(256 * 2**20)  # holds on to the encoded audio that it knows

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' floating-point type."""
        return self.model.dtype

    @property
    @abstractmethod
    def text_model(self) -> torch.nn.Module:
        """The text model inside; adapters go into its linear layers."""

    @abstractmethod
    def extract(self, samples: np.ndarray) -> tuple[Tensor, int, int]:
        """Return (mel_MF, true frames, audio tokens) of mono samples at ``sampling_rate``.

        ``mel_MF`` has the true frames, and as much of the window's silence behind them as these see.
        """

    @abstractmethod
    def audio_states(self, mel_AMF: Tensor, frames_A: Tensor) -> Tensor:
        """Run the audio tower: [A, M, F] to [A, audio tokens of the longest clip, tower width].

        What follows a clip's true frames and margin may be anything: it changes no token of the clip.
        """

    @abstractmethod
    def project(self, states: Tensor) -> Tensor:
        """Map the tower's states to the text model's width: [..., D] to [..., H]."""

    @abstractmethod
    def backbone(self, embeds_BTH: Tensor, positions_BT: Tensor) -> Tensor:
        """Run the text model without its head, causally, over rows that are padded on the right.

        Args:
            embeds_BTH: Input embeddings.
            positions_BT: Position of each token in its own row, from 0.

        Returns:
            Final hidden states [B, T, H].
        """

    @abstractmethod
    def packed_backbone(self, embeds_TH: Tensor, packing: Packing, *, cache: SharedCache | None = None) -> Tensor:
        """Run the text model without its head over one packed sequence.

        Args:
            embeds_TH: Input embeddings.
            packing: Where prompts and completions lie.
            cache: Takes the keys and values of all tokens, where given.

        Returns:
            Final hidden states [K, H] of the kept tokens.
        """

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return what decodes a batch, with the weights as they are now."""

    @abstractmethod
    def new_cache(self) -> SharedCache:
        """Return an empty key/value cache."""

    @property
    @abstractmethod
    def cache_bytes(self) -> int:
        """Bytes of keys and values of one token, over all layers."""

    @abstractmethod
    def freeze_audio(self) -> None:
        """Stop the audio tower's training, and cache its states from then on."""

    def forget_states(self) -> None:
        """Drop the audio states that are kept; for use after the tower's weights have changed."""
        self._states.clear()

    def embed_tokens(self, ids_BT: Tensor) -> Tensor:
        """Return the text embeddings [B, T, H] of token ids."""
        return self.model.get_input_embeddings()(ids_BT)

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits [..., V] of hidden states [..., H]."""
        return self.model.get_output_embeddings()(hidden)

    @property
    def head_weights(self) -> tuple[Tensor, Tensor | None]:
        """Weight [V, H] of the head, and its bias [V] where it has one."""
        head = self.model.get_output_embeddings()
        return head.weight, head.bias

    @property
    def head_size(self) -> int:
        """Number of logits."""
        return self.model.get_output_embeddings().weight.shape[0]

    def clip(self, audio: AudioRef) -> Clip:
        """Return the features of ``audio``, computed once for a clip as long as they stay in the cache.

        Raises:
            AudioError: It cannot be decoded.
            InputError: It is longer than the model's window, or too short to give one audio token.
        """
        key = self._key(audio)
        found = self._clips.get(key)
        if found is not None:
            return found
        from sari_data.audio import load_audio

        samples = load_audio(audio, self.sampling_rate)
        where = f"audio {audio.path or key[:12]!r}"
        seconds = len(samples) / self.sampling_rate
        if len(samples) > self.max_samples:
            raise InputError(
                f"{where} lasts {seconds:.2f} s, but model {self.name!r} hears at most {self.max_seconds:g} s: "
                "cut it (start and duration of the audio reference) or take another model"
            )
        mel_MF, frames, tokens = self.extract(samples)
        if tokens < 1:
            raise InputError(f"{where} lasts {seconds:.4f} s, too short for one audio token: leave it out")
        clip = Clip(key, mel_MF, frames, tokens)
        self._clips.put(key, clip, mel_MF.numel() * mel_MF.element_size())
        return clip

    @property
    def max_samples(self) -> int:
        """Longest audio in samples."""
        return round(self.max_seconds * self.sampling_rate)

    def audio_embeddings(self, clips: Sequence[Clip]) -> list[Tensor]:
        """Encode distinct clips: [S, H] for each; a frozen tower's states come from the cache where they can."""
        states = self._frozen_states(clips) if self.audio_frozen else self._encode(clips)
        return list(self.project(torch.cat(states)).split([len(state) for state in states]))

    @torch.no_grad()
    def _frozen_states(self, clips: Sequence[Clip]) -> list[Tensor]:
        states = {clip.key: self._states.get(clip.key) for clip in clips}
        missing = [clip for clip in clips if states[clip.key] is None]
        for clip in missing:
            # Each by itself: what is kept must not depend, in its last digit, on what else was in the batch.
            kept = states[clip.key] = self._encode([clip])[0].clone()
            self._states.put(clip.key, kept, kept.numel() * kept.element_size())
        return [states[clip.key] for clip in clips]

    def _encode(self, clips: Sequence[Clip]) -> list[Tensor]:
        """The tower's states [S, D] of each clip; clips of like length run together, the longest first."""
        found: list[Tensor] = [torch.empty(0)] * len(clips)
        order = sorted(range(len(clips)), key=lambda i: -clips[i].frames)
        while order:
            count = max(1, ENCODED_FRAMES // clips[order[0]].frames)
            group, order = order[:count], order[count:]
            width = max(clips[i].mel_MF.shape[1] for i in group)
            padded = [torch.nn.functional.pad(clips[i].mel_MF, (0, width - clips[i].mel_MF.shape[1])) for i in group]
            mel_AMF = torch.stack(padded).to(self.device, self.dtype)
            frames_A = torch.tensor([clips[i].frames for i in group], device=self.device)
            for i, state_SD in zip(group, self.audio_states(mel_AMF, frames_A), strict=True):
                found[i] = state_SD[: clips[i].tokens]
        return found

    def _key(self, audio: AudioRef) -> str:
        if audio.data is None:
            # AudioRef.key is the path's: a file that has changed since is another clip.
            try:
                found = os.stat(str(audio.path))
            except (OSError, ValueError):
                return audio.key  # the loader says what is wrong with it
            return f"{audio.key}|{found.st_mtime_ns}|{found.st_size}"
        # AudioRef.key hashes the encoded bytes; Python keeps the hash of a bytes object, so this is cheap.
        key = self._keys.get(audio)
        if key is None:
            key = audio.key
            self._keys.put(audio, key, len(audio.data))
        return str(key)
