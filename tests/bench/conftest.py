"""Small benchmarks and runs that the tests of sari_bench share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_toys import make_questions

from sari_bench import cli
from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.running.runner import RunSettings, run_benchmark
from sari_bench.running.runs import Run, read_run
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioQuestion

Respond = Callable[[AudioQuestion], str]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def benchmark_of() -> Callable[[int], Benchmark]:
    """Make a benchmark of so many questions."""
    return lambda count: from_questions("toy", make_questions(count))


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Run]:
    """Run a benchmark with a function from question to text, and read the run back."""

    def make(benchmark: Benchmark, respond: Respond, name: str = "model@direct", mode: str = "direct") -> Run:
        questions = {question.id: question for question in benchmark.questions}
        responder = ScriptedResponder(lambda request, sample: respond(questions[request.id]), name=name)
        folder = tmp_path / "runs" / benchmark.name / name
        run_benchmark(benchmark, responder, folder, RunSettings(mode))
        return read_run(folder)

    return make


@pytest.fixture
def sari_bench(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run the command in an empty folder; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sari-bench", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capfd.readouterr()
        return int(end.value.code or 0), printed.out, printed.err

    return call
