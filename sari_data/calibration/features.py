"""What the predictor knows of a question before anybody answers it: its words, its options, its source, its sound.

Words become columns by hashing, so that nothing grows with the corpus but the rows: some 300 bytes a question. The
sound is a few numbers that cost one pass over a clip: level, brightness, noisiness, silence, and how they change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sari_data.audio import decode
from sari_data.errors import AudioError, MissingFileError
from sari_data.types import AudioQuestion, AudioRef

COLUMNS = 2**14
FRAME_SECONDS = 0.032
# Borders of the bands whose levels are measured, in Hz.
BAND_HZ = (0.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
SOUND_SIZE = 10 + 2 * (len(BAND_HZ) - 1)
# Longer clips are heard by their beginning.
MOST_SECONDS = 30.0

_WORD = re.compile(r"[\w#♯♭]+")
_TINY = 1e-10


@dataclass(frozen=True, slots=True)
class Features:
    """The rows of all questions.

    Args:
        words: Hashed words, sparse [N, up to COLUMNS], rows of length 1 but for words that no other question has.
        sound_ND: Acoustic features, float32, one column each with mean 0 and deviation 1; 0 where unheard.
        unread: Clips that could not be decoded.
    """

    words: Any
    sound_ND: NDArray[np.float32]
    unread: int


def collect(questions: Iterable[AudioQuestion], rows: Mapping[str, int], *, sound: bool = True) -> Features:
    """Read the features of the questions, each into its row.

    Args:
        questions: What is asked; each needs its answer.
        rows: Question id to its row; the order of the questions then changes nothing.
        sound: Whether to decode the clips; otherwise only the text counts.
    """
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.preprocessing import normalize

    clips: dict[str, int] = {}
    found: list[NDArray[np.float32]] = []
    clip_of_row_N = np.zeros(len(rows), dtype=np.int64)
    order: list[int] = []
    unread = 0

    def texts() -> Iterator[Iterator[str]]:
        nonlocal unread
        for question in questions:
            key = question.audio.key if sound else ""
            if key not in clips:
                clips[key] = len(found)
                measured = measure_sound(question.audio) if sound else None
                unread += sound and measured is None
                found.append(np.full(SOUND_SIZE, np.nan, dtype=np.float32) if measured is None else measured)
            order.append(rows[question.id])
            clip_of_row_N[order[-1]] = clips[key]
            yield words(question)

    hasher = FeatureHasher(COLUMNS, input_type="string", alternate_sign=False, dtype=np.float32)
    hashed = normalize(hasher.transform(texts()), copy=False)
    # Columns of one question alone say nothing of any other.
    shared = np.flatnonzero(np.bincount(hashed.indices, minlength=COLUMNS) > 1)
    return Features(hashed[np.argsort(order)][:, shared], _standard(np.stack(found)[clip_of_row_N]), unread)


def words(question: AudioQuestion) -> Iterator[str]:
    """Yield what a question says as tokens, each marked with where it stands."""
    asked = _split(question.question)
    yield from (f"question:{word}" for word in asked)
    yield from (f"question:{a} {b}" for a, b in pairwise(asked))
    for choice in question.choices:
        yield from (f"option:{word}" for word in _split(choice))
    right = _split(str(question.answer))
    yield from (f"answer:{word}" for word in right)
    yield f"place:{question.answer_index} of {len(question.choices)}"
    yield f"options:{len(question.choices)}"
    kind = question.sub_category or question.category or question.domain
    yield from (f"{kind} answer:{word}" for word in right)
    for name in ("domain", "category", "sub_category"):
        yield f"{name}:{getattr(question, name)}"
    yield f"source:{question.provenance.dataset} {question.provenance.made_by.get('question', '').rpartition('@')[0]}"


def measure_sound(audio: AudioRef) -> NDArray[np.float32] | None:
    """Return a clip's acoustic features [SOUND_SIZE], or ``None`` where it cannot be decoded.

    Seconds, level, peak, crossings of zero, mean and deviation of brightness (log Hz) and of noisiness, share of quiet
    frames, onsets a second; then mean and deviation of each band's level. Levels are log10 of power.
    """
    first = MOST_SECONDS if audio.duration is None else min(audio.duration, MOST_SECONDS)
    part = AudioRef(path=audio.path, data=audio.data, start=audio.start, duration=first, sha256=audio.sha256)
    try:
        samples, rate = decode(part)
    except (AudioError, MissingFileError):
        return None
    size = max(int(FRAME_SECONDS * rate), 16)
    padded = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)
    power_FW = np.abs(np.fft.rfft(padded * np.hanning(size).astype(np.float32), axis=1)) ** 2 + _TINY
    hertz_W = np.fft.rfftfreq(size, 1 / rate)
    total_F = power_FW.sum(1)
    level_F = np.log10(total_F)
    brightness_F = np.log10((power_FW * hertz_W).sum(1) / total_F + 1)
    noisiness_F = np.log10(np.exp(np.log(power_FW).mean(1)) / power_FW.mean(1))
    rising = np.diff(level_F, prepend=level_F[:1]) > 1.0
    whole = [
        np.log10(len(samples) / rate),
        np.log10(np.mean(samples.astype(np.float64) ** 2) + _TINY),
        np.log10(np.abs(samples).max() + _TINY),
        np.mean(np.abs(np.diff(np.signbit(samples).astype(np.int8)))) if len(samples) > 1 else 0.0,
        brightness_F.mean(),
        brightness_F.std(),
        noisiness_F.mean(),
        noisiness_F.std(),
        np.mean(level_F < level_F.max() - 4.0),
        rising.sum() * rate / len(samples),
    ]
    for low, high in pairwise(BAND_HZ):
        inside = (hertz_W >= low) & (hertz_W < high)
        band_F = np.log10(power_FW[:, inside].sum(1) + _TINY) if inside.any() else np.full(len(power_FW), -10.0)
        whole += [band_F.mean(), band_F.std()]
    return np.asarray(whole, dtype=np.float32)


def _standard(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring each column to mean 0 and deviation 1 over the questions whose clip was heard; the others get 0."""
    there = np.isfinite(table[:, 0])
    if not there.any():
        return np.zeros_like(table)
    mean, deviation = table[there].mean(0), table[there].std(0)
    scaled = (table - mean) / np.where(deviation > 1e-6, deviation, 1)
    return np.where(there[:, None], scaled, 0).astype(np.float32)


def _split(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
