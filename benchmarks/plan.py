"""``sari-train plan`` against the operating system: predicted and measured peak memory of real GRPO steps on this CPU.

    python -m benchmarks.plan
    python -m benchmarks.plan --only adamw-5s lora-30s --json

Each configuration is a model with random weights in a folder, a corpus of noise, and a recipe. The plan is made from
these without running anything. Then a fresh process loads the model as training does and takes three steps
with the trainer's own ``roll_out`` and ``learn``. Sampled responses of a random model earn nothing, so
advantages of +1 and -1 are put in their place; nothing else is changed.

Measured is the peak of resident memory that the kernel keeps as VmHWM. The process before the model is one that has
taken a step with the embedded model and given back what that took, so that all libraries are loaded:

- peak: over the first two steps, left alone.
- phases: in the third step, each from a fresh start: the C library is asked to give back what it holds
  (malloc_trim), and VmHWM is set back (5 into /proc/self/clear_refs).

The measuring process runs with MALLOC_MMAP_THRESHOLD_=65536, so that the C library gives freed tensors back to the
system: the plan counts tensors, and this shows whether it counts them right. A second process runs without, as
a user's does who sets nothing; "by default" is its peak. What it has more is freed memory that the library keeps.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.measure import start_anew, status

# Widths: of the audio tower, and of the text model.
MODELS: dict[str, dict[str, dict[str, int]]] = {
    # 60 million weights.
    "wide": {
        "audio": {"d_model": 256, "encoder_layers": 4, "encoder_attention_heads": 4, "encoder_ffn_dim": 1024},
        "text": {
            "vocab_size": 32_000,
            "hidden_size": 512,
            "intermediate_size": 1408,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
        },
    },
    # 15 million weights, of which head and embeddings are more than half.
    "narrow": {
        "audio": {"d_model": 128, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 512},
        "text": {
            "vocab_size": 16_000,
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_hidden_layers": 6,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
        },
    },
}
STEP: dict[str, Any] = {"prompts_per_step": 2, "group_size": 8, "micro_batch": 8, "max_new_tokens": 64}
LORA = {"rank": 8}
# Name: model, seconds of the clips, torch's threads, and what the recipe says beside STEP.
CASES: dict[str, tuple[str, float, int, dict[str, Any]]] = {
    "adamw-5s": ("wide", 5, 1, {}),
    "adamw-30s": ("wide", 30, 1, {}),
    "frozen-30s": ("wide", 30, 1, {"freeze_audio": True}),
    "muon-frozen-5s": ("wide", 5, 1, {"freeze_audio": True, "optimizer": "muon", "group_size": 16, "micro_batch": 16}),
    "checkpointing-30s": ("wide", 30, 1, {"freeze_audio": True, "checkpointing": True, "micro_batch": 16}),
    "one-pass-5s": ("wide", 5, 1, {"group_size": 4, "micro_batch": 8}),
    "beta-5s": ("wide", 5, 1, {"freeze_audio": True, "beta": 0.04}),
    "lora-5s": ("wide", 5, 1, {"lora": LORA, "group_size": 16, "micro_batch": 16}),
    "lora-30s": ("wide", 30, 1, {"lora": LORA, "beta": 0.04}),
    "mixed-5s": ("wide", 5, 1, {"mixed_precision": "bf16"}),
    "narrow-30s": ("narrow", 30, 1, {"prompts_per_step": 4, "micro_batch": 16}),
    "narrow-checkpointing-5s": ("narrow", 5, 1, {"checkpointing": True, "prompts_per_step": 8, "micro_batch": 64}),
    "two-threads-5s": ("wide", 5, 2, {"freeze_audio": True, "prompts_per_step": 4}),
}
MIB = 2**20
# From this size on a tensor is a mapping of its own, which goes back to the system when it is freed.
GIVING_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}


# -- what is measured ------------------------------------------------------------------------------------------


def make_inputs(folder: Path) -> None:
    """Write the models and, for each length of clips, a corpus."""
    from sari_data.store import write_corpus

    for name, widths in MODELS.items():
        make_model(folder / name, widths)
    for seconds in sorted({case[1] for case in CASES.values()}):
        write_corpus(
            folder / f"corpus-{seconds}", {"sft": [], "rl": questions(24, seconds), "dev": []}, {}, card="Noise."
        )


def make_model(folder: Path, widths: dict[str, dict[str, int]]) -> None:
    """Save a Qwen2-Audio with random weights that hears 30 s in 64 bands."""
    import torch
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    from sari_data.prompting import render_prompt
    from sari_train.models.tiny import build_tokenizer

    tokenizer = build_tokenizer([render_prompt(q, "direct") for q in questions(1, 1.0)], 400)
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = Qwen2AudioConfig(
        audio_config={"num_mel_bins": 64, "max_source_positions": 1500, **widths["audio"]},
        text_config={
            "model_type": "qwen2",
            "max_position_embeddings": 4096,
            **ends,
            **widths["text"],
        },
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    torch.manual_seed(0)
    model = Qwen2AudioForConditionalGeneration(config)
    model.save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=64, hop_length=160, chunk_length=30)
    Qwen2AudioProcessor(extractor, tokenizer).save_pretrained(folder)


def questions(count: int, seconds: float) -> list[Any]:
    """Return questions about clips of noise, one each."""
    from sari_data.audio import encode_wav
    from sari_data.types import AudioQuestion, AudioRef, PassRate

    found = []
    for number in range(count):
        samples = np.random.default_rng(number).normal(size=round(seconds * 16_000)) * 0.1
        audio = AudioRef(path=f"{number}.wav", data=encode_wav(samples, 16_000))
        choices = ("a dog that barks", "a door that closes", "rain on a roof", "a car that passes")
        found.append(
            AudioQuestion(
                id=f"noise-{number}",
                audio=audio,
                question="Which of these sounds do you hear first?",
                choices=choices,
                answer=choices[number % 4],
                domain="sound",
                pass_rates=(PassRate(2, 4, "none", "direct", 0),),
            )
        )
    return found


def table_of(case: str, folder: Path) -> Any:
    """Return a case's ``[grpo]`` table."""
    from sari_train.config import Grpo

    model, seconds, _, settings = CASES[case]
    given = {"model": str(folder / model), "corpus": str(folder / f"corpus-{seconds}"), "mode": "direct", "steps": 3}
    return Grpo.model_validate(given | {"device": "cpu"} | STEP | settings)


# -- the measuring process -------------------------------------------------------------------------------------


def measure(case: str, folder: Path) -> dict[str, Any]:
    """Take three steps as ``train_grpo`` does; return the peaks in bytes."""
    from sari_data.store import read_split
    from sari_train import distributed, policy

    table = table_of(case, folder)
    read_split(table.corpus, table.split)
    few = table.model_copy(update={"model": "tiny", "prompts_per_step": 2, "max_new_tokens": 8})
    Trained(few).step([q.replace(audio=replace(q.audio, duration=2.0)) for q in questions(2, 2.0)], 0)
    gc.collect()
    start_anew()
    before = status("VmRSS")

    asked = read_split(table.corpus, table.split)
    trained = Trained(table)
    peaks: dict[str, int] = {}

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **options: Any) -> Any:
            start_anew()
            done = function(*given, **options)
            peaks[name] = max(peaks.get(name, 0), status("VmHWM"))
            return done

        return run

    Path("/proc/self/clear_refs").write_text("5")
    size = table.prompts_per_step
    lengths: list[int] = []
    for step in range(3):
        if step == 2:
            peaks["peak"] = status("VmHWM")
            distributed.backward_all = watched("policy", distributed.backward_all)
            policy.take_step = watched("optimizer", policy.take_step)
            trained.engine.sample = watched("rollout", trained.engine.sample)
            if trained.reference is not None:
                trained.reference.logprobs = watched(  # type: ignore[method-assign]
                    "reference", trained.reference.logprobs
                )
        lengths += trained.step(asked[step * size : (step + 1) * size], step)
    return {"before": before, "peaks": peaks, "completions": [min(lengths), max(lengths)]}


class Trained:
    """A model in training, put together as ``train_grpo`` does it."""

    def __init__(self, table: Any) -> None:
        from sari_train.models.load import load_model
        from sari_train.optim import make_optimizer
        from sari_train.reference import Reference
        from sari_train.rewards import Settings, load_rewards
        from sari_train.rollouts.engine import make_engine
        from sari_train.run import prepare_model

        self.table = table
        self.lm = load_model(table.model, dtype=table.dtype, device=table.device)
        prepare_model(self.lm, table)
        self.reference = Reference(self.lm, table) if table.beta > 0 else None
        self.optimizer = make_optimizer(self.lm, table)
        self.engine: Any = make_engine(self.lm, table)
        self.rewards = load_rewards(table.rewards, Settings(table.mode, table.thought_words))

    def step(self, drawn: list[Any], step: int) -> list[int]:
        """Take a step on these questions; returns the lengths of the completions."""
        from sari_train.grpo import compare, roll_out
        from sari_train.policy import learn
        from sari_train.samples import StepSamples

        places = [(at, at) for at in range(len(drawn))]
        groups = tuple(roll_out(self.lm, self.engine, drawn, places, step, self.table, self.rewards))
        results = tuple(group.result for group in groups)
        experience, _ = compare(self.lm, StepSamples(groups, results, results, drawn), self.reference, self.table)
        experience = [replace(e, advantage=1.0 if at % 2 else -1.0) for at, e in enumerate(experience)]
        learn(self.lm, self.optimizer, experience, self.reference, step, self.table)
        return [len(e.row.completion) for e in experience]


# -- side by side ----------------------------------------------------------------------------------------------


def predict(case: str, folder: Path) -> dict[str, Any]:
    """Return the plan of a case, as ``sari-train plan --json`` prints it."""
    from sari_train.config import Sft
    from sari_train.plan_report import make_plan

    return make_plan(table_of(case, folder), Sft.model_validate({}), device="cpu").to_json()


def compare(case: str, folder: Path) -> dict[str, Any]:
    """Plan a case and measure it, each in a fresh process, and put the two side by side."""
    model, seconds, threads, settings = CASES[case]

    def child(what: str, **variables: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.plan", what, case, "--folder", str(folder)]
        environment = {k: v for k, v in os.environ.items() if k not in GIVING_BACK} | variables
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    threads_variable = {"OMP_NUM_THREADS": str(threads)}
    plan = child("--predict", **threads_variable)
    measured = child("--measure", **threads_variable, **GIVING_BACK)
    by_default = child("--measure", **threads_variable)
    process = plan["phases"]["policy"]["parts"]["process"]
    phases = {name: phase["bytes"] - process for name, phase in plan["phases"].items()}
    predicted = {"peak": max(phases.values()), "rollout": max(phases["prefill"], phases["decoding"])} | phases
    before = measured["before"]
    return {
        "model": model,
        "seconds": seconds,
        "threads": threads,
        "recipe": STEP | settings,
        "prompt_tokens": plan["assumed"]["prompt_tokens"]["longest"],
        "completions": measured["completions"],
        "process": _pair(process, before),
        "whole": _pair(predicted["peak"] + process, measured["peaks"]["peak"]),
        "by_default": _pair(predicted["peak"], by_default["peaks"]["peak"] - by_default["before"]),
        "increase": {name: _pair(predicted[name], found - before) for name, found in measured["peaks"].items()},
    }


def _pair(predicted: int, measured: int) -> dict[str, float]:
    return {
        "predicted_mib": round(predicted / MIB, 1),
        "measured_mib": round(measured / MIB, 1),
        "error": round(predicted / measured - 1, 3),
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), metavar="CASE", help="only these configurations")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    for internal in ("--predict", "--measure"):
        parser.add_argument(internal, choices=sorted(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for case, function in ((arguments.predict, predict), (arguments.measure, measure)):
        if case:
            print(json.dumps(function(case, arguments.folder)))
            return
    rows = {}
    with tempfile.TemporaryDirectory(prefix="sari-plan-") as place:
        folder = Path(place)
        make_inputs(folder)
        for case in arguments.only or CASES:
            rows[case] = compare(case, folder)
            print(f"{case:<24} {_cell(rows[case]['increase']['peak'])}", file=sys.stderr, flush=True)
    if arguments.json:
        print(json.dumps({"machine": machine.describe(), "rows": rows}, indent=2))
        return
    print(machine.line(machine.command()))
    names = ("peak", "rollout", "reference", "policy", "optimizer")
    print("\nMiB, predicted / measured; but for the last two columns, beyond the process before it loads the model\n")
    head = ["configuration", *names, "peak by default", "process", "peak, process included"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for case, row in rows.items():
        cells = [_cell(row["increase"].get(name)) for name in names]
        cells += [_cell(row[name]) for name in ("by_default", "process", "whole")]
        print(f"| {case} | {' | '.join(cells)} |")
    for what, errors in (
        ("peak", [row["increase"]["peak"]["error"] for row in rows.values()]),
        ("peak by default", [row["by_default"]["error"] for row in rows.values()]),
        ("peak, process included", [row["whole"]["error"] for row in rows.values()]),
    ):
        print(f"\n{what}: errors from {min(errors):+.1%} to {max(errors):+.1%}")


def _cell(found: dict[str, float] | None) -> str:
    return f"{found['predicted_mib']:.0f} / {found['measured_mib']:.0f} ({found['error']:+.0%})" if found else ""


if __name__ == "__main__":
    main()
