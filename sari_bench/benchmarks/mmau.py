"""MMAU test-mini (Sakshi et al., arXiv 2410.19168), read from its published JSON.

The questions were revised several times under one file name; ids, options and golds differ between
revisions. A revision is therefore known by the content of its questions, never by the file's name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark, Gold, check_golds, digest_of
from sari_bench.jsonfiles import read_objects
from sari_data.errors import BenchmarkError, InputError
from sari_data.types import AudioQuestion, AudioRef

NAME = "mmau-test-mini"
SUMMARY = "MMAU test-mini: 1,000 questions on sound, music and speech"
LICENCE = "Apache 2.0 (questions); the audio has the licences of its sources"
HOW_TO_GET = (
    "questions: mmau-test-mini.json from github.com/Sakshi113/MMAU; audio: test-mini-audios.tar.gz named there; "
    "then --questions mmau-test-mini.json --audio FOLDER (the one that holds test-mini-audios/)"
)

# Content hash of the questions (benchmarks.base.digest_of) to the revision's name.
REVISIONS = {
    "5154d1728b2e72469c0bba525f93aaff373170ee9e9446e9ecf289e9f39e2baa": "v03.25.25",
    "c815b91d009a58701b43666aa8edc8a202c0ae885e2907f12115621f5b027a2f": "v05.15.25",
}

_TEXT_KEYS = ("id", "question", "answer", "task")
_ALL_KEYS = "'id', 'question', 'choices', 'answer', 'task'"


def load(questions: Path | None, audio_root: Path | None, **options: Any) -> Benchmark:
    """Load a revision of MMAU test-mini.

    Args:
        questions: The published JSON (a list of rows).
        audio_root: Folder that the rows' ``audio_id`` is relative to; the JSON's folder if absent.
        options: None are known.

    Raises:
        MissingFileError: The file does not exist.
        BenchmarkError: No file named, not JSON, or rows that are not MMAU's.
    """
    if options:
        raise InputError(f"benchmark {NAME!r} takes no options; found {sorted(options)}: remove them")
    if questions is None:
        raise BenchmarkError(
            f"benchmark {NAME!r} needs its questions: give --questions with the published mmau-test-mini.json "
            "(github.com/Sakshi113/MMAU)"
        )
    root = audio_root if audio_root is not None else questions.parent
    golds: list[Gold] = []
    asked: list[AudioQuestion] = []
    for index, row in enumerate(read_objects(questions, "MMAU questions")):
        where = f"{questions}: row {index}"
        gold = _gold(row, where)
        try:
            asked.append(gold.to_question(AudioRef(path=str(root / gold.audio)) if gold.audio else None))
        except InputError as error:
            raise BenchmarkError(f"{where}: {error}") from error
        golds.append(gold)
    check_golds(golds, str(questions))
    digest = digest_of(golds)
    return Benchmark(
        NAME, REVISIONS.get(digest, digest[:12]), digest, tuple(asked), tuple(golds), _notes(golds, digest)
    )


def _notes(golds: list[Gold], digest: str) -> tuple[str, ...]:
    notes = []
    if digest not in REVISIONS:
        notes.append(
            f"these {len(golds)} questions are none of the registered revisions ({', '.join(REVISIONS.values())}): "
            f"their version is their content hash, {digest[:12]}"
        )
    strays = sum(not gold.gradable for gold in golds)
    if strays:
        notes.append(
            f"{strays} of {len(golds)} questions have an answer that is not among their choices: the scorer 'answer' "
            "counts them as 'ungradable', which is never right, and 'official' matches their tokens as MMAU does"
        )
    return tuple(notes)


def _gold(row: dict[str, Any], where: str) -> Gold:
    for key in _TEXT_KEYS:
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise BenchmarkError(
                f"{where}: expected MMAU's keys {_ALL_KEYS} with text in {key!r}, found {row.get(key)!r} there "
                f"(keys: {sorted(map(str, row))}): give the published mmau-test-mini.json"
            )
    choices = row.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise BenchmarkError(f"{where}: expected 'choices' to be a list of texts, found {choices!r}: correct the row")
    return Gold(
        id=row["id"],
        question=row["question"],
        choices=tuple(choices),
        answer=row["answer"],
        task=row["task"],
        category=_label(row, "category", where),
        sub_category=_label(row, "sub-category", where),
        difficulty=_label(row, "difficulty", where),
        audio=_label(row, "audio_id", where).removeprefix("./"),
    )


def _label(row: dict[str, Any], key: str, where: str) -> str:
    """Return a label; ``category`` is a list in some published rows."""
    value = row.get(key)
    if value is None:
        return ""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str) for part in parts):
        raise BenchmarkError(f"{where}: expected text in {key!r}, found {value!r}: correct the row")
    return " + ".join(parts)
