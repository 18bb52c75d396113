"""Benchmarks: revisions known by content, rows as they are published, held-out scenes, corpus splits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sari_bench.benchmarks import benchmark_module, benchmark_names, load_benchmark
from sari_bench.benchmarks.base import Benchmark, Gold, digest_of
from sari_bench.benchmarks.scenes import SEED, HeldOut
from sari_data.errors import BenchmarkError, InputError, MissingFileError

ROW = {
    "id": "a",
    "audio_id": "./test-mini-audios/a.wav",
    "question": "What is heard?",
    "choices": ["dog", "cat", "dog"],
    "answer": "dog",
    "task": "sound",
    "category": ["Reasoning"],
    "sub-category": "Counting",
    "difficulty": "easy",
}


def _write(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_published_oddities_are_read_as_they_are(tmp_path: Path) -> None:
    benchmark = load_benchmark("mmau-test-mini", _write(tmp_path, ROW), tmp_path / "audio")
    gold = benchmark.golds[0]
    assert gold.category == "Reasoning"
    assert gold.choices == ("dog", "cat", "dog")
    assert benchmark.questions[0].audio.path == str(tmp_path / "audio" / "test-mini-audios" / "a.wav")
    assert benchmark.version == benchmark.digest[:12]
    assert "shares no question with the registered ones (v03.25.25, v05.15.25)" in benchmark.notes[0]


def test_a_gold_outside_the_choices_is_kept_and_said(tmp_path: Path) -> None:
    benchmark = load_benchmark("mmau-test-mini", _write(tmp_path, ROW, {**ROW, "id": "b", "answer": "a dog"}))
    assert [question.answer for question in benchmark.questions] == ["dog", None]
    assert [gold.answer for gold in benchmark.golds] == ["dog", "a dog"]
    assert "1 of 2 questions have an answer that is not among their choices" in benchmark.notes[1]


def test_a_revision_is_its_content_not_its_file(shared_data: Path, tmp_path: Path) -> None:
    rows = json.loads((shared_data / "mmau" / "mmau-test-mini.v05.15.25.json").read_text(encoding="utf-8"))
    lines = "\n".join(json.dumps({**row, "model_prediction": "x"}) for row in reversed(rows))
    path = tmp_path / "other.jsonl"
    path.write_text(lines, encoding="utf-8")
    assert load_benchmark("mmau-test-mini", path).version == "v05.15.25"
    rows[0]["answer"] = rows[0]["choices"][1]
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert load_benchmark("mmau-test-mini", path).version != "v05.15.25"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{**ROW, "choices": "dog"}], "row 0: expected 'choices' to be a list of texts, found 'dog'"),
        ([{**ROW, "choices": ["dog"]}], "two or more non-empty choices"),
        ([{**ROW, "task": "smell"}], "domain must be one of"),
        ([{**ROW, "difficulty": "brutal"}], "difficulty must be one of"),
        ([{**ROW, "category": 3}], "expected text in 'category', found 3"),
        ([{"id": "a"}], "with text in 'question', found None"),
        ([ROW, ROW], "id 'a' twice"),
        ([], "holds no questions"),
        ([3], "found a number at position 0"),
    ],
)
def test_rows_that_are_not_mmaus(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        load_benchmark("mmau-test-mini", _write(tmp_path, *rows))


def test_what_is_lacking_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="give --questions"):
        load_benchmark("mmau-test-mini")
    with pytest.raises(MissingFileError, match="does not exist"):
        load_benchmark("mmau-test-mini", tmp_path / "no.json")
    with pytest.raises(InputError, match=r"benchmark 'mmlu' is unknown; expected mmar, .* did you mean 'mmsu'"):
        load_benchmark("mmlu")
    with pytest.raises(InputError, match="is generated: leave --questions"):
        load_benchmark("scenes", tmp_path / "no.json")


def test_every_benchmark_says_what_it_is() -> None:
    for name in benchmark_names():
        module = benchmark_module(name)
        assert name == module.NAME
        assert all((module.SUMMARY, module.LICENCE, module.HOW_TO_GET))


def test_scenes_are_held_out_and_the_same_every_time() -> None:
    few = HeldOut(questions={"sound": 3, "music": 2, "speech": 2})
    first, again = (load_benchmark("scenes", scenes=few) for _ in range(2))
    other = load_benchmark("scenes", scenes=few, scenes_seed=SEED + 1)
    assert first == again
    assert first.digest != other.digest
    assert not {gold.id for gold in first.golds} & {gold.id for gold in other.golds}
    assert [sum(gold.task == task for gold in first.golds) for task in ("sound", "music", "speech")] == [3, 2, 2]


def test_recordings_ask_about_their_own_domain() -> None:
    with_recordings = HeldOut.model_validate({"recordings": {"folder": "x", "domain": "speech"}})
    assert with_recordings.questions == {"speech": 300}
    assert HeldOut().questions == {"sound": 300, "music": 300, "speech": 300}
    assert HeldOut().acoustics == "benchmark"


def test_held_out_recordings_of_a_speaker(shared_data: Path) -> None:
    recordings = {"folder": str(shared_data / "fsdd" / "recordings"), "pattern": r"(?P<label>\d)_(?P<voice>[a-z]+)_\d+"}
    options = HeldOut.model_validate(
        {"recordings": {**recordings, "only_voices": ["theo"]}, "questions": {"speech": 4}}
    )
    assert len(load_benchmark("scenes", scenes=options).golds) == 4


def test_a_corpus_split_is_a_benchmark(tmp_path: Path) -> None:
    from sari_data.store import write_corpus

    made = load_benchmark("scenes", scenes=HeldOut(questions={"sound": 2, "music": 1, "speech": 1}))
    write_corpus(tmp_path / "mine", {"dev": made.questions, "sft": [], "rl": []}, {}, card="A corpus.")
    found = load_benchmark(f"corpus:{tmp_path / 'mine'}#dev")
    assert found.name == "corpus:mine#dev"
    assert {gold.id for gold in found.golds} == {gold.id for gold in made.golds}
    with pytest.raises(BenchmarkError, match="names no folder"):
        load_benchmark("corpus:")


def test_a_limit_draws_the_same_questions_of_every_kind(benchmark_of: Callable[[int], Benchmark]) -> None:
    whole = benchmark_of(60)
    part = whole.limit(20)
    assert part == whole.limit(20)
    assert len(part.golds) == len(part.questions) == 20
    assert {gold.task for gold in part.golds} == {"sound", "music", "speech"}
    assert part.digest != whole.digest
    assert part.version == f"{whole.version}, 20 of 60"
    assert whole.limit(None) is whole
    assert whole.limit(99) is whole


def test_the_digest_covers_what_is_asked_and_no_order(benchmark_of: Callable[[int], Benchmark]) -> None:
    golds = benchmark_of(4).golds
    assert digest_of(golds) == digest_of(reversed(golds))
    row = golds[0].to_row()
    for field in row:
        changed = {**row, field: ["dog", "cat"] if field == "choices" else f"{row[field]}!"}
        same = digest_of([Gold.from_row(changed, "here"), *golds[1:]]) == digest_of(golds)
        assert same is (field == "clip"), field  # where the audio lies on this machine is no part of a version
