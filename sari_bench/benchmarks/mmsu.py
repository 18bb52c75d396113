"""MMSU (Wang et al., arXiv 2506.04779): 5,000 questions on spoken language, in 47 tasks.

``question/mmsu.jsonl`` of ddwang2000/MMSU on the Hub has one object a line: ``id``, ``audio_path``, ``question``,
``choice_a`` to ``choice_d``, ``answer_gt`` (the option's text), ``task_name``, ``category`` (Perception, Reasoning),
``sub-category``, ``sub-sub-category``, ``linguistics_sub_discipline``. Its Parquet files have the same and embed the
audio in ``audio``. Questions with two options leave two of the four cells empty, in any place; the word ``None`` is an
option of some. Here the first level is ``category`` and the second ``task_name``.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.benchmarks.fields import Row, read_label, read_text
from sari_bench.benchmarks.hub import Home
from sari_bench.benchmarks.loading import Layout, load_layout
from sari_data.errors import BenchmarkError

NAME = "mmsu"
SUMMARY = "MMSU: 5,000 questions on spoken language, in 47 tasks of perception and reasoning"
QUESTIONS = 5000
LICENCE = "MIT; the audio has the licences of its sources"
HUB = "ddwang2000/MMSU"
HOW_TO_GET = (
    "nothing to do: it is loaded from the Hub; or question/mmsu.jsonl and the folder audio/ from there, given as "
    "--questions mmsu.jsonl --audio FOLDER"
)

_CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")
_LABELS = ("task_name", "category")
_COLUMNS = ("id", "audio_path", "question", *_CHOICES, "answer_gt", *_LABELS)
_EXPECTED = "MMSU's keys 'id', 'question', 'choice_a' to 'choice_d', 'answer_gt'"


def load(questions: Path | None, audio_root: Path | None, *, audio: bool = True, **options: Any) -> Benchmark:
    """Load MMSU; arguments and errors are those of ``load_layout`` in ``loading``."""
    home = Home(HUB, ("*.parquet", "*mmsu.jsonl", "*.jsonl"), (), f"question/mmsu.jsonl ({HUB})")
    layout = Layout(NAME, "MMSU questions", home, _COLUMNS, "audio", _read)
    return load_layout(layout, questions, audio_root, audio, options)


def _read(row: Row, where: str) -> Gold:
    # Some options are numbers in the JSON; they are shown as text.
    texts = {key: str(value) if isinstance(value, int | float) else value for key, value in row.items()}
    for key in _CHOICES:
        if texts.get(key) is not None and not isinstance(texts[key], str):
            raise BenchmarkError(f"{where}: expected text or nothing in {key!r}, found {row[key]!r}: correct the row")
    audio = texts.get("audio_path") or _embedded_name(row.get("audio"))
    if not isinstance(audio, str):
        raise BenchmarkError(f"{where}: expected text in 'audio_path', found {audio!r}: correct the row")
    return Gold(
        id=read_text(texts, "id", where, _EXPECTED),
        question=read_text(texts, "question", where, _EXPECTED),
        choices=tuple(str(texts[key]) for key in _CHOICES if str(texts.get(key) or "").strip()),
        answer=read_text(texts, "answer_gt", where, _EXPECTED),
        task="speech",
        category=read_label(row, "category", where),
        sub_category=read_label(row, "task_name", where),
        # The bare name: files and Parquet files name the folders before it in different ways.
        audio=PurePosixPath(audio).name,
    )


def _embedded_name(cell: Any) -> Any:
    return (cell.get("path") if isinstance(cell, dict) else cell) or ""
