"""The published rows that ship with sari: their form, their sources, their weights, and what is wrong in them."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import sari_bench.published as shipped
from sari_bench.benchmarks import benchmark_names, load_benchmark
from sari_bench.published import PublishedRow, known_rows

FILES = sorted(Path(shipped.__file__).parent.glob("*.toml"))
BOARD = "MMAR leaderboard"
PINNED = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/(blob|tree)/[0-9a-f]{40}/\S+")
# The first rows came with their sources named only; their addresses are a repository or a paper.
UNPINNED = {"https://github.com/kehanlu/DeSTA2.5-Audio", "https://github.com/xiaomi-research/r1-aqa"}
UNPINNED |= {"https://arxiv.org/abs/2504.15900"}


def _tables(path: Path) -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["table"]
    return tables


def _of(benchmark: str) -> list[PublishedRow]:
    return [row for row in known_rows() if row.benchmark == benchmark]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_table_is_of_its_files_benchmark_and_says_where_it_can_be_read(path: Path) -> None:
    tables = _tables(path)
    assert tables
    for table in tables:
        assert table["benchmark"] in benchmark_names()
        assert table["benchmark"].replace("-", "_").startswith(path.stem)
        assert PINNED.fullmatch(table["url"]) or table["url"] in UNPINNED, "an address whose text cannot change"
        assert len(table["source"]) > 10
        assert table["rows"]
        assert len({(row[0], row[1]) for row in table["rows"]}) == len(table["rows"]), "each model once"
        for row in table["rows"]:
            assert all(isinstance(figure, float) or figure == "-" for figure in row[2:])
            assert row[-1] != "-", "a row without an average ranks nowhere"


def test_how_many_there_are() -> None:
    assert Counter((row.benchmark, row.version) for row in known_rows()) == {
        ("mmar", "not stated"): 60,
        ("mmsu", "not stated"): 42,
        ("mmau-pro", "not stated"): 36,
        ("mmau-test-mini", "v05.15.25"): 28,
        ("mmau-test", "v05.15.25"): 27,
        ("mmau-test-mini", "before v05.15.25"): 33,
        ("mmau-test", "before v05.15.25"): 22,
    }


def test_no_result_is_there_twice() -> None:
    seen = Counter(
        (row.benchmark, row.version, row.split, row.label, row.average, *row.figures.values())
        for row in known_rows()
        if None not in row.figures.values()
    )
    assert [key for key, times in seen.items() if times > 1] == []


def test_the_weights_of_mmar_are_those_of_its_questions(shared_data: Path) -> None:
    golds = load_benchmark("mmar", shared_data / "mmar" / "MMAR-meta.jsonl", audio=False).golds
    counts = Counter(gold.task for gold in golds)
    weighed = [row for row in _of("mmar") if row.counts]
    assert len(weighed) == 36 + 8
    for row in weighed:
        assert row.counts == counts
        assert set(row.figures) == set(counts)


def test_every_average_of_mmar_s_board_is_over_the_questions() -> None:
    board = [row for row in _of("mmar") if row.source.startswith(BOARD)]
    over_columns = 0
    for row in board:
        figures = {task: float(value or 0) for task, value in row.figures.items()}
        assert row.average is not None
        over = sum(figures[task] * n for task, n in row.counts.items()) / sum(row.counts.values())
        # Each figure is off by up to 0.05 where it is rounded, and so is the average.
        assert abs(over - row.average) <= 0.1, row.label
        over_columns += abs(sum(figures.values()) / len(figures) - row.average) <= 0.1
    assert over_columns <= 2, "the same margin tells the two kinds of average apart"


def test_right_answers_of_the_categories_add_up_to_the_total() -> None:
    rows = [row for row in known_rows() if row.source.startswith("All That Glitters")]
    assert len(rows) == 2 * 8
    for row in rows:
        total = sum(row.counts.values())
        assert row.average is not None
        right = {task: round(float(value or 0) * row.counts[task] / 100) for task, value in row.figures.items()}
        assert sum(right.values()) == round(row.average * total / 100), row.label
        assert total == {"mmar": 1000, "mmau-pro": 4592}[row.benchmark]
        for task, k in right.items():
            assert f"{100 * k / row.counts[task]:.2f}" == f"{row.figures[task]:.2f}", (row.label, task)


def test_the_total_of_mmsu_is_that_of_its_two_parts_only() -> None:
    board = [row for row in _of("mmsu") if row.parts]
    assert len(board) == 19
    for row in board:
        assert row.parts == ("perception", "reasoning")
        assert len(row.figures) == 2 + 6
        assert not row.counts, "they differ from model to model: unreadable answers are left out of the totals"


def test_exactly_these_rows_beyond_the_first_are_flagged() -> None:
    flagged = {
        (row.benchmark, row.version.split()[0], row.label)
        for row in known_rows()
        if row.problem and ("home page" in row.source or not row.benchmark.startswith("mmau-test"))
    }
    assert flagged == {
        ("mmsu", "not", "Gemini-2.0-Flash"),
        ("mmau-test-mini", "v05.15.25", "Step-Audio-2-mini"),
        ("mmau-test-mini", "v05.15.25", "Gemma 3n (2B)"),
        ("mmau-test", "v05.15.25", "Step-Audio-2-mini"),
        ("mmau-test", "v05.15.25", "DeSTA2.5-Audio"),
        ("mmau-test", "v05.15.25", "Gemini 2.5 Flash"),
        ("mmau-test-mini", "before", "LTU"),
        ("mmau-test-mini", "before", "GPT4o + weak cap."),
        ("mmau-test-mini", "before", "Llama-3-Ins. + strong cap."),
    }
    (gemini,) = [row.problem for row in _of("mmsu") if row.problem]
    assert gemini == (
        "the printed average 51.03 cannot be that of perception 40.83 and reasoning 47.83, which give 44.33"
    )


def test_what_is_remarked_beyond_mmau() -> None:
    remarks = {row.label: row.remark for row in known_rows() if row.remark and not row.benchmark.startswith("mmau-t")}
    assert remarks == {
        "Qwen3-Omni-Thinking": "no number of right answers out of 11 gives sound+music 63.40",
        "Qwen2.5-Omni": "61.32 is what others print for it on the part of VoiceBench that is called MMSU too",
    }


def test_the_board_itself_repairs_the_copy_s_flagged_row() -> None:
    rows = [row for row in _of("mmau-test-mini") if row.model == "Audio Flamingo 3"]
    assert [(row.figures["music"], bool(row.problem)) for row in rows] == [(66.77, True), (73.95, False)]
    assert len({row.average for row in rows}) == 1
