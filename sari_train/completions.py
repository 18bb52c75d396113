"""Completions that a run keeps for people to read and hear: JSON lines, and the clips as files.

``completions/step-000010.jsonl`` holds one question a line with all its samples;
``completions/audio/<hash>.<suffix>`` the clips, named by their content and written once. Everything follows
from what was sampled, so writing a step again writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sari_data.audio import decode, encode_wav
from sari_data.types import AudioQuestion, AudioRef
from sari_train.run_files import COMPLETIONS, completion_files, read_lines

# Questions of a step that are kept, from its first: with each comes a clip.
MOST_QUESTIONS = 16
# How files begin that any browser plays as they are. (MP3 without a tag begins with a frame: eleven bits that are set.)
_MAGIC = ((b"RIFF", "wav"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mp3"))


@dataclass(frozen=True, slots=True)
class KeptSample:
    """One response.

    Args:
        text: The raw text.
        finish_reason: ``stop`` or ``length``.
        rewards: Each reward before weighting, by name.
        reward: Their weighted sum; ``None`` where nothing was rewarded.
        advantage: What the sample earned beyond its group; ``None`` in an evaluation.
        correct: Whether the grader found the answer right.
        tokens: Length in tokens.
    """

    text: str
    finish_reason: str
    rewards: Mapping[str, float]
    reward: float | None = None
    advantage: float | None = None
    correct: bool | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class KeptGroup:
    """A question as it was asked, and its samples in order."""

    question: AudioQuestion
    prompt: str
    samples: Sequence[KeptSample]


def save_completions(
    out: str | Path, step: int, groups: Sequence[KeptGroup], *, most_questions: int = MOST_QUESTIONS
) -> Path:
    """Keep the responses of a step, and the clips that they are about.

    Args:
        out: The run's folder.
        step: Counted from 1.
        groups: The step's questions in order; the first ``most_questions`` are kept.
        most_questions: Bound on the disk that a step takes.

    Returns:
        The file written.

    Raises:
        AudioError: A clip cannot be decoded.
        OSError: The folder cannot be written.
    """
    folder = Path(out) / COMPLETIONS
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    lines = []
    for group in groups[:most_questions]:
        q = group.question
        row = {
            "id": q.id,
            "audio": _keep_clip(folder / "audio", q.audio),
            "domain": q.domain,
            "difficulty": q.difficulty,
            "category": q.category,
            "question": q.question,
            "choices": list(q.choices),
            "answer": q.answer,
            "prompt": group.prompt,
            "samples": [_sample_row(sample) for sample in group.samples],
        }
        lines.append(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
    path = folder / f"step-{step:06d}.jsonl"
    _write(path, "".join(lines).encode())
    return path


def read_completions(out: str | Path) -> list[dict[str, Any]]:
    """Return all kept questions with their samples, each with its ``step``, in order.

    Raises:
        InputError: A file is damaged.
    """
    return [{"step": step} | row for step, path in completion_files(out) for row in read_lines(path)]


def _sample_row(sample: KeptSample) -> dict[str, Any]:
    """What is not finite becomes null, for which JSON has a word."""
    row = {name: getattr(sample, name) for name in KeptSample.__dataclass_fields__}
    row["rewards"] = {name: _finite(value) for name, value in sample.rewards.items()}
    return row | {name: _finite(row[name]) for name in ("reward", "advantage")}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _keep_clip(folder: Path, ref: AudioRef) -> str:
    """Write the part of the audio that is meant, unless it is there; return its name below ``completions``."""
    body, suffix = _clip(ref)
    name = f"{hashlib.sha256(body).hexdigest()[:16]}.{suffix}"
    if not (folder / name).is_file():
        _write(folder / name, body)
    return f"{folder.name}/{name}"


def _clip(ref: AudioRef) -> tuple[bytes, str]:
    """The bytes as they are where all of the file is meant and a browser plays it, else a WAV of the part."""
    if ref.start == 0 and ref.duration is None:
        path = Path(str(ref.path))
        body = ref.data if ref.data is not None else path.read_bytes() if path.is_file() else b""
        for magic, suffix in _MAGIC:
            if body.startswith(magic):
                return body, suffix
        if len(body) > 1 and body[0] == 0xFF and body[1] & 0xE0 == 0xE0:
            return body, "mp3"
    samples, rate = decode(ref)
    return encode_wav(samples, rate), "wav"


def _write(path: Path, body: bytes) -> None:
    """Write beside the target, then rename: a name always stands for a whole file."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(body)
    os.replace(fresh, path)
