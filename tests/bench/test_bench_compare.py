"""Comparisons, leaderboards and the transcript that is shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bench_toys import right, wrong

from sari_bench.benchmarks.base import Benchmark
from sari_bench.comparing.compare import compare, format_p
from sari_bench.reporting.board_tables import board_table
from sari_bench.reporting.leaderboard import make_boards
from sari_bench.reporting.report import score_rows, to_markdown
from sari_bench.reporting.report_files import boards_json, boards_markdown
from sari_bench.running.runs import Run
from sari_data.errors import BenchmarkError
from sari_data.types import AudioQuestion

Runs = Callable[..., Run]
Of = Callable[[int], Benchmark]


def _chain(question: AudioQuestion) -> str:
    return (
        "<think><planning>listen</planning><caption>a sound</caption>"
        f"<reasoning>not a {question.choices[-1]}, so {question.answer}</reasoning><summary>done</summary></think>"
        f"<answer>{question.answer}</answer>"
    )


def test_better_worse_and_undecided(benchmark_of: Of, run_of: Runs) -> None:
    benchmark = benchmark_of(90)
    base = run_of(benchmark, lambda q: right(q) if int(q.id[1:]) < 40 else wrong(q), "base@direct")
    good = run_of(benchmark, lambda q: right(q) if int(q.id[1:]) < 70 else wrong(q), "good@direct")
    same = run_of(benchmark, lambda q: right(q) if 1 <= int(q.id[1:]) < 41 else wrong(q), "same@direct")
    up = compare(base, good)
    assert up.verdict == "better"
    assert up.sentence.startswith("good@direct beats base@direct: 44.44 to 77.78 %, +33.33 points (95 % interval +")
    assert (up.overall.won, up.overall.lost, up.overall.n) == (30, 0, 90)
    assert sum(part.n for part in up.by.values()) == 90
    assert list(up.by) == ["sound", "music", "speech"]
    down = compare(good, base)
    assert down.verdict == "worse"
    assert down.overall.difference == -up.overall.difference
    assert compare(base, same).verdict == "undecided"


def test_four_questions_decide_nothing(benchmark_of: Of, run_of: Runs) -> None:
    benchmark = benchmark_of(6)
    base = run_of(benchmark, lambda q: right(q) if q.id < "q002" else wrong(q), "base@direct")
    few = compare(base, run_of(benchmark, right, "good@direct"))
    assert few.overall.interval[0] > 0
    assert few.overall.p_value == 0.125
    assert few.verdict == "undecided"


def test_only_the_same_questions_are_compared(benchmark_of: Of, run_of: Runs) -> None:
    first = run_of(benchmark_of(6), right, "a@direct")
    second = run_of(benchmark_of(9), right, "b@direct")
    with pytest.raises(BenchmarkError, match="asked different questions"):
        compare(first, second)


def test_the_transcript_is_one_where_the_thought_arrives(benchmark_of: Of, run_of: Runs) -> None:
    benchmark = benchmark_of(24)
    base = run_of(benchmark, wrong, "base@direct")
    chained = run_of(
        benchmark, lambda q: _chain(q) if q.id in ("q005", "q010") else right(q), "sari@structured", "structured"
    )
    chosen = compare(base, chained).transcript
    assert chosen is not None
    assert chosen.after.gold.id == "q005", "of the two with a chain, the hard one"
    assert chosen.before.outcome == "wrong"
    assert "so cat" in str(chosen.to_json()["after"]["text"])
    assert compare(base, chained).transcript == chosen
    assert compare(chained, base).transcript is None


def test_boards_never_mix_versions_and_rank_by_accuracy(benchmark_of: Of, run_of: Runs) -> None:
    whole = benchmark_of(12)
    runs = [
        run_of(whole, wrong, "low@direct"),
        run_of(whole, right, "high@direct"),
        run_of(whole.limit(6), right, "part@direct"),
    ]
    boards = make_boards(runs)
    assert sorted([entry.run.name for entry in board.entries] for board in boards) == [
        ["high@direct", "low@direct"],
        ["part@direct"],
    ]
    body = boards_json(boards, leaderboard=True)
    high = next(e for board in body["boards"] for e in board["entries"] if e["name"] == "high@direct")
    assert (high["n"], high["accuracy"], high["unparsed"], high["missing"]) == (12, 100.0, 0, 0)
    assert set(high["task"]) == {"sound", "music", "speech"}
    assert "runs" in boards_json(boards, leaderboard=False)


def test_rows_agree_with_the_score(benchmark_of: Of, run_of: Runs) -> None:
    run = run_of(benchmark_of(12), lambda q: right(q) if q.domain == "music" else "no idea", "m@direct")
    board = make_boards([run])[0]
    table = board_table(board)
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert (row["music"], row["sound"], row["average"], row["unread"], row["n"]) == (
        "100.00",
        "0.00",
        "33.33",
        "8",
        "12",
    )
    assert "missing" not in table.header
    header, rows = score_rows(run.score())
    assert rows[0][:4] == ["all", "12", "4", "33.33"]
    assert ["by sub-category", *[""] * (len(header) - 1)] in rows


def test_markdown_escapes_what_it_is_given(benchmark_of: Of, run_of: Runs) -> None:
    text = to_markdown("a <b>", ["model", "n"], [["x|y<script>", "1"]])
    assert "| x\\|y&lt;script&gt; | 1 |" in text
    assert "| :--- | ---: |" in text
    run = run_of(benchmark_of(3), right)
    assert "| model | sound |" in boards_markdown(make_boards([run]), leaderboard=True)


def test_a_p_is_never_rounded_to_the_other_side_of_005() -> None:
    shown = {
        0.04996: "= 0.04996",
        0.0496: "= 0.0496",
        0.05: "= 0.050",
        0.0504: "= 0.050",
        0.0494: "= 0.049",
        1: "= 1.000",
    }
    assert {value: format_p(value) for value in shown} == shown
    assert format_p(0.00099) == "< 0.001"
