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
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from sari_data.errors import InputError
from sari_data.types import AudioRef
from sari_train.kernels.packing import Packing
from sari_train.models.cache import SharedCache
from sari_train.models.clips import BoundedCache, Clip, Span
from sari_train.models.long_audio import Mode, load_pieces
from sari_train.models.low_rank import Start

# Frames that the tower runs over at once (with clips of 30 s: ten of them); results do not depend on it.
ENCODED_FRAMES = 32_768


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
        start: The adapters that the model was loaded with, which are in its weights; ``None`` without.
        audio_frozen: The audio tower does not train; its states are then computed once for a clip.
        checkpointing: Keep only each text layer's input for the backward pass, and run the layer again there.
        long_audio: What is done with audio that is longer than ``max_seconds`` (``models/long_audio.py``).
        truncated: Seconds that were cut off each clip that was cut, by the clip's key.
        max_seconds: Most seconds that one span of the prompt takes without the processor cutting any.
        model_class: The transformers class that holds what is used, where that is a part of the architecture's.
        full_class: The class of the architecture that it is a part of.
    """

    model_class: ClassVar[str | None] = None
    full_class: ClassVar[str | None] = None
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
        self.start: Start | None = None
        self.audio_frozen = False
        self.checkpointing = False
        self.long_audio: Mode = "error"
        self.truncated: dict[str, float] = {}
        self.prompt_ids: dict[tuple[str, int], tuple[int, ...]] = {}
        self._clips = BoundedCache()
        self._states = BoundedCache()
        self._keys = BoundedCache(256 * 2**20)  # holds on to the encoded audio that it knows

    @classmethod
    def load_processor(cls, source: str) -> Any:
        """Return the processor of a folder or hub id; whatever transformers raises is raised."""
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(source)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' floating-point type."""
        return self.model.dtype

    @property
    def pad_id(self) -> int:
        """The token that rows are padded with: the tokenizer's, or any where it has none, since no token sees it."""
        pad = self.tokenizer.pad_token_id
        return self.stop_ids[0] if pad is None else int(pad)

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
            InputError: It is longer than the model hears and ``long_audio`` is ``error``, or too short to give one
                audio token.
        """
        key = self._key(audio)
        found = self._clips.get((key, self.long_audio))
        if found is not None:
            return found
        where = f"audio {audio.path or key[:12]!r}"
        pieces, cut = load_pieces(audio, self, where)
        with torch.autocast("cpu", enabled=False):  # the features are not the network's
            spans = tuple(Span(*self.extract(samples)) for samples in pieces)
        if spans[0].tokens < 1:
            seconds = len(pieces[0]) / self.sampling_rate
            raise InputError(f"{where} lasts {seconds:.4f} s, too short for one audio token: leave it out")
        if cut:
            self.truncated[key] = cut
        # What another mode makes of the same audio is another clip.
        clip = Clip(key if cut == 0 and len(pieces) == 1 else f"{key}|{self.long_audio}", _heard(spans))
        self._clips.put((key, self.long_audio), clip, clip.bytes)
        return clip

    @cached_property
    def hears_several(self) -> bool:
        """Whether its chat template has room for several recordings in one turn: a placeholder for each."""
        from jinja2 import TemplateError

        try:
            return self.chat_ids("?", 2).count(self.audio_token_id) == 2
        except TemplateError:  # a template that refuses a second recording in its own words
            return False

    @property
    def truncation_note(self) -> str | None:
        """One line about the clips that were cut since the model was loaded; ``None`` where none was."""
        if not self.truncated:
            return None
        return (
            f"{len(self.truncated)} clips were longer than the {self.max_seconds:g} s that the model hears, and were "
            f"cut: {sum(self.truncated.values()):.1f} s in all (long_audio = truncate)"
        )

    @property
    def max_samples(self) -> int:
        """Longest audio in samples."""
        return round(self.max_seconds * self.sampling_rate)

    def audio_embeddings(self, clips: Sequence[Clip]) -> list[Tensor]:
        """Encode distinct clips: [S, H] for each; a frozen tower's states come from the cache where they can.

        S is 0 where there is no audio.
        """
        heard = [clip for clip in clips if clip.spans]
        if not heard:
            width = self.model.get_input_embeddings().weight.shape[1]
            return [torch.empty(0, width, dtype=self.dtype, device=self.device)] * len(clips)
        spans = [span for clip in heard for span in clip.spans]
        states = self._frozen_states(heard) if self.audio_frozen else self._encode(spans)
        return list(self.project(torch.cat(states)).split([clip.tokens for clip in clips]))

    @torch.no_grad()
    def _frozen_states(self, clips: Sequence[Clip]) -> list[Tensor]:
        states = {clip.key: self._states.get(clip.key) for clip in clips}
        missing = [clip for clip in clips if states[clip.key] is None]
        for clip in missing:
            # Each by itself: what is kept must not depend, in its last digit, on what else was in the batch.
            kept = states[clip.key] = torch.cat([self._encode([span])[0] for span in clip.spans])
            self._states.put(clip.key, kept, kept.numel() * kept.element_size())
        return [states[clip.key] for clip in clips]

    def _encode(self, spans: Sequence[Span]) -> list[Tensor]:
        """The tower's states [S, D] of each span; spans of like length run together, the longest first."""
        found: list[Tensor] = [torch.empty(0)] * len(spans)
        order = sorted(range(len(spans)), key=lambda i: -spans[i].frames)
        while order:
            count = max(1, ENCODED_FRAMES // spans[order[0]].frames)
            group, order = order[:count], order[count:]
            width = max(spans[i].mel_MF.shape[1] for i in group)
            padded = [torch.nn.functional.pad(spans[i].mel_MF, (0, width - spans[i].mel_MF.shape[1])) for i in group]
            mel_AMF = torch.stack(padded).to(self.device, self.dtype)
            frames_A = torch.tensor([spans[i].frames for i in group], device=self.device)
            for i, state_SD in zip(group, self.audio_states(mel_AMF, frames_A), strict=True):
                found[i] = state_SD[: spans[i].tokens]
        return found

    def chat_ids(self, text: str, spans: int) -> tuple[int, ...]:
        """Token ids of a user's turn with ``spans`` spans of audio before ``text``, up to the assistant's turn.

        Each span is one placeholder. Whatever the chat template raises is raised.
        """
        content = [{"type": "audio", "audio_url": ""}] * spans + [{"type": "text", "text": text}]
        message = {"role": "user", "content": content}
        chat = self.processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        return tuple(self.tokenizer(chat, add_special_tokens=False)["input_ids"])

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


def _heard(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Leave out a last span that is too short for one audio token."""
    return spans if spans[-1].tokens else spans[:-1]
