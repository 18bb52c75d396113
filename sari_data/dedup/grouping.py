"""Within a corpus: which clips are one recording or one video, and which questions repeat an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sari_data.dedup.collection import Clips, Held
from sari_data.dedup.findings import CONFLICT, CORPUS, EXACT, NEAR, Dedup, Finding
from sari_data.dedup.sound import same_within
from sari_data.dedup.text import answers_agree, may_be_near, pair_scores, vectorise
from sari_data.segments import Segment, overlap, shorter

# Two segments are one recording when they share half of the shorter: a question of one can then be one of the other.
_ONE_RECORDING = 0.5


class Union:
    """Which of many things belong together; the first of a set speaks for it."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def find(self, item: int) -> int:
        """Return the first thing of the set that ``item`` is in."""
        above = self._above
        while above[item] != item:
            above[item] = above[above[item]]
            item = above[item]
        return item

    def join(self, one: int, other: int) -> None:
        """Put the sets of two things together."""
        first, second = sorted((self.find(one), self.find(other)))
        self._above[second] = first

    def all(self) -> NDArray[np.int32]:
        """Return for each thing the first of its set."""
        return np.array([self.find(item) for item in range(len(self._above))], np.int32)


@dataclass(frozen=True, slots=True)
class Groups:
    """Of each clip the first clip of its set.

    Args:
        recordings: Sets of clips that are one recording.
        kept_together: Sets of clips that share a recording or a video: a split must not part them.
        by_segment: Pairs of clips that are the same part of a video.
        by_sound: Pairs of clips that sound the same.
    """

    recordings: NDArray[np.int32]
    kept_together: NDArray[np.int32]
    by_segment: int
    by_sound: int


def group_clips(clips: Clips, table: Dedup) -> Groups:
    """Find the clips of a corpus that are one recording or one video."""
    recordings, together = Union(len(clips.segments)), Union(len(clips.segments))
    by_video: dict[str, list[tuple[int, Segment]]] = {}
    by_segment = by_sound = 0
    for number, segment in enumerate(clips.segments):
        if segment is not None:
            by_video.setdefault(segment.video, []).append((number, segment))
    for members in by_video.values():
        for at, (number, segment) in enumerate(members):
            together.join(members[0][0], number)
            for other, its in members[:at]:
                if _is_one_recording(segment, its, table):
                    recordings.join(other, number)
                    by_segment += 1
    if table.sound:
        for same in same_within(clips.peaks, threshold=table.sound_share):
            recordings.join(same.clip, same.query)
            together.join(same.clip, same.query)
            by_sound += 1
    return Groups(recordings.all(), together.all(), by_segment, by_sound)


def name_groups(clips: Clips, groups: Groups) -> dict[str, str]:
    """Return the group's name by clip key, for the clips that are not alone in theirs."""
    sizes = np.bincount(groups.kept_together, minlength=len(clips.segments))
    keys = list(clips.numbers)
    return {
        key: keys[groups.kept_together[number]][:16]
        for key, number in clips.numbers.items()
        if sizes[groups.kept_together[number]] > 1
    }


def _is_one_recording(one: Segment, other: Segment, table: Dedup) -> bool:
    common = overlap(one, other)
    least = max(table.overlap_seconds, _ONE_RECORDING * shorter(one, other))
    return common is not None and common >= min(least, shorter(one, other))


def find_repeats(held: Held, groups: Groups, table: Dedup, leave_out: Sequence[bool]) -> list[Finding]:
    """Return the questions that repeat an earlier one about the same recording, in the corpus's order.

    The earlier one stays, and only what stays makes a later one a repeat.

    Args:
        held: The corpus.
        groups: Its recordings.
        table: The thresholds.
        leave_out: Of each question, whether it is dropped already and neither repeats nor is repeated.
    """
    text_of = held.text_of
    members: dict[int, list[int]] = {}
    for number, recording in enumerate(groups.recordings[held.clip_of].tolist()):
        if not leave_out[number]:
            members.setdefault(recording, []).append(number)
    pairs = [(a, b) for found in members.values() for at, b in enumerate(found) for a in found[:at]]
    if not pairs:
        return []
    one, other = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
    [matrix] = vectorise(held.texts)
    scores = pair_scores(matrix, text_of[one].astype(np.int64), text_of[other].astype(np.int64))
    keys = np.array(held.texts.keys, np.uint64)
    same = keys[text_of[one]] == keys[text_of[other]]
    found: dict[int, Finding] = {}
    chosen = np.flatnonzero(same | (scores >= table.near_within))
    for i in chosen[np.lexsort((one[chosen], other[chosen]))].tolist():
        first, second = int(one[i]), int(other[i])
        if first in found or second in found:
            continue
        grade = _grade(held, int(text_of[first]), int(text_of[second]), bool(same[i]))
        if grade:
            score = round(min(1.0, float(scores[i])), 3)
            found[second] = Finding(held.ids[second], "text", grade, held.ids[first], CORPUS, score, True)
    return [found[number] for number in sorted(found)]


def _grade(held: Held, first: int, second: int, same: bool) -> str:
    one, other = held.texts[first], held.texts[second]
    if same:
        return EXACT if answers_agree(one, other) else CONFLICT
    return NEAR if may_be_near(one, other) else ""
