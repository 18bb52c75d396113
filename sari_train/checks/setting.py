"""What the checks of ``preflight`` share: their verdicts, the examples they run, and leaving everything as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from sari_data.errors import InputError
from sari_data.prompting import load_mode, missing_need, render_prompt, render_target
from sari_data.types import AudioQuestion, AudioRef
from sari_train.batch import Example
from sari_train.config import Grpo, Training
from sari_train.models.base import AudioLM
from sari_train.models.clips import BoundedCache
from sari_train.rewards import Reward, Sample, Settings, load_rewards, score

Level = Literal["ok", "warning", "fail", "skipped"]

# Questions that the model itself is run on, each with a right and a wrong response.
ASKED = 3
# Questions whose texts are read: before a training, and by the command.
READ_QUICK, READ = 512, 20_000
# What a made-up thought says in each section but the last.
_THOUGHT = "Listening."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check came to.

    Args:
        level: ``ok``; ``warning``: told, and nothing stops; ``fail``: a training would go wrong; ``skipped``.
        measured: What was measured, or why the check was skipped.
        expected: For a warning or failure: what was expected.
        found: What was found instead.
        remedy: What to do.
    """

    level: Level
    measured: str
    expected: str = ""
    found: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Setting:
    """What there is to check.

    Args:
        lm: The model as it will train: frozen and adapted.
        table: The recipe's ``[sft]`` or ``[grpo]``.
        questions: All questions of the training split.
        read: Those whose texts are checked.
        rewards: The rewards by name.
        quick: Before a training: seconds matter.
    """

    lm: AudioLM
    table: Training
    questions: Sequence[AudioQuestion]
    read: Sequence[AudioQuestion]
    rewards: Mapping[str, Reward]
    quick: bool = True

    @property
    def mode(self) -> str:
        """The recipe's response mode."""
        return self.table.mode

    @cached_property
    def answered(self) -> Sequence[AudioQuestion]:
        """Those of ``read`` that have an answer."""
        return [q for q in self.read if q.answer is not None]

    @property
    def grpo(self) -> Grpo | None:
        """The table where it is ``[grpo]``."""
        return self.table if isinstance(self.table, Grpo) else None

    @property
    def weights(self) -> Mapping[str, float]:
        """Weight of each reward; for SFT, which has none, those of GRPO's default."""
        return (self.grpo or Grpo.model_validate({})).rewards

    @property
    def temperature(self) -> float:
        """Temperature of sampling; SFT samples only to evaluate."""
        return self.grpo.temperature if self.grpo else 1.0

    @cached_property
    def asked(self) -> tuple[AudioQuestion, ...]:
        """A short, a middling and a long question with distinct clips, answered ones.

        Raises:
            InputError: No question has an answer.
        """
        ordered = sorted(self.answered, key=lambda q: len(self.prompt(q)) + len(self.reply(q)))
        distinct = list({ClipKey(q.audio): q for q in ordered}.values())
        if not distinct:
            raise InputError("no question of the split has an answer: build the corpus with answers")
        count = min(ASKED, len(distinct))
        return tuple(distinct[(len(distinct) - 1) * i // max(1, count - 1)] for i in range(count))

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        """A right and a wrong response to each of the questions asked, question after question."""
        return tuple(
            Example(q.audio, self.prompt(q), self.reply(q, answer))
            for q in self.asked
            for answer in (q.answer, next((c for c in q.choices if c != q.answer), q.choices[0]))
        )

    def prompt(self, question: AudioQuestion) -> str:
        """Return the user's text."""
        found = self._prompts.get(id(question))
        if found is None:
            found = self._prompts[id(question)] = render_prompt(question, self.mode)
        return found

    def reply(self, question: AudioQuestion, answer: str | None = None, mode: str | None = None) -> str:
        """Return a response in the mode's form: from the question's chain, or made up where it has none.

        Args:
            question: The question.
            answer: The option that is given; default: the right one.
            mode: Default: the recipe's.
        """
        if answer is None and (mode or self.mode) == self.mode:
            found = self._replies.get(id(question))
            if found is None:
                found = self._replies[id(question)] = self._written(question, self.mode)
            return found
        return self._written(question if answer is None else question.replace(answer=answer), mode or self.mode)

    def _written(self, question: AudioQuestion, mode: str) -> str:
        if missing_need(question, mode) is None:
            return render_target(question, mode)
        return ideal_response(mode, str(question.answer), words=self.thought_words)

    @cached_property
    def target_ids(self) -> list[list[int]]:
        """Token ids of the right reply to each of ``answered``, without the end of turn."""
        targets = [self.reply(q) for q in self.answered]
        return self.lm.tokenizer(targets, add_special_tokens=False)["input_ids"] if targets else []

    # Texts are rendered once; the questions outlive the setting, so their addresses are theirs alone.
    @cached_property
    def _prompts(self) -> dict[int, str]:
        return {}

    @cached_property
    def _replies(self) -> dict[int, str]:
        return {}

    @property
    def thought_words(self) -> int:
        """Words that a thought may have for the ``length`` reward."""
        return (self.grpo or Grpo.model_validate({})).thought_words

    def score(self, question: AudioQuestion, text: str, *, mode: str | None = None) -> tuple[float, dict[str, float]]:
        """Return the weighted reward of a response and each reward by itself: the trainer's own call.

        Raises:
            InputError: A reward raised.
        """
        return score(Sample(question, mode or self.mode, text, "stop"), self.weights, self.rewards)


def make_setting(
    lm: AudioLM,
    table: Training,
    questions: Sequence[AudioQuestion],
    *,
    rewards: Mapping[str, Reward] | None = None,
    quick: bool = True,
) -> Setting:
    """Return the setting; of many questions an even spread is read, and always those with the most text."""
    most = READ_QUICK if quick else READ
    read = list(questions)
    if len(read) > most:
        by_length = sorted(range(len(read)), key=lambda i: -_characters(read[i]))[: most // 8]
        spread = range(0, len(read), -(-len(read) // (most - len(by_length))))
        read = [read[i] for i in sorted({*by_length, *spread})]
    setting = Setting(lm, table, questions, read, rewards or {}, quick)
    if rewards is not None:
        return setting
    return replace(setting, rewards=load_rewards(setting.weights, Settings(table.mode, setting.thought_words)))


def ideal_response(mode: str, answer: str, *, words: int) -> str:
    """Return a response that follows a mode's grammar and that every reward of sari should reward in full.

    The last section before the answer names it; the others hold one word. Where that is more than ``words`` words, the
    last section is the answer alone.
    """
    spec = load_mode(mode)
    thoughts = [_THOUGHT] * (len(spec.sections) - 2) + [f"The answer is {answer}."]
    if sum(len(thought.split()) for thought in thoughts) > words:
        thoughts[-1] = answer
    texts = iter([*thoughts, answer] if len(spec.sections) > 1 else [answer])
    parts: list[str] = []
    opened = ""
    for opens, name in spec.marks:
        if not opens and name == opened:
            parts.append(next(texts))
        opened = name if opens else ""
        parts.append(f"<{'' if opens else '/'}{name}>")
    return "".join(parts)


class ClipKey:
    """What tells clips apart: the bytes, or the path where they are not at hand, and the part that is meant.

    The hash reads a few bytes only, so that a corpus of many gigabytes is compared in a moment; equality reads all.
    """

    __slots__ = ("_hash", "audio")

    def __init__(self, audio: AudioRef) -> None:
        self.audio = audio
        data = audio.data or b""
        starts = range(0, len(data), max(1, len(data) // 16))
        pieces = b"".join(data[start : start + 64] for start in starts)
        self._hash = hash((audio.path if audio.data is None else "", audio.start, audio.duration, len(data), pieces))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClipKey):
            return NotImplemented
        a, b = self.audio, other.audio
        same_source = a.path == b.path if a.data is None or b.data is None else a.data == b.data
        return same_source and (a.start, a.duration) == (b.start, b.duration)


def named(questions: Sequence[AudioQuestion], most: int = 3) -> str:
    """Return the ids of the first few questions, for a message."""
    shown = ", ".join(q.id for q in questions[:most])
    return shown if len(questions) <= most else f"{shown} and {len(questions) - most} more"


@contextmanager
def untouched(lm: AudioLM) -> Iterator[None]:
    """Leave the model as it was: gradients, what trains, caches, and the random state of torch, numpy and Python.

    Inside, gradients are absent and the caches empty. Weights are the business of whoever changes them.
    """
    weights = list(lm.model.parameters())
    gradients, wanted = [p.grad for p in weights], [p.requires_grad for p in weights]
    kept = {name: value for name, value in vars(lm).items() if isinstance(value, BoundedCache) or type(value) is dict}
    numbers, mersenne = np.random.get_state(), random.getstate()
    for p in weights:
        p.grad = None
    for name, value in kept.items():
        setattr(lm, name, BoundedCache(value.max_bytes) if isinstance(value, BoundedCache) else {})
    devices = [lm.device] if lm.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for name, value in kept.items():
            setattr(lm, name, value)
        for p, gradient, wants in zip(weights, gradients, wanted, strict=True):
            p.requires_grad_(wants)
            p.grad = gradient
        np.random.set_state(numbers)
        random.setstate(mersenne)
        if devices:
            torch.cuda.empty_cache()  # what the checks freed is the training's


def _characters(question: AudioQuestion) -> int:
    chain = question.reasoning.structured
    thought = "".join((chain.planning, chain.caption, chain.reasoning, chain.summary)) if chain else ""
    return (
        len(question.question) + sum(map(len, question.choices)) + len(thought or question.reasoning.unstructured or "")
    )
