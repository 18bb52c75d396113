"""Which prompts come next: by difficulty, at random, or where the policy's samples are expected to disagree.

All but ``adaptive`` follow an order that depends on questions, seed and number of draws alone: passes over the
questions, each shuffled on its own, sorted by the curriculum's key. ``adaptive`` depends on what was recorded, too.
Either way a stream's state is a little JSON, and one that was saved and restored goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from sari_data.errors import CheckpointError, InputError
from sari_data.types import AudioQuestion
from sari_train.config import CalibrationName
from sari_train.disagreement import Beliefs
from sari_train.pass_rates import check_named, evidence

Curriculum = Literal["easy_to_hard", "hard_to_easy", "random", "staged", "adaptive"]

Span = Literal["epoch", "run"]

# Those that sort by pass rate, and so need one for every question.
RATED = ("easy_to_hard", "hard_to_easy", "staged")
# Pass rates from which a question is of medium difficulty, and from which it is easy.
MEDIUM, EASY = 1 / 3, 2 / 3


class PromptStream:
    """Hands out indices into ``questions``, ``take`` after ``take``.

    The first ``draws`` indices of a curriculum other than ``adaptive`` are those of :func:`schedule`. Draws beyond
    them (dynamic sampling takes more prompts than planned) come from the same passes: first the rest of a pass that
    was begun, then pass after pass, each in the curriculum's order from its beginning. However many are taken in the
    end, once the ``draws`` are through every question has been drawn equally often, give or take once.

    Args:
        questions: What there is to draw from.
        draws: Draws expected in the whole run; the curriculum is spread over them.
        curriculum: Which one.
        mode: Response mode whose pass rates count.
        seed: Of the run.
        stages: Parts of ``staged``.
        span: Whether the curriculum goes through each pass (``epoch``) or once through the whole ``run``.
        group_size: Samples that each draw will get; ``adaptive`` asks how likely so many are to disagree.
        calibration: Which pass rates count; absent: those in ``mode``, else all.

    Raises:
        InputError: No questions, a curriculum by pass rate with questions that have none, or questions without the
            named one.
    """

    def __init__(
        self,
        questions: Sequence[AudioQuestion],
        draws: int,
        *,
        curriculum: Curriculum,
        mode: str,
        seed: int,
        stages: int = 3,
        span: Span = "epoch",
        group_size: int = 8,
        calibration: CalibrationName | None = None,
    ) -> None:
        check_curriculum(questions, curriculum=curriculum, mode=mode, calibration=calibration)
        self.curriculum: Curriculum = curriculum
        self._count = len(questions)
        self._position = 0
        self._beliefs: Beliefs | None = None
        if curriculum == "adaptive":
            known = [evidence(q, mode, calibration) for q in questions]
            self._beliefs = Beliefs(known, group_size=group_size, seed=seed)
        else:
            rates = [pass_rate(question, mode, calibration) or 0.0 for question in questions]
            self._order = _Order(rates, draws, curriculum=curriculum, seed=seed, stages=stages, span=span)

    def take(self, n: int) -> list[int]:
        """Return the next ``n`` indices.

        ``adaptive`` repeats none of them within one take unless there are fewer questions than that; the others
        repeat one only where one pass ends and the next begins, or among the easiest (or hardest) of several passes.
        """
        assert n >= 0, f"expected 0 draws or more, got {n}"
        taken = self._beliefs.take(n) if self._beliefs else self._order.slice(self._position, self._position + n)
        self._position += n
        return taken

    def record(self, index: int, passes: int, samples: int) -> None:
        """Tell how many of a question's samples passed; only ``adaptive`` learns from it.

        The results of one step must be recorded in an order that does not depend on who sampled them.
        """
        assert 0 <= index < self._count, f"expected an index below {self._count}, got {index}"
        assert 0 <= passes <= samples, f"expected 0 to {samples} passes, got {passes}"
        if self._beliefs:
            self._beliefs.record(index, passes, samples)

    def state_dict(self) -> dict[str, Any]:
        """Return what a stream that was made with the same arguments needs to go on from here, as JSON."""
        state: dict[str, Any] = {
            "curriculum": self.curriculum,
            "questions": self._count,
            "position": self._position,
        }
        if self._beliefs:
            state["beliefs"] = self._beliefs.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the stream that returned ``state`` was.

        Raises:
            CheckpointError: It was a stream of another curriculum or over another number of questions.
        """
        found = (state.get("curriculum"), state.get("questions"))
        if found != (self.curriculum, self._count):
            raise CheckpointError(
                f"expected the state of curriculum {self.curriculum} over {self._count} questions, found "
                f"{found[0]} over {found[1]}: go on with the run's own recipe and corpus, or start again"
            )
        self._position = int(state["position"])
        if self._beliefs:
            self._beliefs.load_state_dict(state["beliefs"])


def schedule(
    questions: Sequence[AudioQuestion],
    draws: int,
    *,
    curriculum: Curriculum,
    mode: str,
    seed: int,
    stages: int = 3,
    span: Span = "epoch",
) -> list[int]:
    """Return ``draws`` indices into ``questions`` in the order of training, for any curriculum but ``adaptive``.

    Every question is drawn equally often, give or take once; which are drawn once more is random. Each pass (epoch)
    draws every question once: ``easy_to_hard`` from the highest pass rate to the lowest (SARI, arXiv 2504.15900,
    section 3), ``hard_to_easy`` the other way, ``staged`` part by part, where the questions are cut by pass rate into
    ``stages`` parts of nearly equal size, the easiest first and each shuffled, and ``random`` shuffled.

    With ``span="run"`` the whole run is gone through once instead, from the easiest to the hardest: all passes over
    the easiest questions come before those over harder ones.

    Raises:
        InputError: No questions, or a curriculum by pass rate with questions that have none.
    """
    assert curriculum != "adaptive", "adaptive has no order that is known beforehand: use PromptStream"
    check_curriculum(questions, curriculum=curriculum, mode=mode)
    rates = [pass_rate(question, mode) or 0.0 for question in questions]
    order = _Order(rates, draws, curriculum=curriculum, seed=seed, stages=stages, span=span)
    return order.slice(0, draws)


def check_curriculum(
    questions: Sequence[AudioQuestion],
    *,
    curriculum: Curriculum,
    mode: str,
    calibration: CalibrationName | None = None,
) -> None:
    """Check that there are questions, with pass rates where the curriculum goes by them or the recipe names them.

    Raises:
        InputError: There are none, or some have no such pass rate.
    """
    if not questions:
        raise InputError(
            "the split has no questions to train on: build a corpus with `sari-data build`, or if a calibration moved "
            "all to never_passed, calibrate with a responder that passes some or with calibrate.drop_never_passed=false"
        )
    check_named(questions, calibration)
    uncalibrated = sum(pass_rate(question, mode) is None for question in questions) if curriculum in RATED else 0
    if uncalibrated:
        raise InputError(
            f"curriculum {curriculum} needs a pass rate for every question, but {uncalibrated} of {len(questions)} "
            "have none: run `sari-data calibrate` on the corpus, or set grpo.curriculum to random or adaptive"
        )


def pass_rate(question: AudioQuestion, mode: str, calibration: CalibrationName | None = None) -> float | None:
    """Return how likely a right answer is, by the named calibration, else by those in ``mode``, else by all.

    That is the share of samples that passed, or the estimate where a calibration made one; several count by their
    numbers of samples.
    """
    passes, samples = evidence(question, mode, calibration)
    return passes / samples if samples else None


def difficulty(question: AudioQuestion, mode: str, calibration: CalibrationName | None = None) -> str | None:
    """Return ``easy``, ``medium`` or ``hard``: by pass rate (from 2/3, from 1/3, below).

    A question without a pass rate has the difficulty that its corpus states, or ``None``.
    """
    rate = pass_rate(question, mode, calibration)
    if rate is None:
        return question.difficulty
    return "easy" if rate >= EASY else "medium" if rate >= MEDIUM else "hard"


def breakdown(
    questions: Sequence[AudioQuestion],
    passed: Sequence[float],
    mode: str = "",
    calibration: CalibrationName | None = None,
) -> dict[str, float]:
    """Return the mean of ``passed`` by difficulty and by domain, for those that occur.

    Args:
        questions: One for each sample or group.
        passed: 1 or 0 for a sample that passed or did not, or a group's share.
        mode: Response mode whose pass rates make the difficulty; absent: all pass rates.
        calibration: Which pass rates do; absent: those in ``mode``.

    Returns:
        ``pass_rate/easy``, ``pass_rate/medium``, ``pass_rate/hard``, then ``pass_rate/<domain>`` in the order of
        the alphabet, for instance ``pass_rate/sound`` and ``pass_rate/sound+speech``.
    """
    values: dict[str, list[float]] = {}
    for question, value in zip(questions, passed, strict=True):
        for name in (difficulty(question, mode, calibration), question.domain):
            values.setdefault(name or "", []).append(float(value))
    bands = [band for band in ("easy", "medium", "hard") if band in values]
    domains = sorted(set(values) - {*bands, ""})
    return {f"pass_rate/{name}": sum(values[name]) / len(values[name]) for name in (*bands, *domains)}


class _Order:
    """The order of draws without end: shuffled passes, sorted by the curriculum in blocks.

    A block is a pass; the last of the expected ``draws`` may cut one in two. With the span ``run`` the expected
    ``draws`` are one block.
    """

    def __init__(
        self,
        rates: Sequence[float],
        draws: int,
        *,
        curriculum: Curriculum,
        seed: int,
        stages: int,
        span: Span,
    ) -> None:
        self._count = len(rates)
        self._rng = np.random.default_rng([seed, 0xC0])
        passes = [self._pass() for _ in range(-(-draws // self._count))] or [self._pass()]
        self._key = _key(rates, curriculum, stages, passes[0])
        planned = [i for one in passes for i in one]
        size = draws if span == "run" else self._count
        blocks = [planned[at : min(draws, at + size)] for at in range(0, draws, size or 1)]
        self._order = [i for block in [*blocks, planned[draws:]] for i in self._sorted(block)]

    def slice(self, first: int, last: int) -> list[int]:
        """Return the draws from ``first`` up to ``last``."""
        while len(self._order) < last:
            self._order += self._sorted(self._pass())
        return self._order[first:last]

    def _pass(self) -> list[int]:
        return [int(i) for i in self._rng.permutation(self._count)]

    def _sorted(self, block: list[int]) -> list[int]:
        # The sort is stable: among equals the passes follow one another, each in its shuffled order.
        return sorted(block, key=self._key)


def _key(
    rates: Sequence[float], curriculum: Curriculum, stages: int, first_pass: Sequence[int]
) -> Callable[[int], float]:
    if curriculum == "random":
        return lambda i: 0.0
    if curriculum == "easy_to_hard":
        return lambda i: -rates[i]
    if curriculum == "hard_to_easy":
        return lambda i: rates[i]
    # Equals at the border of two stages are parted at random, as they stand in the first pass.
    by_rate = sorted(first_pass, key=lambda i: -rates[i])
    stage = {int(i): float(at) for at, part in enumerate(np.array_split(by_rate, stages)) for i in part}
    return stage.__getitem__
