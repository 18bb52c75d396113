"""Made audio for tests of sources: tiny WAV files, each with bytes of its own."""

from __future__ import annotations

import struct
import wave
from collections.abc import Iterable
from pathlib import Path

from sari_data.sources.base import Clip, Item, SetAside
from sari_data.types import AudioQuestion


def write_clips(folder: Path, names: Iterable[str]) -> Path:
    """Write one tiny WAV file for each name (with its suffix), no two alike."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(struct.pack("<hh", number % 30000, number // 30000) * 8)
    return folder


def questions_of(items: Iterable[Item]) -> list[AudioQuestion]:
    """The questions among what a source yields."""
    return [item for item in items if isinstance(item, AudioQuestion)]


def clips_of(items: Iterable[Item]) -> list[Clip]:
    """The clips among what a source yields."""
    return [item for item in items if isinstance(item, Clip)]


def set_aside(items: Iterable[Item]) -> list[SetAside]:
    """What a source has set aside."""
    return [item for item in items if isinstance(item, SetAside)]


def rule_of(question: AudioQuestion) -> str:
    """The rule that made a question."""
    return question.provenance.made_by["answer"].rpartition("/")[2]


def evenness(questions: Iterable[AudioQuestion]) -> float:
    """The probability that places of the right option as uneven as these come from an even deal (chi-squared)."""
    from scipy.stats import chi2

    statistic, freedom = 0.0, 0
    table: dict[int, list[int]] = {}
    for question in questions:
        size = len(question.choices)
        assert question.answer_index is not None
        table.setdefault(size, [0] * size)[question.answer_index] += 1
    for counts in table.values():
        usual = sum(counts) / len(counts)
        statistic += sum((count - usual) ** 2 / usual for count in counts)
        freedom += len(counts) - 1
    return float(chi2.sf(statistic, freedom))
