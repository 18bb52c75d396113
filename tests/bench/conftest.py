"""Small benchmarks and runs that the tests of sari_bench share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.runner import RunSettings, run_benchmark
from sari_bench.runs import Run, read_run
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioQuestion, AudioRef

Respond = Callable[[AudioQuestion], str]


def make_questions(count: int) -> list[AudioQuestion]:
    """Questions with three tasks, two skills and three difficulties, and audio that nobody decodes."""
    domains, levels = ("sound", "music", "speech"), ("easy", "medium", "hard")
    return [
        AudioQuestion(
            id=f"q{index:03d}",
            audio=AudioRef(path=f"q{index}.wav", data=b"not decoded here"),
            question=f"What is heard in recording {index}?",
            choices=("dog", "cat", "rain", "bell"),
            answer=("dog", "cat", "rain", "bell")[index % 4],
            domain=domains[index % 3],
            category="Perception" if index % 2 else "Reasoning",
            sub_category=f"skill {index % 2}",
            difficulty=levels[index % 3],
        )
        for index in range(count)
    ]


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


def right(question: AudioQuestion) -> str:
    """A right answer."""
    return f"<answer>{question.answer}</answer>"


def wrong(question: AudioQuestion) -> str:
    """A wrong answer."""
    return f"<answer>{next(choice for choice in question.choices if choice != question.answer)}</answer>"
