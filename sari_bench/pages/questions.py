"""The questions that the page shows with what every run said: first those on which scorers or runs disagree."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sari_bench.benchmarks.base import Gold
from sari_bench.contamination import reason
from sari_bench.counting import counted
from sari_bench.pages.sound import Sounds
from sari_bench.reporting.leaderboard import Board
from sari_bench.scoring import Score, Scored
from sari_data.prompting import tag_parents

_LONGEST = 20_000  # characters of one response that the page holds


def question_data(board: Board, shown: int, sounds: Sounds) -> dict[str, Any]:
    """Return the questions for the page's script, in the order of the page, and sentences on which they are.

    Every question on which scorers disagree is listed; beyond ``shown`` without its texts. ``shown`` of 0 lists none.

    Args:
        board: The runs.
        shown: How many questions have transcripts.
        sounds: Where their clips go.
    """
    chosen = _choose(board, shown)
    placed, heard = sounds.place(board, [gold.id for gold in chosen.golds])
    marked, reported = ({}, {}) if board.clean is None else (board.clean.marked, board.clean.reported)
    rows = []
    for at, gold in enumerate(chosen.golds):
        row = _row(gold) | {"sound": placed[gold.id], "split": chosen.classes[gold.id] < 2}
        row["answers"] = [said.row(gold.id, board.scorers, at < shown) for said in chosen.said]
        for key, findings in (("marked", marked), ("shares", reported)):
            if gold.id in findings:
                row[key] = "; ".join(dict.fromkeys(f"{reason(why)}, {why.where}" for why in findings[gold.id]))
        rows.append(row)
    return {
        "runs": [entry.run.name for entry in board.entries],
        "scorers": list(board.scorers),
        "tags": sorted(tag_parents()),
        "said": chosen.sentence(shown),
        "heard": heard,
        "checked": board.clean is not None,
        "questions": rows,
    }


class _Said:
    """What one run said to each question, by every scorer."""

    def __init__(self, scores: Mapping[str, Score]) -> None:
        self._all = {name: _by_question(score) for name, score in scores.items()}
        self._main = next(iter(self._all.values()))

    def disagreement(self, identifier: str) -> int:
        """0: scorers disagree on whether some answer is right; 1: only on why it is not; 2: they agree."""
        samples = self._samples(identifier)
        if any(len({item.outcome == "correct" for item in sample}) > 1 for sample in samples):
            return 0
        return 1 if any(len({item.outcome for item in sample}) > 1 for sample in samples) else 2

    def disputes(self, identifier: str) -> set[tuple[int, int]]:
        """Which two scorers, by their places, disagree on whether some answer is right."""
        return {
            (one, other)
            for sample in self._samples(identifier)
            for one, other in combinations(range(len(sample)), 2)
            if (sample[one].outcome == "correct") != (sample[other].outcome == "correct")
        }

    def _samples(self, identifier: str) -> list[tuple[Scored, ...]]:
        """Of each sample what every scorer makes of it."""
        return list(zip(*(found[identifier] for found in self._all.values()), strict=True))

    def right(self, identifier: str) -> float:
        """Share of the samples that are right."""
        items = self._main[identifier]
        return sum(item.outcome == "correct" for item in items) / len(items)

    def row(self, identifier: str, scorers: Sequence[str], with_text: bool) -> dict[str, Any]:
        """What the page's script shows: the first sample, and how many of all are right."""
        items, first = self._main[identifier], [self._all[name][identifier][0] for name in scorers]
        row: dict[str, Any] = {
            "outcomes": [item.outcome for item in first],
            "choice": next((item.choice for item in first if item.choice is not None), None),
        }
        if any(item.reason for item in first):
            row["reasons"] = [item.reason for item in first]
        text = items[0].answer.text
        row["text"] = _shorten(text) if with_text else None
        if text is not None and not with_text:
            row["left"] = True
        if len(items) > 1:
            row["samples"] = [sum(item.outcome == "correct" for item in items), len(items)]
        return row


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The questions that are listed; ``classes`` has of every question of the benchmark how soon it is."""

    golds: Sequence[Gold]
    classes: Mapping[str, int]
    said: Sequence[_Said]

    def sentence(self, shown: int) -> str:
        """Which questions these are."""
        total, count = len(self.classes), len(self.golds)
        if not count:
            return f"0 of {counted(total, 'question')}: the page was written without transcripts."
        found = f"{count:,} of {counted(total, 'question')}"
        disputed = self._part((0, 1), "on which scorers disagree")
        parts = [disputed, self._part((2,), f"{'others ' if disputed else ''}on which runs disagree")]
        listed = ", then ".join(filter(None, parts))
        if count == total:
            found += f", first {listed}" if listed else ""
        elif any(self.classes[gold.id] > 2 for gold in self.golds):
            found += f": {listed + ', then others' if listed else 'drawn'} by a hash of their ids"
        else:
            found += f": {listed}"
        if count > shown:
            found += f". Beyond the first {shown:,} without their texts (--transcripts)"
        return f"{found}."

    def _part(self, classes: tuple[int, ...], words: str) -> str:
        total = sum(found in classes for found in self.classes.values())
        here = sum(self.classes[gold.id] in classes for gold in self.golds)
        if not here:
            return ""
        return f"all {total:,} {words}" if here == total else f"{here:,} of {total:,} {words}"


def _choose(board: Board, shown: int) -> _Chosen:
    golds = board.entries[0].run.benchmark.golds
    said = [_Said(entry.scores) for entry in board.entries]
    classes = {}
    for gold in golds:
        apart = min(run.disagreement(gold.id) for run in said)
        differ = len({run.right(gold.id) for run in said}) > 1
        classes[gold.id] = apart if apart < 2 else 2 if differ else 3
    rare = _rareness(golds, said)
    ranked = sorted(
        golds, key=lambda gold: (classes[gold.id], rare[gold.id], hashlib.sha256(gold.id.encode()).digest())
    )
    listed = [gold for at, gold in enumerate(ranked) if at < shown or (shown and classes[gold.id] < 2)]
    return _Chosen(listed, classes, said)


def _rareness(golds: Sequence[Gold], said: Sequence[_Said]) -> dict[str, int]:
    """Return how rare the rarest dispute on each question is: on how many questions its two scorers disagree on right.

    So a scorer that disagrees with all others everywhere, as ``letter`` does where nobody was asked for letters, does
    not bury what the others dispute.
    """
    disputes = {gold.id: set().union(*(run.disputes(gold.id) for run in said)) for gold in golds}
    counts = Counter(pair for pairs in disputes.values() for pair in pairs)
    return {key: min((counts[pair] for pair in pairs), default=0) for key, pairs in disputes.items()}


def _by_question(score: Score) -> dict[str, list[Scored]]:
    found: dict[str, list[Scored]] = {}
    for item in score.items:
        found.setdefault(item.gold.id, []).append(item)
    for items in found.values():
        items.sort(key=lambda item: item.answer.sample)
    return found


def _row(gold: Gold) -> dict[str, Any]:
    row = gold.to_row()
    kept = {key: row[key] for key in ("id", "question", "choices", "answer", "task", "category", "difficulty", "audio")}
    kept["audio"] = ", ".join(filter(None, gold.recordings))
    return {**kept, "skill": gold.sub_category}


def _shorten(text: str | None) -> str | None:
    if text is None or len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}\n[{len(text) - _LONGEST:,} more characters in responses.jsonl]"
