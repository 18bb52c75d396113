"""AudioMCQ's columns as published readers know them, and what may differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from table_examples import parted, read, wav

from sari_data.errors import InputError
from sari_data.sources.audiomcq import WEAK

SECTIONS = ("planning", "caption", "reasoning", "summary")
TAGGED = "<think>" + "".join(f"<{name}>the {name}</{name}>" for name in SECTIONS) + "</think>"


def _row(number: int, source: str = "AudioCaps", kind: str = "sound", **more: Any) -> dict[str, Any]:
    """A row as NeMo-RL's test has it."""
    return {
        "source_dataset": source,
        "id": str(number),
        "question_type": kind,
        "audio_path": f"{source}/sample_{number}.wav",
        "question": f"Question {number}?",
        "answer": "Water splashing continuously",
        "choices": ["Water is pouring steadily", "Water splashing continuously", "Water boils", "Water drips slowly"],
        **more,
    }


def _write(folder: Path, rows: list[dict[str, Any]], *, audio: bool = True) -> dict[str, str]:
    for number, row in enumerate(rows):
        file = folder / row["audio_path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        if audio:
            file.write_bytes(wav(number))
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"path": str(folder / "data.jsonl"), "audio": str(folder)}


def test_the_curated_subset_is_read_as_it_is_published(tmp_path: Path) -> None:
    rows = [
        _row(0, gemini_cot="I hear water."),
        _row(1, "SpeechCraft", "speech"),
        _row(2, "LP-MusicCaps-MTT", "music"),
        _row(3, "Tacos", "temporal"),
        _row(4, "MusicCaps", "temporal"),
        _row(5, "Elsewhere", "temporal"),
    ]
    questions, clips, aside = parted(read("audiomcq", **_write(tmp_path, rows), licence="as its source"))
    assert not clips
    assert [q.domain for q in questions] == ["sound", "speech", "music", "sound", "music"]
    assert [q.category for q in questions] == ["sound", "speech", "music", "temporal", "temporal"]
    assert [item.reason for item in aside] == ["domain is not known"]
    assert "temporal" in aside[0].detail
    assert "Elsewhere" in aside[0].detail
    first = questions[0]
    assert first.answer == "Water splashing continuously"
    assert first.reasoning.unstructured == "I hear water."
    assert first.reasoning.structured is None
    assert (first.provenance.dataset, first.provenance.source_id) == ("AudioMCQ", "AudioCaps/0")
    assert first.provenance.licence == "as its source"
    assert first.provenance.made_by["reasoning.unstructured"] == "dataset:AudioMCQ"
    assert first.flags == ()


def test_the_audio_contribution_is_a_choice_and_a_flag(tmp_path: Path) -> None:
    rows = [_row(n, **{"audio-contribution": "weak" if n % 3 else "strong"}) for n in range(6)]
    given = _write(tmp_path, rows)
    found = {
        part: [q.provenance.source_id for q in parted(read("audiomcq", **given, contribution=part))[0]]
        for part in ("all", "weak", "strong")
    }
    assert found["strong"] == ["AudioCaps/0", "AudioCaps/3"]
    assert sorted(found["strong"] + found["weak"]) == found["all"]
    flags = [q.flags for q in parted(read("audiomcq", **given))[0]]
    assert flags == [(WEAK,) if n % 3 else () for n in range(6)]
    limited = parted(read("audiomcq", **given, contribution="strong", limit=1))[0]
    assert [q.provenance.source_id in found["strong"] for q in limited] == [True]


def test_a_contribution_that_the_file_does_not_have_is_an_error_not_an_empty_corpus(tmp_path: Path) -> None:
    given = _write(tmp_path, [_row(0)])
    with pytest.raises(InputError, match="needs the column audio-contribution or audio_contribution, found"):
        read("audiomcq", **given, contribution="strong")


def test_chains_are_read_by_what_they_are(tmp_path: Path) -> None:
    rows = [
        _row(0, structured_cot=TAGGED, unstructured_cot="free"),
        _row(1, structured_cot="<think><observe>other sections</observe></think>", unstructured_cot="free"),
        _row(2, structured_cot="<think><observe>other sections</observe></think>"),
        _row(3),
    ]
    questions, _, aside = parted(read("audiomcq", **_write(tmp_path, rows)))
    assert not aside
    chains = [q.reasoning for q in questions]
    assert chains[0].structured is not None
    assert chains[0].structured.planning == "the planning"
    assert [chain.unstructured for chain in chains] == ["free", "free", rows[2]["structured_cot"], None]
    assert [chain.structured is None for chain in chains[1:]] == [True] * 3


def test_other_names_of_columns_are_found_or_given(tmp_path: Path) -> None:
    rows = [{("question_text" if name == "question" else name): cell for name, cell in _row(0).items()}]
    given = _write(tmp_path, rows)
    assert parted(read("audiomcq", **given))[0][0].question == "Question 0?"
    rows = [{("q" if name == "question" else name): cell for name, cell in _row(0).items()}]
    given = _write(tmp_path, rows)
    with pytest.raises(InputError, match=r"expected the columns \['question'\], found"):
        read("audiomcq", **given)
    assert parted(read("audiomcq", **given, columns={"question": "q"}))[0][0].question == "Question 0?"


def test_missing_audio_is_set_aside_and_none_at_all_an_error(tmp_path: Path) -> None:
    rows = [_row(0), _row(1), _row(2)]
    given = _write(tmp_path, rows)
    (tmp_path / rows[1]["audio_path"]).unlink()
    questions, _, aside = parted(read("audiomcq", **given))
    assert [q.provenance.source_id for q in questions] == ["AudioCaps/0", "AudioCaps/2"]
    assert [(item.reason, item.id) for item in aside] == [("audio is missing", "AudioCaps/1")]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.wav").write_bytes(wav(0))
    with pytest.raises(InputError, match=r"AudioCaps/sample_0\.wav"):
        list(read("audiomcq", path=given["path"], audio=str(tmp_path / "other")))
