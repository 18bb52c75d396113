"""The recipe table ``[calibrate]``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from sari_data.config import Table
from sari_data.responder import Sampling

# Most answers to a question that is not heard, where the method is adaptive.
UNHEARD = 16


class Adaptive(Table):
    """``[calibrate.adaptive]``: how many answers a question gets where ``calibrate.method`` is ``adaptive``.

    Args:
        first: Answers that every question gets.
        step: Further answers that a question gets in a round.
        most: Most answers to one question.
        confidence: A question is settled once its band is this likely; 1: never before ``most``.
        budget: Most answers in all, as a mean over the questions; those whose band gains most by another answer come
            first. Absent: every question is asked until it is settled or has had ``most``.
        sound: Let the predictor hear the clips (level, brightness, noisiness, ...); otherwise it only reads.
    """

    first: int = Field(default=2, ge=1)
    step: int = Field(default=1, ge=1)
    most: int = Field(default=32, ge=1, le=10_000)
    confidence: float = Field(default=0.95, gt=0.5, le=1)
    budget: float | None = Field(default=4.0, gt=0, allow_inf_nan=False)
    sound: bool = True

    @model_validator(mode="after")
    def _enough_for_the_first(self) -> Adaptive:
        if self.first > self.most:
            raise ValueError(f"most must be at least first ({self.first}): raise most, or lower first")
        if self.budget is not None and self.budget < self.first:
            raise ValueError(f"budget must be at least first ({self.first}), the answers that every question gets")
        return self


class Listening(Table):
    """``[calibrate.listening_check]``: when a question counts as passed without being heard.

    Args:
        samples: Most answers to each question without its audio, and as many with another's; absent: as many as
            ``calibrate.samples`` where the method is ``fixed``, and 16 where it is ``adaptive`` and few come so far.
        margin: How much likelier a right answer may be with the question's own audio.
        confidence: How sure it must be that it is no likelier than that, and that the unheard answers beat guessing.
    """

    samples: int | None = Field(default=None, ge=1, le=10_000)
    margin: float = Field(default=0.2, ge=0, lt=1)
    confidence: float = Field(default=0.9, gt=0.5, lt=1)


class Calibrate(Table):
    """``[calibrate]``: who answers the questions, how often and how.

    Args:
        responder: Name of a registered responder; ``none``: leave the questions uncalibrated; ``auto``: ``local``
            where torch and transformers are installed, else ``none``.
        model: The responder's model, for instance ``tiny``, a folder or a hub id; absent: the responder's own default.
        mode: Response mode that the questions are asked in.
        method: ``fixed``: as many answers to each question (the paper); ``adaptive``: as many as it takes to tell its
            band.
        samples: Answers to each question where the method is ``fixed``.
        adaptive: How many answers where it is ``adaptive``.
        temperature: Of the sampling; 0 is greedy, and then one sample says all.
        max_new_tokens: Bound on an answer's length in tokens.
        seed: Seed of the sampling, of which other clip a question is heard with, and of the predictor's folds.
        drop_never_passed: Take questions without one right answer out of ``rl`` (they are kept in a side file); where
            the method is ``adaptive``, only those that are most likely in the band ``never``.
        listening: Ask the questions without their audio too, and with another question's, and mark those that are
            passed as often so.
        listening_check: When they count as passed so.
        drop_passed_unheard: Take the marked questions out of ``rl`` (they are kept in a side file).
        options: Further options of the responder, by name.
        cache: File that answers are kept in; absent: the user's own cache; empty: they are not kept.
    """

    responder: str = "auto"
    model: str | None = None
    mode: str = "direct"
    method: Literal["fixed", "adaptive"] = "fixed"
    samples: int = Field(default=8, ge=1, le=10_000)
    adaptive: Adaptive = Adaptive()
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    max_new_tokens: int = Field(default=256, ge=1)
    seed: int = Field(default=0, ge=0)
    drop_never_passed: bool = True
    listening: bool = False
    listening_check: Listening = Listening()
    drop_passed_unheard: bool = False
    options: dict[str, Any] = Field(default_factory=dict)
    cache: str | None = None

    @model_validator(mode="after")
    def _marked_before_dropped(self) -> Calibrate:
        if self.drop_passed_unheard and not self.listening:
            raise ValueError("drop_passed_unheard needs the listening check: set listening to true as well")
        return self

    @property
    def unheard_samples(self) -> int:
        """Most answers to a question that is not heard, in each of the two ways."""
        return self.listening_check.samples or (self.samples if self.method == "fixed" else UNHEARD)

    @property
    def sampling(self) -> Sampling:
        """The sampling that the table describes."""
        return Sampling(temperature=self.temperature, max_new_tokens=self.max_new_tokens, seed=self.seed)
