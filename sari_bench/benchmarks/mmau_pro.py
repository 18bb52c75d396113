"""The closed-form part of MMAU-Pro (Kumar et al., arXiv 2508.13992): its multiple-choice questions.

``test.parquet`` of gamma-lab-umd/MMAU-Pro on the Hub has 5,305 rows: ``id``, ``audio_path`` (a list), ``question``,
``answer``, ``choices`` (a list), ``category``, ``sub-cat``, ``perceptual_skills``, ``reasoning_skills``,
``length_type`` and more; the audio is in ``data.zip``. What is closed-form is decided as in the benchmark's own
``evaluate_mmau_pro_comprehensive.py`` (github.com/sonalkum/MMAUPro): every category but ``open`` and ``instruction
following``, with more than one option.

Several hundred questions (the category ``multi``) are about two recordings or three. That code scores answers alone;
who runs the benchmark in NeMo-Skills or lmms-eval hands a model every path of ``audio_path``, in its order, as an audio
of its own in one user turn. So they are asked here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.benchmarks.fields import Row, read_label, read_names, read_text
from sari_bench.benchmarks.hub import Home
from sari_bench.benchmarks.loading import Layout, load_layout
from sari_data.errors import BenchmarkError

NAME = "mmau-pro"
SUMMARY = (
    "MMAU-Pro, closed-form part: its multiple-choice questions about one recording or several (of 5,305 rows; left out "
    "are open-ended ones and instruction following)"
)
QUESTIONS = None
LICENCE = "CC BY-NC 4.0; the audio has the licences of its sources"
HUB = "gamma-lab-umd/MMAU-Pro"
HOW_TO_GET = (
    "nothing to do: it is loaded from the Hub (data.zip has 44 GiB); or test.parquet and data.zip from there, given as "
    "--questions test.parquet --audio data.zip"
)

_OTHER_FORMS = {"open": "open-ended", "instruction following": "instruction following"}
# The benchmark's categories to domains; its own name stays the category of the question. Of spatial audio and of
# questions about several recordings it does not say what is heard.
_TASKS = {
    "sound": "sound", "music": "music", "speech": "speech", "voice_chat": "speech",
    "sound_music": "sound+music", "sound_speech": "sound+speech", "music_speech": "music+speech",
    "sound_music_speech": "sound+music+speech", "spatial_audio": "sound+music+speech", "multi": "sound+music+speech",
}  # fmt: skip
_COLUMNS = ("id", "audio_path", "question", "answer", "choices", "category", "sub-cat")
_EXPECTED = "MMAU-Pro's keys 'id', 'question', 'choices', 'answer', 'category', 'audio_path'"


def load(questions: Path | None, audio_root: Path | None, *, audio: bool = True, **options: Any) -> Benchmark:
    """Load the closed-form part of MMAU-Pro; arguments and errors are those of ``load_layout`` in ``loading``."""
    home = Home(HUB, ("*test.parquet", "*.parquet"), ("*data.zip", "*.zip"), f"test.parquet ({HUB})")
    layout = Layout(NAME, "MMAU-Pro questions", home, _COLUMNS, None, _read)
    return load_layout(layout, questions, audio_root, audio, options)


def _read(row: Row, where: str) -> Gold | str:
    category = read_text(row, "category", where, _EXPECTED)
    if category in _OTHER_FORMS:
        return _OTHER_FORMS[category]
    given = _texts(row, "choices", where)
    choices = tuple(choice for choice in given if choice.strip())
    if len(choices) < 2:
        return "with fewer than two options"
    first, *others = read_names(_texts(row, "audio_path", where), f"{where}, 'audio_path'")
    if not isinstance(row.get("answer"), str) or not row["answer"].strip():
        return "without an answer"
    if category not in _TASKS:
        raise BenchmarkError(
            f"{where}: expected a category of MMAU-Pro ({', '.join([*_TASKS, *_OTHER_FORMS])}), found {category!r}: "
            "give its published test.parquet"
        )
    return Gold(
        **{key: read_text(row, key, where, _EXPECTED) for key in ("id", "question", "answer")},
        choices=choices,
        task=_TASKS[category],
        category=category,
        sub_category=read_label(row, "sub-cat", where),
        audio=first,
        more_audio=tuple(others),
    )


def _texts(row: Row, key: str, where: str) -> list[str]:
    value = row.get(key)
    values = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
        raise BenchmarkError(f"{where}: expected a list of texts in {key!r}, found {value!r}: correct the row")
    return values
