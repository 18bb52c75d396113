"""Files in the layouts in which benchmarks are published, made up, for the tests of loading them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def clip(number: int) -> bytes:
    """A WAV file of a few samples that differ for each number; it is never decoded."""
    body = bytes([number % 256, number // 256]) * 8
    head = b"RIFF" + (36 + len(body)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    head += (1).to_bytes(2, "little") * 2 + (8000).to_bytes(4, "little") + (16000).to_bytes(4, "little")
    return (
        head + (2).to_bytes(2, "little") + (16).to_bytes(2, "little") + b"data" + len(body).to_bytes(4, "little") + body
    )


def mmau_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row of MMAU's JSON."""
    return {
        "id": f"m{number:04d}",
        "audio_id": f"./test-mini-audios/m{number:04d}.wav",
        "question": f"What is heard in recording {number}?",
        "choices": ["dog", "cat", "rain", "bell"],
        "answer": ("dog", "cat", "rain", "bell")[number % 4],
        "dataset": "AudioSet",
        "task": ("sound", "music", "speech")[number % 3],
        "split": "test-mini",
        "category": "Reasoning",
        "sub-category": "Counting",
        "difficulty": "easy",
        **changes,
    }


def mmau_hub_row(row: Mapping[str, Any], audio: bytes) -> dict[str, Any]:
    """The same row as the Hub's Parquet files have it."""
    lettered = [f"({chr(65 + place)}) {choice}" for place, choice in enumerate(row["choices"])]
    keys = ("id", "task", "category", "sub-category", "difficulty", "dataset")
    return {
        "context": {"bytes": audio, "path": f"{row['id']}.wav"},
        "instruction": row["question"],
        "choices": lettered,
        "answer": lettered[row["choices"].index(row["answer"])],
        "other_attributes": json.dumps({key: row[key] for key in keys}),
    }


def mmsu_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row of MMSU's JSON lines."""
    return {
        "id": f"accent_{number}",
        "audio_path": f"audio/accent_{number}.wav",
        "question": "Which accent does the speaker have?",
        "choice_a": "Scottish",
        "choice_b": "Irish",
        "choice_c": "Welsh",
        "choice_d": "None",
        "answer_gt": "Irish",
        "task_name": ("accent", "intonation")[number % 2],
        "category": ("Perception", "Reasoning")[number % 2],
        "sub-category": "Linguistics",
        "sub-sub-category": "Phonology",
        "linguistics_sub_discipline": "Phonetics",
        **changes,
    }


def mmau_pro_row(number: int, **changes: Any) -> dict[str, Any]:
    """A row of MMAU-Pro's Parquet file."""
    return {
        "id": f"p{number}",
        "audio_path": [f"data/p{number}.wav"],
        "question": "What is heard?",
        "answer": "a dog",
        "choices": ["a dog", "a cat", "a bell"],
        "length_type": "short",
        "perceptual_skills": ["Counting"],
        "reasoning_skills": ["Temporal"],
        "category": "sound",
        "transcription": None,
        "task_classification": None,
        "task_identifier": None,
        "kwargs": None,
        "sub-cat": None,
        **changes,
    }


def parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as a Parquet file with several row groups."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), buffer, row_group_size=2, use_dictionary=False)
    return buffer.getvalue()


def write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as a JSON list, or as JSON lines where the name says so."""
    lines = path.suffix == ".jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows), encoding="utf-8")
    return path


def tar(files: Mapping[str, bytes]) -> bytes:
    """A packed tar of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
