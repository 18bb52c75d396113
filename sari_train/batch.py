"""From (audio, prompt, target) to tensors.

Rows are padded on the right, in training and in generation alike: with causal attention no real
token sees its row's padding, so no mask is needed and positions simply count from 0. A clip that
several rows share is in the batch once; ``clip_of_row_B`` says which clip is a row's own.

Shapes: A distinct clips, B rows, T tokens, C completion tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sari_data.errors import AudioError, InputError
from sari_data.types import AudioRef
from sari_train.models.base import AudioLM, Clip
from sari_train.models.clips import SILENT

_MAX_PROMPTS = 65_536


@dataclass(frozen=True, slots=True)
class Example:
    """One row to be: the audio (``None``: text alone), the user's text, and for training the text to be answered.

    ``prefix`` is what the answer begins with. It is tokenised by itself and stands after the header of the assistant's
    turn, as part of the prompt. ``more_audio`` are further recordings, after ``audio``.
    """

    audio: AudioRef | None
    prompt: str
    target: str | None = None
    prefix: str = ""
    more_audio: tuple[AudioRef, ...] = ()

    @property
    def recordings(self) -> tuple[AudioRef, ...]:
        """All recordings, in order."""
        return () if self.audio is None else (self.audio, *self.more_audio)


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as token ids (audio placeholders expanded) with its clip; ``completion`` may be empty.

    The last ``prefix`` tokens of the prompt are the beginning of the answer.
    """

    clip: Clip
    prompt: tuple[int, ...]
    completion: tuple[int, ...] = ()
    prefix: int = 0

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        """The tokens that the answer begins with."""
        return self.prompt[len(self.prompt) - self.prefix :]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded on the right.

    Attributes:
        ids_BT: Token ids, int64.
        prompt_lengths_B: Tokens of each row's prompt.
        completion_lengths_B: Tokens of each row's completion.
        clips: The distinct clips.
        clip_of_row_B: Index into ``clips`` for each row.
        first_rows_P: The first row of each distinct prompt (text and audio).
        prompt_of_row_B: Index into ``first_rows_P`` for each row.
    """

    ids_BT: Tensor
    prompt_lengths_B: Tensor
    completion_lengths_B: Tensor
    clips: tuple[Clip, ...]
    clip_of_row_B: Tensor
    first_rows_P: Tensor
    prompt_of_row_B: Tensor

    @property
    def completion_mask_BC(self) -> Tensor:
        """True at the positions [B, C] that hold a completion token."""
        longest = int(self.completion_lengths_B.max())
        columns = torch.arange(longest, device=self.ids_BT.device)
        return columns[None, :] < self.completion_lengths_B[:, None]

    @property
    def tokens(self) -> int:
        """Number of completion tokens."""
        return int(self.completion_lengths_B.sum())


def encode_example(lm: AudioLM, example: Example) -> Encoded:
    """Tokenise one example; the completion is the target's tokens and the end of the turn.

    Raises:
        AudioError, InputError: Audio that does not decode or does not fit, text with control tokens, or a
            sequence longer than the model's context; several recordings where the model takes one.
    """
    clip = hear(lm, example.recordings) if example.recordings else SILENT
    return encode_text(lm, clip, example.prompt, example.target, example.prefix)


def hear(lm: AudioLM, recordings: Sequence[AudioRef]) -> Clip:
    """Return the features of a prompt's recordings, each its own span; of several as one clip.

    Raises:
        AudioError: One does not decode; or one of several is so long that it would be split, and nothing in the prompt
            would tell its pieces from recordings.
        InputError: One does not fit, or there are several and the model takes one.
    """
    if len(recordings) > 1 and not lm.hears_several:
        raise InputError(
            f"expected a prompt about one recording, which is all that the chat template of model {lm.name!r} has room "
            f"for, found one about {len(recordings)}: take another model, or leave such prompts out"
        )
    clips = [lm.clip(audio) for audio in recordings]
    for audio, clip in zip(recordings, clips, strict=True):
        if len(clips) > 1 and len(clip.spans) > 1:
            raise AudioError(
                f"audio {audio.path or audio.key[:12]!r}, one of {len(clips)} recordings of a prompt, is longer than "
                f"the {lm.max_seconds:g} s that model {lm.name!r} hears, and its pieces (long_audio = split) would "
                "look like recordings of their own: set long_audio to truncate, or take a model that hears longer"
            )
    return Clip.of(clips)


def encode_text(lm: AudioLM, clip: Clip, prompt: str, target: str | None = None, prefix: str = "") -> Encoded:
    """Tokenise a prompt (and a target, or what the answer begins with) about a clip whose features are at hand.

    Raises:
        InputError: Text with control tokens, or a sequence longer than the model's context.
    """
    prompt_ids = _expand(lm, _prompt_ids(lm, prompt, len(clip.spans)), clip)
    prefix_ids: tuple[int, ...] = ()
    if prefix:
        _check_text(lm, prefix, "prefix")
        prefix_ids = tuple(lm.tokenizer(prefix, add_special_tokens=False)["input_ids"])
        prompt_ids += prefix_ids
    completion: tuple[int, ...] = ()
    if target is not None:
        _check_text(lm, target, "target")
        completion = (*lm.tokenizer(target, add_special_tokens=False)["input_ids"], lm.stop_ids[0])
    if len(prompt_ids) + max(1, len(completion)) > lm.context_length:
        raise InputError(
            f"prompt and target take {len(prompt_ids)} + {len(completion)} tokens, but model {lm.name!r} has a context "
            f"of {lm.context_length}: shorten the prompt, the target or the audio"
        )
    return Encoded(clip, prompt_ids, completion, len(prefix_ids))


def collate(lm: AudioLM, rows: Sequence[Example | Encoded]) -> Batch:
    """Stack rows into a batch on the model's device; examples are encoded first."""
    assert rows, "a batch needs at least one row"
    encoded = [row if isinstance(row, Encoded) else encode_example(lm, row) for row in rows]
    width = max(len(row) for row in encoded)
    pad = lm.pad_id
    ids = [[*row.prompt, *row.completion] + [pad] * (width - len(row)) for row in encoded]
    index: dict[str, int] = {}
    clips: list[Clip] = []
    clip_of_row = []
    prompts: dict[tuple[str, tuple[int, ...]], int] = {}
    first_rows: list[int] = []
    prompt_of_row = []
    for number, row in enumerate(encoded):
        prompt = (row.clip.key, row.prompt)
        if prompt not in prompts:
            prompts[prompt] = len(first_rows)
            first_rows.append(number)
        prompt_of_row.append(prompts[prompt])
        if row.clip.key not in index:
            index[row.clip.key] = len(clips)
            clips.append(row.clip)
        clip_of_row.append(index[row.clip.key])

    def tensor(values: object) -> Tensor:
        return torch.tensor(values, dtype=torch.long).to(lm.device)

    return Batch(
        ids_BT=tensor(ids),
        prompt_lengths_B=tensor([len(row.prompt) for row in encoded]),
        completion_lengths_B=tensor([len(row.completion) for row in encoded]),
        clips=tuple(clips),
        clip_of_row_B=tensor(clip_of_row),
        first_rows_P=tensor(first_rows),
        prompt_of_row_B=tensor(prompt_of_row),
    )


def embed(lm: AudioLM, batch: Batch) -> Tensor:
    """Return input embeddings [B, T, H]: text, with each row's own audio in place of its placeholders."""
    rows = torch.arange(len(batch.ids_BT), device=batch.ids_BT.device)
    return place_audio(lm, batch.ids_BT, audio_vectors(lm, batch, rows))


def audio_vectors(lm: AudioLM, batch: Batch, rows: Tensor) -> Tensor:
    """Return the audio embeddings [S, H] of the clips of ``rows``, row after row; a clip is encoded once."""
    audio = lm.audio_embeddings(batch.clips)
    return torch.cat([audio[clip] for clip in batch.clip_of_row_B[rows].tolist()])


def place_audio(lm: AudioLM, ids: Tensor, audio_SH: Tensor) -> Tensor:
    """Return the embeddings [..., H] of token ids, the k-th placeholder in reading order with the k-th audio vector."""
    embeds, places = lm.embed_tokens(ids), ids == lm.audio_token_id
    count = int(places.sum())
    # masked_scatter passes over vectors that are left, and so would put the next clips' in the wrong places.
    assert count == len(audio_SH), f"{count} audio placeholders in the token ids, but {len(audio_SH)} audio vectors"
    return embeds.masked_scatter(places[..., None], audio_SH.to(embeds.dtype))


def positions(batch: Batch) -> Tensor:
    """Return positions [1, T]: with padding on the right every row counts from 0."""
    return torch.arange(batch.ids_BT.shape[1], device=batch.ids_BT.device)[None, :]


def _prompt_ids(lm: AudioLM, text: str, spans: int) -> tuple[int, ...]:
    """Token ids of the chat up to the assistant's turn, with one placeholder for each span of audio."""
    found = lm.prompt_ids.get((text, spans))
    if found is not None:
        return found
    _check_text(lm, text, "prompt")
    try:
        ids = lm.chat_ids(text, spans)
    except Exception as error:  # whatever the template's Jinja leads to
        raise InputError(
            f"the chat template of model {lm.name!r} cannot be rendered ({type(error).__name__}: {error}): use the "
            "processor the model was trained with"
        ) from error
    count = ids.count(lm.audio_token_id)
    if count and not spans:
        raise InputError(
            f"model {lm.name!r} cannot be asked without audio: its chat template places an audio token all the same: "
            "take another model for questions without audio"
        )
    if count != spans:
        several = "set long_audio to error or truncate, or " if spans > 1 else ""
        raise InputError(
            f"the chat template of model {lm.name!r} must place one audio token for each span of audio; expected "
            f"{spans}, found {count}: {several}use the processor the model was trained with"
        )
    if len(lm.prompt_ids) >= _MAX_PROMPTS:
        lm.prompt_ids.clear()
    lm.prompt_ids[text, spans] = ids
    return ids


def _check_text(lm: AudioLM, text: str, what: str) -> None:
    """A control token in the text would end the turn or stand for audio that is not there."""
    for token in lm.control_tokens:
        if token in text:
            raise InputError(
                f"the {what} must not hold the control token {token}; found it in {text[:80]!r}: remove it"
            )


def _expand(lm: AudioLM, ids: tuple[int, ...], clip: Clip) -> tuple[int, ...]:
    """Give each span's placeholder as many places as the span has audio tokens."""
    spans = iter(clip.spans)
    return tuple(i for token in ids for i in (token,) * (next(spans).tokens if token == lm.audio_token_id else 1))
