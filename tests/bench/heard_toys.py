"""Questions with audio that can be heard, models that listen or do not, and runs of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.config import Bench
from sari_bench.running.measure import measure
from sari_bench.running.runs import Run
from sari_bench.shortcuts import Row, Shortcuts
from sari_data.audio import decode, encode_wav
from sari_data.responder import Request, Responder
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioQuestion, AudioRef

OPTIONS = ("dog", "cat", "rain", "bell")
RATE = 800  # Hz


def heard_questions(count: int, options: tuple[str, ...] = OPTIONS) -> list[AudioQuestion]:
    """Questions whose audio says the answer: its level is the answer's place among OPTIONS, in tenths."""
    tasks = ("sound", "music", "speech")
    found = []
    for index in range(count):
        answer = options[index % len(options)]
        samples = np.full(80 + index, (OPTIONS.index(answer) + 1) / 10)
        found.append(
            AudioQuestion(
                id=f"q{index:03d}",
                audio=AudioRef(path=f"q{index}.wav", data=encode_wav(samples, RATE)),
                question=f"What is heard in recording {index}?",
                choices=options,
                answer=answer,
                domain=tasks[index // len(options) % 3],
            )
        )
    return found


def heard_benchmark(count: int) -> Benchmark:
    """A benchmark of such questions."""
    return from_questions("heard", heard_questions(count))


def row_of(found: Shortcuts, name: str) -> Row:
    """The row of that name, which must have been measured."""
    return next(row for row in found.rows if row.name == name)


def listen(request: Request) -> str:
    """What the audio says, a word; ``nothing`` where there is none, or silence."""
    if request.audio is None:
        return "nothing"
    samples, _ = decode(request.audio)
    level = round(float(samples.mean()) * 10)
    return OPTIONS[level - 1] if level else "nothing"


def shown_options(request: Request) -> list[str]:
    """The options in the order in which the prompt shows them."""
    lines = [line.strip() for line in request.prompt.splitlines()]
    return [line.partition(")")[2].strip() for line in lines if line.startswith("(")]


Respond = Callable[[Request], str]


def model_of(respond: Respond, name: str = "toy@1") -> ScriptedResponder:
    """A model that answers with what ``respond`` returns, in an answer section."""
    return ScriptedResponder(lambda request, sample: f"<answer>{respond(request)}</answer>", name=name)


def run_model(
    benchmark: Benchmark, responder: Responder, folder: Path, mode: str = "direct", samples: int = 1, **table: Any
) -> Run:
    """Run a benchmark with its recipe beside the answers, as the command does."""
    bench = Bench(responder="scripted", mode=mode, samples=samples, **table)
    return measure(bench, benchmark, folder, responder=responder)
