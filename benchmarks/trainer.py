"""What the trainer itself costs: the share of a GRPO step outside model compute, and the wait for a first step.

    python -m benchmarks.trainer --json

The step is that of ``benchmarks/grpo_step.py`` (a clip of 30 s, eight completions of some 70 tokens, the same model)
taken by ``sari-train grpo``'s own loop, with everything that the loop does around the model: decoding and features,
prompts, sampling's bookkeeping, rewards, advantages, collation, metrics, the log. Model compute is the time inside
the tower, the text model, the head and loss, the backward pass and the optimizer's step; the rest is overhead.
Saving a checkpoint is told apart: it is not part of a step. Every step has a clip of its own.

The wait is that of a user: a fresh process runs ``sari-train grpo`` on the embedded model, with its checks, until the
first line of metrics.jsonl is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.measure import child

# Completions are cut at this length: 8 of them are the 562 tokens of the other benchmark, to two.
TOKENS = 70
GROUP = 8


class Compute:
    """Adds up the seconds of the calls that it watches; calls inside others count once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0

    def watch(self, where: Any, name: str) -> None:
        """Count the calls of an attribute from now on."""
        original: Callable[..., Any] = getattr(where, name)

        def timed(*given: Any, **options: Any) -> Any:
            self._depth += 1
            started = time.perf_counter()
            try:
                return original(*given, **options)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.seconds += time.perf_counter() - started

        setattr(where, name, timed)


def work(config: dict[str, Any]) -> dict[str, Any]:
    """Take steps in this process; return the seconds of each, and those of model compute."""
    import torch

    from benchmarks import audio_model
    from sari_data.store import write_corpus
    from sari_data.types import AudioQuestion
    from sari_train import grpo, policy, run
    from sari_train.config import Grpo
    from sari_train.models.text_decode import TextDecoder
    from sari_train.progress import read_timings

    folder = Path(config["folder"])
    lm = audio_model.build(audio_model.SMALL)
    lm.model.save_pretrained(folder / "model")
    lm.processor.save_pretrained(folder / "model")
    choices = ("a fountain", "a drill", "a piano", "rain")
    questions = [
        AudioQuestion(
            id=f"noise-{number}",
            audio=audio_model.noise(config["clip"], number),
            question="Which of these sounds do you hear first?",
            choices=choices,
            answer=choices[number % 4],
            domain="sound",
        )
        for number in range(config["steps"])
    ]
    write_corpus(folder / "corpus", {"sft": [], "rl": questions, "dev": []}, {}, card="Noise.")
    table = Grpo(
        model=str(folder / "model"),
        corpus=str(folder / "corpus"),
        out=str(folder / "out"),
        mode="direct",
        steps=config["steps"],
        prompts_per_step=1,
        group_size=GROUP,
        max_new_tokens=TOKENS,
        curriculum="random",
        rewards={"accuracy": 1.0},
        device="cpu",
        save_every=config["steps"],
        preflight=False,
        on_trouble="go_on",
    )
    # Random weights are never right: a reward of the text's length lets there be something to learn.
    grpo.load_rewards = lambda names, settings: {"accuracy": lambda sample: (len(sample.text) % 97) / 97}  # type: ignore[assignment]
    compute = Compute()
    original = run.prepare_model

    def prepare(lm: Any, table: Any) -> None:
        original(lm, table)
        lm.stop_ids = (-1,)
        for name in ("audio_states", "project", "packed_backbone", "embed_tokens"):
            compute.watch(lm, name)
        make = lm.decoder

        def decoder() -> Any:
            made = make()
            compute.watch(made, "logits")
            return made

        lm.decoder = decoder

    run.prepare_model = prepare
    compute.watch(TextDecoder, "step")
    compute.watch(TextDecoder, "__init__")
    compute.watch(policy, "linear_loss")
    compute.watch(torch.Tensor, "backward")
    compute.watch(torch.optim.AdamW, "step")
    marks: list[float] = []
    finish = run.Run.finish_step

    def finish_step(self: Any, *given: Any, **options: Any) -> None:
        finish(self, *given, **options)
        marks.append(compute.seconds)

    run.Run.finish_step = finish_step  # type: ignore[method-assign]
    grpo.train_grpo(table)
    seconds = [row["step_seconds"] for row in read_timings(table.out)]
    inside = [b - a for a, b in zip([0.0, *marks], marks, strict=False)]
    return {"seconds": seconds, "compute": inside}


def first_step(folder: Path, corpus: Path, model: str) -> float:
    """Return the seconds from the command to its first line of metrics."""
    out = folder / "first"
    shutil.rmtree(out, ignore_errors=True)
    settings = {
        "grpo.model": json.dumps(model),
        "grpo.corpus": json.dumps(str(corpus)),
        "grpo.out": json.dumps(str(out)),
        "grpo.steps": "1000",
    }
    command = [str(Path(sys.executable).parent / "sari-train"), "grpo", "default"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    started = time.perf_counter()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONWARNINGS": "ignore"})
        try:
            while not (out / "metrics.jsonl").is_file() or not (out / "metrics.jsonl").stat().st_size:
                if process.poll() is not None:
                    raise SystemExit(f"{' '.join(command)} failed: {(folder / 'log').read_text()}")
                time.sleep(0.005)
            return time.perf_counter() - started
        finally:
            process.kill()
            process.wait()


def small_corpus(folder: Path, questions: int) -> Path:
    """Build a corpus of scenes for the first-step runs."""
    from sari_data.build import build_from_recipe

    out = folder / "scenes"
    build_from_recipe(
        None,
        [
            f"build.out={json.dumps(str(out))}",
            "build.sft=100",
            "build.dev=50",
            f"build.scenes.questions={{sound={questions}, music={questions}, speech={questions}}}",
        ],
    )
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=float, default=30.0, help="seconds of audio")
    parser.add_argument("--steps", type=int, default=5, help="steps; the first is left out of the figures")
    parser.add_argument("--runs", type=int, default=5, help="fresh processes of which the median wait is told")
    parser.add_argument("--corpus", type=Path, help="corpus for the wait (default: one of 600 scenes is built)")
    parser.add_argument("--model", default="tiny", help="model for the wait")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(work(json.loads(arguments.child))))
        return
    if arguments.steps < 2:
        parser.error(f"--steps must be 2 or more; found {arguments.steps}: the first is a warm-up")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = {"clip": arguments.clip, "steps": arguments.steps, "folder": name}
        found = child("benchmarks.trainer", config, threads=arguments.threads)
        corpus = arguments.corpus or small_corpus(folder, 200)
        first_step(folder, corpus, arguments.model)  # fills the file cache
        waits = [first_step(folder, corpus, arguments.model) for _ in range(arguments.runs)]
    seconds, inside = sum(found["seconds"][1:]), sum(found["compute"][1:])
    steps = arguments.steps - 1
    result = {
        "machine": machine.describe(),
        "clip_seconds": arguments.clip,
        "steps": steps,
        "step_seconds": round(seconds / steps, 3),
        "compute_seconds": round(inside / steps, 3),
        "overhead_seconds": round((seconds - inside) / steps, 3),
        "overhead_share": round((seconds - inside) / seconds, 4),
        "first_step_seconds": round(statistics.median(waits), 2),
        "first_step_slowest": round(max(waits), 2),
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(machine.line(machine.command()))
    print(
        f"\nA step with {arguments.clip:g} s of audio: {result['step_seconds']} s, of which "
        f"{result['compute_seconds']} s are model compute: overhead {100 * result['overhead_share']:.1f} %."
    )
    print(
        f"From `sari-train grpo` to its first step: {result['first_step_seconds']} s (median of {arguments.runs}; "
        f"slowest {result['first_step_slowest']} s)."
    )


if __name__ == "__main__":
    main()
