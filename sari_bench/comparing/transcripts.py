"""The question that shows a gain: wrong before and right after, with both full texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sari_bench.scoring import Scored
from sari_data.answers import sections_of


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


_FAILED = ("wrong", "unparsed", "truncated", "refused")
_DIFFICULTY = {"hard": 0, "medium": 1, "easy": 2}


def _rank(pair: Transcript) -> tuple[Any, ...]:
    gold = pair.after.gold
    sections = sections_of(pair.after.answer.text or "")
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
