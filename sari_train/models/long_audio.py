"""What is done with audio that lasts longer than a model hears: ``error``, ``split`` or ``truncate``.

A processor would cut it without a word. Here ``error`` refuses it, ``split`` takes windows of the model's length back
to back, each a span of its own in the prompt, and ``truncate`` keeps the beginning and counts what was cut. With
``split`` the last window may be too short for one audio token (Whisper's encoders with pooling: 20 ms or less); it is
then left out, and nothing else is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sari_data.audio import MAX_SECONDS, load_audio, probe
from sari_data.errors import InputError
from sari_data.types import AudioRef

if TYPE_CHECKING:
    from sari_train.models.base import AudioLM

Mode = Literal["error", "split", "truncate"]
# The model that takes the fewest takes so many tokens a second: longer audio fits into no context of this size.
FEWEST_TOKENS = 12.5
# An MP3's header may be wrong by so much (sari_data.audio), so only what is far too long is refused by it.
_HEADER_ERROR = 1.1


def load_pieces(audio: AudioRef, lm: AudioLM, where: str) -> tuple[list[np.ndarray], float]:
    """Decode ``audio`` into the pieces that ``lm.long_audio`` makes of it.

    Args:
        audio: The audio.
        lm: The model: what it hears at most, and at which sampling rate.
        where: The clip, for errors.

    Returns:
        (mono samples of each piece, in order; seconds that were cut)

    Raises:
        AudioError: It cannot be decoded.
        InputError: It is longer than the model hears, and ``lm.long_audio`` is ``error``.
    """
    seconds = part_seconds(audio)
    if lm.long_audio == "error" and seconds > _HEADER_ERROR * lm.max_seconds + 1:
        raise InputError(_too_long(lm, where, seconds))
    most = max(MAX_SECONDS, _HEADER_ERROR * lm.max_seconds + 1)
    if lm.long_audio == "truncate" and seconds > lm.max_seconds + 1:
        # A second more than is kept: at the cut, the resampler then sees what it would see in the whole.
        audio = dataclasses.replace(audio, duration=lm.max_seconds + 1)
    elif lm.long_audio == "split":
        most = max(most, lm.context_length / FEWEST_TOKENS)
    samples = load_audio(audio, lm.sampling_rate, max_seconds=most)
    if len(samples) <= lm.max_samples:
        return [samples], 0.0
    seconds = max(seconds, len(samples) / lm.sampling_rate)
    if lm.long_audio == "truncate":
        return [samples[: lm.max_samples]], seconds - lm.max_seconds
    if lm.long_audio == "split":
        return [samples[at : at + lm.max_samples] for at in range(0, len(samples), lm.max_samples)], 0.0
    raise InputError(_too_long(lm, where, seconds))


def part_seconds(audio: AudioRef) -> float:
    """Return the length of the part that ``audio`` means, by the file's header.

    Raises:
        AudioError: It is not audio.
    """
    rest = max(0.0, probe(audio).seconds - audio.start)
    return rest if audio.duration is None else min(rest, audio.duration)


def _too_long(lm: AudioLM, where: str, seconds: float) -> str:
    return (
        f"{where} lasts {seconds:.2f} s, but model {lm.name!r} hears at most {lm.max_seconds:g} s: set long_audio to "
        "split or truncate, cut it (start and duration of the audio reference) or take another model"
    )


@dataclass(frozen=True, slots=True)
class Survey:
    """How many clips of a run are longer than its model hears, by their headers.

    Args:
        clips: Number of clips.
        long: Number of those that are too long.
        longest: Length of the longest clip, in seconds.
        beyond: Seconds of all clips beyond the model's limit.
        limit: The limit, in seconds.
        mode: What is done with them.
    """

    clips: int
    long: int
    longest: float
    beyond: float
    limit: float
    mode: Mode

    @property
    def note(self) -> str | None:
        """The line that tells of it, or ``None`` where no clip is too long."""
        if not self.long:
            return None
        done = {
            "error": "long_audio = error refuses them",
            "split": "long_audio = split hears each in several spans",
            "truncate": f"long_audio = truncate cuts {self.beyond:.1f} s in all",
        }
        return (
            f"{self.long} of {self.clips} clips last longer than the {self.limit:g} s that the model hears (the "
            f"longest {self.longest:.1f} s); {done[self.mode]}"
        )


def survey(lm: AudioLM, audios: Iterable[AudioRef]) -> Survey:
    """Read the headers of ``audios``; each clip counts once.

    Raises:
        AudioError: One of them is not audio.
    """
    seconds = [part_seconds(audio) for audio in dict.fromkeys(audios)]
    beyond = [length - lm.max_seconds for length in seconds if length > lm.max_seconds]
    return Survey(len(seconds), len(beyond), max(seconds, default=0.0), sum(beyond), lm.max_seconds, lm.long_audio)
