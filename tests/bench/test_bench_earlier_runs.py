"""Run folders that were made before questions about several recordings could be asked: these were left out then."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from several_toys import PATHS, level_of, write_pro

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark
from sari_bench.config import Bench
from sari_bench.running.reopening import clips_of, reopen
from sari_bench.running.runner import RunSettings, run_benchmark
from sari_bench.running.runs import RECIPE, Run, read_run
from sari_data.errors import BenchmarkError
from sari_data.responders.scripted import ScriptedResponder

ALONE = [key for key, names in PATHS.items() if len(names) == 1]


def earlier(tmp_path: Path) -> tuple[Benchmark, Run, RunSettings]:
    """The whole benchmark, and a run on what is about one recording whose recipe says nothing of recordings."""
    questions = write_pro(tmp_path / "q")
    whole = load_benchmark("mmau-pro", questions)
    settings = RunSettings("direct", recipe=Bench(benchmark="mmau-pro", questions=questions, mode="direct"))
    folder = tmp_path / "run"
    part = dataclasses.replace(whole.one_recording(), version=whole.one_recording().digest[:12])
    run_benchmark(part, ScriptedResponder(lambda request, sample: "(A)"), folder, settings)
    recipe = json.loads((folder / RECIPE).read_text())
    del recipe["bench"]["one_recording"]
    (folder / RECIPE).write_text(json.dumps(recipe))
    return whole, read_run(folder), settings


def test_an_earlier_run_is_opened_again_with_the_questions_that_it_asked(tmp_path: Path) -> None:
    _, run, _ = earlier(tmp_path)
    assert [question.id for question in reopen(run).questions] == ALONE
    found = clips_of(run, {"p0", "p7"})
    assert {key: [level_of(audio) for audio in clips] for key, clips in found.items()} == {"p0": [10], "p7": [32]}


def test_an_earlier_run_of_other_questions_is_still_refused(tmp_path: Path) -> None:
    _, run, _ = earlier(tmp_path)
    changed = dataclasses.replace(run, benchmark=dataclasses.replace(run.benchmark, digest="0" * 64))
    with pytest.raises(BenchmarkError, match="restore the benchmark's file"):
        reopen(changed)


def test_going_on_says_which_option_the_earlier_run_takes(tmp_path: Path) -> None:
    whole, run, settings = earlier(tmp_path)
    responder = ScriptedResponder(lambda request, sample: "(A)")
    with pytest.raises(BenchmarkError, match=r"4 questions .* about one recording, and all 8 .* --one-recording"):
        run_benchmark(whole, responder, run.folder, settings)
    more = dataclasses.replace(settings, samples=3)
    assert run_benchmark(whole.one_recording(), responder, run.folder, more) == 2 * len(ALONE)
