"""The figures of shortcuts as they are kept and read back, and over which questions they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from heard_toys import heard_benchmark, listen, model_of, row_of, run_model

from sari_bench.running.runs import read_run
from sari_bench.shortcuts.asking import measure_shortcuts
from sari_bench.shortcuts.figures import evaluate_shortcuts
from sari_bench.shortcuts.gains import read_difference
from sari_bench.shortcuts.results import Row, Shortcuts
from sari_bench.shortcuts.tables import shortcut_rows
from sari_bench.statistics.metrics import paired_difference


@pytest.mark.parametrize(("low", "verdict"), [(0.00003, "better"), (-0.00003, "undecided")])
def test_a_verdict_is_read_back_as_it_was_reached(low: float, verdict: str) -> None:
    """An interval that begins at +0.003 points is stored as beginning at 0.00, which would exclude nothing."""
    found = replace(paired_difference([0.0] * 30, [1.0] * 30), interval=(low, 0.2))
    body = found.to_json()
    assert body["interval"][0] == 0
    assert found.verdict == read_difference(body).verdict == verdict


def test_shares_are_rounded_once() -> None:
    """23.346 is 23.3; by way of 23.35 it would be 23.4."""
    row = Row("longest option", "rule", "", 1000, 0.254449, (0.23346, 0.28449), 254)
    found = Shortcuts({"name": "b", "version": "v"}, "", "", 1, "answer", (row,))
    assert shortcut_rows(found)[1] == [["longest option", "25.44", "23.3–28.4", "1000"]]
    assert shortcut_rows(Shortcuts.from_json(found.to_json()))[1] == shortcut_rows(found)[1]


def test_a_variant_counts_every_question_whatever_the_scorers_total_leaves_out(tmp_path: Path) -> None:
    benchmark, model = heard_benchmark(24), model_of(listen)
    run = run_model(benchmark, model, tmp_path / "run")
    measure_shortcuts(run, ("silence",), responder=model, benchmark=benchmark)
    path = run.folder / "shortcuts" / "silence" / "responses.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:9]), encoding="utf-8")
    found = evaluate_shortcuts(read_run(run.folder), "official")
    own, row = row_of(found, "own audio"), row_of(found, "silence")
    assert row.gain is not None
    assert row.n == own.n == row.gain.n == 24, "not the 9 that have an answer"
    assert own.accuracy - row.accuracy == pytest.approx(row.gain.difference, abs=1e-12)
    assert "15 of 24 answers are missing and count as not right" in found.notes[-1]
