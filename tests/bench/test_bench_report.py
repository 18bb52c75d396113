"""The command ``sari-bench report``: what it prints on a narrow terminal, the files it writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bench_toys import make_questions, right, wrong
from rich.console import Console

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.commands import output
from sari_bench.running.runs import META, QUESTIONS, Run
from sari_data.types import AudioQuestion

Of = Callable[[int], Benchmark]
Runs = Callable[..., Run]
Command = Callable[..., tuple[int, str, str]]
LONG = "a-model-with-a-name-as-long-as-people-give-them-7b-instruct@direct"


@pytest.fixture
def runs(benchmark_of: Of, run_of: Runs) -> Path:
    """A folder with three runs over two sets of questions; one says right answers in words that MMAU's rule misses."""
    benchmark = benchmark_of(12)
    run_of(benchmark, lambda q: right(q) if q.domain == "music" else "no idea", LONG)
    folder = run_of(benchmark, lambda q: "<answer>" + "ABCD"[q.choices.index(str(q.answer))] + "</answer>", "b@direct")
    run_of(from_questions("other", make_questions(6)), wrong, "b@direct")
    return folder.folder.parent.parent


def _narrow(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    # No file is given, so it prints to whatever standard output is at the time.
    monkeypatch.setattr(output, "out", Console(width=width, force_terminal=True, color_system=None))


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_shows_every_figure(
    run_command: Command, runs: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    _narrow(monkeypatch, width)
    options = ("--leaderboard", "--scorer", "answer", "--scorer", "official", "--scorer", "letter")
    code, printed, said = run_command("sari-bench", "report", runs, *options, "--by", "task,difficulty")
    assert code == 0, said
    tables = [line for line in printed.splitlines() if " beats " not in line and " be told from " not in line]
    assert max(map(len, tables)) <= width
    for word in ("music", "average", "95 % CI", "official", "letter", "unread", "33.33", "100.00", "(continued)"):
        assert word in printed
    assert "".join(printed.split()).count("music×medium") == (6 if width == 80 else 9), (
        "one table for each scorer and board; with little room three of them are in two parts"
    )
    assert LONG[:12] in printed


def test_the_files(run_command: Command, runs: Path, empty_folder: Path) -> None:
    files = ("--csv", "f/a.csv", "--markdown", "f/a.md", "--html", "f/a.html", "--disagreements", "f/a.jsonl")
    scorers = ("--scorer", "official", "--scorer", "answer")
    code, printed, said = run_command("sari-bench", "report", runs, "--leaderboard", "--json", *scorers, *files)
    assert code == 0, said
    body = json.loads(printed)
    (other, toy) = body["boards"]
    assert (other["benchmark"], toy["benchmark"]) == ("other", "toy")
    assert [entry["accuracy"] for entry in toy["entries"]] == [33.33, 0.0], "ranked by the first scorer"
    assert {entry["name"]: entry["scores"]["answer"]["accuracy"] for entry in toy["entries"]} == {
        "b@direct": 100.0,
        LONG: 33.33,
    }
    disputed = [json.loads(line) for line in (empty_folder / "f" / "a.jsonl").read_text().splitlines()]
    by_letter = [row for row in disputed if row["run"] == "b@direct" and row["benchmark"] == "toy"]
    assert len(by_letter) == 12
    assert all(row["official_outcome"] == "wrong" and row["answer_outcome"] == "correct" for row in by_letter)
    assert len(disputed) == len(toy["disagreements"]) + len(other["disagreements"])
    text = (empty_folder / "f" / "a.md").read_text(encoding="utf-8")
    assert all(f"| q{index:03d} |" in text.replace("|   q", "| q") for index in range(12)), "Markdown lists every one"
    rows = list(csv.DictReader((empty_folder / "f" / "a.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["scorer"] for row in rows} == {"official", "answer"}
    assert (empty_folder / "f" / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_terminal_says_where_the_other_disagreements_are(run_command: Command, runs: Path) -> None:
    code, printed, said = run_command(
        "sari-bench", "report", runs, "--scorer", "official", "--scorer", "answer", "--by", "all"
    )
    assert code == 0
    assert "12 of them on whether they are right" in " ".join(printed.split())
    assert "more are in the file of --disagreements" in said
    assert " ".join(printed.split()).count("by task × category × sub-category × difficulty, scorer") == 4


def test_what_a_model_said_does_not_steer_the_terminal(
    run_command: Command, benchmark_of: Of, run_of: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    _narrow(monkeypatch, 100)
    run = run_of(benchmark_of(3), lambda q: f"\x1b[2J\x07 I hear a {q.answer} [bold]")
    code, printed, _ = run_command("sari-bench", "report", run.folder, "--scorer", "official", "--scorer", "letter")
    assert code == 0
    assert "[bold]" in printed
    assert not {"\x1b", "\x07"} & set(printed)


def test_published_rows_of_ones_own(run_command: Command, runs: Path, empty_folder: Path) -> None:
    version = json.loads((runs / "toy" / "b@direct" / META).read_text(encoding="utf-8"))["benchmark"]["version"]
    row = {"model": "Theirs", "benchmark": "toy", "version": version, "source": "a paper", "average": 88.0}
    row["figures"] = {"sound": 10.0, "music": 20.0}
    (empty_folder / "p.json").write_text(json.dumps([row]), encoding="utf-8")
    code, printed, said = run_command("sari-bench", "report", runs, "--leaderboard", "--published", "p.json")
    assert code == 0
    assert "Theirs (published [1]; flagged)" in printed
    assert "note: Theirs (published): the printed average 88.00 cannot be that of sound 10.00 and music 20.00" in said
    code, printed, _ = run_command("sari-bench", "report", runs, "--leaderboard", "--json", "--no-published")
    assert all(not board["published"] for board in json.loads(printed)["boards"])


def test_training_corpora_leave_a_clean_subset(run_command: Command, run_of: Runs, empty_folder: Path) -> None:
    def ask(index: int) -> AudioQuestion:
        question = make_questions(12)[index]
        words = ("violin", "thunder", "a ticking clock", "the second speaker", "a church organ", "falling coins")
        text = f"Which of these is heard just after {words[index % 6]} number {index} has faded out completely?"
        return replace(
            question, question=text, choices=tuple(f"{c} {index}" for c in question.choices), answer=f"dog {index}"
        )

    questions = [ask(index) for index in range(12)]
    run = run_of(from_questions("toy", questions), lambda q: right(q) if q.id < "q004" else wrong(q))
    rows = [
        {
            "id": f"t{q.id}",
            "question": q.question,
            "choices": list(q.choices),
            "answer": q.answer,
            "audio": f"{q.id}.wav",
        }
        for q in questions[:4]
    ]
    (empty_folder / "train.json").write_text(json.dumps(rows), encoding="utf-8")
    options = ("--leaderboard", "--training", "train.json", "--csv", "a.csv", "--json")
    code, printed, said = run_command("sari-bench", "report", run.folder, *options)
    assert code == 0, said
    assert "only its text" in said, "the run folder of this test has no recipe"
    (board,) = json.loads(printed)["boards"]
    assert set(board["contamination"]["marked"]) == {"q000", "q001", "q002", "q003"}
    (entry,) = board["entries"]
    assert (entry["accuracy"], entry["clean"]["n"], entry["clean"]["accuracy"]) == (33.33, 8, 0.0)
    assert entry["training"]["difference"]["points"] == 100.0
    assert "+100.0 points [+41.2 to +100.0] compared with the clean ones" in entry["training"]["sentence"]
    assert f"{run.name}: {entry['training']['sentence']}" in board["notes"]
    rows = list(csv.DictReader(Path("a.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["questions"] for row in rows} == {
        "all",
        "clean",
        "contaminated",
        "full - clean",
        "contaminated - clean",
    }
    assert [row["accuracy"] for row in rows if row["questions"] == "contaminated - clean"] == ["100.0"]
    # The terminal with and without the board, Markdown and the page have the same table.
    figures = ("33.33 [13.8–60.9]", "0.00 [0.0–32.4]", "+33.33 [", "+100.00 [", "(4 by question and options)")
    files = ("--training", "train.json", "--markdown", "a.md", "--html", "a.html")
    for more in ((), ("--leaderboard",)):
        code, printed, said = run_command("sari-bench", "report", run.folder, *more, *files)
        assert code == 0, said
        for text in (printed + said, Path("a.md").read_text("utf-8"), Path("a.html").read_text("utf-8")):
            assert [figure for figure in figures if figure not in text] == []


def test_a_run_with_withheld_answers_is_named_and_left_out(run_command: Command, runs: Path) -> None:
    from sari_bench.benchmarks.base import Gold, digest_of

    folder = runs / "other" / "b@direct"
    lines = (folder / QUESTIONS).read_text(encoding="utf-8").splitlines()
    golds = [replace(Gold.from_row(json.loads(line), "x"), answer=None) for line in lines]
    (folder / QUESTIONS).write_text("".join(json.dumps(gold.to_row()) + "\n" for gold in golds), encoding="utf-8")
    meta = json.loads((folder / META).read_text(encoding="utf-8"))
    meta["benchmark"]["digest"] = digest_of(golds)
    (folder / META).write_text(json.dumps(meta), encoding="utf-8")
    code, printed, said = run_command("sari-bench", "report", runs, "--leaderboard", "--json")
    assert code == 0, said
    assert [board["benchmark"] for board in json.loads(printed)["boards"]] == ["toy"]
    assert f"'sari-bench submit {folder}' makes the file" in said
    code, _, said = run_command("sari-bench", "report", folder)
    assert code == 2
    assert "the right answers of all are withheld" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scorer", "nobody"], "scorer 'nobody' is unknown"),
        (["--by", "domain"], "--by domain: expected task"),
        (["--disagreements", "a.jsonl"], "name two at least"),
        (["--disagreements", "a.jsonl", "--scorer", "answer", "--scorer", "answer"], "name two at least"),
        (["--published", "none.toml"], "do not exist"),
        (["--published", "none.json", "--no-published"], "leave one of them out"),
        (["--training", "nowhere"], "training corpus 'nowhere': expected a file or folder there, found none"),
        (["--text-overlap"], "belongs to --training"),
        (["--dry-run"], "belong to --push-to-hub"),
        (["--push-to-hub", "a/b", "--dry-run", "--json"], "leave one of them out"),
    ],
)
def test_wrong_usage_is_one_sentence(run_command: Command, runs: Path, options: list[str], message: str) -> None:
    code, printed, said = run_command("sari-bench", "report", runs, "--leaderboard", *options)
    assert (code, printed) == (2, "")
    assert message in said
    assert "Traceback" not in said
