"""The questions that the page shows with what every run said: first those on which scorers or runs disagree."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sari_bench.benchmarks.base import Gold
from sari_bench.leaderboard import Board
from sari_bench.pages.scores import all_scores, scorer_names
from sari_bench.pages.sound import Sounds
from sari_bench.scoring import Score, Scored
from sari_data.prompting import tag_parents

_LONGEST = 20_000  # characters of one response that the page holds


def question_data(board: Board, shown: int, sounds: Sounds) -> dict[str, Any]:
    """Return the questions for the page's script, in the order of the page, and a sentence on which they are.

    Every question on which scorers disagree is listed; beyond ``shown`` without its texts. ``shown`` of 0 lists none.

    Args:
        board: The runs.
        shown: How many questions have transcripts.
        sounds: Where their clips go.
    """
    golds = board.entries[0].run.benchmark.golds
    runs = [_Answers(all_scores(board, entry)) for entry in board.entries]
    split = {gold.id for gold in golds if any(run.split(gold.id) for run in runs)}
    differ = {gold.id for gold in golds if len({run.right(gold.id) for run in runs}) > 1}
    ranked = sorted(golds, key=lambda gold: (_class(gold.id, split, differ), _hash(gold.id)))
    listed = [gold for at, gold in enumerate(ranked) if at < shown or (shown and gold.id in split)]
    placed, heard = sounds.place(board, [gold.id for gold in listed])
    contamination = getattr(board, "clean", None)
    marked: Mapping[str, str] = {} if contamination is None else contamination.marked
    names = scorer_names(board)
    return {
        "runs": [entry.run.name for entry in board.entries],
        "scorers": names,
        "tags": sorted(tag_parents()),
        "said": _said(len(golds), shown, listed, split, differ, len(board.entries)),
        "heard": heard,
        "checked": contamination is not None,
        "questions": [
            _row(gold, [run.row(gold.id, names, at < shown) for run in runs])
            | {"split": gold.id in split, "sound": placed[gold.id]}
            | ({"marked": marked[gold.id]} if gold.id in marked else {})
            for at, gold in enumerate(listed)
        ],
    }


class _Answers:
    """What one run said to each question, by every scorer."""

    def __init__(self, scores: Mapping[str, Score]) -> None:
        self._all = {name: _by_question(score) for name, score in scores.items()}
        self._main = next(iter(self._all.values()))

    def split(self, identifier: str) -> bool:
        """Whether the scorers disagree on some answer: one counts it as right and another does not."""
        samples = zip(*(found[identifier] for found in self._all.values()), strict=True)
        return any(len({item.outcome == "correct" for item in sample}) > 1 for sample in samples)

    def right(self, identifier: str) -> float:
        """Share of the samples that are right."""
        items = self._main[identifier]
        return sum(item.outcome == "correct" for item in items) / len(items)

    def row(self, identifier: str, scorers: Sequence[str], with_text: bool) -> dict[str, Any]:
        items = self._main[identifier]
        first = [found[identifier][0] if (found := self._all.get(name)) else None for name in scorers]
        given = [item for item in first if item is not None]
        choice = next((item.choice for item in given if item.choice is not None), None)
        row: dict[str, Any] = {"outcomes": [None if item is None else item.outcome for item in first], "choice": choice}
        reason = next((item.reason for item in given if item.reason), None)
        if reason:
            row["reason"] = reason
        text = items[0].answer.text
        row["text"] = _shorten(text) if with_text else None
        if text is not None and not with_text:
            row["left"] = True
        if len(items) > 1:
            row["samples"] = [sum(item.outcome == "correct" for item in items), len(items)]
        return row


def _by_question(score: Score) -> dict[str, list[Scored]]:
    found: dict[str, list[Scored]] = {}
    for item in score.items:
        found.setdefault(item.gold.id, []).append(item)
    for items in found.values():
        items.sort(key=lambda item: item.answer.sample)
    return found


def _class(identifier: str, split: set[str], differ: set[str]) -> int:
    return 0 if identifier in split else 1 if identifier in differ else 2


def _hash(identifier: str) -> bytes:
    return hashlib.sha256(identifier.encode()).digest()


def _row(gold: Gold, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    row = gold.to_row()
    return {
        **{key: row[key] for key in ("id", "question", "choices", "answer", "task", "difficulty", "audio")},
        "category": gold.category,
        "skill": gold.sub_category,
        "answers": list(answers),
    }


def _said(total: int, shown: int, listed: Sequence[Gold], split: set[str], differ: set[str], runs: int) -> str:
    if not listed:
        return f"0 of {total:,} questions: the page was written without transcripts."
    ids = {gold.id for gold in listed}
    if len(ids) == total and len(listed) <= shown:
        said = f"{total:,} of {total:,} questions"
    else:
        said = f"{len(ids):,} of {total:,} questions, the rest by a hash of their ids"
    parts = []
    if split:
        parts.append(f"all {len(split):,} on which scorers disagree")
    if runs > 1:
        parts.append(f"{len(differ & ids):,} of {len(differ):,} on which runs disagree")
    if parts and len(ids) < total:
        said = f"{len(ids):,} of {total:,} questions: {', '.join(parts)}, then others by a hash of their ids"
    elif parts:
        said = f"{said}, first {', then '.join(parts)}"
    if len(listed) > shown:
        said += f". Beyond the first {shown:,} without their texts (--transcripts)"
    return f"{said}."


def _shorten(text: str | None) -> str | None:
    if text is None or len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}\n[{len(text) - _LONGEST:,} more characters in responses.jsonl]"
