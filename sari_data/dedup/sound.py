"""Which recordings of many are the same: an index of fingerprints, candidates by votes, and their proof.

A pair of recordings is a candidate when a few pair hashes vote for one time offset. It is the same recording when
its peaks, laid over each other there, agree more often than the peaks of unrelated recordings ever could.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sari_data.fingerprint import FRAMES_A_SECOND, Overlay, Peaks, overlay, pair_hashes

# One hash in so many is looked up, the same ones in every clip: enough for a vote, and the index is a quarter.
SAMPLED = 4
# Hashes in more clips than this say nothing (mains hum, test tones); hits of a block are bounded with them.
MOST_POSTINGS = 2000
VOTES = 3
# At most so many recordings of the index are proved for one query: those with the most votes.
MOST_CANDIDATES = 50
# Peaks that agree by chance, as a share: twice the median of unrelated recordings at their best offset.
CHANCE = 0.08
# A pair passes by chance at most once in so many candidates (Chernoff's bound for independent peaks).
BOUND = 1e-9
# The shorter recording must lie in the other at least by this share, and by so many seconds.
LEAST_SHARE_OF_CLIP, LEAST_SECONDS = 0.4, 0.75
_BLOCK = 128
_MIX = np.uint32(0x9E3779B1)


@dataclass(frozen=True, slots=True)
class SameSound:
    """Two recordings that are one.

    Args:
        query: Number of the query.
        clip: Number of the recording in the index.
        score: Share of the peaks that agree in the common part, in [0, 1].
        seconds: Length of the common part.
    """

    query: int
    clip: int
    score: float
    seconds: float


def is_same(found: Overlay, one: Peaks, other: Peaks, threshold: float) -> bool:
    """Return whether two recordings laid over each other are one.

    Args:
        found: How they agree.
        one: The peaks of the first.
        other: The peaks of the second.
        threshold: Least share of agreeing peaks. Where there are few peaks more is asked: the chance of as many
            agreeing must stay below BOUND.
    """
    shorter = min(int(p[-1] >> 9) - int(p[0] >> 9) for p in (one, other)) / FRAMES_A_SECOND
    if found.share < max(threshold, CHANCE) or found.seconds < max(LEAST_SECONDS, LEAST_SHARE_OF_CLIP * shorter):
        return False
    if found.covered < 0.6:
        return False
    peaks = found.agreeing / found.share
    share = min(found.share, 1 - 1e-9)
    surprise = share * math.log(share / CHANCE) + (1 - share) * math.log((1 - share) / (1 - CHANCE))
    return peaks * surprise >= -math.log(BOUND)


class SoundIndex:
    """Fingerprints, found by their sound; about 1.3 kB a ten-second clip and 3 kB of hashes.

    Args:
        peaks: The fingerprints; an empty one is never found.
    """

    def __init__(self, peaks: Sequence[Peaks]) -> None:
        self.peaks = peaks
        counts = np.zeros(len(peaks), np.int64)
        hashes, times = [], []
        for number, one in enumerate(peaks):
            found, when = _sampled(one)
            hashes.append(found)
            times.append(when.astype(np.uint16))
            counts[number] = len(found)
        all_hashes = np.concatenate(hashes) if hashes else np.zeros(0, np.uint32)
        all_times = np.concatenate(times) if times else np.zeros(0, np.uint16)
        hashes.clear()
        times.clear()
        order = np.argsort(all_hashes, kind="stable")
        self._hashes, self._times = all_hashes[order], all_times[order]
        self._clips = np.repeat(np.arange(len(peaks), dtype=np.int32), counts)[order]

    @property
    def bytes(self) -> int:
        """Memory of the index in bytes, the fingerprints included."""
        return sum(a.nbytes for a in (self._hashes, self._times, self._clips)) + sum(p.nbytes for p in self.peaks)

    def find(
        self, queries: Sequence[Peaks], *, threshold: float, itself: bool = False, threads: int = 2
    ) -> Iterator[SameSound]:
        """Yield the pairs that are the same recording, ordered by query.

        Args:
            queries: Fingerprints.
            threshold: As of :func:`is_same`.
            itself: The queries are those of the index: each pair once, none with itself.
            threads: Threads to search with; the order does not depend on it.
        """
        with ThreadPoolExecutor(threads) as pool:
            work: deque[Future[list[SameSound]]] = deque()
            for begin in range(0, len(queries), _BLOCK):
                work.append(pool.submit(self._find_block, queries, begin, threshold, itself))
                if len(work) > 2 * threads:
                    yield from work.popleft().result()
            while work:
                yield from work.popleft().result()

    def _find_block(self, queries: Sequence[Peaks], begin: int, threshold: float, itself: bool) -> list[SameSound]:
        found = []
        proved: set[tuple[int, int]] = set()
        for query, clip, offset in self._candidates(queries, begin, itself):
            if (query, clip) in proved:
                continue
            one, other = self.peaks[clip], queries[query]
            best = max((overlay(one, other, offset + d) for d in (-1, 0, 1, 2)), key=lambda o: (o.agreeing, o.share))
            if is_same(best, one, other, threshold):
                proved.add((query, clip))
                found.append(SameSound(query, clip, round(best.share, 3), round(best.seconds, 2)))
        return found

    def _candidates(self, queries: Sequence[Peaks], begin: int, itself: bool) -> list[tuple[int, int, int]]:
        """Return (query, clip, offset in frames) with VOTES or more, of each query the most voted for first."""
        parts = [_sampled(peaks) for peaks in queries[begin : begin + _BLOCK]]
        sizes = [len(hashes) for hashes, _ in parts]
        if not sum(sizes) or not self._hashes.size:
            return []
        hashes = np.concatenate([hashes for hashes, _ in parts])
        times = np.concatenate([when for _, when in parts]).astype(np.int64)
        query = np.repeat(np.arange(len(parts), dtype=np.int64), sizes)
        left = np.searchsorted(self._hashes, hashes, "left")
        hits = np.searchsorted(self._hashes, hashes, "right") - left
        hits[hits > MOST_POSTINGS] = 0
        total = int(hits.sum())
        at = np.repeat(left - (np.cumsum(hits) - hits), hits) + np.arange(total)
        clip, who = self._clips[at].astype(np.int64), np.repeat(query, hits)
        # Both frames jitter by one, so offsets are counted in bins of two frames, and neighbouring bins together.
        bins = (np.repeat(times, hits) - self._times[at] + 2**18) >> 1
        key = (who << 52) | (clip << 18) | bins
        if itself:
            key = key[clip > who + begin]
        key.sort()
        # As numpy.unique counts, without its second sort.
        starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if key.size else np.zeros(0, np.int64)
        votes = np.diff(np.append(starts, key.size))
        keys = key[starts]
        both = votes.copy()
        if keys.size > 1:
            beside = np.flatnonzero(keys[1:] == keys[:-1] + 1)
            both[beside] += votes[beside + 1]
        good = both >= VOTES
        return self._ranked(keys[good], both[good], begin)

    @staticmethod
    def _ranked(keys: NDArray[np.int64], votes: NDArray[np.int64], begin: int) -> list[tuple[int, int, int]]:
        who, clip = keys >> 52, (keys >> 18) & (2**34 - 1)
        offset = 2 * (keys & (2**18 - 1)) - 2**18
        order = np.lexsort((offset, clip, -votes, who))
        chosen: list[tuple[int, int, int]] = []
        taken: dict[int, int] = {}
        for i in order.tolist():
            if taken.setdefault(int(who[i]), 0) < MOST_CANDIDATES:
                taken[int(who[i])] += 1
                # `overlay` moves the query over the clip of the index, which is the other way round.
                chosen.append((int(who[i]) + begin, int(clip[i]), -int(offset[i]) - 1))
        return chosen


def _sampled(peaks: Peaks) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    hashes, times = pair_hashes(peaks)
    keep = ((hashes * _MIX) >> np.uint32(16)) % SAMPLED == 0
    return hashes[keep], times[keep]
