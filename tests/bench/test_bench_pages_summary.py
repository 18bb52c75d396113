"""What the page says at a glance: who is best and whether by chance, by which scorer, whether it listens and thinks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bench_pages import RUNS, hostile, in_memory, thinking, toy_boards
from bench_toys import make_questions, right
from markupsafe import escape

from sari_bench.benchmarks.base import from_questions
from sari_bench.comparing.compare import compare_scores
from sari_bench.contamination import Contamination, clean_scores
from sari_bench.pages import render_page
from sari_bench.pages.figures import gains
from sari_bench.pages.questions import question_data
from sari_bench.pages.sound import Sounds
from sari_bench.pages.summary import summary
from sari_bench.pages.thoughts import diagnoses
from sari_bench.reporting.leaderboard import Board, make_boards
from sari_bench.shortcuts import Shortcuts
from sari_bench.shortcuts.results import Row
from sari_bench.statistics.metrics import PairedDifference
from sari_data.dedup import Finding


def _said(board: Board, shortcuts: list[Shortcuts | None] | None = None) -> dict[str, str]:
    nothing: list[Shortcuts | None] = [None] * len(board.entries)
    found = summary(board, gains(board), diagnoses(board), shortcuts or nothing)
    return {item["asks"]: " ".join(item["says"]) for item in found}


def test_it_says_who_is_best_and_what_was_not_measured(tmp_path: Path) -> None:
    board = toy_boards(tmp_path)[0]
    said, best = _said(board), board.entries[0]
    overall = best.score.overall
    assert said["Who is best?"].startswith(f"{best.run.name}: {overall.accuracy:.2%}".replace("%", " %"))
    sentence = gains(board)[0].sentence
    assert f"Against the last one: {sentence}." in said["Who is best?"]
    assert "Against the next one" in said["Who is best?"]
    assert f"0 of {len(board.published)} published rows have a higher average" in said["Who is best?"], (
        "75 is not above 75"
    )
    by_task = {name: part.accuracy or 0.0 for name, part in best.score.by["task"].items()}
    assert f"most in {max(by_task, key=by_task.__getitem__)}" in said["Where is it right?"]
    official = best.scores["official"].overall.accuracy
    assert f"{100 * official:.2f} % by official" in said["By which scorer?"]
    assert said["Does it listen?"] == f"Not measured: sari-bench shortcuts {best.run.folder}"
    assert said["Does it use its thoughts?"].startswith("Not measured: sari-bench diagnose")
    assert "--training" in said["Was it trained on them?"]


def test_the_least_audio_gain_is_told_of_the_best_run_that_has_one(tmp_path: Path) -> None:
    board = toy_boards(tmp_path)[0]

    def row(name: str, points: float) -> Row:
        gain = PairedDifference(60, points, (points - 0.1, points + 0.1), 40, 2, 0.001)
        return Row(name, "variant", "", 60, 0.2, (0.1, 0.3), 12, gain)

    about = {"name": "toy", "version": "1", "digest": "0"}
    rows = (row("no-audio", 0.6), row("silence", 0.4), row("circular", 0.01))
    found = Shortcuts(about, "m", "direct", 1, "answer", rows)
    second = board.entries[1].run.name
    said = _said(board, [None, found, None])["Does it listen?"]
    assert said.startswith(f"{second}: audio gain over silence: +40.00 points")
    assert said.endswith("the model listens.")
    rotated = dataclasses.replace(found, rows=rows[2:])
    assert "only options were rotated" in _said(board, [None, rotated, None])["Does it listen?"]


def test_a_run_without_answers_is_not_said_to_be_best_anywhere(tmp_path: Path) -> None:
    toy = from_questions("toy", make_questions(9))
    empty = [
        dataclasses.replace(in_memory(toy, right, name, tmp_path), answers={}) for name in ("a@direct", "b@direct")
    ]
    said = _said(make_boards(empty, ("answer", "official", "letter"))[0])
    assert said["Who is best?"] == "No run has any answer."
    assert "Where is it right?" not in said
    assert "By which scorer?" not in said
    one = in_memory(toy, right, "c@direct", tmp_path)
    said = _said(make_boards([*empty, one], ("answer", "letter"))[0])
    assert "letter finds a choice in hardly any answer" in said["By which scorer?"]


def test_a_verdict_that_hangs_on_the_scorer_is_told(tmp_path: Path) -> None:
    toy = from_questions("toy", make_questions(60))
    wordy = in_memory(toy, lambda q: right(q) if q.domain == "speech" else hostile(q), "b@direct", tmp_path)
    board = make_boards([in_memory(toy, right, "a@direct", tmp_path), wordy], ("official", "answer"))[0]
    first, last = board.entries
    assert compare_scores(last.run.name, last.score, first.run.name, first.score).verdict == "better"
    told = _said(board)["By which scorer?"]
    assert "By answer the verdict is another: a@direct cannot be told from b@direct: 100.00 to 100.00 %" in told
    alike = make_boards([board.entries[0].run, in_memory(toy, thinking(0.2), "c@structured", tmp_path)], board.scorers)
    assert "verdict" not in _said(alike[0])["By which scorer?"]


def test_the_clean_subset_is_told_of_the_best_run(tmp_path: Path) -> None:
    board = toy_boards(tmp_path)[0]
    compared = {"texts": 60, "segments": 0, "sounds": 0}
    marked = {f"q{i:03}": (Finding(f"q{i:03}", "text", "exact", "x", "mine", 1.0, True),) for i in range(7)}
    about = Contamination("toy", "1", 60, marked, ({"name": "mine", "questions": 60, "compared": compared},), compared)
    entries = tuple(dataclasses.replace(e, training=clean_scores(e.score, about)) for e in board.entries)
    board = dataclasses.replace(board, clean=about, entries=entries)
    said = _said(board)["Was it trained on them?"]
    page = render_page([board], questions_shown=0)
    for place, entry in enumerate(entries):
        assert entry.training is not None
        there = page.count(str(escape(entry.training.sentence)))
        assert there == (place == 0), "of the best in the summary; all others' figures stand in the table"
    assert said.startswith(f"{board.entries[0].run.name}: clean subset: ")
    assert "7 questions are in mine (7 by question and options)" in said


def test_a_scorer_that_disagrees_everywhere_does_not_bury_what_others_dispute(tmp_path: Path) -> None:
    toy = from_questions("toy", make_questions(60))
    odd = {question.id for question in toy.questions if question.domain == "sound"} & {f"q{i:03}" for i in range(9)}
    some = thinking(0.8)
    runs = [
        in_memory(toy, lambda q: hostile(q) if q.id in odd else some(q), RUNS[0], tmp_path),
        in_memory(toy, thinking(0.5), RUNS[1], tmp_path),
    ]
    board = make_boards(runs, ("official", "answer", "letter"))[0]
    disputed = {
        one.gold.id
        for entry in board.entries
        for one, other in zip(entry.scores["official"].items, entry.scores["answer"].items, strict=True)
        if (one.outcome == "correct") != (other.outcome == "correct")
    }
    listed = [row["id"] for row in question_data(board, 60, Sounds(0))["questions"]]
    assert disputed == odd, "else this shows nothing"
    assert set(listed[: len(disputed)]) == disputed
