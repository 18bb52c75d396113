"""Tables of questions and clips in every format, through a column map."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from table_examples import COLUMNS, parted, read, rows, wav, write_clips, write_table

from sari_data.config import load_tables
from sari_data.errors import InputError, MissingFileError, RecipeError
from sari_data.sources import load_source
from sari_data.types import AudioRef, make_id

Table = load_source("table")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_clips(tmp_path / "audio", 6)
    return tmp_path


def test_every_format_gives_the_same_questions(folder: Path) -> None:
    found = {}
    for suffix in ("csv", "tsv", "jsonl", "ndjson", "json", "parquet"):
        path = write_table(folder / f"t.{suffix}", rows(6))
        questions, clips, aside = parted(
            read("table", path=str(path), audio=str(folder / "audio"), columns=COLUMNS, dataset="d", licence="CC0")
        )
        assert (clips, aside) == ([], []), suffix
        found[suffix] = questions
    assert all(questions == found["csv"] for questions in found.values())
    first, third = found["csv"][0], found["csv"][2]
    assert first.audio.path == str(folder / "audio" / "0.wav")
    assert first.audio.data is None
    assert first.audio.sha256 == hashlib.sha256(wav(0)).hexdigest()
    assert first.id == make_id(AudioRef(data=wav(0)), first.question, first.choices)
    assert (third.question, third.answer, third.domain) == ("What is heard in “2”?", "été 2", "music")
    assert found["csv"][1].domain == "sound+speech"
    assert first.provenance.source_id == "q0"
    assert first.provenance.licence == "CC0"
    assert first.provenance.made_by == dict.fromkeys(("question", "choices", "answer"), "dataset:d")


def test_a_recipe_names_the_columns(folder: Path) -> None:
    path = write_table(folder / "t.csv", rows(3))
    recipe = folder / "r.toml"
    columns = "\n".join(f"{name} = {json.dumps(value)}" for name, value in COLUMNS.items())
    recipe.write_text(f"[build]\npath = {str(path)!r}\naudio = 'audio'\n[build.columns]\n{columns}\n")
    table = load_tables(recipe, {"build": Table.Options})["build"]
    assert table.all_columns().choices == ("first", "second", "third")
    recipe.write_text(recipe.read_text().replace("[build.columns]", "answer_from = 'x'\n[build.columns]"))
    with pytest.raises(RecipeError, match=r"build.answer_from: unknown key; did you mean answer_form\?"):
        load_tables(recipe, {"build": Table.Options})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"columns": {}}, "columns.audio must be given"),
        ({"columns": {"audio": "a", "question": "q"}}, "absent: choices, answer"),
        ({"columns": {"audio": "a"}}, "domain is needed"),
        ({"columns": {"audio": "a"}, "domain": "noise"}, "domain must be one of"),
        ({"columns": {"audio": "a"}, "domain": "sound", "domains": {"env": "noise"}}, "domain must be one of"),
        ({"columns": {"audio": "a"}, "domain": "sound", "answer_form": "guess"}, "answer_form"),
        ({"columns": {"audio": "a"}, "domain": "sound", "limit": -1}, "limit"),
    ],
)
def test_a_map_that_cannot_work_is_told_before_any_file_is_opened(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Table.Options.model_validate({"path": "nowhere.csv", **changes})


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_wrong_columns_are_told_before_any_row_with_those_that_are_there(folder: Path, suffix: str) -> None:
    path = write_table(folder / f"t.{suffix}", rows(2))
    with pytest.raises(InputError) as raised:
        read("table", path=str(path), audio=str(folder / "audio"), columns=COLUMNS | {"answer": "golden"})
    assert "expected the columns ['golden']" in str(raised.value)
    assert "'gold', 'kind', 'key'" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_golds_in_other_forms_and_options_in_one_cell(folder: Path) -> None:
    texts = ["x", "y", "z"]
    forms = {"letter": list("BCA"), "index0": [1, 2, 0], "index1": [2, 3, 1], "text": list("yzx")}
    for form, golds in forms.items():
        made = [{"file": f"{n}.wav", "q": "?", "options": "x / y / z", "gold": gold} for n, gold in enumerate(golds)]
        columns = {"audio": "file", "question": "q", "choices": "options", "answer": "gold"}
        for suffix in ("csv", "parquet"):
            path = write_table(folder / f"{form}.{suffix}", made)
            questions, _, aside = parted(
                read("table", path=str(path), audio=str(folder / "audio"), columns=columns, domain="sound",
                     separator="/", answer_form=form)
            )  # fmt: skip
            assert not aside
            assert [q.choices for q in questions] == [tuple(texts)] * 3
            assert [q.answer for q in questions] == ["y", "z", "x"]


def test_what_cannot_be_a_question_is_set_aside_under_a_countable_reason(folder: Path) -> None:
    good = rows(1)[0]
    bad: list[tuple[dict[str, Any], str]] = [
        ({"gold": "a bird"}, "gold is not among the options"),
        ({"gold": ""}, "no gold answer"),
        ({"kind": "noise"}, "domain is not known"),
        ({"asked": " "}, "no question"),
        ({"second": None, "third": None}, "fewer than two options"),
        ({"first": None, "second": None, "third": None}, "no options"),
        ({"file": "9.wav"}, "audio is missing"),
        ({"file": None}, "audio is missing"),
        ({"file": "../t.jsonl"}, "audio lies outside the audio folder"),
        ({"file": str(folder / "t.jsonl")}, "audio lies outside the audio folder"),
        ({"asked": "\ud83d"}, "text is no Unicode"),
        ({"level": "2"}, "difficulty is not easy, medium or hard"),
        ({"from": "-1"}, "start cannot be read"),
    ]
    path = write_table(folder / "t.jsonl", [good, *({**good, **change} for change, _ in bad), good])
    columns = COLUMNS | {"difficulty": "level", "start": "from"}
    write_table(path, [good | {"level": "Easy", "from": 0.05}, *({**good, **change} for change, _ in bad)])
    questions, _, aside = parted(read("table", path=str(path), audio=str(folder / "audio"), columns=columns))
    assert [(q.difficulty, q.audio.start) for q in questions] == [("easy", 0.05)]
    assert [item.reason for item in aside] == [reason for _, reason in bad]
    assert {item.stage for item in aside} == {"collect"}
    assert aside[0].detail.startswith("t.jsonl, row 2: found 'a bird'")
    assert aside[0].id == aside[0].provenance.source_id == "q0"


def test_rows_without_options_become_clips(folder: Path) -> None:
    made = [
        {
            "file": "0.wav",
            "kind": "music",
            "words": "a slow waltz",
            "tags": "waltz; piano",
            "bpm": 90,
            "yt": "abcdefghi-_",
        },
        {"file": "1.wav", "kind": "sound", "words": None, "tags": "dog", "bpm": None, "yt": None},
        {"file": "2.wav", "kind": "sound", "words": None, "tags": None, "bpm": None, "yt": None},
    ]
    path = write_table(folder / "t.jsonl", made)
    columns = {
        "audio": "file",
        "domain": "kind",
        "caption": "words",
        "labels": "tags",
        "facts": ["bpm"],
        "youtube_id": "yt",
    }
    same = {"path": str(path), "audio": str(folder / "audio"), "separator": ";"}
    questions, clips, aside = parted(read("table", **same, columns=columns))
    assert (questions, aside) == ([], [])
    assert [(c.labels, c.facts, c.caption) for c in clips] == [
        (("waltz", "piano"), {"bpm": 90}, "a slow waltz"), (("dog",), {}, None), ((), {}, None),
    ]  # fmt: skip
    assert clips[0].provenance.youtube_id == "abcdefghi-_"
    assert clips[0].provenance.made_by == {"caption": "dataset:t"}
    assert clips[1].provenance.source_id == "t.jsonl:2"

    full = [{**row, **made[0], "file": row["file"]} for row in rows(1)] + [{**made[1], "asked": None}, made[2]]
    write_table(path, full)
    questions, clips, aside = parted(read("table", **same, columns=COLUMNS | columns))
    assert [q.caption for q in questions] == ["a slow waltz"]
    assert [c.labels for c in clips] == [("dog",)]
    assert [item.reason for item in aside] == ["no options"], "neither options nor anything to make some from"


def test_chains_come_along(folder: Path) -> None:
    sections = {"planning": "p", "caption": "c", "reasoning": "r", "summary": "s"}
    tagged = "<think>" + "".join(f"<{n.upper()}>{t}</{n.upper()}>" for n, t in sections.items()) + "</think>"
    chains = [sections, tagged, None, {"planning": "p"}]
    made = [{**row, "chain": chain, "free": "so"} for row, chain in zip(rows(4), chains, strict=True)]
    path = write_table(folder / "t.jsonl", made)
    columns = COLUMNS | {"structured": "chain", "reasoning": "free"}
    questions, _, aside = parted(read("table", path=str(path), audio=str(folder / "audio"), columns=columns))
    assert [q.reasoning.structured is not None for q in questions] == [True, True, False]
    assert questions[0].reasoning == questions[1].reasoning
    assert questions[0].reasoning.structured.summary == "s"
    assert questions[2].reasoning.unstructured == "so"
    assert "reasoning.structured" in questions[0].provenance.made_by
    assert [item.reason for item in aside] == ["structured chain cannot be read"]


def test_the_limit_takes_a_seeded_choice_in_the_tables_order(folder: Path) -> None:
    path = write_table(folder / "t.csv", rows(8))  # the audio of the last two is missing
    same = {"path": str(path), "audio": str(folder / "audio"), "columns": COLUMNS}

    def keys(seed: int, limit: int | None) -> list[str]:
        return [q.provenance.source_id for q in parted(read("table", seed, **same, limit=limit))[0]]

    everything = keys(0, None)
    assert everything == [f"q{n}" for n in range(6)]
    drawn = {tuple(keys(seed, 3)) for seed in range(6)}
    assert all(len(chosen) == 3 and list(chosen) == sorted(chosen) for chosen in drawn)
    assert len(drawn) > 1
    assert keys(1, 3) == keys(1, 3)
    assert set(keys(1, 2)) < set(keys(1, 3))
    assert keys(0, 0) == []
    assert len(parted(read("table", **same, limit=2))[2]) == 2, "what is missing is told whatever the limit"


def test_audio_is_found_in_subfolders_and_after_a_conversion(folder: Path) -> None:
    deep = folder / "audio" / "train" / "a"
    deep.mkdir(parents=True)
    os.replace(folder / "audio" / "0.wav", deep / "0.wav")
    made = [{**row, "file": name} for row, name in zip(rows(3), ("./a/0.mp3", "1.flac", "b/1.wav"), strict=True)]
    path = write_table(folder / "t.csv", made)
    questions, _, aside = parted(read("table", path=str(path), audio=str(folder / "audio"), columns=COLUMNS))
    assert [Path(q.audio.path or "").name for q in questions] == ["0.wav", "1.wav"]
    assert [item.reason for item in aside] == ["audio is missing"], "another folder's file of that name is another clip"


def test_without_a_folder_audio_lies_beside_the_table(folder: Path) -> None:
    path = write_table(folder / "t.csv", [{**row, "file": f"audio/{row['file']}"} for row in rows(2)])
    questions, _, _ = parted(read("table", path=str(path), columns=COLUMNS))
    assert [q.audio.path for q in questions] == [str(folder / "audio" / f"{n}.wav") for n in range(2)]


def test_a_folder_with_none_of_the_audio_is_an_error_that_says_where_it_looked(folder: Path) -> None:
    path = write_table(folder / "t.csv", [{**row, "file": f"x{row['file']}"} for row in rows(3)])
    for audio in (str(folder / "audio"), None):
        with pytest.raises(InputError, match=r"for instance 'x0\.wav'.*found none of") as raised:
            list(read("table", path=str(path), audio=audio, columns=COLUMNS))
        assert str(folder) in str(raised.value)
    with pytest.raises(MissingFileError, match="expected a folder with audio files"):
        read("table", path=str(path), audio=str(folder / "nowhere"), columns=COLUMNS)
