"""Several scorers on one set of answers: on which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sari_bench.benchmarks.base import Gold
from sari_bench.scorers.base import Answer
from sari_bench.scoring import Score


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An answer on which scorers differ.

    Args:
        gold: The question.
        answer: What was said to it.
        outcomes: The outcome by scorer.
        readings: What each scorer read: the option, or why it read none.
    """

    gold: Gold
    answer: Answer
    outcomes: Mapping[str, str]
    readings: Mapping[str, str]

    @property
    def about_right(self) -> bool:
        """Whether some scorer calls the answer correct and another does not."""
        return len({outcome == "correct" for outcome in self.outcomes.values()}) > 1

    def to_json(self) -> dict[str, Any]:
        """Return it as one flat JSON object."""
        return {
            "id": self.gold.id,
            "sample": self.answer.sample,
            "question": self.gold.question,
            "choices": list(self.gold.choices),
            "answer": self.gold.answer,
            "about_right": self.about_right,
            **{f"{name}_outcome": outcome for name, outcome in self.outcomes.items()},
            **{f"{name}_read": reading for name, reading in self.readings.items()},
            "response": self.answer.text,
        }


def disagreements(scores: Mapping[str, Score]) -> list[Disagreement]:
    """Return every answer whose outcome is not the same by all scorers, in the benchmark's order.

    Args:
        scores: Scores of the same answers by scorer, as :func:`sari_bench.scoring.score_all` returns them.
    """
    columns = [score.items for score in scores.values()]
    assert len({len(column) for column in columns}) <= 1, "the scores are not of the same answers"
    found = []
    for items in zip(*columns, strict=True):
        if len({item.outcome for item in items}) < 2:
            continue
        first = items[0]
        same = {(item.gold.id, item.answer.sample, item.answer.text) for item in items}
        assert len(same) == 1, f"the scores are not of the same answers: {sorted(map(str, same))}"
        outcomes = {name: item.outcome for name, item in zip(scores, items, strict=True)}
        readings = {name: item.said for name, item in zip(scores, items, strict=True)}
        found.append(Disagreement(first.gold, first.answer, outcomes, readings))
    return found
