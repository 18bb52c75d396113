"""``sari-bench compare`` as a user types it: files, tables, several runs, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_toys import right, wrong

from sari_bench.benchmarks.base import Benchmark
from sari_bench.running.runs import Run

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folders(benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]) -> list[str]:
    """Run folders of three models on ninety questions, each better than the one before."""
    whole = benchmark_of(90)
    made = [
        run_of(whole, lambda q, most=most: right(q) if int(q.id[1:]) < most else wrong(q), f"m{most}@direct")
        for most in (20, 50, 53)
    ]
    return [str(run.folder) for run in made]


@pytest.fixture
def compare(run_command: Call) -> Call:
    """Call ``sari-bench compare``."""
    return lambda *arguments: run_command("sari-bench", "compare", *arguments)


def test_one_sentence_a_table_and_its_note(compare: Call, folders: list[str]) -> None:
    code, printed, said = compare(*folders[:2], "--by", "difficulty", "--by", "sub-category")
    assert code == 0
    sentence, *rest = printed.splitlines()
    assert sentence.startswith("m50@direct beats m20@direct: 22.22 to 55.56 %, +33.33 points (95 % interval +")
    assert ", paired over 90 questions, McNemar p < 0.001, bootstrap +2" in sentence
    assert [row.split()[0] for row in rest if row.startswith((" easy", " medium", " hard"))] == [
        "easy",
        "medium",
        "hard",
    ]
    assert any(row.startswith(" skill 1") for row in rest)
    assert (
        "note: 3 groups were tested: of unadjusted p < 0.05 about 0.15 are expected by chance alone (found: 3)" in said
    )


def test_several_runs_against_the_first(compare: Call, folders: list[str]) -> None:
    code, printed, said = compare(*folders)
    assert code == 0
    assert "m50@direct beats m20@direct" in printed
    assert "m53@direct beats m20@direct" in printed
    assert "2 runs were compared with m20@direct" in said
    body = json.loads(compare(*folders, "--json")[1])
    assert [one["b"] for one in body["comparisons"]] == ["m50@direct", "m53@direct"]
    assert all(one["overall"]["adjusted_p"] >= one["overall"]["p_value"] for one in body["comparisons"])


def test_json_is_complete_and_the_same_each_time(compare: Call, folders: list[str]) -> None:
    code, printed, _ = compare(*folders[1:], "--json")
    body = json.loads(printed)
    assert code == 0
    assert (body["verdict"], body["overall"]["questions_needed"] > 90) == ("undecided", True)
    assert set(body["by"]) == {"task", "category", "sub-category", "difficulty"}
    assert set(body["by"]["task"]["music"]) >= {
        "points",
        "interval",
        "bootstrap",
        "p_value",
        "flip_p",
        "adjusted_p",
        "n",
    }
    assert any("about 0.15 are expected" in note for note in body["notes"])
    assert compare(*folders[1:], "--json")[1] == printed
    other = json.loads(compare(*folders[1:], "--json", "--seed", "5")[1])
    assert other["overall"]["interval"] == body["overall"]["interval"], "only the bootstrap draws"


def test_predictions_are_compared_with_a_run_on_its_questions(
    compare: Call, folders: list[str], benchmark_of: Callable[[int], Benchmark], tmp_path: Path
) -> None:
    rows = [{"id": gold.id, "model_output": gold.answer} for gold in benchmark_of(90).golds]
    path = tmp_path / "perfect.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    code, printed, _ = compare(folders[0], str(path))
    assert code == 0
    assert printed.startswith("perfect beats m20@direct: 22.22 to 100.00 %")


def test_other_versions_are_refused_unless_asked_for(
    compare: Call, folders: list[str], benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]
) -> None:
    part = str(run_of(benchmark_of(90).limit(40), right, "part@direct").folder)
    code, printed, said = compare(folders[0], part)
    assert (code, printed) == (2, "")
    assert "asked different questions" in said
    assert "--common" in said
    code, printed, _ = compare(folders[0], part, "--common")
    assert code == 0
    assert "compared on the 40 questions that both asked alike, of 90 (" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "compare needs two run folders or prediction files or more"),
        (["a", "b", "--by", "mood"], "--by 'mood' is unknown; expected one of ['task', 'category'"),
        (["a", "b"], "'a' is not a run folder, nor a file of predictions"),
    ],
)
def test_wrong_usage(compare: Call, arguments: list[str], message: str) -> None:
    code, printed, said = compare(*arguments)
    assert (code, printed) == (2, "")
    assert message in said
