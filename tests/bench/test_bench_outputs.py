"""What every form of output owes its reader: outcomes that add up, and an end for a run that cannot be scored."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bench_scores import score_of

from sari_bench.pages.figures import full_scores
from sari_bench.reporting.leaderboard import make_boards
from sari_bench.reporting.report import score_notes, score_rows
from sari_bench.reporting.report_files import boards_csv, boards_json, boards_markdown
from sari_bench.running.runs import Run
from sari_bench.statistics.metrics import OUTCOMES, UNGRADABLE

Command = Callable[..., tuple[int, str, str]]
ENDINGS = (0, 1, "unparsed", "truncated", "refused", "missing", "ungradable")


def _add_up(header: list[str], rows: list[list[str]]) -> int:
    """How many rows of a table of groups were seen to add up."""
    seen = 0
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        if cells["n"]:
            assert sum(int(cells.get(name, 0)) for name in (*OUTCOMES, UNGRADABLE)) == int(cells["n"]), row
            seen += 1
    return seen


def test_a_table_of_every_outcome_adds_up_in_every_row() -> None:
    score = score_of({f"q{i}": [ENDINGS[i % 7]] for i in range(42)})
    header, rows = score_rows(score)
    assert set(header) >= {*OUTCOMES, UNGRADABLE}
    assert _add_up(header, rows) == 5, "all, three tasks, one difficulty"
    header, rows = score_rows(score_of({"q0": [0], "q1": [1]}))
    assert not set(header) & {"unparsed", "truncated", "refused", UNGRADABLE}, "what does not occur has no column"
    assert _add_up(header, rows) == 4


def test_a_table_of_many_groups_says_that_some_stand_out_by_chance() -> None:
    score = score_of({"q0": [0], "q1": [1]})
    assert score_notes(score) == score.notes
    many = replace(score, by={"sub-category": {str(i): score.overall for i in range(27)}})
    assert score_notes(many)[-1].startswith("of 27 figures with a 95 % interval each, about 1 misses the true value")


def test_every_group_adds_up_in_every_form(benchmark_of: Callable[[int], object], run_of: Callable[..., Run]) -> None:
    texts = ("<answer>dog</answer>", "<answer>cat</answer>", "", "The answer cannot be determined.", "Hm", "cat or dog")
    run = run_of(benchmark_of(24), lambda question: texts[int(question.id[1:]) % len(texts)])
    gone = {key: said for key, said in run.answers.items() if int(key[1:]) % 5}
    run = Run(run.folder, run.meta, run.benchmark, gone)
    boards = make_boards([run])
    body = boards_json(boards, leaderboard=False)["runs"][0]
    assert body["outcomes"]["missing"] == 5
    assert sum(body["outcomes"].values()) == body["n"] == 24
    parts = [part for groups in body["by"].values() for part in groups.values()]
    assert all(sum(part["outcomes"].values()) == part["n"] for part in parts)
    rows = list(csv.DictReader(io.StringIO(boards_csv(boards))))
    assert all(int(row["n"]) == sum(int(row[name]) for name in (*OUTCOMES, UNGRADABLE)) for row in rows)
    (page,) = full_scores(boards[0])
    assert _add_up(page["tables"][0]["header"], page["tables"][0]["rows"]) == len(parts) + 1
    text = boards_markdown(boards, leaderboard=False)
    lines = [line for line in text.split("scorer answer")[-1].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert _add_up(cells[0], cells[2:]) == len(parts) + 1


def test_a_run_whose_answers_are_withheld_ends_well_and_says_how_it_goes_on(
    run_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"id": f"m{i}", "audio_id": f"{i}.wav", "question": "What is heard?", "task": "sound"} for i in range(3)]
    Path("q.json").write_text(json.dumps([{**row, "choices": ["dog", "cat"]} for row in rows]), encoding="utf-8")
    for row in rows:
        Path(row["audio_id"]).touch()
    said = [{"id": row["id"], "text": "dog"} for row in rows]
    Path("said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said), encoding="utf-8")
    words = ["run", "--benchmark", "mmau-test", "--questions", "q.json", "--mode", "direct", "--name", "a"]
    words += ["--responder", "scripted", "--responder-option", "path=said.jsonl"]
    code, printed, said_of_it = run_command("sari-bench", *words)
    assert code == 0, said_of_it
    assert "3 of 3 answers are there; the right ones are withheld, so there is no score" in printed
    assert "'sari-bench submit runs/mmau-test/a' writes the file that the authors score" in printed
    body = json.loads(run_command("sari-bench", *words, "--json")[1])
    assert (body["scored"], body["n"], body["answers"]) == (False, 3, 3)
    assert (tmp_path / body["folder"] / "responses.jsonl").is_file()
