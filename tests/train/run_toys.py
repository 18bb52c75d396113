"""The folder of a run that never was, written through the same functions as a real one's."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np

from sari_data.audio import encode_wav
from sari_data.types import AudioQuestion, AudioRef
from sari_train.completions import KeptGroup, KeptSample, save_completions
from sari_train.config import Grpo
from sari_train.health import Trouble
from sari_train.progress import Progress

EVIL = '</script><script>document.title="broken"</script><img src=x onerror="document.title=\'broken\'"><!-- {{ 7*7 }}'


def tone(pitch: float, seconds: float = 0.5) -> bytes:
    """A WAV file with a sine."""
    times = np.arange(int(seconds * 16_000)) / 16_000
    return encode_wav(0.3 * np.sin(2 * np.pi * pitch * times), 16_000)


def question(at: int) -> AudioQuestion:
    """One of a few questions, in turn of another domain and difficulty."""
    return AudioQuestion(
        id=f"q-{at}",
        audio=AudioRef(path=f"{at}.wav", data=tone(220 * 2 ** (at % 12 / 12))),
        question=f"Which of the sounds number {at} is heard after the dog has barked for the second time?",
        choices=("a bell", "a car horn", "rain", EVIL),
        answer="rain",
        domain=("sound", "music", "speech")[at % 3],
        difficulty=("easy", "medium", "hard")[at % 3],
    )


def numbers(step: int, steps: int, noise: random.Random) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics and timings that look like those of a run that learns."""
    done = step / steps
    accuracy = 0.35 + 0.5 * (1 - math.exp(-3 * done)) + noise.gauss(0, 0.04)
    metrics = {
        "loss": 0.02 * math.exp(-done) + noise.gauss(0, 0.01),
        "reward": 2 * accuracy + 0.97,
        "reward_std": 0.9 - 0.4 * done,
        "reward_accuracy": accuracy,
        "reward_format": min(1.0, 0.9 + 0.2 * done),
        "reward_std/accuracy": 0.48 - 0.2 * done,
        "reward_std/format": 0.2 * (1 - done),
        "length": 70 + 40 * done + noise.gauss(0, 3),
        "thought_words": 40 + 25 * done + noise.gauss(0, 2),
        "truncated": max(0.0, 0.08 * (1 - done) + noise.gauss(0, 0.01)),
        "flat_groups": min(1.0, 0.2 + 0.3 * done + abs(noise.gauss(0, 0.04))),
        "pass_rate": 0.9 - 0.5 * done,
        **{f"pass_rate/{n}": min(1.0, accuracy + d) for n, d in (("easy", 0.15), ("medium", 0.0), ("hard", -0.2))},
        **{f"pass_rate/{n}": min(1.0, accuracy + d) for n, d in (("sound", 0.05), ("music", -0.1), ("speech", 0.02))},
        "kl": 0.001 * step + abs(noise.gauss(0, 0.004)),
        "entropy": 0.8 - 0.4 * done + noise.gauss(0, 0.02),
        "clip_low": abs(noise.gauss(0, 0.004)),
        "clip_high": abs(noise.gauss(0, 0.008)),
        "sampler_gap": abs(noise.gauss(0, 1e-6)),
        "grad_norm": math.exp(noise.gauss(-0.5, 0.3)) * (400 if step == steps // 2 else 1),
        "learning_rate": 5e-5 * min(1, step / 10),
    }
    if step % 20 == 0:
        metrics["eval_accuracy"] = 0.4 + 0.4 * done
    seconds = {
        "rollout": 2.1 + noise.gauss(0, 0.2),
        "reward": 0.02,
        "policy": 1.1 + noise.gauss(0, 0.1),
        "optimizer": 0.1,
    }
    if step % 20 == 0:
        seconds |= {"evaluate": 1.5, "save": 0.4}
    timings = {f"seconds/{name}": value for name, value in seconds.items()}
    timings |= {"step_seconds": sum(seconds.values()) + 0.05, "tokens_per_second": 4200 + noise.gauss(0, 200)}
    return metrics, timings | {"memory_mib": 820.0 + noise.gauss(0, 10), "memory_peak_mib": 870.0 + step / 10}


def kept(at: int, step: int, noise: random.Random, group_size: int = 4) -> KeptGroup:
    """A question with samples, some right and one cut; one of the texts is hostile."""
    samples = []
    for number in range(group_size):
        right = noise.random() < 0.5
        thought = EVIL if number == 1 else "A dog barks twice, then something falls like rain on a roof."
        answer = "rain" if right else "a bell"
        text = f"<think><planning>Listen.</planning><caption>{thought}</caption></think><answer>{answer}</answer>"
        parts = {"accuracy": float(right), "format": 1.0}
        cut = "length" if number == 3 and at % 5 == 0 else "stop"
        samples.append(KeptSample(text, cut, parts, 2.0 * right + 1, 0.7 if right else -0.7, right, 60 + number))
    asked = question(at)
    return KeptGroup(asked, f"<|AUDIO|>{asked.question} (step {step})", samples)


def write_run(folder: Path, *, steps: int = 60, done: int | None = None, every: int = 20, questions: int = 6) -> Path:
    """Write a GRPO run of ``steps`` steps, of which ``done`` were taken."""
    folder.mkdir(parents=True)
    noise = random.Random(7)
    table = Grpo(model="checkpoints/sft", out=str(folder), steps=steps, eval_every=20, log_completions=every)
    (folder / "recipe.json").write_text(json.dumps({"grpo": table.model_dump(mode="json")}), encoding="utf-8")
    with Progress("GRPO", folder, steps=steps) as progress:
        for step in range(1, (done or steps) + 1):
            progress.update(step, *numbers(step, steps, noise))
            if step % every == 0:
                save_completions(folder, step, [kept(step + at, step, noise) for at in range(questions)])
            if step == steps // 2:
                progress.tell(
                    step, [Trouble("gradient_spike", f"the gradient of step {step} is steep: look <b>here</b>")]
                )
    return folder
