"""What the page of a corpus says of one question, and what there is to look at in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sari_data.store import SPLITS
from sari_data.types import AudioQuestion


def problems(question: AudioQuestion, split: str, *, calibrated: bool = True) -> list[str]:
    """Return what one may want to look at in a question, in words that the page filters by.

    Args:
        question: The question.
        split: Its split.
        calibrated: Whether the corpus is, so that a question of ``rl`` should have a pass rate.
    """
    found = [f"flag: {flag.replace('_', ' ')}" for flag in question.flags]
    own = [rate for rate in question.pass_rates if rate.audio == "own"]
    if own and own[-1].passes == 0:
        found.append("never passed")
    if own and own[-1].passes == own[-1].samples:
        found.append("always passed")
    if calibrated and split == "rl" and not own:
        found.append("no pass rate")
    if split == "sft" and question.reasoning.structured is None:
        found.append("no structured chain")
    if split not in SPLITS:
        found.append(f"set aside: {split.replace('_', ' ')}")
    if not question.caption:
        found.append("no caption")
    if not question.provenance.licence:
        found.append("no licence stated")
    if question.answer is None:
        found.append("no gold answer")
    if len(set(question.choices)) < len(question.choices):
        found.append("an option twice")
    return found


def page_row(question: AudioQuestion, split: str, clip: Mapping[str, Any], *, calibrated: bool) -> dict[str, Any]:
    """Return a question as the page's script reads it.

    Args:
        question: The question.
        split: Its split.
        clip: What became of its audio: the number and type of its clip, or under ``none`` why there is no sound; with
            ``problem`` where that is one.
        calibrated: As of :func:`problems`.
    """
    sections, source = question.reasoning.structured, question.provenance
    found = [*problems(question, split, calibrated=calibrated), *([clip["problem"]] if "problem" in clip else [])]
    return {
        "id": question.id,
        "split": split,
        "source": source.dataset or "not stated",
        "domain": question.domain,
        "category": [part for part in (question.category, question.sub_category) if part],
        "difficulty": question.difficulty,
        "question": question.question,
        "choices": question.choices,
        "gold": question.answer_index,
        "caption": question.caption,
        "structured": None if sections is None else asdict(sections),
        "unstructured": question.reasoning.unstructured,
        "rates": [asdict(rate) for rate in question.pass_rates],
        "provenance": {
            "data set": source.dataset,
            "id there": source.source_id,
            "licence of the audio": source.licence,
        },
        "video": {"id": source.youtube_id, "from": _finite(source.segment_start), "to": _finite(source.segment_end)},
        "made": dict(source.made_by),
        "flags": question.flags,
        "problems": found,
        "audio": {name: value for name, value in clip.items() if name != "problem"},
    }


def _finite(value: float | None) -> float | None:
    """JSON has no other numbers."""
    return value if value is not None and math.isfinite(value) else None
