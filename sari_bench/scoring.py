"""From golds and answers to outcomes by any number of scorers, and from outcomes to a score by group.

``answer`` is sari's own grader with an honest denominator: every question counts. ``official`` is
the benchmarks' published token matching, which gives their figures to the digit and leaves questions
without a prediction out of its total; the honest accuracy stands beside it. ``letter`` reads a letter
and nothing else; ``judge`` counts what another model was told by the response. Each response is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sari_bench.benchmarks.base import DIMENSIONS, Benchmark, Gold
from sari_bench.counting import counted
from sari_bench.scorers import SCORERS, load_scorer
from sari_bench.scorers.base import Answer, Said, Scorer
from sari_bench.statistics.metrics import OUTCOMES, UNGRADABLE, Tally, count_outcomes, group, percent
from sari_data.errors import InputError

__all__ = [
    "SCORERS",
    "Answer",
    "BenchmarkGolds",
    "Score",
    "Scored",
    "check_has_answers",
    "count_withheld",
    "honest_of",
    "said_of",
    "score",
    "score_all",
    "score_said",
    "strays",
    "subset",
    "summarize",
]

_SHOWN = 3  # ids in a sentence


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer with its gold and its outcome.

    Args:
        gold: The question.
        answer: What was said to it.
        outcome: One of :data:`sari_bench.statistics.metrics.OUTCOMES`, or ``ungradable``.
        choice: Index of the option that was read, where the scorer reads one.
        reason: Why no option was read, in a few fixed words.
    """

    gold: Gold
    answer: Answer
    outcome: str
    choice: int | None = None
    reason: str | None = None

    @property
    def said(self) -> str:
        """What the scorer made of the answer: the option that it read, or why it read none."""
        return self.reason or "" if self.choice is None else self.gold.choices[self.choice]


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

    @property
    def drops_missing(self) -> bool:
        """Whether the total leaves unanswered questions out, as MMAU's own code does."""
        return self.honest.n != self.overall.n

    def to_json(self) -> dict[str, Any]:
        """Return the score as one JSON object; shares are percent with two decimals.

        Where the total leaves unanswered questions out, every group has its ``honest`` figures too.
        """
        body = self.overall.to_json()
        outcomes = body.pop("outcomes")
        return {
            "scorer": self.scorer,
            "benchmark": self.benchmark,
            "version": self.version,
            **body,
            "by": {
                dimension: {name: self._group(part) for name, part in parts.items()}
                for dimension, parts in self.by.items()
            },
            "outcomes": outcomes,
            "honest": _figures(self.honest),
            "notes": list(self.notes),
        }

    def _group(self, part: Tally) -> dict[str, Any]:
        return part.to_json() | ({"honest": _figures(honest_of(part))} if self.drops_missing else {})


def honest_of(part: Tally) -> Tally:
    """Return a tally over every answer that was due, whatever the scorer's own total leaves out."""
    return Tally(sum(part.outcomes.values()), part.correct, part.outcomes)


def _figures(part: Tally) -> dict[str, Any]:
    return {"n": part.n, "correct": part.correct, "accuracy": percent(part.accuracy)}


@dataclass(frozen=True, slots=True)
class BenchmarkGolds:
    """A benchmark without its audio: what a run folder stores."""

    name: str
    version: str
    digest: str
    golds: tuple[Gold, ...]
    notes: tuple[str, ...] = ()


def score(
    benchmark: Benchmark | BenchmarkGolds,
    answers: Mapping[str, Sequence[Answer]],
    scorer: str | Scorer = "answer",
    samples: int = 1,
) -> Score:
    """Score answers against a benchmark; answers to ids that it does not have are noted, not counted.

    Args:
        benchmark: The golds and what they belong to.
        answers: Answers by question id, ``samples`` of them where all were given.
        scorer: A scorer, or the name of one that needs nothing but the answers.
        samples: How many answers each question was due; the rest count as missing.

    Raises:
        InputError: The scorer is unknown, or the benchmark withholds its answers.
        BenchmarkError: Some questions lack a label that others have.
    """
    return next(iter(score_all(benchmark, answers, [scorer], samples).values()))


def score_all(
    benchmark: Benchmark | BenchmarkGolds,
    answers: Mapping[str, Sequence[Answer]],
    scorers: Iterable[str | Scorer] = tuple(SCORERS),
    samples: int = 1,
) -> dict[str, Score]:
    """Score answers by several scorers, as :func:`score` by one; each response is read once."""
    loaded = [load_scorer(one) if isinstance(one, str) else one for one in scorers]
    return score_said(benchmark, said_of(benchmark, answers, samples), loaded, strays(benchmark, answers))


def said_of(
    benchmark: Benchmark | BenchmarkGolds, answers: Mapping[str, Sequence[Answer]], samples: int = 1
) -> list[Said]:
    """Return every answer that was due with its question, in the benchmark's order; a missing one has no text.

    Raises:
        InputError: The benchmark withholds its answers.
    """
    check_has_answers(benchmark)
    found = []
    for gold in benchmark.golds:
        given = {answer.sample: answer for answer in answers.get(gold.id, ())}
        for sample in range(samples):
            found.append(Said(gold, given.get(sample) or Answer(gold.id, None, sample)))
    return found


def score_said(
    benchmark: Benchmark | BenchmarkGolds, said: Sequence[Said], scorers: Iterable[Scorer], notes: Sequence[str] = ()
) -> dict[str, Score]:
    """Score what :func:`said_of` returned; ``notes`` go with every score, after the benchmark's own."""
    found = {}
    for scorer in scorers:
        items = [Scored(one.gold, one.answer, *scorer.verdict(one)) for one in said]
        sentences = (*benchmark.notes, *notes, *scorer.notes)
        found[scorer.name] = summarize(benchmark, items, scorer.name, sentences, drop_missing=scorer.drops_missing)
    return found


def check_has_answers(benchmark: Benchmark | BenchmarkGolds) -> None:
    """Raise InputError where the benchmark withholds the answers to questions, so that nothing can be scored."""
    withheld = count_withheld(benchmark)
    if withheld:
        raise InputError(
            f"benchmark {benchmark.name!r} ({benchmark.version}) withholds the answers to {withheld} of its "
            f"{len(benchmark.golds)} questions, so it cannot be scored here: 'sari-bench submit' writes the file that "
            "its authors score"
        )


def count_withheld(benchmark: Benchmark | BenchmarkGolds) -> int:
    """Return how many questions' right answers the benchmark keeps to itself."""
    return sum(gold.answer is None for gold in benchmark.golds)


def strays(benchmark: Benchmark | BenchmarkGolds, answers: Iterable[str]) -> list[str]:
    """Return a sentence on answers to ids that the benchmark does not have, if there are any."""
    unknown = sorted(set(answers) - {gold.id for gold in benchmark.golds})
    if not unknown:
        return []
    shown = ", ".join(unknown[:_SHOWN]) + (", ..." if len(unknown) > _SHOWN else "")
    return [f"{counted(len(unknown), 'prediction')} with an id that is not in the benchmark: not counted ({shown})"]


def summarize(
    benchmark: Benchmark | BenchmarkGolds,
    items: Sequence[Scored],
    scorer: str,
    notes: tuple[str, ...] = (),
    *,
    drop_missing: bool | None = None,
) -> Score:
    """Count scored answers overall and by every dimension that the benchmark has.

    Args:
        benchmark: What the score is called after.
        items: The scored answers.
        scorer: The scorer's name.
        notes: Sentences that go with the score; those on its totals are added.
        drop_missing: Leave unanswered questions out of the total; default: what the built-in scorer does.

    Raises:
        BenchmarkError: Some questions lack a label that others have.
    """
    if drop_missing is None:
        drop_missing = scorer in SCORERS and SCORERS[scorer].drops_missing

    def count(part: Sequence[Scored], drop: bool = drop_missing) -> Tally:
        ids, outcomes = [item.gold.id for item in part], [item.outcome for item in part]
        return count_outcomes(ids, outcomes, [item.gold.cluster for item in part], drop_missing=drop)

    by: dict[str, dict[str, Tally]] = {}
    for dimension, field in DIMENSIONS.items():
        parts = group(items, lambda item, field=field: getattr(item.gold, field), dimension)  # type: ignore[misc]
        if parts:
            by[dimension] = {name: count(part) for name, part in parts.items()}
    overall = count(items)
    honest = count(items, False) if drop_missing else overall
    extra = []
    if honest.n != overall.n:
        what = "questions have no prediction" if honest.questions == honest.n else "answers are missing"
        extra.append(
            f"{honest.n - overall.n:,} of {honest.n:,} {what}; the total of {scorer!r} leaves them out, "
            f"over all of them it is {percent(honest.accuracy or 0.0):.2f} %"
        )
    outside = honest.outcomes.get(UNGRADABLE, 0)
    if outside:
        rest = Tally(honest.n - outside, honest.correct)
        others = f"; over the other {rest.n:,} the accuracy is {percent(rest.accuracy or 0.0):.2f} %" if rest.n else ""
        extra.append(
            f"{outside:,} of {honest.n:,} answers cannot be right because the gold is not among the choices{others}"
        )
    if honest.outcomes["missing"] and not drop_missing:
        extra.append(f"{honest.outcomes['missing']:,} of {honest.n:,} answers are missing and count as not correct")
    assert sum(honest.outcomes.values()) == honest.n
    assert set(OUTCOMES) <= set(honest.outcomes)
    return Score(scorer, benchmark.name, benchmark.version, overall, by, honest, tuple(items), (*notes, *extra))


def subset(score: Score, ids: Iterable[str]) -> Score:
    """Return the same score over some of its questions, with every total computed anew.

    Args:
        score: The score.
        ids: Ids of the questions to keep; those that the score does not have are left aside.
    """
    kept = set(ids)
    items = [item for item in score.items if item.gold.id in kept]
    golds = tuple({item.gold.id: item.gold for item in items}.values())
    total = len({item.gold.id for item in score.items})
    about = BenchmarkGolds(score.benchmark, score.version, "", golds)
    notes = (f"these are {len(golds)} of {total} questions",)
    return summarize(about, items, score.scorer, notes, drop_missing=score.drops_missing or None)
