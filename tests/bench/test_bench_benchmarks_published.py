"""The published benchmarks in their own layouts: what is in them is read as it stands, and nothing of it is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from published_files import mmau_hub_row, mmau_pro_row, mmau_row, mmsu_row, parquet, write_json

from sari_bench.benchmarks import load_benchmark
from sari_data.errors import BenchmarkError, InputError, MissingFileError

SHARED = {
    "v03.25.25": ("mmau-test-mini", "mmau/mmau-test-mini.v03.25.25.json"),
    "v05.15.25": ("mmau-test-mini", "mmau/mmau-test-mini.v05.15.25.json"),
    "rubrics": ("mmar", "mmar/MMAR-meta.jsonl"),
}


@pytest.mark.parametrize("version", SHARED)
def test_published_files_load_whole_and_are_known(shared_data: Path, version: str) -> None:
    name, file = SHARED[version]
    benchmark = load_benchmark(name, shared_data / file, audio=False)
    assert benchmark.version == version
    assert benchmark.notes == ()
    assert len(benchmark.golds) == len(benchmark.questions) == 1000
    assert all(gold.gradable and gold.category and gold.sub_category and gold.audio for gold in benchmark.golds)
    assert not Path(str(benchmark.questions[0].audio.path)).exists()


def test_the_quirks_of_mmau_hold(shared_data: Path) -> None:
    golds = load_benchmark("mmau-test-mini", shared_data / SHARED["v05.15.25"][1], audio=False).golds
    assert Counter(len(gold.choices) for gold in golds) == {4: 948, 2: 27, 5: 24, 8: 1}
    assert sum(len(set(gold.choices)) < len(gold.choices) for gold in golds) == 27
    assert len({gold.sub_category for gold in golds}) == 27
    # A category that is a list is its parts.
    assert {gold.category for gold in golds} == {"Reasoning", "Information Extraction"}
    earlier = load_benchmark("mmau-test-mini", shared_data / SHARED["v03.25.25"][1], audio=False).golds
    assert len({gold.id for gold in golds} & {gold.id for gold in earlier}) < 1000


def test_the_modalities_and_options_of_mmar_hold(shared_data: Path) -> None:
    golds = load_benchmark("mmar", shared_data / SHARED["rubrics"][1], audio=False).golds
    assert Counter(gold.task for gold in golds) == {
        "speech": 294, "sound+speech": 218, "music": 206, "sound": 165, "music+speech": 82,
        "sound+music+speech": 24, "sound+music": 11,
    }  # fmt: skip
    # Four rows have an empty option, which nobody can choose.
    assert Counter(len(gold.choices) for gold in golds) == {4: 818, 2: 172, 3: 9, 6: 1}


def test_nine_thousand_questions_without_answers_can_be_asked(tmp_path: Path) -> None:
    rows = [mmau_row(n, split="test") for n in range(9000)]
    for number, row in enumerate(rows):
        if number % 3 == 0:
            del row["answer"]
        else:
            row["answer"] = None if number % 3 == 1 else ""
    benchmark = load_benchmark("mmau-test", write_json(tmp_path / "mmau-test.json", rows))
    assert len(benchmark.questions) == 9000
    assert {gold.answer for gold in benchmark.golds} == {question.answer for question in benchmark.questions} == {None}
    assert not any(gold.gradable for gold in benchmark.golds)
    assert any("the answers of 9,000 of 9,000 questions are withheld" in note for note in benchmark.notes)
    assert not any("not among their choices" in note for note in benchmark.notes)
    with pytest.raises(BenchmarkError, match=r"MMAU test-mini, found one of 'test': choose --benchmark mmau-test$"):
        load_benchmark("mmau-test-mini", tmp_path / "mmau-test.json")
    with pytest.raises(BenchmarkError, match=r"row 0: .*with text in 'answer', found None"):
        load_benchmark("mmau-test-mini", write_json(tmp_path / "x.json", [{**rows[1], "split": "test-mini"}]))
    with pytest.raises(BenchmarkError, match="choose --benchmark mmau-test-mini"):
        load_benchmark("mmau-test", write_json(tmp_path / "y.json", [mmau_row(0)]))


def test_one_set_of_questions_has_one_version_in_json_and_in_parquet(tmp_path: Path) -> None:
    rows = [mmau_row(n, **({"category": ["Reasoning"]} if n == 2 else {})) for n in range(5)]
    rows[1] |= {"choices": ["dog", "dog", "cat"], "answer": "dog"}
    plain = load_benchmark("mmau-test-mini", write_json(tmp_path / "q.json", rows), audio=False)
    (tmp_path / "test.parquet").write_bytes(parquet([mmau_hub_row(row, b"RIFFx") for row in rows]))
    packed = load_benchmark("mmau-test-mini", tmp_path / "test.parquet", audio=False)
    assert packed.golds == plain.golds
    assert packed.digest == plain.digest


def test_a_hub_row_that_is_not_one_is_named(tmp_path: Path) -> None:
    good = mmau_hub_row(mmau_row(0), b"RIFFx")
    for changes, message in (
        ({"other_attributes": "{"}, "row 1: expected JSON in 'other_attributes'"),
        ({"other_attributes": "[1]"}, "expected an object in 'other_attributes'"),
        ({"other_attributes": "{}"}, "with text in 'id', found None"),
        ({"instruction": " "}, "with text in 'question'"),
    ):
        (tmp_path / "t.parquet").write_bytes(parquet([good, {**good, **changes}]))
        with pytest.raises(BenchmarkError, match=message):
            load_benchmark("mmau-test-mini", tmp_path / "t.parquet", audio=False)
    # Options without letters are taken as they are, and so is an answer that is none of them.
    odd = {**good, "choices": ["dog", "(B) cat"], "answer": "(A) dog"}
    (tmp_path / "t.parquet").write_bytes(parquet([odd]))
    assert load_benchmark("mmau-test-mini", tmp_path / "t.parquet", audio=False).golds[0].choices == ("dog", "(B) cat")


def test_mmsu_has_options_in_columns_and_two_tasks_here(tmp_path: Path) -> None:
    rows = [mmsu_row(0), mmsu_row(1, choice_a=None, choice_c=None), mmsu_row(2, choice_a=3, choice_b=2, answer_gt=2)]
    path = write_json(tmp_path / "mmsu.jsonl", rows)
    golds = load_benchmark("mmsu", path).golds
    assert [gold.choices for gold in golds] == [
        ("Scottish", "Irish", "Welsh", "None"), ("Irish", "None"), ("3", "2", "Welsh", "None"),
    ]  # fmt: skip
    assert [gold.answer for gold in golds] == ["Irish", "Irish", "2"]
    assert {gold.task for gold in golds} == {"speech"}
    assert [(gold.category, gold.sub_category) for gold in golds[:2]] == [
        ("Perception", "accent"),
        ("Reasoning", "intonation"),
    ]
    embedded = [{**row, "audio": {"bytes": b"RIFFx", "path": f"accent_{n}.wav"}} for n, row in enumerate(rows[:2])]
    for row in embedded:
        del row["audio_path"]
    (tmp_path / "train-00000.parquet").write_bytes(parquet(embedded))
    assert load_benchmark("mmsu", tmp_path / "train-00000.parquet", audio=False).golds == golds[:2]
    for changes, message in (
        ({"choice_a": ["x"]}, "expected text or nothing in 'choice_a'"),
        ({"answer_gt": None}, "with text in 'answer_gt'"),
        ({"audio_path": ["x"]}, "expected text in 'audio_path'"),
        ({"choice_b": None, "choice_c": "", "choice_d": None}, "two or more non-empty choices"),
    ):
        with pytest.raises(BenchmarkError, match=message):
            load_benchmark("mmsu", write_json(tmp_path / "bad.jsonl", [mmsu_row(0, **changes)]))


def _pro(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "test.parquet"
    path.write_bytes(parquet(rows))
    return path


def test_the_closed_form_of_mmau_pro_and_what_is_left_out_of_it(tmp_path: Path) -> None:
    path = _pro(
        tmp_path,
        mmau_pro_row(0),
        mmau_pro_row(1, category="sound_music_speech", **{"sub-cat": "Scenes"}),
        mmau_pro_row(2, category="voice_chat", choices=["a", "", "b"], answer="a"),
        mmau_pro_row(3, category="spatial_audio", answer="something else"),
        mmau_pro_row(4, category="open", choices=None),
        mmau_pro_row(5, category="instruction following", answer=None),
        mmau_pro_row(6, category="multi", audio_path=["data/a.wav", "data/b.wav"]),
        mmau_pro_row(7, choices=["only"]),
        mmau_pro_row(8, answer=None),
    )
    benchmark = load_benchmark("mmau-pro", path)
    assert [gold.id for gold in benchmark.golds] == ["p0", "p1", "p2", "p3", "p6"]
    mix, blank = "sound+music+speech", "not stated"
    assert [gold.task for gold in benchmark.golds] == ["sound", mix, "speech", mix, mix]
    assert [gold.category for gold in benchmark.golds] == [
        "sound", "sound_music_speech", "voice_chat", "spatial_audio", "multi"
    ]  # fmt: skip
    assert [gold.sub_category for gold in benchmark.golds] == [blank, "Scenes", blank, blank, blank]
    assert benchmark.golds[2].choices == ("a", "b")
    assert [gold.gradable for gold in benchmark.golds] == [True, True, True, False, True]
    assert benchmark.golds[4].recordings == ("data/a.wav", "data/b.wav")
    assert benchmark.notes[-1] == (
        "5 of 9 rows are asked; left out are 1 instruction following, 1 open-ended, 1 with fewer than two options, "
        "1 without an answer"
    )
    with pytest.raises(
        BenchmarkError, match=r"'audio_path': expected a name for each of 2 recordings, found '' for number 2"
    ):
        load_benchmark("mmau-pro", _pro(tmp_path, mmau_pro_row(0, audio_path=["a.wav", ""])))
    with pytest.raises(BenchmarkError, match=r"expected a category of MMAU-Pro .*found 'smell'"):
        load_benchmark("mmau-pro", _pro(tmp_path, mmau_pro_row(0, category="smell")))
    with pytest.raises(BenchmarkError, match="expected multiple-choice questions, found 1 open-ended"):
        load_benchmark("mmau-pro", _pro(tmp_path, mmau_pro_row(0, category="open")))


def test_labels_that_only_some_rows_have_are_completed_so_that_groups_add_up(tmp_path: Path) -> None:
    rows = [mmau_row(0, difficulty=None), mmau_row(1, category=""), mmau_row(2)]
    benchmark = load_benchmark("mmau-test-mini", write_json(tmp_path / "q.json", rows))
    assert [gold.category for gold in benchmark.golds] == ["Reasoning", "not stated", "Reasoning"]
    assert {gold.difficulty for gold in benchmark.golds} == {""}
    assert {question.difficulty for question in benchmark.questions} == {None}
    assert "only 2 of 3 questions state a difficulty, so it is left out" in benchmark.notes


@pytest.mark.parametrize("name", ["mmau-test-mini", "mmau-test", "mmar", "mmsu", "mmau-pro"])
def test_files_of_another_kind_are_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match="does not exist"):
        load_benchmark(name, tmp_path / "no.json")
    with pytest.raises(BenchmarkError, match="with text in"):
        load_benchmark(name, write_json(tmp_path / "other.json", [{"hello": "world"}]))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BenchmarkError, match="expected Parquet"):
        load_benchmark(name, tmp_path / "bad.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchmarkError, match=f"expected the questions of '{name}' in it"):
        load_benchmark(name, tmp_path / "empty")
    with pytest.raises(InputError, match="takes no options"):
        load_benchmark(name, tmp_path / "other.json", colour="red")
    with pytest.raises(InputError, match="expected hub:owner/name"):
        load_benchmark(name, Path("hub:alone"))


def test_mmar_rows_that_are_none(tmp_path: Path) -> None:
    row = {"id": "a", "question": "What?", "choices": ["x", "y"], "answer": "x", "modality": "mix-speech-sound"}
    assert load_benchmark("mmar", write_json(tmp_path / "m.jsonl", [row])).golds[0].task == "sound+speech"
    for changes, message in (
        ({"modality": None}, "MMAR's keys"),
        ({"modality": "smell"}, "in 'modality', found 'smell'"),
        ({"choices": "xy"}, "a list of"),
    ):
        with pytest.raises(BenchmarkError, match=message):
            load_benchmark("mmar", write_json(tmp_path / "m.jsonl", [{**row, **changes}]))
    stray = load_benchmark("mmar", write_json(tmp_path / "m.jsonl", [{**row, "answer": "x\ny"}]))
    assert stray.golds[0].answer == "x\ny"
    assert "1 of 1 questions have an answer that is not among their choices" in " ".join(stray.notes)
