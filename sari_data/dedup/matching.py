"""Against a benchmark: the questions of a corpus with its text, its part of a video, or its sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sari_data.dedup.collection import Benchmark, Held
from sari_data.dedup.findings import (
    EXACT,
    FINGERPRINT,
    GENERIC,
    IDENTICAL,
    NEAR,
    OTHER_ANSWER,
    OTHER_PART,
    OVERLAP,
    UNKNOWN_PART,
    Dedup,
)
from sari_data.dedup.sound import SoundIndex
from sari_data.dedup.text import answers_agree, may_be_near, near_pairs, vectorise
from sari_data.segments import Segment, overlap, shorter

# Of two matches of a kind the one that says more is reported.
_ORDER = (IDENTICAL, EXACT, OVERLAP, FINGERPRINT, NEAR, UNKNOWN_PART, OTHER_ANSWER, GENERIC, OTHER_PART)


@dataclass(frozen=True, slots=True)
class Match:
    """A match of a text or clip (by number) with a benchmark's question (by number)."""

    kind: str
    grade: str
    other: int
    score: float
    counts: bool

    @property
    def rank(self) -> tuple[bool, int, float, int]:
        """Sorts the match that says most first."""
        return not self.counts, _ORDER.index(self.grade), -self.score, self.other


Matches = dict[int, Match]


def keep_best(matches: Matches, number: int, match: Match) -> None:
    """Keep of a text's or clip's matches the one that says most."""
    known = matches.get(number)
    if known is None or match.rank < known.rank:
        matches[number] = match


def match_texts(held: Held, recordings: NDArray[np.int32], benchmark: Benchmark, table: Dedup) -> Matches:
    """Return the best match of each text of the corpus with the benchmark's texts."""
    matches: Matches = {}
    if not len(benchmark.texts) or not len(held.texts):
        return matches
    first_with: dict[int, int] = {}
    for question, text in enumerate(benchmark.text_numbers):
        if text >= 0:
            first_with.setdefault(text, question)
    mine, theirs = (np.array(t.keys, np.uint64) for t in (held.texts, benchmark.texts))
    by_key: dict[int, list[int]] = {}
    for number, key in enumerate(theirs.tolist()):
        by_key.setdefault(key, []).append(number)
    common = _common_keys(held, recordings, held.texts.keys, table) | _repeated(benchmark, benchmark.texts.keys, table)
    for number in np.flatnonzero(np.isin(mine, theirs)).tolist():
        key = int(mine[number])
        for other in by_key[key]:
            agree = answers_agree(held.texts[number], benchmark.texts[other])
            grade = OTHER_ANSWER if not agree else GENERIC if key in common else EXACT
            keep_best(matches, number, Match("text", grade, first_with[other], 1.0, grade == EXACT))
    for number, other, score in _near(held, recordings, benchmark, table):
        grade = NEAR if score > 0 else GENERIC
        keep_best(matches, number, Match("text", grade, first_with[other], round(abs(score), 3), grade == NEAR))
    return matches


def _near(
    held: Held, recordings: NDArray[np.int32], benchmark: Benchmark, table: Dedup
) -> Iterator[tuple[int, int, float]]:
    """Yield (text, text of the benchmark, score) of near texts that are not the same; generic ones with a minus."""
    common = _common_keys(held, recordings, held.texts.question_keys, table)
    common |= _repeated(benchmark, benchmark.texts.question_keys, table)
    mine, theirs = (np.array(t.keys, np.uint64) for t in (held.texts, benchmark.texts))
    listed = np.array(sorted(common), np.uint64)
    generic_mine, generic_theirs = (
        np.isin(np.array(t.question_keys, np.uint64), listed) for t in (held.texts, benchmark.texts)
    )
    corpus, references = vectorise(held.texts, benchmark.texts)
    for rows, columns, scores in near_pairs(corpus, references, table.near):
        other = mine[rows] != theirs[columns]
        generic = generic_mine[rows] | generic_theirs[columns]
        # Of a text that many clips share one match is enough to count it.
        _, first = np.unique(rows[other & generic], return_index=True)
        for i in np.flatnonzero(other & generic)[first].tolist():
            yield int(rows[i]), int(columns[i]), -min(1.0, float(scores[i]))
        for i in np.flatnonzero(other & ~generic).tolist():
            number, reference = int(rows[i]), int(columns[i])
            if may_be_near(held.texts[number], benchmark.texts[reference], strict=False):
                yield number, reference, min(1.0, float(scores[i]))


def _common_keys(held: Held, recordings: NDArray[np.int32], keys: object, table: Dedup) -> set[int]:
    """The keys of texts that the corpus asks of more recordings than ``table.generic``."""
    asked = np.array(keys, np.uint64)[held.text_of]
    both = np.unique(np.stack([asked, recordings[held.clip_of].astype(np.uint64)], axis=1), axis=0)
    found, counts = np.unique(both[:, 0], return_counts=True)
    return set(found[counts > table.generic].tolist())


def _repeated(benchmark: Benchmark, keys: object, table: Dedup) -> set[int]:
    """The keys of texts that the benchmark itself asks more often than that."""
    of_text: list[int] = np.array(keys, np.uint64).tolist()
    counts = Counter(of_text[text] for text in benchmark.text_numbers if text >= 0)
    return {key for key, count in counts.items() if count > table.generic}


def match_segments(held: Held, benchmark: Benchmark, table: Dedup) -> tuple[Matches, Matches]:
    """Return each clip's best match by a common part of a video, and by the video alone."""
    by_video: dict[str, list[tuple[int, Segment]]] = {}
    for number, segment in enumerate(benchmark.segments):
        if segment is not None:
            by_video.setdefault(segment.video, []).append((number, segment))
    parts: Matches = {}
    videos: Matches = {}
    for clip, segment in enumerate(held.clips.segments):
        for other, its in by_video.get(segment.video, ()) if segment is not None else ():
            assert segment is not None
            common = overlap(segment, its)
            if common is None:
                keep_best(videos, clip, Match("video", UNKNOWN_PART, other, 0.0, table.same_video != "none"))
            elif common >= min(table.overlap_seconds, shorter(segment, its)):
                score = round(common / shorter(segment, its), 3)
                keep_best(parts, clip, Match("segment", OVERLAP, other, score, True))
            else:
                keep_best(videos, clip, Match("video", OTHER_PART, other, 0.0, table.same_video == "any"))
    return parts, {clip: match for clip, match in videos.items() if clip not in parts}


def match_sounds(held: Held, benchmark: Benchmark, table: Dedup) -> Matches:
    """Return each clip's best match by its sound: the same bytes, or the same fingerprint."""
    first_with: dict[int, int] = {}
    for question, clip in enumerate(benchmark.clip_numbers):
        if clip >= 0:
            first_with.setdefault(clip, question)
    matches: Matches = {}
    for key in held.clips.numbers.keys() & benchmark.clips.numbers.keys():
        other = first_with[benchmark.clips.numbers[key]]
        keep_best(matches, held.clips.numbers[key], Match("sound", IDENTICAL, other, 1.0, True))
    if table.sound and benchmark.clips.heard:
        index = SoundIndex(benchmark.clips.peaks)
        for same in index.find(held.clips.peaks, threshold=table.sound_share):
            keep_best(matches, same.query, Match("sound", FINGERPRINT, first_with[same.clip], same.score, True))
    return matches
