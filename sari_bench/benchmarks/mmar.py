"""MMAR (Ma et al., arXiv 2505.13032): 1,000 questions that take several steps, on sound, music, speech and mixes.

``MMAR-meta.json`` of BoJack/MMAR on the Hub is a list, ``MMAR-meta.jsonl`` of github.com/ddlBoJack/MMAR has one object
a line with rubrics besides: ``id``, ``audio_path``, ``question``, ``choices``, ``answer``, ``modality`` (``sound`` or
``mix-sound-speech``), ``category``, ``sub-category``, ``language``, ``source``, ``url``, ``timestamp``. The audio is in
``mmar-audio.tar.gz``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.benchmarks.fields import Row, read_choices, read_domain, read_label, read_text
from sari_bench.benchmarks.hub import Home
from sari_bench.benchmarks.loading import Layout, load_layout

NAME = "mmar"
SUMMARY = "MMAR: 1,000 questions that take several steps, on sound, music, speech and their mixes"
QUESTIONS = 1000
LICENCE = "CC BY-NC 4.0; the audio has the rights of its videos"
HUB = "BoJack/MMAR"
HOW_TO_GET = (
    "nothing to do: it is loaded from the Hub; or MMAR-meta.json and mmar-audio.tar.gz from there, given as "
    "--questions MMAR-meta.json --audio mmar-audio.tar.gz"
)

_COLUMNS = ("id", "audio_path", "question", "choices", "answer", "modality", "category", "sub-category")
_EXPECTED = "MMAR's keys 'id', 'question', 'choices', 'answer', 'modality'"


def load(questions: Path | None, audio_root: Path | None, *, audio: bool = True, **options: Any) -> Benchmark:
    """Load a revision of MMAR; arguments and errors are those of ``load_layout`` in ``loading``."""
    home = Home(HUB, ("*MMAR-meta.json", "*MMAR-meta.jsonl"), ("*mmar-audio.tar.gz",), f"MMAR-meta.json ({HUB})")
    return load_layout(
        Layout(NAME, "MMAR questions", home, _COLUMNS, None, _read), questions, audio_root, audio, options
    )


def _read(row: Row, where: str) -> Gold:
    read_text(row, "modality", where, _EXPECTED)
    return Gold(
        id=read_text(row, "id", where, _EXPECTED),
        question=read_text(row, "question", where, _EXPECTED),
        answer=read_text(row, "answer", where, _EXPECTED),
        choices=read_choices(row, "choices", where),
        task=read_domain(row, "modality", where),
        category=read_label(row, "category", where),
        sub_category=read_label(row, "sub-category", where),
        audio=read_label(row, "audio_path", where).removeprefix("./"),
    )
