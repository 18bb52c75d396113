"""What figures say of themselves: columns only for what occurs, each figure once, each source under its own number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_scores import gold_of

from sari_bench import benchmarks
from sari_bench.commands.score import score as score_command
from sari_bench.comparing import sides
from sari_bench.disagreements import Disagreement
from sari_bench.published import PublishedRow
from sari_bench.reporting.board_tables import earlier_tables
from sari_bench.reporting.disagreeing import _listed, _ranked
from sari_bench.reporting.leaderboard import Board
from sari_bench.reporting.report import score_rows
from sari_bench.scoring import Answer, BenchmarkGolds, score
from sari_data.errors import MissingFileError


def _unasked(*_given: Any, **_options: Any) -> Any:
    raise AssertionError("the questions were looked for first")


def test_a_file_that_is_not_there_is_told_before_the_questions_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks, "load_benchmark", _unasked)
    with pytest.raises(MissingFileError, match=r"nowhere\.json"):
        score_command(Path("nowhere.json"))


def test_files_are_compared_without_any_audio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    about = BenchmarkGolds("toy", "1", "0", (gold_of("q1"),))
    monkeypatch.setattr(sides, "load_benchmark", lambda *_given, **options: asked.append(options) or about)
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in files:
        path.write_text(json.dumps([{"id": "q1", "model_prediction": "a"}]), encoding="utf-8")
    sides.read_sides(files, benchmark="toy")
    assert asked == [{"audio": False}]


def test_a_column_only_for_what_occurs_and_a_note_for_each_thing() -> None:
    golds = (gold_of("q1"), gold_of("q2"), replace(gold_of("q3"), answer="no option"))
    about = BenchmarkGolds("toy", "1", "0", golds)
    everything = {gold.id: [Answer(gold.id, gold.choices[0], raw=False)] for gold in golds}
    for scorer, outcome in (("answer", "ungradable"), ("official", None)):
        header, _ = score_rows(score(about, everything, scorer))
        assert header[5:] == ["wrong", *([outcome] if outcome else [])], "nothing is missing"
    some = {key: said for key, said in everything.items() if key != "q2"}
    header, rows = score_rows(score(about, some, "official"))
    assert (header[5:], rows[0][1]) == (["wrong", "missing", "of all %"], "2")
    both = score(about, some, "answer")
    assert [note.split(" answers ")[1][:11] for note in both.notes] == ["cannot be r", "are missing"]


def test_a_scorer_that_disagrees_everywhere_buries_nothing() -> None:
    outcomes = [("correct", "correct", "unparsed")] * 3 + [("wrong", "unparsed", "unparsed")]
    outcomes += [("wrong", "correct", "unparsed")]
    names = ("official", "answer", "letter")
    found = [
        Disagreement(gold_of(f"q{i}"), Answer(f"q{i}", "text"), dict(zip(names, one, strict=True)), {})
        for i, one in enumerate(outcomes)
    ]
    assert [one.gold.id for one in _ranked(found)] == ["q4", "q0", "q1", "q2", "q3"]
    assert _listed(names) == "official, answer and letter"


def test_one_paper_at_two_addresses_has_two_numbers() -> None:
    row = PublishedRow("m", "", "b", "v1", "", {"sound": 50.0}, 50.0, "a paper", "https://one.example")
    rows = (row, replace(row, model="n", url="https://two.example"))
    board = Board("b", "v2", "0", "answer", ("sound",), (), earlier=rows)
    (table,) = earlier_tables([board])
    assert [cells[0] for cells in table.rows] == ["m (published [1])", "n (published [2])"]
    assert "[2] a paper (https://two.example)" in table.notes[0]
    assert table.notes[0].startswith("sources: [1] a paper"), "that nothing of them was measured stands above, once"
