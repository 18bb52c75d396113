"""The recipe table ``[bench]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sari_bench.benchmarks.base import Benchmark
from sari_bench.benchmarks.scenes import SEED, HeldOut
from sari_bench.benchmarks.table_map import TableMap
from sari_bench.running.runs import MOST_SAMPLES
from sari_data.config import Table
from sari_data.responder import Sampling


class Bench(Table):
    """What to measure and how.

    Args:
        benchmark: A name that ``sari-bench list`` shows, ``corpus:PATH#SPLIT`` or ``table:PATH``.
        questions: The benchmark's published file, a folder with it, or ``hub:owner/name[@revision][/path]``; absent:
            from its own place on the Hub.
        audio: Folder or archive (.tar, .tar.gz, .zip) with its audio, or ``hub:owner/name/path``; absent: where the
            questions are.
        model: A checkpoint folder, or ``tiny``.
        responder: Which responder answers.
        mode: Response mode.
        word_limit: Words that the prompt allows for the thought; absent: no limit is mentioned.
        limit: Ask at most so many questions.
        one_recording: Leave questions about several recordings out, for a model that takes one in a prompt.
        samples: Answers to each question.
        temperature: 0 is greedy.
        top_p: Nucleus mass.
        max_new_tokens: Longest response, in tokens.
        seed: Seed of the sampling.
        batch_size: Requests that the ``local`` responder runs at once; absent: its own choice.
        long_audio: What the ``local`` responder does with audio that is longer than the model hears: ``error``,
            ``split`` or ``truncate``; absent: as the model is set.
        responder_options: Further options of the responder, by name.
        scenes_seed: Seed of the benchmark ``scenes``; a corpus must not use it.
        scenes: Options of the benchmark ``scenes``.
        table: Which column is what, for the benchmark ``table``.
    """

    benchmark: str = "scenes"
    questions: Path | None = None
    audio: Path | None = None
    model: str = "tiny"
    responder: str = "local"
    mode: str = "structured"
    word_limit: int | None = Field(default=None, ge=1)
    limit: int | None = Field(default=None, ge=1)
    one_recording: bool = False
    samples: int = Field(default=1, ge=1, le=MOST_SAMPLES)
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=256, ge=1)
    seed: int = 0
    batch_size: int | None = Field(default=None, ge=1)
    long_audio: Literal["error", "split", "truncate"] | None = None
    responder_options: dict[str, Any] = Field(default_factory=dict)
    scenes_seed: int = SEED
    scenes: HeldOut = Field(default_factory=HeldOut)
    table: TableMap = Field(default_factory=TableMap)

    def sampling(self) -> Sampling:
        """Return the sampling that the table asks for."""
        return Sampling(
            temperature=self.temperature, top_p=self.top_p, max_new_tokens=self.max_new_tokens, seed=self.seed
        )

    def part_of(self, benchmark: Benchmark) -> Benchmark:
        """Return what of a benchmark the table asks.

        Raises:
            BenchmarkError: Nothing is left.
        """
        return (benchmark.one_recording() if self.one_recording else benchmark).limit(self.limit)

    def benchmark_options(self) -> dict[str, Any]:
        """Return the options that belong to the chosen benchmark."""
        if self.benchmark == "table" or self.benchmark.startswith("table:"):
            return {"table": self.table}
        return {"scenes": self.scenes, "scenes_seed": self.scenes_seed} if self.benchmark == "scenes" else {}
