"""Against a benchmark: the questions of a corpus with its text, its part of a video, or its sound."""

from __future__ import annotations

from collections import Counter
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
    QUESTION,
    UNKNOWN_PART,
    Dedup,
)
from sari_data.dedup.sound import SoundIndex
from sari_data.dedup.text import answers_agree, may_be_near, near_pairs, vectorise
from sari_data.segments import Segment, overlap, shorter

# Of two matches of a kind the one that says more is reported.
_ORDER = (IDENTICAL, EXACT, OVERLAP, FINGERPRINT, NEAR, UNKNOWN_PART, OTHER_ANSWER, GENERIC, QUESTION, OTHER_PART)


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
    asked, theirs_asked = _generic_questions(held, recordings, benchmark, table)
    same = np.isin(mine, theirs)
    closed = _common_options(held, recordings, benchmark, np.flatnonzero(same & asked), table)
    for number in np.flatnonzero(same).tolist():
        key, own = int(mine[number]), held.texts[number]
        drawn = bool(asked[number]) and all((own.question, option) in closed for option in own.options)
        for other in by_key[key]:
            agree = answers_agree(own, benchmark.texts[other])
            grade = OTHER_ANSWER if not agree else GENERIC if drawn or key in common else EXACT
            keep_best(matches, number, Match("text", grade, first_with[other], 1.0, grade == EXACT))
    of_question = dict(zip(reversed(benchmark.texts.question_keys), reversed(range(len(benchmark.texts))), strict=True))
    for number in np.flatnonzero(asked).tolist():
        like = of_question.get(held.texts.question_keys[number])
        if like is not None:
            keep_best(matches, number, Match("text", GENERIC, first_with[like], 0.0, False))
    # Texts with a question that many recordings share are never near by it: there may be millions of such pairs.
    rows, columns = np.flatnonzero(~asked), np.flatnonzero(~theirs_asked)
    corpus, references = vectorise(held.texts, benchmark.texts)
    for some, others, scores in near_pairs(corpus[rows], references[columns], table.near):
        for number, other, score in zip(rows[some].tolist(), columns[others].tolist(), scores.tolist(), strict=True):
            if mine[number] != theirs[other] and may_be_near(held.texts[number], benchmark.texts[other], strict=False):
                keep_best(matches, number, Match("text", NEAR, first_with[other], round(min(1.0, score), 3), True))
    return matches


def _generic_questions(
    held: Held, recordings: NDArray[np.int32], benchmark: Benchmark, table: Dedup
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which texts of the corpus, and of the benchmark, have a question that many recordings share."""
    common = _common_keys(held, recordings, held.texts.question_keys, table)
    common |= _repeated(benchmark, benchmark.texts.question_keys, table)
    listed = np.array(sorted(common), np.uint64)
    mine, theirs = (np.isin(np.array(t.question_keys, np.uint64), listed) for t in (held.texts, benchmark.texts))
    return mine, theirs


def _common_options(
    held: Held, recordings: NDArray[np.int32], benchmark: Benchmark, matched: NDArray[np.int64], table: Dedup
) -> set[tuple[str, str]]:
    """The options that the corpus, or the benchmark, has in a question about more recordings than ``table.generic``.

    A rule asks "What is the key of this music?" with four of 24 keys: of ten thousand such questions some have the
    benchmark's four by chance. An option that few recordings have with that question is no such chance.

    Args:
        held: The corpus.
        recordings: Of each clip its recording.
        benchmark: The benchmark.
        matched: The texts of the corpus whose questions are looked at.
        table: The thresholds.

    Returns:
        Pairs of a question and an option.
    """
    common: set[tuple[str, str]] = set()
    wanted = {held.texts.question_keys[number] for number in matched.tolist()}
    if not wanted:
        return common
    clips = recordings[held.clip_of]
    for side, about in ((held, clips), (benchmark, np.arange(len(benchmark.ids)))):
        of_text = side.texts.question_keys
        seen: dict[tuple[str, str], set[int]] = {}
        for text_number, recording in zip(side.text_numbers, about.tolist(), strict=True):
            if text_number < 0 or of_text[text_number] not in wanted:
                continue
            text = side.texts[text_number]
            for option in text.options:
                those = seen.setdefault((text.question, option), set())
                if len(those) <= table.generic:
                    those.add(recording)
        common |= {pair for pair, those in seen.items() if len(those) > table.generic}
    return common


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


def match_bytes(held: Held, benchmark: Benchmark) -> tuple[Matches, dict[int, int]]:
    """Return the clips with the same bytes as one of the other side, and for each of its clips the first question."""
    first_with: dict[int, int] = {}
    for question, clip in enumerate(benchmark.clip_numbers):
        if clip >= 0:
            first_with.setdefault(clip, question)
    matches: Matches = {}
    for key in held.clips.numbers.keys() & benchmark.clips.numbers.keys():
        other = first_with[benchmark.clips.numbers[key]]
        keep_best(matches, held.clips.numbers[key], Match("sound", IDENTICAL, other, 1.0, True))
    return matches, first_with


def match_sounds(held: Held, benchmark: Benchmark, table: Dedup) -> Matches:
    """Return each clip's best match by its sound: the same bytes, or the same fingerprint."""
    matches, first_with = match_bytes(held, benchmark)
    if table.sound and benchmark.clips.heard:
        index = SoundIndex(benchmark.clips.peaks)
        for same in index.find(held.clips.peaks, threshold=table.sound_share):
            keep_best(matches, same.query, Match("sound", FINGERPRINT, first_with[same.clip], same.score, True))
    return matches
