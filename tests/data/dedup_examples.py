"""Sounds, questions and corpora that the tests of duplicates and contamination share."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from sari_data.audio import encode_wav
from sari_data.store import write_corpus
from sari_data.types import AudioQuestion, AudioRef, Provenance, make_id

RATE = 16_000
CARD = "---\nlicense: apache-2.0\n---\n"


def melody(seed: int, seconds: float = 6.0) -> np.ndarray:
    """Notes with overtones and a little noise: a made recording unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < seconds * RATE:
        length = int(RATE * rng.uniform(0.1, 0.35))
        t = np.arange(length) / RATE
        base = 220 * 2 ** (rng.integers(0, 30) / 12) * rng.uniform(0.99, 1.01)
        note = sum(rng.uniform(0.2, 1) / k * np.sin(2 * np.pi * base * k * t) for k in range(1, 6))
        parts.append(note * np.exp(-t * rng.uniform(2, 10)))
    samples = np.concatenate(parts)[: int(seconds * RATE)]
    return (0.2 * samples + 0.002 * rng.standard_normal(len(samples))).astype(np.float32)


def hiss(seed: int, seconds: float = 6.0) -> np.ndarray:
    """Noise: a made recording of rain or wind."""
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(seconds * RATE))).astype(np.float32)


def coded(samples: np.ndarray, form: str, level: float, rate: int = RATE) -> bytes:
    """Encode as MP3 or OGG; ``level`` is 0 (best) to 1 (smallest)."""
    buffer = io.BytesIO()
    subtype = {"MP3": "MPEG_LAYER_III", "OGG": "VORBIS"}[form]
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype, compression_level=level)
    return buffer.getvalue()


def ask(
    audio: AudioRef | bytes | str,
    question: str = "Which instrument plays the melody?",
    choices: tuple[str, ...] = ("violin", "trumpet", "flute", "piano"),
    answer: str | None = "flute",
    **provenance: object,
) -> AudioQuestion:
    """A question; of a text only its name as audio, of bytes the audio itself."""
    if isinstance(audio, str):
        audio = AudioRef(path=audio)
    ref = AudioRef(path="a.wav", data=audio) if isinstance(audio, bytes) else audio
    return AudioQuestion(
        id=make_id(ref, question, choices),
        audio=ref,
        question=question,
        choices=choices,
        answer=answer,
        domain="music",
        provenance=Provenance(**provenance),
    )


def wav(samples: np.ndarray) -> bytes:
    """Encode as WAV."""
    return encode_wav(samples, RATE)


def write_wav(path: Path, samples: np.ndarray) -> Path:
    """Write a WAV file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav(samples))
    return path


def corpus(folder: Path, questions: list[AudioQuestion]) -> Path:
    """Write a corpus folder with one split."""
    write_corpus(folder, {"rl": questions}, {}, card=CARD)
    return folder
