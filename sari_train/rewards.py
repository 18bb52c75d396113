"""Rewards: a small table of functions from a sampled response to a number in [0, 1].

Accuracy is the grader of calibration and benchmarks, format the strict grammar of the response mode.
A reward that fails stops the run with the sample shown: a failure is never a reward of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sari_data.answers import follows_grammar, grade
from sari_data.errors import InputError
from sari_data.types import AudioQuestion


@dataclass(frozen=True, slots=True)
class Sample:
    """What a reward sees: the question, the response mode, the raw text and why it ended."""

    question: AudioQuestion
    mode: str
    text: str
    finish_reason: str


Reward = Callable[[Sample], float]


def accuracy(sample: Sample) -> float:
    """1 where the response gives the right option, else 0."""
    return float(grade(sample.text, sample.question, finish_reason=sample.finish_reason).correct)


def format_(sample: Sample) -> float:
    """1 where the response follows its mode's grammar to the letter, else 0."""
    return float(follows_grammar(sample.text, sample.mode))


REWARDS: Mapping[str, Reward] = {"accuracy": accuracy, "format": format_}


def score(
    sample: Sample, weights: Mapping[str, float], rewards: Mapping[str, Reward] = REWARDS
) -> tuple[float, dict[str, float]]:
    """Return the weighted sum of a sample's rewards, and each of them before weighting.

    Raises:
        InputError: A reward raised; the message names it and shows the sample.
    """
    parts = {}
    for name in weights:
        try:
            parts[name] = rewards[name](sample)
        except Exception as error:
            raise InputError(
                f"reward {name!r} failed on question {sample.question.id!r} with {type(error).__name__}: {error}; the "
                f"response was {sample.text!r} ({sample.finish_reason}): repair the reward or the question"
            ) from error
    return sum(weights[name] * value for name, value in parts.items()), parts
