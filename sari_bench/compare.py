"""Does model B do better than model A on the same questions, and where does it show?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sari_bench.metrics import PairedDifference, label_order, paired_difference, percent
from sari_bench.runs import Run
from sari_bench.scoring import Scored
from sari_data.answers import read_response
from sari_data.errors import BenchmarkError


@dataclass(frozen=True, slots=True)
class Transcript:
    """One question that A got wrong and B right, with both full texts."""

    before: Scored
    after: Scored

    def to_json(self) -> dict[str, Any]:
        """Return the question and both texts."""
        gold = self.before.gold
        return {
            **gold.to_row(),
            "before": {"text": self.before.answer.text, "outcome": self.before.outcome},
            "after": {"text": self.after.answer.text, "outcome": self.after.outcome},
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the same questions.

    Args:
        a: Name of the first run (before).
        b: Name of the second run (after).
        scorer: What judged the answers.
        accuracy_a: Accuracy of the first, in [0, 1].
        accuracy_b: Accuracy of the second.
        overall: The paired difference over all questions.
        by: The paired difference of each task.
        transcript: A question that shows the gain, where there is one.
    """

    a: str
    b: str
    scorer: str
    accuracy_a: float
    accuracy_b: float
    overall: PairedDifference
    by: Mapping[str, PairedDifference]
    transcript: Transcript | None

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``undecided``: whether B's interval excludes 0, and on which side.

        With few questions the interval is only approximate; then the exact p must be below 0.05 too.
        """
        low, high = self.overall.interval
        if self.overall.p_value is not None and self.overall.p_value >= 0.05:
            return "undecided"
        return "better" if low > 0 else "worse" if high < 0 else "undecided"

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        d = self.overall
        words = {
            "better": f"{self.b} beats {self.a}",
            "worse": f"{self.b} does worse than {self.a}",
            "undecided": f"{self.b} cannot be told from {self.a}",
        }
        p_value = "" if d.p_value is None else f", McNemar p {format_p(d.p_value)}"
        return (
            f"{words[self.verdict]}: {percent(self.accuracy_a):.2f} to {percent(self.accuracy_b):.2f} %, "
            f"{d.difference * 100:+.2f} points "
            f"(95 % interval {d.interval[0] * 100:+.2f} to {d.interval[1] * 100:+.2f}, "
            f"paired over {d.n} questions{p_value})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as one JSON object; shares are percent."""
        return {
            "a": self.a,
            "b": self.b,
            "scorer": self.scorer,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "accuracy": {"a": percent(self.accuracy_a), "b": percent(self.accuracy_b)},
            "overall": self.overall.to_json(),
            "by": {"task": {name: part.to_json() for name, part in self.by.items()}},
            "transcript": None if self.transcript is None else self.transcript.to_json(),
        }


def format_p(value: float) -> str:
    """Return a p-value for people."""
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def compare(run_a: Run, run_b: Run, scorer: str = "answer") -> Comparison:
    """Compare two runs question by question; a question's score is the mean over its samples.

    Raises:
        BenchmarkError: The runs asked different questions.
    """
    a, b = run_a.benchmark, run_b.benchmark
    if a.digest != b.digest:
        raise BenchmarkError(
            f"runs {str(run_a.folder)!r} ({a.name} {a.version}) and {str(run_b.folder)!r} ({b.name} {b.version}) asked "
            "different questions, so they cannot be compared: run both on the same version of one benchmark"
        )
    items_a, items_b = run_a.score(scorer).items, run_b.score(scorer).items
    shares_a, shares_b = _shares(items_a), _shares(items_b)
    tasks: dict[str, list[str]] = {}
    for gold in a.golds:
        tasks.setdefault(gold.task, []).append(gold.id)

    def pair(ids: Sequence[str]) -> PairedDifference:
        return paired_difference([shares_a[i] for i in ids], [shares_b[i] for i in ids])

    ids = [gold.id for gold in a.golds]
    return Comparison(
        a=run_a.name,
        b=run_b.name,
        scorer=scorer,
        accuracy_a=sum(shares_a.values()) / len(ids),
        accuracy_b=sum(shares_b.values()) / len(ids),
        overall=pair(ids),
        by={task: pair(part) for task, part in sorted(tasks.items(), key=lambda item: label_order(item[0]))},
        transcript=choose_transcript(items_a, items_b),
    )


def _shares(items: Sequence[Scored]) -> dict[str, float]:
    """Share of each question's samples that are correct."""
    outcomes: dict[str, list[bool]] = {}
    for item in items:
        outcomes.setdefault(item.gold.id, []).append(item.outcome == "correct")
    return {identifier: sum(right) / len(right) for identifier, right in outcomes.items()}


def choose_transcript(before: Sequence[Scored], after: Sequence[Scored]) -> Transcript | None:
    """Choose a question that was wrong before and is right after; the same one every time.

    Preferred are questions whose thought arrives at the answer (its last part before the answer
    names the right option), then a wrong choice over an unreadable one, then hard over easy.
    """
    first = {item.gold.id: item for item in before if item.answer.sample == 0}
    pairs = [
        Transcript(first[item.gold.id], item)
        for item in after
        if item.answer.sample == 0 and item.outcome == "correct" and first[item.gold.id].outcome in _FAILED
    ]
    return min(pairs, key=_rank, default=None)


_FAILED = ("wrong", "unparsed", "truncated")
_DIFFICULTY = {"hard": 0, "medium": 1, "easy": 2}


def _rank(pair: Transcript) -> tuple[Any, ...]:
    gold = pair.after.gold
    sections = read_response(pair.after.answer.text or "", gold.choices).sections
    thought = sections.get("think.reasoning") or sections.get("think") or ""
    arrives = (gold.answer or "").casefold() in thought.casefold()
    weighs = any(choice.casefold() in thought.casefold() for choice in gold.choices if choice != gold.answer)
    return (
        not arrives,
        pair.before.outcome != "wrong",
        _DIFFICULTY.get(gold.difficulty, 3),
        not weighs,
        hashlib.sha256(gold.id.encode()).hexdigest(),
    )
