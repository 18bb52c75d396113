"""Rules for published rows: versions that are not stated, parts, notes, averages over columns, rounding twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from bench_toys import right
from hypothesis import given
from hypothesis import strategies as st
from refusing import refusal

from sari_bench.benchmarks.base import Benchmark
from sari_bench.published import NOT_STATED, PublishedRow, checked, published_rows, read_published
from sari_bench.published.checking import average_problem, columns_remark, count_remark
from sari_bench.reporting.board_tables import board_table, earlier_tables
from sari_bench.reporting.leaderboard import Board, make_boards
from sari_bench.running.runs import Run

Of = Callable[[int], Benchmark]
Runs = Callable[..., Run]
COUNTS = {"sound": 165, "music": 11, "speech": 24}


def _row(figures: dict[str, float | None], average: float, **about: object) -> PublishedRow:
    row = PublishedRow("M", "", "toy", "v1", "", figures, average, "a paper", counts=COUNTS)
    return replace(row, **about)  # type: ignore[arg-type]


def _board(run: Run, name: str, version: str, *extra: PublishedRow) -> Board:
    (board,) = make_boards([replace(run, benchmark=replace(run.benchmark, name=name, version=version))], extra=extra)
    return board


@pytest.mark.parametrize("version", ["rubrics", "0123456789ab", NOT_STATED])
def test_rows_of_no_stated_version_never_stand_beside_a_run(benchmark_of: Of, run_of: Runs, version: str) -> None:
    board = _board(run_of(benchmark_of(6), right), "mmar", version)
    assert board.published == ()
    assert {row.version for row in board.earlier} == {NOT_STATED}
    assert len(board_table(board).rows) == 1
    (apart,) = earlier_tables([board])
    assert apart.title == "published results on mmar, whose sources do not say which version of the questions"
    assert len(apart.rows) == len(published_rows("mmar")) == 60
    assert any("github.com/ddlBoJack/MMAR/blob/" in note for note in apart.notes)
    assert all(row.on == "version not stated" for row in board.earlier)


def test_the_whole_and_the_part_of_a_benchmark_are_two_tables(benchmark_of: Of, run_of: Runs) -> None:
    tables = earlier_tables([_board(run_of(benchmark_of(6), right), "mmau-pro", "0123456789ab")])
    unstated = ", whose sources do not say which version of the questions"
    assert [table.title.split(", ", 1)[1].removesuffix(unstated) for table in tables] == [
        "all 5,305 questions",
        "multiple choice",
    ]
    assert [len(table.rows) for table in tables] == [28, 8]


def test_a_users_row_may_state_no_version_either(benchmark_of: Of, run_of: Runs) -> None:
    mine = _row({"sound": 10.0, "music": 20.0, "speech": 30.0}, 20.0, version=NOT_STATED, counts={})
    board = _board(run_of(benchmark_of(6), right), "toy", "v1", mine)
    assert board.published == ()
    assert [row.label for row in board.earlier] == ["M"]
    assert mine.on == "version not stated"
    assert replace(mine, version="v2", split="dev").on == "v2 dev"


@given(st.tuples(*(st.integers(0, n) for n in COUNTS.values())))
def test_an_average_over_the_questions_is_never_remarked(right_answers: tuple[int, ...]) -> None:
    figures = {task: round(100 * k / n, 2) for (task, n), k in zip(COUNTS.items(), right_answers, strict=True)}
    row = _row(dict(figures), round(100 * sum(right_answers) / sum(COUNTS.values()), 2))
    assert average_problem(row) is None
    assert columns_remark(row) is None


def test_an_average_of_columns_is_remarked_and_not_flagged() -> None:
    row = _row({"sound": 60.0, "music": 90.91, "speech": 50.0}, 66.97)
    assert average_problem(row) is None
    assert columns_remark(row) == (
        "the average 66.97 is that of the columns, whatever their size; over the questions they give 60.50"
    )
    assert columns_remark(replace(row, average=60.5)) is None, "it is over the questions"
    assert columns_remark(replace(row, average=63.0)) is None, "it is neither, and flagged"
    assert average_problem(replace(row, average=63.0)) is not None
    assert columns_remark(replace(row, counts={})) is None, "the weights are not known"
    even = replace(row, counts=dict.fromkeys(COUNTS, 100), average=66.97)
    assert columns_remark(even) is None, "equal columns have one average"
    close = replace(row, counts={"sound": 333, "music": 334, "speech": 333}, average=66.97)
    assert columns_remark(close) is None, "a difference of 0.03 matters to nobody"


def test_a_figure_may_be_rounded_twice_but_not_be_wrong() -> None:
    def half_up(value: Decimal, digits: str) -> Decimal:
        return value.quantize(Decimal(digits), ROUND_HALF_UP)

    twice = 0
    for n in (11, 24, 82, 165, 206, 218, 294):
        for k in range(n + 1):
            share = Decimal(100) * k / n
            printed = float(half_up(half_up(share, "0.01"), "0.1"))
            assert count_remark(_row({"sound": printed}, printed, counts={"sound": n}, exact=True)) is None
            twice += printed != float(half_up(share, "0.1"))
    assert twice > 20, "many figures differ where they are rounded twice"
    wrong = count_remark(_row({"sound": 63.4}, 63.4, counts={"sound": 11}, exact=True))
    assert wrong == "no number of right answers out of 11 gives sound 63.40"
    for k in range(82):
        planted = round(float(half_up(Decimal(100) * k / 82, "0.1")) + 0.3, 1)
        assert count_remark(_row({"sound": planted}, planted, counts={"sound": 82}, exact=True)), (
            "0.3 too many are seen"
        )


def test_only_the_parts_make_the_average() -> None:
    figures: dict[str, float | None] = {"perception": 40.0, "reasoning": 80.0, "semantics": 99.0}
    row = _row(figures, 95.0, counts={}, parts=("perception", "reasoning"))
    assert "cannot be that of perception 40.00 and reasoning 80.00, which give 60.00" in (average_problem(row) or "")
    assert average_problem(replace(row, average=79.0)) is None, "without weights it may lie anywhere between"
    assert average_problem(replace(row, parts=())) is None, "with the third figure 95 is between"
    weighed = replace(row, counts={"perception": 258, "reasoning": 242}, exact=True)
    assert average_problem(replace(weighed, average=59.36)) is None
    assert average_problem(replace(weighed, average=59.6)) is not None
    assert "semantics" not in (count_remark(weighed) or ""), "its number of questions is not known"


TOML = """
[[table]]
benchmark = "mmsu"
version = "not stated"
source = "my paper"
tasks = ["perception", "reasoning", "semantics"]
parts = ["perception", "reasoning"]
counts = [2580, 2420]
rows = [["Mine", "", 40.0, 80.0, "-", 59.36]]
[table.notes]
"Mine" = "one seed"
"""
JSON_ROW = {
    "model": "Mine",
    "benchmark": "mmsu",
    "version": "not stated",
    "source": "my paper",
    "figures": {"perception": 40.0, "reasoning": 80.0, "semantics": None},
    "parts": ["perception", "reasoning"],
    "counts": {"perception": 2580, "reasoning": 2420},
    "average": 59.36,
    "note": "one seed",
}


def test_parts_and_notes_are_read_from_both_forms(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML, encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps([JSON_ROW]), encoding="utf-8")
    (row,) = read_published(tmp_path / "a.toml")
    assert [row] == read_published(tmp_path / "a.json")
    assert (row.parts, row.note) == (("perception", "reasoning"), "one seed")
    (seen,) = checked([row])
    assert (seen.problem, seen.remark) == (None, "one seed")
    assert seen.to_json()["remark"] == "one seed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": ["perception", "phonology"]}, "expected 'parts' to be tasks out of"),
        ({"parts": "perception"}, "expected 'parts' to be tasks out of"),
        ({"parts": ["reasoning"]}, "a number of questions for each of ['reasoning']"),
        ({"note": 3}, "expected text in 'note'"),
    ],
)
def test_a_bad_part_or_note_is_one_sentence(tmp_path: Path, change: dict[str, object], message: str) -> None:
    assert message in refusal(tmp_path / "a.json", json.dumps([{**JSON_ROW, **change}]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TOML.replace('"Mine" = "one seed"', '"Yours" = "one seed"'), "expected 'notes' to name models of the table"),
        (TOML.replace('["perception", "reasoning"]\ncounts', '"perception"\ncounts'), "expected 'parts' to be tasks"),
        (TOML.replace("[2580, 2420]", "[2580]"), "a number for each of ['perception', 'reasoning']"),
    ],
)
def test_a_bad_table_of_parts_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path / "a.toml", text)
