"""Rewards: functions from a sampled response to a number, found by name.

Accuracy is the grader of calibration and benchmarks, format the strict grammar of the response mode. A
reward that fails stops the run with the sample shown: a failure is never a reward of 0.

A package adds a reward under the entry-point group ``sari.rewards``. The object there is a factory: it is
called once with the run's :class:`Settings` and returns the function of a :class:`Sample`, or raises an
InputError where the settings do not suit it. The rewards of this module are made in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from numbers import Real

from sari_data.answers import follows_grammar, grade, read_response
from sari_data.errors import InputError, PluginError, SariError
from sari_data.options import Options
from sari_data.prompting import load_mode
from sari_data.thoughts import count_words, find_section, named_options, thought_sections
from sari_data.types import AudioQuestion

GROUP = "sari.rewards"


@dataclass(frozen=True, slots=True)
class Sample:
    """What a reward sees: the question, the response mode, the raw text and why it ended."""

    question: AudioQuestion
    mode: str
    text: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What a reward may depend on besides the sample.

    Args:
        mode: The run's response mode.
        thought_words: Words that a thought may have (``grpo.thought_words``).
    """

    mode: str
    thought_words: int = 50


Reward = Callable[[Sample], float]
Factory = Callable[[Settings], Reward]


def accuracy(settings: Settings) -> Reward:
    """Make the reward that is 1 where the response gives the right option, else 0."""

    def reward(sample: Sample) -> float:
        return float(grade(sample.text, sample.question, finish_reason=sample.finish_reason).correct)

    return reward


def format_(settings: Settings) -> Reward:
    """Make the reward that is 1 where the response follows its mode's grammar to the letter, else 0."""

    def reward(sample: Sample) -> float:
        return float(follows_grammar(sample.text, sample.mode))

    return reward


def length(settings: Settings) -> Reward:
    """Make the reward that is 1 where the thought has 1 to ``thought_words`` words, else 0.

    The bound is the 50 words of Ke-Omni-R (Zhao et al. 2025, github.com/shuaijiang/Ke-Omni-R), whose prompt asks
    for a thought of less than 50 words and whose published rewards are accuracy and format alone; here the bound
    is rewarded too. Words are what white space separates. No thought, and a thought that the length limit cut,
    earn 0: the first would teach not to think, the length of the second is not known.

    Raises:
        InputError: The mode has no thought.
    """
    thoughts = thought_sections(settings.mode)
    if not thoughts:
        raise InputError(
            f"reward 'length' counts the words of the thought, but mode {settings.mode!r} has none: train in a mode "
            "with a thought, or take 'length' out of grpo.rewards"
        )

    def reward(sample: Sample) -> float:
        reading = read_response(sample.text, sample.question.choices, finish_reason=sample.finish_reason)
        if sample.finish_reason == "length" and reading.answer_text is None:
            return 0.0
        return float(1 <= count_words(reading.sections, thoughts) <= settings.thought_words)

    return reward


def consistency(settings: Settings) -> Reward:
    """Make the reward that is 1 where the summary names exactly one option and it is the one answered, else 0.

    The summary is read as an answer is: it may be the option's text or letter as a whole, or a sentence that names
    one. One that names several options is ambiguous, and nothing is guessed. Whether the answer is right is no
    matter here.

    Raises:
        InputError: The mode has no summary section.
    """
    path = find_section(settings.mode, "summary")
    if path is None:
        raise InputError(
            f"reward 'consistency' compares the summary with the answer, but mode {settings.mode!r} has no summary "
            f"section (it has {', '.join(load_mode(settings.mode).sections)}): train in mode structured, or take "
            "'consistency' out of grpo.rewards"
        )

    def reward(sample: Sample) -> float:
        reading = read_response(sample.text, sample.question.choices, finish_reason=sample.finish_reason)
        if reading.choice is None:
            return 0.0
        named = named_options(reading.sections.get(path, ""), Options(sample.question.choices))
        return float(named == {reading.choice})

    return reward


REWARDS: Mapping[str, Factory] = {
    "accuracy": accuracy,
    "format": format_,
    "length": length,
    "consistency": consistency,
}


def list_rewards() -> list[str]:
    """Return the names of all rewards, sorted: those here and those of installed packages, none of them imported."""
    return sorted({*REWARDS, *(entry.name for entry in entry_points(group=GROUP))})


def check_rewards(names: Iterable[str]) -> None:
    """Check that there is exactly one reward of each name, without importing any.

    Raises:
        InputError: A name is unknown; the message lists what exists.
        PluginError: Two packages register one name, or a package one of the names of this module.
    """
    for name in names:
        if name not in REWARDS or _registered(name):
            _entry(name)


def load_rewards(names: Iterable[str], settings: Settings) -> dict[str, Reward]:
    """Make the rewards ``names``, ready to be called with samples.

    Raises:
        InputError: A name is unknown, or a reward does not suit the settings.
        PluginError: A package registers a name twice or fails to load; the message names it.
    """
    names = list(names)
    check_rewards(names)
    return {name: REWARDS[name](settings) if name in REWARDS else _load(_entry(name), settings) for name in names}


def score(
    sample: Sample, weights: Mapping[str, float], rewards: Mapping[str, Reward]
) -> tuple[float, dict[str, float]]:
    """Return the weighted sum of a sample's rewards, and each of them before weighting.

    Args:
        sample: The response.
        weights: Weight of each reward; one with weight 0 is computed and reported all the same.
        rewards: From :func:`load_rewards`.

    Raises:
        InputError: A reward raised, or returned what is not a finite number; the message names it and shows the
            sample.
    """
    parts: dict[str, float] = {}
    for name in weights:
        try:
            value = rewards[name](sample)
        except Exception as error:
            raise _failure(name, sample, f"failed with {type(error).__name__}: {error}") from error
        if not isinstance(value, Real) or not math.isfinite(value):
            raise _failure(name, sample, f"returned {value!r}, not a finite number,")
        parts[name] = float(value)
    return sum(weights[name] * value for name, value in parts.items()), parts


def _failure(name: str, sample: Sample, what: str) -> InputError:
    return InputError(
        f"reward {name!r} {what} on question {sample.question.id!r}; the response was {sample.text!r} "
        f"({sample.finish_reason}): repair the reward or the question"
    )


def _registered(name: str) -> list[EntryPoint]:
    return list(entry_points(group=GROUP, name=name))


def _entry(name: str) -> EntryPoint:
    found = _registered(name)
    if not found:
        raise InputError(
            f"reward {name!r} is not registered; found {list_rewards()}: correct the name, or install the package "
            "that has it"
        )
    if len(found) > 1 or name in REWARDS:
        values = [entry.value for entry in found] + (["sari_train.rewards"] if name in REWARDS else [])
        raise PluginError(
            f"reward {name!r} is registered {len(values)} times, by {', '.join(values)}: keep one, rename the others"
        )
    return found[0]


def _load(entry: EntryPoint, settings: Settings) -> Reward:
    where = f"reward {entry.name!r} ({entry.value})"
    try:
        reward: Reward = entry.load()(settings)
    except SariError:
        raise
    except Exception as error:
        raise PluginError(
            f"{where} fails to load: {type(error).__name__}: {error}: repair or uninstall the package that registers it"
        ) from error
    if not callable(reward):
        raise PluginError(
            f"{where} must be a function of the settings that returns the function of a sample; it returned "
            f"{reward!r}: repair the package that registers it"
        )
    return reward
