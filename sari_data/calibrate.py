"""How hard each question is: the share of a responder's samples that answer it right.

SARI (arXiv 2504.15900) orders GRPO's questions from easy to hard by how often the base model passes
them, and drops those that it never passes: a group without one right answer teaches nothing.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from sari_data.answers import grade
from sari_data.config import Table
from sari_data.errors import InputError, ResponderError
from sari_data.prompting import load_mode, render_prompt
from sari_data.responder import Request, Responder, Response, Sampling, load_responder
from sari_data.types import AudioQuestion, PassRate

# What the `local` responder cannot do without.
_LOCAL_NEEDS = ("torch", "transformers")


class Calibrate(Table):
    """``[calibrate]``: who answers the questions, how often and how.

    Args:
        responder: Name of a registered responder; ``none``: leave the questions uncalibrated; ``auto``: ``local``
            where torch and transformers are installed, else ``none``.
        model: The responder's model, for instance ``tiny``, a folder or a hub id; absent: the responder's own default.
        mode: Response mode that the questions are asked in.
        samples: Answers to each question.
        temperature: Of the sampling; 0 is greedy, and then one sample says all.
        max_new_tokens: Bound on an answer's length in tokens.
        seed: Seed of the sampling.
        drop_never_passed: Take questions without one right answer out of ``rl`` (they are kept in a side file).
        options: Further options of the responder, by name.
    """

    responder: str = "auto"
    model: str | None = None
    mode: str = "direct"
    samples: int = Field(default=8, ge=1, le=10_000)
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    max_new_tokens: int = Field(default=256, ge=1)
    seed: int = Field(default=0, ge=0)
    drop_never_passed: bool = True
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def sampling(self) -> Sampling:
        """The sampling that the table describes."""
        return Sampling(temperature=self.temperature, max_new_tokens=self.max_new_tokens, seed=self.seed)


def pick_responder(table: Calibrate) -> str | None:
    """Return the name of the responder to use, or ``None`` where the questions stay uncalibrated."""
    if table.responder == "none":
        return None
    if table.responder != "auto":
        return table.responder
    return None if missing_for_local() else "local"


def missing_for_local() -> list[str]:
    """Return the packages that the ``local`` responder needs and that are not installed."""
    return [name for name in _LOCAL_NEEDS if importlib.util.find_spec(name) is None]


def open_responder(name: str, table: Calibrate) -> Responder:
    """Load the responder ``name`` with the table's model and options.

    Raises:
        PluginError: It is not registered or fails to load.
        InputError: It does not take one of the options.
    """
    options = dict(table.options) | ({} if table.model is None else {"model": table.model})
    try:
        return load_responder(name, **options)
    except TypeError as error:
        raise InputError(
            f"responder {name!r} could not be made with the options {sorted(options)} ({error}): "
            "correct calibrate.model and calibrate.options"
        ) from error


def calibrate(
    questions: Iterable[AudioQuestion],
    responder: Responder,
    *,
    mode: str,
    samples: int,
    sampling: Sampling,
    seed: int,
    advance: Callable[[int], None] | None = None,
) -> list[AudioQuestion]:
    """Return the questions, in their order, each with a pass rate of this responder, mode and seed.

    A pass rate of the same three is replaced; others stay.

    Args:
        questions: What is asked; each needs its answer.
        responder: Who answers.
        mode: Response mode that they are asked in.
        samples: Answers to each question.
        sampling: How to sample; its seed is replaced by ``seed``.
        seed: Seed of the sampling, recorded with the pass rates.
        advance: Called with the number of questions that were finished since the last call.

    Raises:
        InputError: A question without an answer, or an id that comes twice.
        ResponderError: The responder did not give each question exactly so many samples.
        TemplateError: No such mode.
    """
    load_mode(mode)
    todo = list(questions)
    asked = {question.id: question for question in todo}
    if len(asked) < len(todo):
        twice = next(id_ for id_, count in Counter(q.id for q in todo).items() if count > 1)
        raise InputError(f"question {twice!r} comes twice among those to calibrate: drop one of the two")
    withheld = next((question.id for question in todo if question.answer is None), None)
    if withheld is not None:
        raise InputError(f"question {withheld!r}: its answer is withheld, so it cannot be calibrated: leave it out")
    how = replace(sampling, seed=seed)
    requests = (Request(q.id, q.audio, render_prompt(q, mode), samples) for q in todo)
    passes = _count_passes(asked, responder.respond(requests, how), samples, responder.name, advance)
    return [
        _with_rate(question, PassRate(passes[question.id], samples, responder.name, mode, seed)) for question in todo
    ]


def _count_passes(
    asked: Mapping[str, AudioQuestion],
    responses: Iterable[Response],
    samples: int,
    name: str,
    advance: Callable[[int], None] | None,
) -> dict[str, int]:
    seen: dict[str, set[int]] = {id_: set() for id_ in asked}
    passes = dict.fromkeys(asked, 0)
    for response in responses:
        id_, sample = response.request_id, response.sample
        if id_ not in asked or sample in seen[id_] or not 0 <= sample < samples:
            raise ResponderError(
                f"responder {name!r} answered sample {sample} of question {id_!r}, which was not asked for or was "
                "answered before: it must give each sample of each request once"
            )
        seen[id_].add(sample)
        passes[id_] += grade(response.text, asked[id_], finish_reason=response.finish_reason).correct
        if advance is not None and len(seen[id_]) == samples:
            advance(1)
    short = next((id_ for id_, found in seen.items() if len(found) < samples), None)
    if short is not None:
        raise ResponderError(
            f"responder {name!r} gave {len(seen[short])} of {samples} samples of question {short!r}: "
            "it must answer every sample; start it again"
        )
    return passes


def _with_rate(question: AudioQuestion, rate: PassRate) -> AudioQuestion:
    kept = tuple(r for r in question.pass_rates if _key(r) != _key(rate))
    return question.replace(pass_rates=(*kept, rate))


def _key(rate: PassRate) -> tuple[str, str, int]:
    return rate.responder, rate.mode, rate.seed


def split_never_passed(
    questions: Iterable[AudioQuestion], *, drop: bool
) -> tuple[list[AudioQuestion], list[AudioQuestion]]:
    """Part questions into those to train on and those that the latest calibration never saw passed.

    Args:
        questions: Questions with pass rates, the latest last.
        drop: Whether to part them at all; otherwise all are kept.
    """
    kept: list[AudioQuestion] = []
    dropped: list[AudioQuestion] = []
    for question in questions:
        never = drop and bool(question.pass_rates) and question.pass_rates[-1].passes == 0
        (dropped if never else kept).append(question)
    return kept, dropped


def summarise(questions: Sequence[AudioQuestion], table: Calibrate, name: str) -> dict[str, Any]:
    """Summarise the latest calibration of the questions for the manifest.

    Args:
        questions: All that were calibrated, the never passed ones included.
        table: How it was done.
        name: The responder's own name, with model and revision.

    Returns:
        Who answered and how, the mean pass rate, the number never passed, and ``histogram``: passes (as text)
        to the number of questions with so many.
    """
    counts = Counter(question.pass_rates[-1].passes for question in questions)
    total = sum(passes * count for passes, count in counts.items())
    return {
        "responder": name,
        "mode": table.mode,
        "samples": table.samples,
        "temperature": table.temperature,
        "seed": table.seed,
        "questions": len(questions),
        "mean_pass_rate": round(total / (len(questions) * table.samples), 4) if questions else None,
        "never_passed": counts[0],
        "dropped_never_passed": table.drop_never_passed,
        "histogram": {str(passes): counts[passes] for passes in range(table.samples + 1)},
    }


class Calibration:
    def __init__(self, rates, flags, summary):
        self.rates, self.flags, self.summary = rates, flags, summary


def measure(questions, responder, table, advance=None):
    done = calibrate(
        list(questions),
        responder,
        mode=table.mode,
        samples=table.samples,
        sampling=table.sampling,
        seed=table.seed,
        advance=advance,
    )
    return Calibration({q.id: q.pass_rates[-1:] for q in done}, {}, summarise(done, table, responder.name))


def open_calibration(table):
    load_mode(table.mode)
    name = pick_responder(table)
    return None if name is None else open_responder(name, table)


Calibrate.method = "fixed"
Calibrate.drop_passed_unheard = False
