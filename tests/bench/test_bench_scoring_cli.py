"""The command ``score``: several scorers, revisions and a judge at once, and one clear sentence for bad input."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sari_bench import cli
from sari_data.responder import Request, Response, Sampling, Usage

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run ``sari-bench score`` in an empty folder; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sari-bench", "score", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capfd.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return run


def _question(name: str, answer: str = "dog", choices: tuple[str, ...] = ("dog", "cat"), text: str = "What?") -> Any:
    return {"id": name, "question": text, "choices": list(choices), "answer": answer, "task": "sound"}


def _write(path: str, rows: list[Any]) -> str:
    Path(path).write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Two revisions of six questions, and predictions."""
    monkeypatch.chdir(tmp_path)
    old = [_question(name) for name in "abcdef"]
    new = [
        _question("a"),
        _question("b", "cat"),
        _question("c", "rain", ("rain", "cat")),
        _question("d", choices=("cat", "dog"), text="What else?"),
        _question("e"),
        _question("g"),
    ]
    said = {"a": "dog", "b": "dog", "c": "dog", "d": "A", "e": "dog or cat", "f": "dog", "z": "dog"}
    return {
        "old": _write("old.json", old),
        "new": _write("new.json", new),
        "said": _write("said.json", [{"id": key, "answer_prediction": text} for key, text in said.items()]),
    }


def test_one_prediction_file_on_both_revisions_of_mmau(call: Call, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mmau"
    files = [str(folder / f"mmau-test-mini.{version}.json") for version in ("v03.25.25", "v05.15.25")]
    arguments = ("--questions", files[0], "--questions", files[1], "--predictions", f"{folder}/predictions/r1-aqa.json")
    code, printed, _ = call(*arguments, "--all-scorers", "--json", "--changes", "c.csv", "--disagreements", "d.jsonl")
    assert code == 0
    body = json.loads(printed)
    old, new = body["revisions"]["v03.25.25"], body["revisions"]["v05.15.25"]
    assert (old["official"]["correct"], old["official"]["n"], old["official"]["accuracy"]) == (645, 1000, 64.5)
    assert (new["official"]["correct"], new["official"]["n"], new["official"]["accuracy"]) == (520, 894, 58.17)
    assert new["official"]["honest"] == {"n": 1000, "correct": 520, "accuracy": 52.0}
    speech = new["official"]["by"]["task"]["speech"]
    assert (speech["n"], speech["honest"]["n"], speech["honest"]["accuracy"]) == (227, 333, 37.24)
    official = next(one for one in body["changes"] if one["scorer"] == "official")
    assert official["why"]["question removed"] == official["why"]["question added"] == 106
    assert official["outcomes"] == {"correct to wrong": 94, "wrong to correct": 23}
    assert len(official["questions"]) == 106 + 106 + 94 + 23
    # What was right before and is not now, and the reverse, is what lies between the totals.
    gone = sum(one["before"] == "correct" and one["after"] is None for one in official["questions"])
    assert 645 - 94 - gone + 23 == 520
    with Path("c.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(one["questions"]) for one in body["changes"])
    counted = sum(one["disagreements"]["answers"] for one in body["revisions"].values())
    assert counted == len(Path("d.jsonl").read_text(encoding="utf-8").splitlines())


def test_why_a_verdict_changed(call: Call, toy: dict[str, str]) -> None:
    arguments = ("--questions", toy["old"], "--questions", toy["new"], "--predictions", toy["said"])
    code, printed, _ = call(*arguments, "--json")
    assert code == 0
    (found,) = json.loads(printed)["changes"]
    moved = {one["id"]: (one["before"], one["after"], one["why"]) for one in found["questions"]}
    assert moved == {
        "b": ("correct", "wrong", "gold changed"),
        "c": ("correct", "unparsed", "gold changed; options changed"),
        "d": ("correct", "wrong", "options in another order; text changed"),
        "f": ("correct", None, "question removed"),
        "g": (None, "missing", "question added"),
    }
    code, printed, said = call(*arguments, "--all-scorers")
    assert code == 0
    assert "the verdict changed on 5 questions" in printed
    assert "official, over all questions" in printed
    assert "1 predictions have an id that is not in the benchmark" in said


def test_disagreements_are_written_in_full(call: Call, toy: dict[str, str]) -> None:
    arguments = ("--questions", toy["old"], "--predictions", toy["said"], "--scorer", "answer", "--scorer", "official")
    code, printed, _ = call(*arguments, "--disagreements", "-")
    assert code == 0
    rows = {row["id"]: row for row in map(json.loads, printed.splitlines())}
    assert sorted(rows) == ["d", "e"]
    assert (rows["d"]["answer_outcome"], rows["d"]["official_outcome"]) == ("correct", "wrong")
    assert (rows["d"]["answer_read"], rows["d"]["response"]) == ("dog", "A")
    assert (rows["d"]["about_right"], rows["e"]["about_right"]) == (True, False)
    code, printed, _ = call(*arguments, "--disagreements", "d.csv")
    assert code == 0
    assert "answer and official differ on 2 of 6 answers, on 1 in whether they are right" in printed
    assert "d: answer: correct (dog); official: wrong (no option's words are all there)" in printed
    with Path("d.csv").open(newline="", encoding="utf-8") as file:
        assert [row["choices"] for row in csv.DictReader(file)] == ['["dog", "cat"]'] * 2
    body = json.loads(call(*arguments, "--json")[1])
    assert sorted(body) == ["answer", "official"], "one entry for each scorer, as before"
    body = json.loads(call(*arguments, "--json", "--disagreements", "d.csv")[1])
    assert body["disagreements"]["pairs"] == [{"scorers": ["answer", "official"], "answers": 2, "about_right": 1}]


def test_a_judge_from_the_command_line(call: Call, toy: dict[str, str]) -> None:
    said = [{"id": name, "text": "<answer>A</answer>"} for name in "abcdefg"]
    Path("verdicts.jsonl").write_text("\n".join(map(json.dumps, said)), encoding="utf-8")
    arguments = ("--questions", toy["old"], "--predictions", toy["said"])
    code, printed, told = call(*arguments, "--judge", "scripted", "--judge-option", "path=verdicts.jsonl", "--json")
    assert code == 0, told
    assert json.loads(printed)["correct"] == 6
    assert "3 verdicts asked for, 0 were there already" in told, "one for each question, options and response"
    assert len(list(Path("said.judge").glob("*.jsonl"))) == 1
    Path("verdicts.jsonl").unlink()
    code, printed, told = call(*arguments, "--all-scorers", "--json")
    assert code == 0
    assert list(json.loads(printed)) == ["answer", "official", "letter", "judge"]
    assert json.loads(printed)["judge"]["correct"] == 6
    code, _, told = call("--questions", toy["new"], "--predictions", toy["said"], "--scorer", "judge")
    assert code == 2
    assert "has no verdict on the response to" in told


class Metered:
    """A judge that counts what it uses."""

    name = "metered"

    def __init__(self) -> None:
        self.usage = Usage(cost=0.0)

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        for request in requests:
            self.usage.requests += 1
            self.usage.cost = (self.usage.cost or 0.0) + 0.25
            yield Response(request.id, 0, "A", "stop")


def test_what_a_judge_used_is_printed(call: Call, toy: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sari_data.responder.load_responder", lambda name, **options: Metered())
    code, _, told = call("--questions", toy["old"], "--predictions", toy["said"], "--judge", "metered")
    assert code == 0
    assert "metered: 3 verdicts asked for (3 requests" in told
    assert "0.75" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scorer", "bleu"], "scorer 'bleu' is unknown; expected one of ['answer', 'official', 'letter', 'judge']"),
        (["--scorer", "judge"], "keeps none: let a model judge first, with 'sari-bench score --judge RESPONDER'"),
        (["--judge", "nobody"], "responder 'nobody' is not registered"),
        (["--judge", "scripted", "--judge-option", "x"], "--judge-option x: expected key=value"),
        (["--judge", "scripted", "--judge-option", "nope=1"], "judge 'scripted' could not be made with the options"),
        (["--judge-only", "some", "--judge", "scripted"], "--judge-only must be all or unread; found 'some'"),
        (["--judge-name", "x", "--scorer", "judge"], "no verdicts of judge 'x'"),
        (["--changes", "c.csv"], "--changes compares revisions: give --questions twice or more"),
        (["--disagreements", "d.csv"], "--disagreements compares scorers"),
        (["--all-scorers", "--disagreements", "d.txt"], "expected a name that ends in .csv or .jsonl"),
        (["--all-scorers", "--disagreements", "-", "--json"], "both write to standard output"),
        (["--questions", "old.json"], "hold the same revision: give each once"),
        (["--run", "runs"], "give a file of predictions or a run folder, once"),
    ],
)
def test_wrong_usage_is_one_sentence(call: Call, toy: dict[str, str], arguments: list[str], message: str) -> None:
    code, printed, said = call("--questions", toy["old"], "--predictions", toy["said"], *arguments)
    assert (code, printed) == (2, "")
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_predictions_under_two_of_three_keys_that_differ(call: Call, toy: dict[str, str]) -> None:
    rows = [{"id": "a", "model_output": "x", "model_prediction": "x", "answer_prediction": "y"}]
    code, _, said = call("--questions", toy["old"], "--predictions", _write("p.json", rows))
    assert code == 2
    assert "'model_prediction' and 'answer_prediction' differ ('x' and 'y')" in said
