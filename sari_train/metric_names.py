"""What a run's numbers are called and which of them belong in one picture.

A name ends in ``/<part>`` where one number is told for several parts: ``pass_rate/hard``,
``seconds/rollout``. A number that is not listed here is shown under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sari_data.types import DIFFICULTIES

LABELS = {
    "loss": "loss",
    "eval_loss": "dev loss",
    "eval_accuracy": "dev accuracy",
    "reward": "reward",
    "reward_std": "reward, spread",
    "reward_accuracy": "accuracy",
    "reward_format": "format",
    "reward_length": "thought length reward",
    "reward_consistency": "consistency",
    "pass_rate": "pass rate of the prompts",
    "length": "tokens a response",
    "thought_words": "words a thought",
    "truncated": "cut at the limit",
    "flat_groups": "groups without a lesson",
    "resampled": "prompts replaced",
    "kl": "KL to the reference",
    "entropy": "entropy",
    "clip_fraction": "clipped",
    "clip_low": "clipped below",
    "clip_high": "clipped above",
    "sampler_gap": "sampler gap",
    "correction_weight": "correction weight",
    "grad_norm": "gradient norm",
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens/s",
    "step_seconds": "seconds a step",
    "memory_mib": "memory, MiB",
    "memory_peak_mib": "peak memory, MiB",
    "memory_reserved_mib": "reserved memory, MiB",
}
_PREFIXES = {
    "reward_std/": "spread of ",
    "pass_rate/": "right, ",
    "eval_accuracy/": "dev accuracy, ",
    "seconds/": "seconds of ",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of curves.

    Args:
        title: Its heading.
        section: The part of the page that it belongs to.
        patterns: Names of its numbers, in order; ``*`` stands for anything. A number belongs to the first panel
            that names it.
        stacked: Drawn as areas on top of each other.
        log: On a logarithmic scale.
    """

    title: str
    section: str
    patterns: tuple[str, ...]
    stacked: bool = False
    log: bool = False


_HARDNESS = tuple(f"pass_rate/{name}" for name in DIFFICULTIES)
PANELS: Sequence[Panel] = (
    Panel("Reward", "Learning", ("reward",)),
    Panel("Loss", "Learning", ("loss", "eval_loss")),
    Panel("Dev accuracy", "Learning", ("eval_accuracy", "eval_accuracy/*")),
    Panel("Spread of the rewards", "Learning", ("reward_std", "reward_std/*")),
    Panel("Each reward", "Learning", ("reward_*",)),
    Panel("Right, by difficulty", "Learning", ("pass_rate", *_HARDNESS)),
    Panel("Right, by domain", "Learning", ("pass_rate/*",)),
    Panel("Groups without a lesson", "Learning", ("flat_groups",)),
    Panel("Prompts replaced", "Learning", ("resampled",)),
    Panel("Tokens a response", "Policy", ("length",)),
    Panel("Words a thought", "Policy", ("thought_words",)),
    Panel("Cut at the limit", "Policy", ("truncated",)),
    Panel("Entropy", "Policy", ("entropy",)),
    Panel("KL to the reference", "Policy", ("kl",)),
    Panel("Clip fractions", "Policy", ("clip_fraction", "clip_low", "clip_high", "clip_*")),
    Panel("Sampler gap", "Policy", ("sampler_gap",)),
    Panel("Correction weight", "Policy", ("correction_weight", "correction_*")),
    Panel("Gradient norm", "Optimizer", ("grad_norm",), log=True),
    Panel("Learning rate", "Optimizer", ("learning_rate",)),
    Panel("Seconds a step, by phase", "Speed and memory", ("seconds/*",), stacked=True),
    Panel("Tokens a second", "Speed and memory", ("tokens_per_second",)),
    Panel("Memory, MiB", "Speed and memory", ("memory_mib", "memory_peak_mib", "memory_*")),
    Panel("Seconds a step", "Speed and memory", ("step_seconds",)),
    Panel("Other numbers", "Other", ("*",)),
)


def label(name: str) -> str:
    """Return what a number is called on the screen."""
    if name in LABELS:
        return LABELS[name]
    for prefix, words in _PREFIXES.items():
        if name.startswith(prefix):
            return words + name.removeprefix(prefix).replace("_", " ")
    return name.removeprefix("reward_").replace("_", " ")


def ordered(names: Iterable[str]) -> list[str]:
    """Return names in the order in which they are shown: those that are known first, then the rest as they came."""
    place = {name: at for at, name in enumerate(LABELS)}
    return sorted(dict.fromkeys(names), key=lambda name: place.get(name, len(place)))


def panels_of(names: Iterable[str]) -> list[tuple[Panel, list[str]]]:
    """Return the panels that have something to show, each with its numbers; every name is in exactly one."""
    left = ordered(names)
    found = []
    for panel in PANELS:
        mine = list(dict.fromkeys(n for pattern in panel.patterns for n in left if fnmatchcase(n, pattern)))
        left = [name for name in left if name not in mine]
        if mine:
            found.append((panel, mine))
    return found
