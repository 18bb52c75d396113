"""Boards: published rows beside runs of their own version only, groups that add up, votes and clean subsets."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from bench_toys import right, wrong

from sari_bench.benchmarks.base import Benchmark
from sari_bench.contamination import Contamination
from sari_bench.pages.table import leaderboard
from sari_bench.published import PublishedRow, published_rows
from sari_bench.reporting.board_tables import board_table, earlier_tables, group_tables
from sari_bench.reporting.clean_tables import clean_table
from sari_bench.reporting.groups import all_tallies, crossings, parse_grouping, tallies
from sari_bench.reporting.leaderboard import make_boards
from sari_bench.reporting.report import column_widths, fit_columns
from sari_bench.reporting.report_files import boards_csv, boards_json, boards_markdown
from sari_bench.running.runs import Run
from sari_bench.scoring import count_withheld
from sari_bench.statistics.adjust import chance_note
from sari_bench.statistics.metrics import wilson
from sari_data.errors import InputError

Of = Callable[[int], Benchmark]
Runs = Callable[..., Run]


def _named(run: Run, name: str, version: str) -> Run:
    return replace(run, benchmark=replace(run.benchmark, name=name, version=version))


def _some(benchmark_of: Of, run_of: Runs) -> list[Run]:
    benchmark = benchmark_of(12)
    return [
        run_of(benchmark, wrong, "bad@direct"),
        run_of(benchmark, lambda q: right(q) if q.domain == "music" else "no idea", "music@direct"),
    ]


def test_published_rows_stand_beside_runs_of_their_version_only(benchmark_of: Of, run_of: Runs) -> None:
    runs = [_named(run, "mmau-test-mini", "v05.15.25") for run in _some(benchmark_of, run_of)]
    (board,) = make_boards(runs)
    assert {row.version for row in board.published} == {"v05.15.25"}
    assert {row.version for row in board.earlier} == {"before v05.15.25"}
    table = board_table(board)
    names = [row[0] for row in table.rows]
    assert len(names) == 2 + len(published_rows("mmau-test-mini", "v05.15.25")) == 2 + 28
    assert all("(published [" in name for name in names if not name.endswith("@direct"))
    flamingo = [name for name in names if name.startswith("Audio Flamingo 3 ")]
    assert sorted(name.endswith("; flagged)") for name in flamingo) == [False, True], "the board itself and its copy"
    averages = [float(row[table.header.index("average")]) for row in table.rows]
    assert averages == sorted(averages, reverse=True)
    assert not any("Ke-Omni" in name for name in names), "a row of another version is not in this table"
    assert any("scored by their authors" in note and "DeSTA2.5-Audio" in note for note in table.notes)
    assert any(note.startswith("Audio Flamingo 3 (published): the printed average 73.30") for note in table.notes)
    (apart,) = earlier_tables([board])
    assert "before v05.15.25" in apart.title
    assert len(apart.rows) == len(published_rows("mmau-test-mini", "before v05.15.25")) == 33
    assert make_boards(runs, published=False)[0].published == ()
    assert make_boards(runs, "letter")[0].published == (), "they were not made with such a scorer"


@pytest.mark.parametrize("version", ["v05.15.25, 12 of 1000", "0123456789ab", "v03.25.25"])
def test_parts_and_other_revisions_get_no_published_row(benchmark_of: Of, run_of: Runs, version: str) -> None:
    (board,) = make_boards([_named(_some(benchmark_of, run_of)[0], "mmau-test-mini", version)])
    assert board.published == ()
    assert {row.version for row in board.earlier} == {"v05.15.25", "before v05.15.25"}
    assert len(earlier_tables([board])) == 2


def test_own_rows_join(benchmark_of: Of, run_of: Runs) -> None:
    row = PublishedRow("Theirs", "", "toy", "x", "", {"sound": 10.0}, 20.0, "a paper")
    run = _named(_some(benchmark_of, run_of)[0], "toy", "x")
    table = board_table(make_boards([run], extra=[row])[0])
    assert table.rows[0][:5] == ["Theirs (published [1])", "10.00", "–", "–", "20.00"]
    assert make_boards([run], extra=[row])[0].to_json()["published"][0]["source"] == "a paper"


def test_groups_add_up_in_every_crossing(benchmark_of: Of, run_of: Runs) -> None:
    score = _some(benchmark_of, run_of)[1].score()
    assert len(crossings()) == 15
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for grouping, labels, part in all_tallies(score):
        assert len(grouping) == len(labels)
        assert sum(part.outcomes.values()) == part.n
        sums[grouping][0] += part.n
        sums[grouping][1] += part.correct
    assert set(sums) == {(), *crossings()}
    assert set(map(tuple, sums.values())) == {(12, 4)}
    for dimension, parts in score.by.items():
        assert {labels[0]: part for labels, part in tallies(score, (dimension,)).items()} == dict(parts)


def test_a_label_that_is_absent_gives_no_groups(benchmark_of: Of, run_of: Runs) -> None:
    run = _some(benchmark_of, run_of)[0]
    golds = tuple(replace(gold, difficulty="") for gold in run.benchmark.golds)
    (board,) = make_boards([replace(run, benchmark=replace(run.benchmark, golds=golds))])
    assert tallies(board.entries[0].score, ("task", "difficulty")) == {}
    assert group_tables(board, ("difficulty",)) == []


def test_the_words_of_by() -> None:
    assert parse_grouping("difficulty, task") == [("task", "difficulty")]
    assert parse_grouping("all") == crossings()
    for text in ("domain", "", "task,task", "all,task"):
        with pytest.raises(InputError, match="each dimension once"):
            parse_grouping(text)


def test_group_tables_have_a_column_for_each_run(benchmark_of: Of, run_of: Runs) -> None:
    (board,) = make_boards(_some(benchmark_of, run_of), ["answer", "official"])
    first, second = group_tables(board, ("task", "sub-category"))
    assert first.header == ["task × sub-category", "n", "music@direct", "bad@direct"]
    assert ["music × skill 0", "2", "100.00 [34.2–100.0]", "0.00 [0.0–65.8]"] in first.rows
    assert first.title.endswith("scorer answer")
    assert second.title.endswith("scorer official")
    assert first.notes == ()
    assert chance_note(9, 5) is None
    assert "54 figures" in (chance_note(27, 2) or "")
    assert "about 3 miss" in (chance_note(27, 2) or "")


def test_csv_has_a_row_for_each_figure(benchmark_of: Of, run_of: Runs) -> None:
    runs = [_named(run, "mmau-test-mini", "v05.15.25") for run in _some(benchmark_of, run_of)]
    boards = make_boards(runs, ["answer", "official"])
    rows = list(csv.DictReader(io.StringIO(boards_csv(boards))))
    own = [row for row in rows if row["kind"] == "run"]
    per_score = len(list(all_tallies(boards[0].entries[0].score)))
    assert len(own) == 2 * 2 * per_score
    (one,) = [
        r
        for r in own
        if (r["run"], r["scorer"], r["task"], r["grouping"]) == ("music@direct", "answer", "music", "task")
    ]
    assert (one["n"], one["correct"], one["accuracy"], one["unparsed"], one["difficulty"]) == (
        "4",
        "4",
        "100.0",
        "0",
        "",
    )
    assert float(one["low"]) < 100 == float(one["high"])
    theirs = [row for row in rows if row["kind"] == "published"]
    assert len(theirs) == (28 + 33) * 4
    assert all(row["source"] and row["version"] and not row["n"] for row in theirs)
    assert boards_csv(boards) == boards_csv(make_boards(runs, ["answer", "official"])), "the same bytes"


def test_json_and_markdown_hold_what_was_asked_for(benchmark_of: Of, run_of: Runs) -> None:
    boards = make_boards(_some(benchmark_of, run_of), ["answer", "official"])
    body = boards_json(boards, leaderboard=True, groupings=[("task", "difficulty")])
    (board,) = body["boards"]
    assert board["entries"][0]["scores"]["official"]["accuracy"] == 33.33
    assert {
        "run": "music@direct",
        "scorer": "answer",
        "by": ["task", "difficulty"],
        "group": ["music", "medium"],
    }.items() <= (next(row for row in board["groups"] if row["group"] == ["music", "medium"]).items())
    text = boards_markdown(boards, leaderboard=False, groupings=[("sub-category",)])
    assert text.count("\n## ") + text.startswith("## ") == 1 + 2 + 4
    assert "| skill 0 | 6 |" in text


def test_several_samples_vote(benchmark_of: Of, run_of: Runs) -> None:
    run = _some(benchmark_of, run_of)[0]
    answers = {
        gold.id: [
            replace(run.answers[gold.id][0], sample=k, text=f"<answer>{gold.answer if k else 'no idea'}</answer>")
            for k in range(3)
        ]
        for gold in run.benchmark.golds
    }
    (board,) = make_boards([replace(run, answers=answers, meta={**run.meta, "samples": 3})])
    entry = board.entries[0]
    assert entry.majority is not None
    assert (entry.majority.overall.n, entry.majority.overall.accuracy) == (12, 1.0)
    assert [found.value for found in entry.pass_at] == pytest.approx([2 / 3, 1.0, 1.0])
    table = board_table(board)
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert (cells["average"], cells["majority"], cells["pass@2"]) == ("66.67", "100.00", "100.00 [75.8–100.0]")
    body = board.to_json()["entries"][0]
    assert [(found["k"], found["value"]) for found in body["pass_at"]] == [(1, 66.67), (2, 100.0), (3, 100.0)]
    assert body["pass_at"][1]["interval"] == [round(100 * end, 2) for end in wilson(12, 12)], "one source for both"
    votes = boards_json([board], leaderboard=False)["runs"][0]["votes"]
    assert body["pass_at"] == votes["pass_at"]
    rows = [row for row in csv.DictReader(io.StringIO(boards_csv([board]))) if row["measure"] != "accuracy"]
    chances = [row for row in rows if row["measure"] != "majority"]
    assert [(f"pass@{one['k']}", one["value"], *one["interval"], 12) for one in body["pass_at"]] == [
        (row["measure"], *(float(row[key]) for key in ("accuracy", "low", "high")), int(row["n"])) for row in chances
    ]
    voted = [row for row in rows if row["measure"] == "majority"]
    assert [row["grouping"] for row in voted] == ["all", "task", "task", "task"]
    assert (voted[0]["n"], voted[0]["correct"], voted[0]["accuracy"]) == ("12", "12", "100.0")
    page = leaderboard(board)
    [shown] = [cell for cell in page["rows"][0]["cells"] if cell["key"] == "pass@2"]
    assert (shown["text"], shown["small"]) == ("100.00", "75.8–100.0")
    plain = board_table(make_boards([run])[0])
    assert not {"majority", "pass@2"} & set(plain.header)


def test_the_clean_subset_stands_beside_the_whole(
    benchmark_of: Of, run_of: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _some(benchmark_of, run_of)[1]
    music = [gold.id for gold in run.benchmark.golds if gold.task == "music"]
    seen: list[object] = []

    def contamination(benchmark: object, corpora: object, *, text_overlap: bool) -> Contamination:
        seen.append(corpora)
        return Contamination("toy", "v", 12, dict.fromkeys(music, ()), (), {"segments": 0, "sounds": 0})

    monkeypatch.setattr("sari_bench.contamination.contamination", contamination)
    (board,) = make_boards([run], corpora=[Path("corpus")])
    entry = board.entries[0]
    assert seen == [[Path("corpus")]]
    assert entry.clean is not None
    assert entry.training is not None
    assert (entry.score.overall.n, entry.score.overall.correct) == (12, 4)
    assert (entry.clean.overall.n, entry.clean.overall.correct) == (8, 0)
    table = board_table(board)
    assert dict(zip(table.header, table.rows[0], strict=True))["clean"] == "0.00"
    beside = clean_table(board)
    assert beside is not None
    assert any("8 of 12 questions" in note for note in beside.notes)
    cells = dict(zip(beside.header, beside.rows[0], strict=True))
    assert (cells["n"], cells["n clean"], cells["n contaminated"]) == ("12", "8", "4")
    assert cells["full − clean"].startswith("+33.33 [")
    assert cells["contaminated − clean"].startswith("+100.00 [")
    # That four questions say little stands in words; of more the figures say all.
    assert any(note.endswith("on so few questions that it says little") for note in beside.notes)
    monkeypatch.setattr("sari_bench.reporting.clean_tables.FEW", 4)
    enough = clean_table(board)
    assert enough is not None
    assert [note for note in beside.notes if note not in enough.notes] == [f"{run.name}: {entry.training.sentence}"]


def test_withheld_answers_are_seen(benchmark_of: Of, run_of: Runs) -> None:
    run = _some(benchmark_of, run_of)[0]
    golds = tuple(replace(gold, answer=None) for gold in run.benchmark.golds)
    assert count_withheld(replace(run.benchmark, golds=golds)) == len(golds)
    assert count_withheld(run.benchmark) == 0


def test_wide_tables_are_split_and_nothing_is_lost() -> None:
    header = ["model", *(f"task number {i}" for i in range(20))]
    rows = [[f"a model with the long name {r}", *(f"{r}{i}.00" for i in range(20))] for r in range(3)]
    rows.append(["only the first", "1.00", *["–"] * 19])
    parts = fit_columns(header, rows, 80)
    assert len(parts) > 1
    assert [name for part, _ in parts for name in part[1:]] == header[1:]
    for part_header, part_rows in parts:
        widths = column_widths(part_header, part_rows)
        assert sum(widths[1:]) + len(widths) + 2 + 80 // 3 <= 80
    assert [len(part_rows) for _, part_rows in parts] == [4, *[3] * (len(parts) - 1)]
    assert fit_columns(header, rows, 1000) == [(header, rows)]
    assert all(a != b for a, b in pairwise(parts))
