"""What a newcomer types, and mistypes: the sentence says what was meant, and tables fit the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_toys import make_questions, right

from sari_bench.benchmarks.base import from_questions
from sari_bench.commands import output
from sari_bench.config import Bench
from sari_bench.reporting.report import DASH, to_table
from sari_bench.running.measure import measure
from sari_data.errors import BenchmarkError
from sari_data.responder import Request
from sari_data.responders.scripted import ScriptedResponder

Call = Callable[..., tuple[int, str, str]]
ROWS = [
    {"id": f"q{index}", "question": "What?", "choices": ["dog", "cat"], "answer": "dog", "task": "sound"}
    for index in range(4)
]
SAID = {"q0": "dog", "q1": "cat", "q2": "perhaps", "q3": "(A)"}


@pytest.fixture
def sari_bench(sari_bench: Call) -> Call:
    """Run the command in a folder with four questions and predictions; returns exit code and what was printed."""
    Path("questions.json").write_text(json.dumps(ROWS), encoding="utf-8")
    said = [{"id": name, "model_prediction": text} for name, text in SAID.items()]
    Path("said.json").write_text(json.dumps(said), encoding="utf-8")
    return sari_bench


def _run(folder: str, model: str = "m", *, stopped: bool = False) -> None:
    questions = make_questions(4)
    said = {question.id: right(question) for question in questions}

    def answer(request: Request, sample: int) -> str:
        if stopped:
            raise KeyboardInterrupt
        return said[request.id]

    responder = ScriptedResponder(answer, name=model)
    measure(Bench(mode="direct"), from_questions("toy", questions), Path(folder), responder=responder)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("run --benchmark MMAU_testmini", "did you mean 'mmau-test-mini'?"),
        ("run mmar", "give --benchmark mmar"),
        ("run --benchmark mmau-test-mini --questions questions.json --audio a.tgz", "--audio 'a.tgz' does not exist"),
        ("score said.json --predictions said.json", "a file of predictions or a run folder, once"),
        ("diagnose runs/toy", "give runs/toy/a@direct or runs/toy/b@direct"),
        ("compare runs/toy/a runs/toy/b@direct", "give runs/toy/a@direct or runs/toy/b@direct"),
        ("diagnose elsewhere", "give a folder that 'sari-bench run' wrote"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(sari_bench: Call, typed: str, told: str) -> None:
    for name in ("a", "b") if "runs/toy" in typed else ():
        Path(f"runs/toy/{name}@direct").mkdir(parents=True)
        Path(f"runs/toy/{name}@direct/run.json").write_text("{}", encoding="utf-8")
    code, _, said = sari_bench(*typed.split())
    assert code == 2
    assert told in said


def test_a_file_and_a_run_are_scored_as_they_stand(sari_bench: Call) -> None:
    code, printed, _ = sari_bench("score", "said.json", "--questions", "questions.json")
    assert code == 0
    assert "unread: no answer section 1" in printed
    # Several scorers stand in one table, whose figures are those of each.
    code, printed, _ = sari_bench("score", "said.json", "--questions", "questions.json", "--all-scorers")
    assert code == 0
    lines = [line.split() for line in printed.splitlines()]
    assert ["n", "answer", "official", "letter"] in lines
    assert ["all", "4", "50.00", "25.00", "25.00"] in lines
    assert ["answer", "2", "1", "1", "0", "0", "0"] in lines
    assert not any(line.endswith(" ") for line in printed.splitlines()), "into a pipe no line ends in blanks"
    _run("runs/toy/m@direct")
    code, printed, _ = sari_bench("score", "runs/toy/m@direct", "--json")
    assert (code, json.loads(printed)["correct"]) == (0, 4)


def test_a_run_without_an_answer_holds_up_nothing(sari_bench: Call) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run("runs/toy/m@direct", "mistyped", stopped=True)
    code, _, said = sari_bench("report")
    assert code == 2
    assert "m@direct on toy has no answer yet" in said
    _run("runs/toy/m@direct")
    with pytest.raises(BenchmarkError, match=r"another model \(there m, here another\)"):
        _run("runs/toy/m@direct", "another")
    code, printed, said = sari_bench("report", "--json")
    assert code == 0, said
    assert len(json.loads(printed)["runs"]) == 1
    meta = json.loads(Path("runs/toy/m@direct/run.json").read_text(encoding="utf-8"))
    assert (meta["model"]["name"], len(meta["sittings"])) == ("m", 1)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_tables_fit_the_terminal_and_break_no_word(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    console = Console(width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(output, "out", console)
    header = ["model", "mode", *(f"figure {i}" for i in range(9))]
    names = ["Qwen2-Audio-7B-Instruct, with a long remark (published [1])", "by task", "  sound of many words and more"]
    rows = [[names[0], "structured", *["73.30"] * 9], [names[1], *[""] * 10], [names[2], DASH, *["100.00"] * 9]]
    with console.capture() as printed:
        output.print_table("a title that is longer than the table under it is wide, and stays whole", header, rows)
    lines = printed.get().splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for word in ("Qwen2-Audio-7B-Instruct", "structured", "published", "stays"):
        assert word in text
    assert text.count("73.30") == text.count("100.00") == 9
    # What goes on of an indented name stays indented.
    table = to_table(["", "n"], [["  many words that are broken", "1"]], 30)
    with console.capture() as printed:
        Console.print(console, table, width=24)
    broken = [line for line in printed.get().splitlines() if "broken" in line or "words" in line]
    assert broken
    assert all(line.startswith("   ") for line in broken)
