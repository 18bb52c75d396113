"""One prediction file on several revisions of a benchmark: whose verdict changed, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sari_bench.benchmarks.base import Gold
from sari_bench.scoring import Score, Scored

REMOVED, ADDED = "question removed", "question added"
GOLD, OPTIONS, ORDER, TEXT = "gold changed", "options changed", "options in another order", "text changed"


@dataclass(frozen=True, slots=True)
class Change:
    """A question whose verdict is not the same on two revisions.

    Args:
        scorer: Whose verdict.
        id: The question's id.
        before: The outcome on the earlier revision; ``None`` where it does not have the question.
        after: The outcome on the later one, likewise.
        why: What changed of the question.
        gold_before: The right answer on the earlier revision.
        gold_after: The right answer on the later one.
        response: What was predicted.
    """

    scorer: str
    id: str
    before: str | None
    after: str | None
    why: tuple[str, ...]
    gold_before: str | None
    gold_after: str | None
    response: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as one flat JSON object."""
        return {
            "scorer": self.scorer,
            "id": self.id,
            "before": self.before,
            "after": self.after,
            "why": "; ".join(self.why),
            "gold_before": self.gold_before,
            "gold_after": self.gold_after,
            "response": self.response,
        }


def what_changed(before: Gold, after: Gold) -> tuple[str, ...]:
    """Return what of a question changed, of all that can decide a verdict or an answer."""
    found = []
    if before.answer != after.answer:
        found.append(GOLD)
    if sorted(before.choices) != sorted(after.choices):
        found.append(OPTIONS)
    elif before.choices != after.choices:
        found.append(ORDER)
    if before.question != after.question:
        found.append(TEXT)
    return tuple(found)


def changes(before: Score, after: Score) -> list[Change]:
    """Return the questions whose outcome differs between two revisions, those that only one has included.

    They come in the earlier revision's order, then those that only the later one has.

    Args:
        before: One scorer's score on the earlier revision.
        after: The same scorer's on the later one.
    """
    assert before.scorer == after.scorer, f"scores by {before.scorer!r} and {after.scorer!r}"
    old, new = _first_samples(before), _first_samples(after)
    found = []
    for identifier in [*old, *(one for one in new if one not in old)]:
        a, b = old.get(identifier), new.get(identifier)
        if a is not None and b is not None:
            if a.outcome == b.outcome:
                continue
            why = what_changed(a.gold, b.gold)
        else:
            why = (ADDED,) if a is None else (REMOVED,)
        some = b or a
        assert some is not None
        found.append(
            Change(
                before.scorer,
                identifier,
                None if a is None else a.outcome,
                None if b is None else b.outcome,
                why,
                None if a is None else a.gold.answer,
                None if b is None else b.gold.answer,
                some.answer.text,
            )
        )
    return found


def _first_samples(score: Score) -> dict[str, Scored]:
    return {item.gold.id: item for item in score.items if item.answer.sample == 0}


def counts(found: Sequence[Change]) -> dict[str, dict[str, int]]:
    """Return how many changes there are by reason and by outcomes (``correct to wrong``), most frequent first."""
    moves = Counter(f"{one.before} to {one.after}" for one in found if one.before and one.after)
    return {
        "why": dict(Counter(", ".join(one.why) for one in found).most_common()),
        "outcomes": dict(moves.most_common()),
    }
