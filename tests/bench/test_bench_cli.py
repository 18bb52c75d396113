"""The command: what it prints, how it ends, and one clear sentence for bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_toys import right, wrong

from sari_bench.benchmarks.base import Benchmark
from sari_bench.benchmarks.scenes import HeldOut, load
from sari_bench.running import measure
from sari_bench.running.runs import Run
from sari_data.responders.scripted import ScriptedResponder

QUESTIONS = [
    {
        "id": f"m{index}",
        "question": "What is heard?",
        "choices": ["dog", "cat"],
        "answer": "dog",
        "task": task,
        "category": "Reasoning",
        "sub-category": "Counting",
        "difficulty": "easy",
    }
    for index, task in enumerate(("sound", "music", "speech", "sound"))
]
FEW = "{sound = 2, music = 2, speech = 2}"


Call = Callable[..., tuple[int, str, str]]


def _file(tmp_path: Path, name: str, body: Any) -> str:
    path = tmp_path / name
    path.write_text(body if isinstance(body, str) else json.dumps(body), encoding="utf-8")
    return str(path)


def test_score_official_on_real_predictions(sari_bench: Call, shared_data: Path) -> None:
    folder = shared_data / "mmau"
    code, printed, _ = sari_bench(
        "score", "--benchmark", "mmau-test-mini", "--questions", str(folder / "mmau-test-mini.v05.15.25.json"),
        "--predictions", str(folder / "predictions" / "r1-aqa.json"), "--scorer", "official", "--json",
    )  # fmt: skip
    body = json.loads(printed)
    assert code == 0
    assert (body["n"], body["correct"], body["accuracy"]) == (894, 520, 58.17)
    assert {key: body["by"]["task"]["speech"][key] for key in ("n", "correct", "accuracy")} == {
        "n": 227,
        "correct": 124,
        "accuracy": 54.63,
    }
    assert {"task", "difficulty", "sub-category"} <= set(body["by"])
    assert body["outcomes"]["missing"] == 106


@pytest.mark.parametrize("form", ["list", "lines", "rows", "other key"])
def test_predictions_come_in_several_forms(sari_bench: Call, tmp_path: Path, form: str) -> None:
    said: list[dict[str, Any]] = [
        {"id": "m0", "model_prediction": "dog"},
        {"id": "m1", "model_prediction": "cat"},
        {"id": "m2"},
        {"id": "m3", "model_prediction": None},
    ]
    if form == "rows":
        said = [{**question, **row} for question, row in zip(QUESTIONS, said, strict=True)]
    if form == "other key":
        said = [{k.replace("model_prediction", "model_output"): v for k, v in row.items()} for row in said]
    text = "\n".join(map(json.dumps, said)) if form == "lines" else json.dumps(said)
    arguments = ("--questions", _file(tmp_path, "q.json", QUESTIONS), "--predictions", _file(tmp_path, "p.json", text))
    for scorer, n in (("official", 2), ("answer", 4)):
        code, printed, _ = sari_bench("score", *arguments, "--scorer", scorer, "--json")
        body = json.loads(printed)
        assert (code, body["n"], body["correct"], body["outcomes"]["missing"]) == (0, n, 1, 2)
    both = json.loads(sari_bench("score", *arguments, "--scorer", "official", "--scorer", "answer", "--json")[1])
    assert [both["official"]["n"], both["answer"]["n"]] == [2, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "found text that is neither"),
        ("", "found an empty file"),
        ('{"m0": "dog"}', "found a JSON object"),
        ('"dog"', "found a JSON string"),
        ('["dog"]', "found a string at position 0"),
        ('[{"id": "m0", "prediction": "dog"}]', "found none of them in any of 1 rows"),
        ('[{"ID": "m0", "model_output": "dog"}]', "with id None"),
        ('[{"id": "m0", "model_output": 3}]', "expected a prediction that is text, found 3"),
        ('[{"id": "m0", "model_output": "a", "model_prediction": "b"}]', "differ"),
        ('[{"id": "m0", "model_output": "a"}, {"id": "m0", "model_output": "b"}]', "id 'm0' stands twice"),
        ('{"id": "m0", "model_output": "a"}\n{"id": "m1", ', "line 2"),
        ("[" * 100_000, "found text that is neither"),
        ('[{"id": "\\ud800", "model_output": "x"}]', "half a character"),
    ],
)
def test_bad_predictions_are_one_sentence(sari_bench: Call, tmp_path: Path, text: str, message: str) -> None:
    questions, predictions = _file(tmp_path, "q.json", QUESTIONS), _file(tmp_path, "p.json", text)
    code, printed, said = sari_bench("score", "--questions", questions, "--predictions", predictions, "--json")
    assert (code, printed) == (2, "")
    assert said.startswith("error: ")
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert "Traceback" not in said


def test_a_benchmark_file_that_is_not_json(sari_bench: Call, tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_bytes(b"\xff\xfe\x00junk")
    code, _, said = sari_bench("score", "--questions", str(path), "--predictions", _file(tmp_path, "p.json", []))
    assert code == 2
    assert "MMAU questions" in said or "predictions" in said
    code, _, said = sari_bench(
        "score",
        "--questions",
        str(path),
        "--predictions",
        _file(tmp_path, "p.json", [{"id": "a", "model_output": "x"}]),
    )
    assert code == 2
    assert "bytes that are not UTF-8" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score"], "give a file of predictions or a run folder, once"),
        (["report"], "there is no run in ./runs"),
        (["report", "nowhere"], "there is nothing of that name"),
        (["compare", "a", "b"], "is not a run folder"),
        (["run", "--benchmark", "mmlu"], "benchmark 'mmlu' is unknown"),
        (["run", "--set", "bench.mod=x", "--set", "bench.limit=0", "--set", "bench.scenes.second=1"], "3 problems"),
        (["run", "--responder", "nobody", "--set", f"bench.scenes.questions={FEW}"], "responder 'nobody'"),
        (["run", "--mode", "direct", "--responder", "scripted", "--set", f"bench.scenes.questions={FEW}"], "scripted"),
        (["run", "--samples", "99999999999999999999"], "bench.samples: input should be less than or equal to 10000"),
        (
            [
                "run",
                "--responder",
                "scripted",
                "--responder-option",
                "nope=1",
                "--set",
                f"bench.scenes.questions={FEW}",
            ],
            "options ['nope'] (it has no option 'nope', only answers, name, path): correct --responder-option",
        ),
        (["run", "--name", "../up", "--set", f"bench.scenes.questions={FEW}"], "the name of one folder"),
    ],
)
def test_wrong_usage_is_one_sentence(sari_bench: Call, arguments: list[str], message: str) -> None:
    code, printed, said = sari_bench(*arguments)
    assert (code, printed) == (2, "")
    assert message in said
    assert "Traceback" not in said


def _recorded(tmp_path: Path, right_ones: int) -> str:
    benchmark = load(None, None, scenes=HeldOut(questions={"sound": 2, "music": 2, "speech": 2}))
    rows = [
        {"id": question.id, "text": right(question) if index < right_ones else wrong(question)}
        for index, question in enumerate(benchmark.questions)
    ]
    return _file(tmp_path, f"answers{right_ones}.jsonl", "\n".join(map(json.dumps, rows)))


def test_run_report_compare(sari_bench: Call, tmp_path: Path) -> None:
    for name, right_ones in (("base", 1), ("sari", 5)):
        code, printed, _ = sari_bench(
            "run", "--responder", "scripted", "--responder-option", f"path={_recorded(tmp_path, right_ones)}",
            "--mode", "direct", "--name", f"{name}@direct", "--set", f"bench.scenes.questions={FEW}", "--json",
        )  # fmt: skip
        assert code == 0
        assert json.loads(printed)["correct"] == right_ones
    folder = tmp_path / "runs" / "scenes" / "sari@direct"
    recorded = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    assert recorded["bench"]["mode"] == "direct"
    code, printed, _ = sari_bench("report", "--leaderboard", "--json", "--html", "r.html", "--markdown", "r.md")
    body = json.loads(printed)
    assert [entry["correct"] for entry in body["boards"][0]["entries"]] == [5, 1]
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "sari@direct" in (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "sari@direct cannot be told from base@direct: 16.67 to 83.33 %" in sari_bench("report", "--leaderboard")[1]
    code, printed, _ = sari_bench("report")
    assert code == 0
    assert "by sub-category" in printed
    both = ("runs/scenes/base@direct", "runs/scenes/sari@direct")
    code, printed, _ = sari_bench("compare", *both, "--transcript")
    assert code == 0
    assert "+66.67 points" in printed
    assert "before: base@direct, wrong" in printed
    assert json.loads(sari_bench("compare", *both, "--json")[1])["overall"]["won"] == 4
    assert json.loads(sari_bench("score", "--run", both[1], "--scorer", "official", "--json")[1])["correct"] == 5


def test_list_names_versions_licences_and_ways_to_get_them(sari_bench: Call) -> None:
    code, printed, _ = sari_bench("list", "--json")
    listed = {entry["name"]: entry for entry in json.loads(printed)["benchmarks"]}
    assert code == 0
    assert listed["mmau-test-mini"]["versions"] == ["v03.25.25", "v05.15.25"]
    assert all(entry["licence"] and entry["how_to_get"] for entry in listed.values())
    assert "scenes" in sari_bench("list")[1]


def test_the_bare_leaderboard_says_so_without_torch(sari_bench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "find_spec", lambda name: None)
    code, _, said = sari_bench("report", "--leaderboard")
    assert code == 2
    assert "install sari-audio[train]" in said


def test_the_bare_leaderboard_measures_what_is_there(
    sari_bench: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    broken = True

    def load_responder(name: str, **options: Any) -> ScriptedResponder:
        if broken and options["model"] != "tiny":
            raise KeyboardInterrupt
        asked.append((name, options["model"]))
        return ScriptedResponder(lambda request, sample: "<answer>A</answer>", name=options["model"])

    monkeypatch.setattr(measure, "load_responder", load_responder)
    folder = tmp_path / "checkpoints" / "sft"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "recipe.json").write_text('{"sft": {"mode": "unstructured"}}', encoding="utf-8")
    few = ("--set", f"bench.scenes.questions={FEW}")
    code, _, said = sari_bench("report", "--leaderboard", *few)
    assert code == 130
    assert "there is no run in ./runs, so what is here is measured first" in said
    broken = False
    code, printed, said = sari_bench("report", "--leaderboard", "--json", *few)
    assert code == 0, said
    assert "was stopped before its end; it goes on" in said
    assert "tiny@direct: all " in said
    assert asked == [("local", "tiny"), ("local", "tiny"), ("local", "checkpoints/sft")]
    names = {entry["name"]: entry["mode"] for entry in json.loads(printed)["boards"][0]["entries"]}
    assert names == {"tiny@direct": "direct", "sft@unstructured": "unstructured"}
    assert "grpo: no checkpoint in ./checkpoints/grpo" in said
    code, _, said = sari_bench("report", "--leaderboard")
    assert code == 0
    assert "reporting what is in ./runs" in said
    assert len(asked) == 3, "what is there is not measured again"
    (folder / "recipe.json").write_text("{}", encoding="utf-8")
    (tmp_path / "runs").rename(tmp_path / "other")
    code, _, said = sari_bench("report", "--leaderboard", "--set", f"bench.scenes.questions={FEW}")
    assert code == 2
    assert "does not say in which mode sft was trained" in said


def test_a_run_older_than_its_model_is_said(
    benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run], tmp_path: Path
) -> None:
    run = run_of(benchmark_of(3), right)
    assert measure.stale_notes([run]) == []
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"newer")
    run.meta["model"]["path"] = str(model)
    later = (run.folder / "run.json").stat().st_mtime + 10
    os.utime(model / "model.safetensors", (later, later))
    assert "measured before its model folder was last written" in measure.stale_notes([run])[0]


def test_help_needs_neither_torch_nor_heavy_imports() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['sari-bench', '--help']\n"
        "from sari_bench.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'transformers', 'datasets', 'librosa', 'scipy', 'numpy', 'jinja2', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "leaderboard" in done.stdout or "report" in done.stdout
