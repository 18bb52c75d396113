"""MMAU test-mini (Sakshi et al., arXiv 2410.19168), from its published JSON or its data set on the Hub.

The questions were revised several times under one file name; ids, options and golds differ between
revisions. A revision is therefore known by the content of its questions, never by the file's name.

The JSON of github.com/Sakshi113/MMAU has a list of ``id``, ``audio_id``, ``question``, ``choices``, ``answer``,
``task``, ``category`` (a list in some rows), ``sub-category``, ``difficulty``. The Parquet files of
gamma-lab-umd/MMAU-test-mini have the same as ``instruction``, ``choices`` and ``answer`` with their letters
(``(A) Man``), the rest as JSON in ``other_attributes``, and the audio itself in ``context``; such rows are turned into
the JSON's form, so that the same questions have the same version wherever they are from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.benchmarks.fields import Row, read_choices, read_label, read_text
from sari_bench.benchmarks.hub import Home
from sari_bench.benchmarks.loading import Layout, load_layout
from sari_data.errors import BenchmarkError

NAME = "mmau-test-mini"
SUMMARY = "MMAU test-mini: 1,000 questions on sound, music and speech"
QUESTIONS = 1000
LICENCE = "Apache 2.0 (questions), CC BY-NC 4.0 (the data set on the Hub); the audio has the licences of its sources"
HUB = "gamma-lab-umd/MMAU-test-mini"
HOW_TO_GET = (
    "nothing to do: it is loaded from the Hub; or questions: mmau-test-mini.json from github.com/Sakshi113/MMAU, and "
    "audio: test-mini-audios.tar.gz named there, given as "
    "--questions mmau-test-mini.json --audio test-mini-audios.tar.gz"
)
FILE = "mmau-test-mini.json (github.com/Sakshi113/MMAU)"

COLUMNS = (
    "id", "audio_id", "question", "choices", "answer", "task", "split", "category", "sub-category", "difficulty",
    "instruction", "other_attributes",
)  # fmt: skip
EMBEDDED = "context"
_EXPECTED = "MMAU's keys 'id', 'question', 'choices', 'answer', 'task'"
_AUDIO_FOLDER = "test-mini-audios"


def load(questions: Path | None, audio_root: Path | None, *, audio: bool = True, **options: Any) -> Benchmark:
    """Load a revision of MMAU test-mini; arguments and errors are those of ``load_layout`` in ``loading``."""
    home = Home(HUB, ("*.parquet", "*mmau-test-mini*.json"), ("*test-mini-audios.tar.gz",), FILE)
    layout = Layout(NAME, "MMAU questions", home, COLUMNS, EMBEDDED, _read)
    return load_layout(layout, questions, audio_root, audio, options)


def _read(row: Row, where: str) -> Gold:
    return read_gold(row, where, "test-mini", withheld=False)


def read_gold(row: Row, where: str, split: str, *, withheld: bool) -> Gold:
    """Read a row of MMAU.

    Args:
        row: In either layout.
        where: The row, for messages.
        split: ``test-mini`` or ``test``: a row that says to be of the other one is refused.
        withheld: Whether rows may lack their answer.

    Raises:
        BenchmarkError: It is no such row.
    """
    plain = _plain(row, where) if "other_attributes" in row and "question" not in row else row
    expected = f"{_EXPECTED} of {split}"
    other = {"test": "test-mini", "test-mini": "test"}[split]
    if plain.get("split") == other:
        raise BenchmarkError(
            f"{where}: expected questions of MMAU {split}, found one of {other!r}: choose --benchmark mmau-{other}"
        )
    identifier, question = (read_text(plain, key, where, expected) for key in ("id", "question"))
    answer = plain.get("answer")
    if not withheld or (answer is not None and not isinstance(answer, str)) or (answer or "").strip():
        answer = read_text(plain, "answer", where, expected)
    return Gold(
        id=identifier,
        question=question,
        choices=read_choices(plain, "choices", where),
        answer=answer or None,
        task=read_text(plain, "task", where, expected),
        category=read_label(plain, "category", where),
        sub_category=read_label(plain, "sub-category", where),
        difficulty=read_label(plain, "difficulty", where),
        audio=read_label(plain, "audio_id", where).removeprefix("./"),
    )


def _plain(row: Row, where: str) -> Row:
    """Turn a row of the Hub's Parquet files into one of the published JSON."""
    from sari_data.sources.cells import UnfitError, strip_letters

    attributes = row["other_attributes"]
    try:
        attributes = json.loads(attributes) if isinstance(attributes, str) else attributes
    except ValueError as error:
        raise BenchmarkError(f"{where}: expected JSON in 'other_attributes', found {attributes!r} ({error})") from error
    if not isinstance(attributes, dict):
        raise BenchmarkError(f"{where}: expected an object in 'other_attributes', found {attributes!r}")
    choices, answer = list(read_choices(row, "choices", where)), row.get("answer")
    try:
        bare, answer = strip_letters(choices, answer, "text")
        choices = [choice or "" for choice in bare]
    except UnfitError:
        pass  # options without letters are taken as they are
    return {
        **{key: attributes.get(key) for key in ("id", "task", "split", "category", "sub-category", "difficulty")},
        "question": row.get("instruction"),
        "choices": choices,
        "answer": answer,
        "audio_id": attributes.get("audio_id") or f"./{_AUDIO_FOLDER}/{attributes.get('id')}.wav",
    }
