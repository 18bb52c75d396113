"""Submissions: every question once, none extra, none empty, and never a guess."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_toys import right

from sari_bench.benchmarks import benchmark_module, benchmark_names, load_benchmark
from sari_bench.benchmarks.base import Benchmark
from sari_bench.predictions import read_predictions
from sari_bench.reporting import submit
from sari_bench.reporting.hub_results import DATASETS
from sari_bench.reporting.submit import make_submission
from sari_bench.running.runs import Run
from sari_bench.scoring import Answer
from sari_data.errors import InputError

Of = Callable[[int], Benchmark]
Runs = Callable[..., Run]
Command = Callable[..., tuple[int, str, str]]

ROWS = [
    {
        "id": f"m{index}",
        "audio_id": f"./test-audios/m{index}.wav",
        "question": "What is heard?",
        "choices": ["dog", "cat", "a bell"],
        "answer": "dog",
        "task": task,
        "category": "Reasoning",
        "sub-category": "Counting",
        "difficulty": "easy",
        "dataset": "a column that sari does not know",
    }
    for index, task in enumerate(("sound", "music", "speech", "sound"))
]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, empty_folder: Path) -> Path:
    """A folder with a question file of four rows that counts as the whole benchmark."""
    monkeypatch.setattr(submit, "COUNTS", {"mmau-test-mini": 4})
    (empty_folder / "q.json").write_text(json.dumps(ROWS), encoding="utf-8")
    return empty_folder


def _submit(run_command: Command, folder: Path, said: list[dict[str, Any]], *options: str) -> tuple[int, str, str]:
    (folder / "p.json").write_text(json.dumps(said), encoding="utf-8")
    arguments = ("--benchmark", "mmau-test-mini", "--questions", folder / "q.json", "--predictions", folder / "p.json")
    return run_command("sari-bench", "submit", *map(str, arguments), *options)


def _written(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
    return rows


SAID = [
    {"id": "m3", "model_output": "(c)"},
    {"id": "m1", "model_output": "I cannot tell"},
    {"id": "m0", "model_output": "<answer>cat</answer>"},
    {"id": "m2", "model_output": "The answer is: a bell"},
]


def test_the_file_is_the_published_rows_with_the_option_that_was_read(run_command: Command, few: Path) -> None:
    code, printed, said = _submit(run_command, few, SAID)
    assert code == 0, said
    rows = _written(few)
    assert [row["model_prediction"] for row in rows] == ["cat", "I cannot tell", "a bell", "a bell"]
    assert all(row["model_output"] == row["model_prediction"] for row in rows)
    kept = [{k: v for k, v in row.items() if not k.startswith("model_")} for row in rows]
    assert kept == ROWS, "the published rows are as they were, in their order"
    assert "4 questions (sound 2, music 1, speech 1)" in printed
    assert "of these 1 without an option that could be read" in printed
    assert {row["id"]: row["model_prediction"] for row in rows} == read_predictions(few / "submission.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (SAID[:2], "2 of 4 questions have no answer: m0, m2"),
        (
            [{**row, "model_output": " "} if row["id"] == "m0" else row for row in SAID],
            "1 of 4 questions have no answer",
        ),
        ([*SAID, {"id": "x", "model_output": "dog"}], "1 answers are to ids that the benchmark does not have: x"),
    ],
)
def test_an_incomplete_file_is_not_written(
    run_command: Command, few: Path, change: list[dict[str, Any]], message: str
) -> None:
    code, printed, said = _submit(run_command, few, change, "--json")
    body = json.loads(printed)
    assert (code, body["complete"], body["file"]) == (1, False, None)
    assert f"incomplete: {message}" in said
    assert not (few / "submission.json").exists()
    code, printed, said = _submit(run_command, few, change, "--json", "--allow-missing")
    assert (code, json.loads(printed)["complete"]) == (1, False)
    missing = set(body["missing"])
    assert {row["id"] for row in _written(few) if not row["model_prediction"]} == missing
    assert len(_written(few)) == 4


def test_a_part_of_the_benchmark_is_no_submission(run_command: Command, few: Path) -> None:
    (few / "q.json").write_text(json.dumps(ROWS[:3]), encoding="utf-8")
    code, _, said = _submit(run_command, few, SAID[1:])
    assert code == 1
    assert "mmau-test-mini has 4 questions, these are 3" in said


def test_raw_and_bare(run_command: Command, few: Path) -> None:
    assert _submit(run_command, few, SAID, "--raw", "--bare")[0] == 0
    assert _written(few)[0] == {
        "id": "m0",
        "model_prediction": "<answer>cat</answer>",
        "model_output": "<answer>cat</answer>",
    }


def test_a_run_is_submitted_without_its_question_file(
    run_command: Command, benchmark_of: Of, run_of: Runs, empty_folder: Path
) -> None:
    run = run_of(benchmark_of(5), lambda q: right(q) if q.id != "q002" else "<think>hm</think><answer>a lion</answer>")
    code, printed, said = run_command("sari-bench", "submit", run.folder, "--out", "to/file.json", "--json")
    assert code == 0, said
    rows = json.loads((empty_folder / "to" / "file.json").read_text(encoding="utf-8"))
    assert [row["model_prediction"] for row in rows] == ["dog", "cat", "a lion", "bell", "dog"]
    assert rows[1]["choices"] == ["dog", "cat", "rain", "bell"]
    assert json.loads(printed)["unread"] == ["q002"]


def test_samples_vote(benchmark_of: Of) -> None:
    benchmark = benchmark_of(3)
    said = {"q000": ("A", "B", "B"), "q001": ("C", "no idea", "D"), "q002": ("no idea", "none", "?")}
    answers = {key: [Answer(key, text, sample) for sample, text in enumerate(texts)] for key, texts in said.items()}
    found = make_submission(benchmark, answers)
    assert [row["model_prediction"] for row in found.rows] == ["cat", "rain", "no idea"]
    assert (found.ties, found.unread) == (("q001",), ("q002",))
    first = make_submission(benchmark, answers, sample=0)
    assert [row["model_prediction"] for row in first.rows] == ["dog", "rain", "no idea"]
    with pytest.raises(InputError, match="choose one with --sample 0"):
        make_submission(benchmark, answers, raw=True)
    assert make_submission(benchmark, answers, sample=9).missing == ("q000", "q001", "q002")


def test_mmar_names_other_keys(benchmark_of: Of, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    benchmark = replace(benchmark_of(1), name="mmar")
    (row,) = make_submission(benchmark, {"q000": [Answer("q000", "A")]}, bare=True).rows
    assert row == {"id": "q000", "model_prediction": "dog", "answer_prediction": "dog"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a run folder or --predictions FILE"),
        (["nowhere", "--predictions", "p.json"], "give either a run folder or --predictions FILE"),
        (["--predictions", "p.json"], "give --questions with the published file"),
        (["nowhere"], "is not a run folder"),
    ],
)
def test_wrong_usage_is_one_sentence(run_command: Command, few: Path, arguments: list[str], message: str) -> None:
    code, _, said = run_command("sari-bench", "submit", *arguments)
    assert code == 2
    assert message in said
    assert "Traceback" not in said


def test_another_versions_question_file_is_refused(run_command: Command, run_of: Runs, few: Path) -> None:
    for row in ROWS:
        path = few / str(row["audio_id"])
        path.parent.mkdir(exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", "not compressed"))
            file.writeframes(bytes(3200))
    run = run_of(load_benchmark("mmau-test-mini", few / "q.json"), lambda q: "A")
    code, _, said = run_command("sari-bench", "submit", run.folder, "--questions", few / "q.json")
    assert code == 0, said
    assert _written(few)[0]["dataset"] == ROWS[0]["dataset"]
    changed = [{**ROWS[0], "question": "What else is heard?"}, *ROWS[1:]]
    (few / "q.json").write_text(json.dumps(changed), encoding="utf-8")
    code, _, said = run_command("sari-bench", "submit", run.folder, "--questions", few / "q.json")
    assert code == 2
    assert "give the file of the run's version" in said


def test_mmau_test_has_no_answers_and_is_submitted_all_the_same(
    run_command: Command, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "COUNTS", {"mmau-test": 4})
    (few / "q.json").write_text(json.dumps([{**row, "answer": ""} for row in ROWS]), encoding="utf-8")
    (few / "p.json").write_text(json.dumps(SAID), encoding="utf-8")
    code, printed, said = run_command("sari-bench", "submit", "--predictions", "p.json", "--questions", "q.json")
    assert code == 0, said
    assert printed.startswith("mmau-test (")
    assert [(row["id"], row["answer"], row["model_prediction"]) for row in _written(few)][:2] == [
        ("m0", "", "cat"),
        ("m1", "", "I cannot tell"),
    ]


def test_real_predictions(run_command: Command, shared_data: Path, empty_folder: Path) -> None:
    folder = shared_data / "mmau"
    predictions = folder / "predictions" / "r1-aqa.json"
    for version, missing in (("v03.25.25", 0), ("v05.15.25", 106)):
        questions = folder / f"mmau-test-mini.{version}.json"
        arguments = ("--benchmark", "mmau-test-mini", "--questions", questions, "--predictions", predictions, "--json")
        code, printed, _ = run_command("sari-bench", "submit", *arguments)
        body = json.loads(printed)
        assert (code, body["n"], len(body["missing"]), body["version"]) == (int(missing > 0), 1000, missing, version)
        assert sum(body["task"].values()) == 1000
    assert len(_written(empty_folder)) == 1000


def test_what_is_said_of_a_benchmark_in_two_places_is_the_same() -> None:
    known = {name: benchmark_module(name) for name in benchmark_names()}
    assert {n: m.QUESTIONS for n, m in known.items() if m.HUB and m.QUESTIONS} == submit.COUNTS
    assert {n: m.HUB for n, m in known.items() if m.HUB} == {n: repo for n, (repo, _, _) in DATASETS.items()}
