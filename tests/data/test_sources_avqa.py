"""AVQA: what is asked of the sound, what is skipped and why, and rows that are wrong."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.audio import encode_wav
from sari_data.errors import InputError, MissingFileError
from sari_data.sources import avqa
from sari_data.sources.base import Item, SetAside
from sari_data.types import AudioQuestion

ROW = {
    "id": 7,
    "video_name": "-a_b-c_d-e_000030",
    "question_text": "What animal is heard in the video?",
    "multi_choice": ["dog", "cat", "cow", "hen"],
    "answer": 2,
    "question_relation": "Sound",
    "question_type": "Which",
}


def _wav(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(encode_wav(np.full(1000, number / 100), 1000))


def _run(folder: Path, *rows: object, **options: object) -> list[Item]:
    (folder / "qa.json").write_text(json.dumps(rows), encoding="utf-8")
    given = {"questions": [str(folder / "qa.json")], "audio": str(folder / "audio"), **options}
    return list(avqa.generate(avqa.Options.model_validate(given), 0))


def test_the_published_rows_are_skipped_as_published_and_rewritten(tmp_path: Path, shared_data: Path) -> None:
    _wav(tmp_path / "audio", "-HIPq7T3eFI_000011.wav", "-HG3Omg_89c_000030.wav", "-IBtBeR6B00_000000.wav")
    options = avqa.Options(
        questions=(str(shared_data / "avqa" / "train_qa.sample.json"),), audio=str(tmp_path / "audio")
    )
    view, question, missing, colour = avqa.generate(options, 0)
    assert isinstance(view, SetAside)
    assert (view.id, view.reason) == ("183", "only the picture shows it")
    assert isinstance(missing, SetAside)
    assert (missing.id, missing.reason) == ("185", "audio is missing")
    assert isinstance(colour, SetAside)
    assert (colour.id, colour.reason) == ("186", "about colour")
    assert isinstance(question, AudioQuestion)
    assert question.question == "What is the main source of sound in the audio?"
    assert question.choices == ("Car", "motorcycle", "siren", "gun fire")
    assert question.answer == "Car"
    where = question.provenance
    assert (where.source_id, where.youtube_id) == ("184", "-HIPq7T3eFI")
    assert (where.segment_start, where.segment_end) == (11.0, 21.0)
    assert "R1-AQA" in where.made_by["question"]
    assert where.made_by["answer"] == "dataset:avqa"


def test_the_text_stays_as_it_is_without_the_rewrite_and_where_there_is_nothing_to_rewrite(tmp_path: Path) -> None:
    _wav(tmp_path / "audio", "-a_b-c_d-e_000030.wav")
    (kept,) = _run(tmp_path, ROW, rewrite=False)
    (plain,) = _run(tmp_path, ROW | {"question_text": "What's calling?"})
    (part,) = _run(tmp_path, ROW | {"question_text": "Which videos? Video A?"})
    assert isinstance(kept, AudioQuestion)
    assert isinstance(plain, AudioQuestion)
    assert isinstance(part, AudioQuestion)
    assert kept.question == ROW["question_text"]
    assert part.question == "Which audios? Video A?"  # as R1-AQA's str.replace does
    assert kept.provenance.made_by["question"] == plain.provenance.made_by["question"] == "dataset:avqa"


@pytest.mark.parametrize("name", ["-a_b-c_d-e_000030.wav", "-a_b-c_d-e_30.wav", "-a_b-c_d-e_30000.wav"])
def test_audio_is_found_under_its_names(tmp_path: Path, name: str) -> None:
    _wav(tmp_path / "audio", name)
    (question,) = _run(tmp_path, ROW)
    assert isinstance(question, AudioQuestion)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"multi_choice": ["dog", "Dog ", "cow", "hen"]}, "an option is there twice"),
        ({"answer": 4}, "answer is not an option's number"),
        ({"answer": -1}, "answer is not an option's number"),
        ({"answer": True}, "answer is not an option's number"),
        ({"answer": "2"}, "answer is not an option's number"),
        ({"multi_choice": ["dog"]}, "row is malformed"),
        ({"multi_choice": "dog"}, "row is malformed"),
        ({"multi_choice": ["dog", ""]}, "row is malformed"),
        ({"multi_choice": ["dog", ["cat"]]}, "row is malformed"),
        ({"question_text": None}, "row is malformed"),
        ({"video_name": 3}, "row is malformed"),
        ({"question_relation": "Smell"}, "row is malformed"),
        ({"question_relation": "View", "answer": 9}, "only the picture shows it"),
        ({"question_text": "Which Colour is it?"}, "about colour"),
        ({"question_text": "What colors are there?"}, "about colour"),
        ({"video_name": "-a_b-c_d-e_000031"}, "audio is missing"),
    ],
)
def test_a_row_that_cannot_be_asked_is_set_aside_by_name(tmp_path: Path, change: dict, reason: str) -> None:  # type: ignore[type-arg]
    _wav(tmp_path / "audio", "-a_b-c_d-e_000030.wav")
    aside, question = _run(tmp_path, ROW | {"id": 8} | change, ROW)
    assert isinstance(aside, SetAside)
    assert (aside.id, aside.reason) == ("8", reason)
    assert reason == "audio is missing" or "qa.json, line 1 (id 8)" in aside.detail
    assert isinstance(question, AudioQuestion)


def test_a_limit_takes_videos_with_all_their_questions_and_still_counts_what_is_skipped(tmp_path: Path) -> None:
    names = [f"video{n}_0000{n:02d}" for n in range(12)]
    _wav(tmp_path / "audio", *(f"{name}.wav" for name in names))
    rows = [ROW | {"id": i, "video_name": name, "question_text": f"Q{i}?"} for i, name in enumerate([*names, *names])]
    rows.append(ROW | {"id": 99, "question_relation": "View"})
    items = _run(tmp_path, *rows, limit=5)
    taken = Counter(item.provenance.youtube_id for item in items if isinstance(item, AudioQuestion))
    assert sorted(taken.values()) == [2] * 5
    assert isinstance(items[-1], SetAside)
    assert items == _run(tmp_path, *rows, limit=5)


def test_the_same_question_again_and_broken_audio_are_set_aside(tmp_path: Path) -> None:
    _wav(tmp_path / "audio", "-a_b-c_d-e_000030.wav")
    (tmp_path / "audio" / "x_000000.wav").write_bytes(b"RIFF")
    items = _run(tmp_path, ROW, ROW | {"id": 8}, ROW | {"id": 9, "video_name": "x_000000"})
    reasons = [item.reason for item in items if isinstance(item, SetAside)]
    assert reasons == ["question is listed again", "audio cannot be decoded"]


def test_files_that_are_not_there_or_not_json_are_refused(tmp_path: Path) -> None:
    _wav(tmp_path / "audio", "other.wav")
    with pytest.raises(InputError, match="for instance '-a_b-c_d-e_000030'"):
        _run(tmp_path, ROW)
    with pytest.raises(MissingFileError, match="expected a file"):
        _run(tmp_path, questions=[str(tmp_path / "none.json")])
    (tmp_path / "bad.json").write_text('[{"id": 1},\n{"id"', encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.json, line 2"):
        _run(tmp_path, questions=[str(tmp_path / "bad.json")])


_VALUE = (
    st.none() | st.booleans() | st.integers(-2, 5) | st.text(max_size=6) | st.lists(st.text(max_size=3), max_size=4)
)


@given(st.lists(st.none() | st.dictionaries(st.sampled_from(sorted(ROW)), _VALUE), max_size=4))
def test_no_row_is_lost_whatever_is_in_it(tmp_path_factory, changes) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("avqa")
    _wav(folder / "audio", "-a_b-c_d-e_000030.wav")
    rows = [None if change is None else ROW | change for change in changes]
    items = _run(folder, *rows, ROW)
    assert len(items) == len(rows) + 1
    for item in items:
        if isinstance(item, AudioQuestion):
            assert item.answer in item.choices
        else:
            assert isinstance(item, SetAside)
            assert item.reason
