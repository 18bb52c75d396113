"""What the search for duplicates is asked for and what it says: the table ``[dedup]`` and its findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, field_validator

from sari_data.config import Table
from sari_data.references import Against

# What is only reported: a text that many clips share, one with another answer, a question with other options, another
# part of the same video.
GENERIC, OTHER_ANSWER, QUESTION = "generic", "other_answer", "question"
OTHER_PART, UNKNOWN_PART = "other_part", "unknown_part"
EXACT, NEAR, CONFLICT = "exact", "near", "conflict"
OVERLAP, IDENTICAL, FINGERPRINT = "overlap", "identical", "fingerprint"
CORPUS = "corpus"


class Dedup(Table):
    """``[dedup]``: what is a duplicate, what to compare the corpus with, and what becomes of what is found.

    Args:
        within: What becomes of a question that another one in the corpus asks of the same recording already: ``drop``,
            ``mark`` (flag ``near_duplicate``), or ``off`` (not looked for; recordings are grouped all the same).
        against: Benchmarks, each a path or a table with ``path``, ``audio`` and ``name``.
        on_contamination: What becomes of a question that is a benchmark's: ``drop`` or ``mark`` (flag
            ``contaminated``).
        near: Score from which a text is near a benchmark's, in [0.5, 1].
        near_within: The same within the corpus, where both questions are about one recording and often alike.
        generic: A text that is asked of more than this many recordings says nothing about any of them: it is counted,
            and no contamination by itself. Nor does one whose question is, and each of its options with that question.
        overlap_seconds: Two parts of one video are the same from this many common seconds on.
        same_video: Whether the same video is contamination without a proof of a common part: ``unknown`` (where a part
            is not known), ``any`` (another part too), ``none``.
        sound: Compare the recordings themselves.
        sound_share: Least share of agreeing peaks of two fingerprints.
        processes: Processes that compute fingerprints; absent: as many as there are cores.
        cache: Keep fingerprints between runs.
    """

    within: Literal["drop", "mark", "off"] = "drop"
    against: tuple[Against, ...] = ()
    on_contamination: Literal["drop", "mark"] = "drop"
    near: float = Field(default=0.6, ge=0.5, le=1)
    near_within: float = Field(default=0.9, ge=0.5, le=1)
    generic: int = Field(default=5, ge=1)
    overlap_seconds: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    same_video: Literal["unknown", "any", "none"] = "unknown"
    sound: bool = True
    sound_share: float = Field(default=0.25, ge=0.1, le=1)
    processes: int | None = Field(default=None, ge=1)
    cache: bool = True

    @field_validator("against", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        items = [value] if isinstance(value, str | Mapping) else value
        if not isinstance(items, list | tuple):
            return items
        return tuple({"path": item} if isinstance(item, str) else item for item in items)


@dataclass(frozen=True, slots=True)
class Finding:
    """One match of a question of the corpus.

    Args:
        id: The question.
        kind: ``text``, ``segment`` (the same part of a video), ``video`` (only the same video) or ``sound``.
        grade: ``exact``, ``near``, ``conflict`` (within the corpus: the same question with another answer),
            ``generic``, ``other_answer`` or ``question`` of a text; ``overlap`` of a segment; ``unknown_part`` or
            ``other_part`` of a video; ``identical`` (the same bytes) or ``fingerprint`` of a sound.
        other: The other's id.
        where: The benchmark's name, or ``corpus``.
        score: In [0, 1]: of texts their cosine, of segments the common part's share of the shorter, of sounds the share
            of agreeing peaks; 0 where there is none.
        counts: Whether it makes the question contaminated (or, within the corpus, a duplicate).
    """

    id: str
    kind: str
    grade: str
    other: str
    where: str
    score: float
    counts: bool

    def __str__(self) -> str:
        score = f", {self.score:.2f}" if self.score else ""
        return f"{self.id}: {self.kind} ({self.grade.replace('_', ' ')}{score}) of {self.other} in {self.where}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a corpus.

    Args:
        by_question: Question id to its findings, the strongest first; only questions with any.
        groups: Clip key (:attr:`~sari_data.types.AudioRef.key`) to the name of its group, for clips that share their
            recording or video with another clip: a split must not part a group.
        contaminated: Ids of the questions that are a benchmark's.
        duplicates: Ids of the questions that repeat an earlier one of the same recording.
        summary: Counts, what was compared, and the thresholds, as JSON values.
    """

    by_question: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    contaminated: frozenset[str] = frozenset()
    duplicates: frozenset[str] = frozenset()
    summary: Mapping[str, Any] = field(default_factory=dict)

    def verdict(self, id: str, table: Dedup) -> tuple[str, str]:
        """Return what becomes of a question, ``keep``, ``drop`` or ``mark``, and the flag or reason for it.

        The flag is ``contaminated`` or ``near_duplicate``, or empty where the question is kept.
        """
        if id in self.contaminated:
            return table.on_contamination, "contaminated"
        if id in self.duplicates and table.within != "off":
            return table.within, "near_duplicate"
        return "keep", ""
