"""Scorers: from golds and answers to outcomes, and from outcomes to a score by group.

``answer`` is sari's own grader with an honest denominator: every question counts. ``official`` is
MMAU's published token matching, which gives its figures to the digit and leaves questions without a
prediction out of its total; the honest accuracy stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sari_bench.benchmarks.base import DIMENSIONS, Benchmark, Gold
from sari_bench.metrics import OUTCOMES, UNGRADABLE, Tally, group, percent, tally
from sari_data.answers import grade, read_response
from sari_data.errors import InputError
from sari_data.responder import FinishReason


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one question; ``text`` is ``None`` where it said nothing.

    Args:
        id: The question's id.
        text: Raw response, or a prediction made elsewhere.
        sample: Index among the samples of this question.
        finish_reason: Why the text ended.
        raw: Whether ``text`` is a model's whole response, sections included, and not a prediction
            that was taken out of one already.
        tokens: Length in tokens, 0 where unknown.
    """

    id: str
    text: str | None
    sample: int = 0
    finish_reason: FinishReason = "stop"
    raw: bool = True
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer with its gold and its outcome.

    Args:
        gold: The question.
        answer: What was said to it.
        outcome: One of :data:`sari_bench.metrics.OUTCOMES`, or ``ungradable``.
        choice: Index of the option that was read, where the scorer reads one.
        reason: Why no option was read, in a few fixed words.
    """

    gold: Gold
    answer: Answer
    outcome: str
    choice: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A benchmark's score: overall and by group, with what it was computed from.

    ``overall.outcomes`` always cover every answer that was due, missing ones included.
    """

    scorer: str
    benchmark: str
    version: str
    overall: Tally
    by: Mapping[str, Mapping[str, Tally]]
    honest: Tally
    items: tuple[Scored, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the score as one JSON object; shares are percent with two decimals."""
        body = self.overall.to_json()
        outcomes = body.pop("outcomes")
        return {
            "scorer": self.scorer,
            "benchmark": self.benchmark,
            "version": self.version,
            **body,
            "by": {
                dimension: {name: part.to_json() for name, part in parts.items()}
                for dimension, parts in self.by.items()
            },
            "outcomes": outcomes,
            "honest": {
                "n": self.honest.n,
                "correct": self.honest.correct,
                "accuracy": percent(self.honest.accuracy),
            },
            "notes": list(self.notes),
        }


def string_match(answer: str, prediction: str, choices: Iterable[str]) -> bool:
    """Return whether a prediction is right by MMAU's published rule.

    Text is compared as sets of lower-case word tokens. A prediction is right when it holds every
    token of the answer and none that only another option has. An option with the same tokens as
    the answer is not another option; a prediction without any token is wrong.
    """
    said = _tokens(prediction)
    if not said:
        return False
    right = _tokens(answer)
    # An option with the answer's own tokens adds nothing here: its difference from them is empty.
    other = set().union(*(_tokens(choice) - right for choice in choices))
    return right <= said and not said & other


def _tokens(text: str) -> set[str]:
    return set(re.findall(r"\b\w+\b", text.lower()))


def grade_answer(gold: Gold, answer: Answer) -> str:
    """Return the outcome by sari's grader, the one that calibration and rewards use."""
    if not gold.gradable:
        return UNGRADABLE
    if answer.text is None:
        return "missing"
    return grade(answer.text, gold.to_question(), finish_reason=answer.finish_reason).outcome


def grade_official(gold: Gold, answer: Answer) -> str:
    """Return the outcome by MMAU's rule: ``correct``, ``wrong`` or ``missing``.

    Predictions are matched as they are. Of a model's raw response only the answer section is
    matched, where it has one, because a chain of thought that weighs the options names them all.
    """
    if answer.text is None:
        return "missing"
    assert gold.answer is not None, f"question {gold.id!r} has no answer to match"
    text = answer.text
    if answer.raw:
        stated = read_response(text, gold.choices, finish_reason=answer.finish_reason).answer_text
        text = stated if stated is not None else text
    return "correct" if string_match(gold.answer, text, gold.choices) else "wrong"


SCORERS: dict[str, Callable[[Gold, Answer], str]] = {"answer": grade_answer, "official": grade_official}


def score(
    benchmark: Benchmark | BenchmarkGolds,
    answers: Mapping[str, Sequence[Answer]],
    scorer: str = "answer",
    samples: int = 1,
) -> Score:
    """Score answers against a benchmark; answers to ids that it does not have are noted, not counted.

    Args:
        benchmark: The golds and what they belong to.
        answers: Answers by question id, ``samples`` of them where all were given.
        scorer: A name in SCORERS.
        samples: How many answers each question was due; the rest count as missing.

    Raises:
        InputError: The scorer is unknown.
        BenchmarkError: Some questions lack a label that others have.
    """
    if scorer not in SCORERS:
        raise InputError(f"scorer {scorer!r} is unknown; expected one of {sorted(SCORERS)}")
    judge = SCORERS[scorer]
    items = []
    for gold in benchmark.golds:
        given = {answer.sample: answer for answer in answers.get(gold.id, ())}
        for sample in range(samples):
            answer = given.get(sample, Answer(gold.id, None, sample))
            items.append(Scored(gold, answer, judge(gold, answer)))
    unknown = sorted(set(answers) - {gold.id for gold in benchmark.golds})
    notes = list(benchmark.notes)
    if unknown:
        shown = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        notes.append(f"{len(unknown)} predictions have an id that is not in the benchmark and do not count ({shown})")
    return summarize(benchmark, items, scorer, tuple(notes))


@dataclass(frozen=True, slots=True)
class BenchmarkGolds:
    """A benchmark without its audio: what a run folder stores."""

    name: str
    version: str
    digest: str
    golds: tuple[Gold, ...]
    notes: tuple[str, ...] = ()


def summarize(
    benchmark: Benchmark | BenchmarkGolds, items: Sequence[Scored], scorer: str, notes: tuple[str, ...] = ()
) -> Score:
    """Count scored answers overall and by every dimension that the benchmark has."""
    drop_missing = scorer == "official"
    clusters = {item.gold.id: item.gold.cluster for item in items}

    def count(part: Sequence[Scored], drop: bool = drop_missing) -> Tally:
        return tally(((item.gold.id, item.outcome) for item in part), drop_missing=drop, clusters=clusters)

    by: dict[str, dict[str, Tally]] = {}
    for dimension, field in DIMENSIONS.items():
        parts = group(items, lambda item, field=field: getattr(item.gold, field), dimension)  # type: ignore[misc]
        if parts:
            by[dimension] = {name: count(part) for name, part in parts.items()}
    overall = count(items)
    honest = count(items, False)
    extra = []
    if honest.n != overall.n:
        extra.append(
            f"{honest.n - overall.n} of {honest.n} questions have no prediction; the official total leaves them out, "
            f"the honest accuracy ({percent(honest.accuracy)} of {honest.n}) does not"
        )
    strays = honest.outcomes.get(UNGRADABLE, 0)
    if strays:
        rest = Tally(honest.n - strays, honest.correct)
        extra.append(
            f"{strays} of {honest.n} answers cannot be right because the gold is not among the choices; "
            f"over the other {rest.n} the accuracy is {percent(rest.accuracy)}"
        )
    elif honest.outcomes["missing"] and not drop_missing:
        extra.append(f"{honest.outcomes['missing']} of {honest.n} answers are missing and count as not correct")
    assert sum(honest.outcomes.values()) == honest.n
    assert set(OUTCOMES) <= set(honest.outcomes)
    return Score(scorer, benchmark.name, benchmark.version, overall, by, honest, tuple(items), (*notes, *extra))
