"""Boards for the tests of the report page: toy questions with thoughts, scenes with audio, published rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench_toys import make_questions, right, wrong

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.config import Bench
from sari_bench.published import PublishedRow
from sari_bench.reporting.leaderboard import Board, make_boards
from sari_bench.running.runs import RECIPE, Run
from sari_bench.scoring import Answer, BenchmarkGolds
from sari_data.types import AudioQuestion

EVIL = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\"> {{ 7*7 }}"
SCORERS = ("answer", "official")
RUNS = ("good@structured", "fair@structured", "evil <i>@direct")


def draw(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big") / 2**48


def thinking(share: float) -> Callable[[AudioQuestion], str]:
    """Answer with a thought; right about so often."""

    def respond(question: AudioQuestion) -> str:
        said = (right if draw(share, question.id) < share else wrong)(question)
        words = " ".join(["so"] * (5 + int(60 * draw(question.id))))
        if draw(question.id, "cut") < 0.1:
            return f"<think><planning>Listen.</planning><reasoning>{words}"
        option = said.removeprefix("<answer>").removesuffix("</answer>")
        thought = f"<planning>Listen.</planning><caption>A sound.</caption><reasoning>{words}</reasoning>"
        return f"<think>{thought}<summary>It is {option}.</summary></think>{said}"

    return respond


def hostile(question: AudioQuestion) -> str:
    """Answer right in words that only some scorers take, or with markup."""
    other = next(choice for choice in question.choices if choice != question.answer)
    return EVIL if question.domain == "speech" else f"The answer is {question.answer}. A {other} can be ruled out."


def in_memory(
    benchmark: Benchmark, respond: Callable[[AudioQuestion], str], name: str, folder: Path, samples: int = 1
) -> Run:
    """A run as it is read back, without a runner."""
    answers = {q.id: [_answer(q.id, respond(q), n) for n in range(samples)] for q in benchmark.questions}
    mode = name.rpartition("@")[2]
    about: dict[str, Any] = {"name": benchmark.name, "version": benchmark.version, "digest": benchmark.digest}
    meta = {
        "model": {"name": name, "path": "somewhere"},
        "benchmark": {**about, "notes": []},
        "mode": mode,
        "samples": samples,
        "sampling": {"temperature": 0.0},
        "prompt": {"example": "What is heard?"},
    }
    golds = BenchmarkGolds(benchmark.name, benchmark.version, benchmark.digest, benchmark.golds)
    return Run(folder / name, meta, golds, answers)


def _answer(identifier: str, text: str, sample: int) -> Answer:
    cut = text.startswith("<think>") and not text.endswith("</answer>")
    return Answer(identifier, text, sample, "length" if cut else "stop", tokens=20 + sample)


def toy_boards(folder: Path, count: int = 60) -> list[Board]:
    """One board of three runs, with published rows of its version and of another."""
    toy = from_questions("toy", make_questions(count))
    runs = [
        in_memory(toy, respond, name, folder)
        for name, respond in zip(RUNS, (thinking(0.8), thinking(0.5), hostile), strict=True)
    ]
    figures = {"sound": 70.0, "music": 60.0, "speech": 50.0}
    extra = [
        PublishedRow("Elsewhere", "with tools", "toy", toy.version, "all", figures, 60.0, "a paper", "https://a.test/"),
        PublishedRow("Odd <b>", "", "toy", toy.version, "all", figures, 75.0, "another board"),
        PublishedRow("Old", "", "toy", "an earlier version", "all", figures, 60.0, "a paper", "https://a.test/"),
    ]
    return make_boards(runs, SCORERS, extra=extra)


def scene_board(folder: Path) -> list[Board]:
    """A board of one run on a few scenes, whose folder says where the audio is."""
    table = {"benchmark": "scenes", "scenes": {"questions": {"sound": 2, "music": 1}}}
    bench = Bench.model_validate(table)
    scenes = load_benchmark(bench.benchmark, **bench.benchmark_options())
    run = in_memory(scenes, right, "sure@direct", folder)
    run.folder.mkdir(parents=True)
    (run.folder / RECIPE).write_text(json.dumps({"bench": table}), encoding="utf-8")
    return make_boards([run])
