"""How a question is laid out as a Parquet row; ``datasets`` reads the same files with typed features."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sari_data.audio import decode, encode_wav
from sari_data.errors import InputError, MissingFileError
from sari_data.types import (
    AudioQuestion,
    AudioRef,
    PassRate,
    Provenance,
    Reasoning,
    StructuredReasoning,
)

if TYPE_CHECKING:
    import pyarrow as pa

TEXT, INTEGER, NUMBER = "string", "int64", "float64"

# The one description from which both the Arrow schema and the Hugging Face features are made.
_STRUCTURED = dict.fromkeys(("planning", "caption", "reasoning", "summary"), TEXT)
_COLUMNS: dict[str, Any] = {
    "id": TEXT,
    "audio": "audio",
    "question": TEXT,
    "choices": [TEXT],
    "answer": TEXT,
    "domain": TEXT,
    "category": TEXT,
    "sub_category": TEXT,
    "difficulty": TEXT,
    "caption": TEXT,
    "reasoning": {"structured": _STRUCTURED, "unstructured": TEXT},
    "pass_rates": [
        {
            "passes": INTEGER,
            "samples": INTEGER,
            "responder": TEXT,
            "mode": TEXT,
            "seed": INTEGER,
            "audio": TEXT,
            "estimate": NUMBER,
            "band": TEXT,
        }
    ],
    "provenance": {
        "dataset": TEXT,
        "source_id": TEXT,
        "licence": TEXT,
        "youtube_id": TEXT,
        "segment_start": NUMBER,
        "segment_end": NUMBER,
        "made_by": TEXT,
    },
    "flags": [TEXT],
}
_WINDOW = {"start": NUMBER, "duration": NUMBER}
# In a corpus that goes without some of its audio: what is known of a clip whose bytes are not there.
_NAMED = {"audio_name": TEXT, "audio_sha256": TEXT, "audio_seconds": NUMBER}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RATE_NEEDS = ("passes", "samples", "responder", "mode", "seed")
# Dictionaries and statistics only where they help: of audio bytes they would only be copies.
DICTIONARY_COLUMNS = ["domain", "category", "sub_category", "difficulty"]
STATISTICS_COLUMNS = ["id", *DICTIONARY_COLUMNS]


def arrow_schema(*, embed: bool, named: bool = False) -> pa.Schema:
    """Return the Arrow schema of a shard, with the features that ``datasets`` reads in its metadata.

    Args:
        embed: The audio is inside; otherwise the columns ``start`` and ``duration`` say which part is meant.
        named: Rows may be without audio; then ``audio_name``, ``audio_sha256`` and ``audio_seconds`` say what it was.
    """
    import pyarrow as pa

    columns = _columns(embed, named)
    features = features_of(embed=embed, named=named)
    metadata = {"huggingface": json.dumps({"info": {"features": features}}, sort_keys=True)}
    return pa.schema([(name, _arrow(kind)) for name, kind in columns.items()], metadata=metadata)


def features_of(*, embed: bool, named: bool = False) -> dict[str, Any]:
    """Return the features of a shard as ``datasets`` writes them in JSON; see :func:`arrow_schema`."""
    return {name: _feature(kind) for name, kind in _columns(embed, named).items()}


def to_row(question: AudioQuestion, *, embed: bool) -> dict[str, Any]:
    """Lay a question out as a row.

    Args:
        question: The question.
        embed: Put the audio file inside; a part of a file is cut out as mono 16-bit WAV at its own sampling
            rate, so that the row is self-contained. Otherwise the reference stays as it is, its path made absolute.

    Raises:
        MissingFileError: The audio file is not there.
        AudioError: A part that cannot be cut out.
        InputError: The question is about several recordings; a row has room for one.
    """
    if question.more_audio:
        raise InputError(
            f"question {question.id!r}: expected one recording, found {len(question.recordings)}: a corpus holds "
            "questions about one recording, so leave it out"
        )
    ref = _embedded(question.audio) if embed else _absolute(question.audio)
    chain, source = question.reasoning.structured, question.provenance
    row: dict[str, Any] = {
        "id": question.id,
        "audio": {"bytes": ref.data, "path": ref.path},
        "question": question.question,
        "choices": list(question.choices),
        "answer": question.answer,
        "domain": question.domain,
        "category": question.category,
        "sub_category": question.sub_category,
        "difficulty": question.difficulty,
        "caption": question.caption,
        "reasoning": {
            "structured": None if chain is None else {name: getattr(chain, name) for name in _STRUCTURED},
            "unstructured": question.reasoning.unstructured,
        },
        "pass_rates": [
            {name: getattr(rate, name) for name in _COLUMNS["pass_rates"][0]} for rate in question.pass_rates
        ],
        "provenance": {
            "dataset": source.dataset,
            "source_id": source.source_id,
            "licence": source.licence,
            "youtube_id": source.youtube_id,
            "segment_start": source.segment_start,
            "segment_end": source.segment_end,
            "made_by": json.dumps(dict(source.made_by), sort_keys=True, ensure_ascii=False),
        },
        "flags": list(question.flags),
    }
    return row if embed else row | {"start": ref.start, "duration": ref.duration}


def from_row(row: dict[str, Any]) -> AudioQuestion:
    """Read a question from its row.

    Raises:
        InputError: The parts do not fit together; names the question.
    """
    audio, reasoning, source = row["audio"] or {}, row["reasoning"] or {}, row["provenance"] or {}
    chain = reasoning.get("structured")
    # Readers differ on a missing struct: some give a struct of missing values.
    if chain is not None and all(value is None for value in chain.values()):
        chain = None
    absent = [name for name, value in (chain or {}).items() if value is None]
    if absent:
        raise InputError(f"question {row['id']!r}: expected all sections of its structured chain, found no {absent}")
    rates = row["pass_rates"] or ()
    if any(rate is None or None in [rate.get(name) for name in _RATE_NEEDS] for rate in rates):
        raise InputError(f"question {row['id']!r}: expected every value of a pass rate, found one with missing values")
    return AudioQuestion(
        id=row["id"] or "",
        audio=_named(row)
        if row["audio"] is None and row.get("audio_name")
        else AudioRef(
            path=audio.get("path"), data=audio.get("bytes"), start=row.get("start") or 0.0, duration=row.get("duration")
        ),
        question=row["question"] or "",
        choices=tuple(choice or "" for choice in row["choices"] or ()),
        answer=row["answer"],
        domain=row["domain"] or "",
        category=row["category"] or "",
        sub_category=row["sub_category"] or "",
        difficulty=row["difficulty"],
        caption=row["caption"],
        reasoning=Reasoning(
            structured=None if chain is None else StructuredReasoning(**chain),
            unstructured=reasoning.get("unstructured"),
        ),
        pass_rates=tuple(PassRate(**rate) for rate in rates),
        provenance=Provenance(**(source | {"made_by": _made_by(row)})) if source else Provenance(),
        flags=tuple(flag or "" for flag in row.get("flags") or ()),
    )


def _named(row: dict[str, Any]) -> AudioRef:
    digest = row.get("audio_sha256")
    if digest is not None and not _SHA256.fullmatch(digest):
        raise InputError(f"question {row['id']!r}: expected audio_sha256 as 64 hex digits, found {digest!r}")
    return AudioRef(path=row["audio_name"], sha256=digest)


def _made_by(row: dict[str, Any]) -> dict[str, str]:
    text = row["provenance"].get("made_by") or "{}"
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"question {row['id']!r}: expected provenance.made_by as JSON, found {text!r}") from error
    if not isinstance(found, dict):
        raise InputError(f"question {row['id']!r}: expected provenance.made_by as a JSON object, found {text!r}")
    return found


def row_bytes(row: dict[str, Any]) -> int:
    """Return about how many bytes a row takes in memory: its audio and a little for its text."""
    return len((row["audio"] or {}).get("bytes") or b"") + 2000


def _embedded(ref: AudioRef) -> AudioRef:
    if ref.start or ref.duration is not None:
        samples, sampling_rate = decode(ref)
        return AudioRef(path=f"{Path(ref.path or 'audio').stem}.wav", data=encode_wav(samples, sampling_rate))
    if ref.data is not None:
        return ref
    path = Path(str(ref.path))
    if not path.is_file():
        raise MissingFileError(
            f"audio {ref.path!r}: expected an audio file there, found none: correct the path or fetch it"
        )
    return AudioRef(path=path.name, data=path.read_bytes())


def _absolute(ref: AudioRef) -> AudioRef:
    # Embedded audio keeps its name; a path must mean the same file from any working folder.
    path = ref.path if ref.data is not None or ref.path is None else os.path.abspath(ref.path)
    return AudioRef(path=path, data=ref.data, start=ref.start, duration=ref.duration)


def _columns(embed: bool, named: bool) -> dict[str, Any]:
    return _COLUMNS | ({} if embed else _WINDOW) | (_NAMED if named else {})


def _arrow(kind: Any) -> pa.DataType:
    import pyarrow as pa

    if kind == "audio":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    if isinstance(kind, dict):
        return pa.struct([(name, _arrow(inner)) for name, inner in kind.items()])
    if isinstance(kind, list):
        return pa.list_(_arrow(kind[0]))
    types = {TEXT: pa.string(), INTEGER: pa.int64(), NUMBER: pa.float64()}
    return types[kind]


def _feature(kind: Any) -> dict[str, Any]:
    if kind == "audio":
        return {"_type": "Audio"}
    if isinstance(kind, dict):
        return {name: _feature(inner) for name, inner in kind.items()}
    if isinstance(kind, list):
        return {"feature": _feature(kind[0]), "_type": "List"}
    return {"dtype": kind, "_type": "Value"}
