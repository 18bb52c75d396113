"""Which recordings of many are the same: an index of fingerprints, candidates by votes, and their proof.

A pair of recordings is a candidate when a few hashes vote for one time offset. It is the same recording when
its peaks, laid over each other there, agree more often than the peaks of unrelated recordings ever could. A corpus is
compared with itself one part of it at a time, so that the memory for the index does not grow with it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sari_data.dedup.prints import Prints, Spill
from sari_data.fingerprint import FRAMES_A_SECOND, Overlay, Peaks, hash_many, overlay

# One hash in so many is looked up, the same ones in every clip: enough for the votes, and the index is smaller. A
# benchmark, of which nothing should be missed, is small; a corpus is large.
OF_BENCHMARK, OF_CORPUS = 2, 4
# Hashes that an index holds more often say nothing (mains hum, test tones); hits of a block are bounded with them.
MOST_POSTINGS = 1000
# So many recordings of a corpus are in an index at a time: about 80 MB. With all of 100,000 in one it would be 700.
AT_A_TIME = 8192
VOTES = 3
# At most so many recordings of the index are proved for one query: those with the most votes.
MOST_CANDIDATES = 10
# Peaks that agree by chance, as a share: twice the median of unrelated recordings at their best offset.
CHANCE = 0.08
# A pair passes by chance at most once in so many candidates (Chernoff's bound for independent peaks).
BOUND = 1e-9
# The shorter recording must lie in the other at least by this share, and by so many seconds.
LEAST_SHARE_OF_CLIP, LEAST_SECONDS = 0.4, 0.75
_BLOCK = 512
# Of a key: the query's place in its block, the clip (34 bits), the offset (18 bits).
_CLIP = 2**34 - 1
_SPREAD = np.uint32(0x85EBCA6B)


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


@dataclass(frozen=True, slots=True)
class _Marks:
    """The sampled hashes of the recordings of a block: each with its recording's place in the block, and its frame.

    They are spread evenly over 32 bits and sorted, so that a search goes through an index from its beginning to its
    end, which is twice as fast as jumping about in it.
    """

    spread: NDArray[np.uint32]
    places: NDArray[np.int16]
    times: NDArray[np.integer]

    @classmethod
    def of(cls, prints: Prints, begin: int, sampled: int) -> _Marks:
        hashes, times, owners = hash_many(*prints.block(begin, begin + _BLOCK), sampled)
        spread, order = _sorted(hashes * _SPREAD)
        # Of a recording of more than half an hour the frames need more than two bytes.
        short = not times.size or times.max() < 2**16
        return cls(spread, owners.astype(np.int16)[order], (times.astype(np.uint16) if short else times)[order])


class SoundIndex:
    """Fingerprints, found by their sound.

    Ten bytes a hash, of which ten seconds have about 2,400 by the number sampled, and four to eight for each place of
    a table: hashes are spread over it, and what its place does not say of a hash stands beside the clip.

    Args:
        peaks: The fingerprints; an empty one is never found.
        sampled: One hash in so many is held.
    """

    def __init__(self, peaks: Sequence[Peaks], *, sampled: int = OF_BENCHMARK) -> None:
        self.prints = peaks if isinstance(peaks, Prints) else Prints(peaks)
        self._sampled = sampled
        self._hold(0, (_Marks.of(self.prints, begin, sampled) for begin in range(0, len(self.prints), _BLOCK)))

    @classmethod
    def _of_part(cls, prints: Prints, first: int, marks: Iterable[_Marks]) -> SoundIndex:
        """Return an index of the recordings from ``first`` on whose hashes are given."""
        index = cls.__new__(cls)
        index.prints = prints
        index._hold(first, marks)
        return index

    def _hold(self, first: int, blocks: Iterable[_Marks]) -> None:
        spread, entries = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
        for at, marks in enumerate(blocks):
            spread.append(marks.spread)
            clips = marks.places.astype(np.int64) + (first + at * _BLOCK)
            entries.append((clips << 19) - marks.times)
        hashes, order = _sorted(np.concatenate(spread))
        spread.clear()
        # Of each hash its clip and its frame, in one number: adding a query's makes a key to count.
        self._entries = np.concatenate(entries)
        entries.clear()
        self._entries = self._entries[order]
        del order
        if np.any(hashes[MOST_POSTINGS:] == hashes[:-MOST_POSTINGS]):
            _, run, often = np.unique(hashes, return_inverse=True, return_counts=True)
            keep = often[run] <= MOST_POSTINGS
            hashes, self._entries = hashes[keep], self._entries[keep]
        # As many places as there are hashes or up to twice as many, and at least as many as leave two bytes of a hash.
        bits = min(26, max(16, int(hashes.size).bit_length()))
        self._shift = np.uint32(32 - bits)
        self._begins = np.empty(2**bits + 1, np.int32)
        for at in range(0, 2**bits, 2**16):
            edges = np.arange(at, at + 2**16, dtype=np.uint32) << self._shift
            self._begins[at : at + 2**16] = np.searchsorted(hashes, edges)
        self._begins[-1] = hashes.size
        self._rests = (hashes & np.uint32(2 ** int(self._shift) - 1)).astype(np.uint16)

    @property
    def bytes(self) -> int:
        """Memory of the index in bytes, without the fingerprints."""
        return sum(a.nbytes for a in (self._begins, self._rests, self._entries))

    def find(self, queries: Sequence[Peaks], *, threshold: float, threads: int = 2) -> Iterator[SameSound]:
        """Yield the pairs that are the same recording, ordered by query.

        Args:
            queries: Fingerprints.
            threshold: As of :func:`is_same`.
            threads: Threads to search with; the order does not depend on it.
        """
        prints = queries if isinstance(queries, Prints) else Prints(queries)

        def block(begin: int) -> list[SameSound]:
            return self._find_block(prints, begin, _Marks.of(prints, begin, self._sampled), threshold)

        yield from _in_threads(block, range(0, len(prints), _BLOCK), threads)

    def _find_block(
        self, queries: Prints, begin: int, marks: _Marks, threshold: float, *, itself: bool = False
    ) -> list[SameSound]:
        found = []
        proved: set[tuple[int, int]] = set()
        for query, clip, offset in self._candidates(marks, begin, itself):
            if (query, clip) in proved:
                continue
            one, other = self.prints[clip], queries[query]
            best = overlay(one, other, offset, around=2)
            if is_same(best, one, other, threshold):
                proved.add((query, clip))
                found.append(SameSound(query, clip, round(best.share, 3), round(best.seconds, 2)))
        return found

    def _candidates(self, marks: _Marks, begin: int, itself: bool) -> list[tuple[int, int, int]]:
        """Return (query, clip, offset in frames) with VOTES or more, of each query the most voted for first."""
        if not marks.spread.size or not self._entries.size:
            return []
        at, which = self._hits(marks.spread)
        asked = (marks.places.astype(np.int64) << 53) + (marks.times.astype(np.int64) + 2**18)
        # Both frames jitter by one, so offsets are counted in bins of two frames, and neighbouring bins together.
        key = (asked[which] + self._entries[at]) >> 1
        if itself:
            key = key[((key >> 18) & _CLIP) > (key >> 52) + begin]
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

    def _hits(self, spread: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where in the index the same hashes are, and which of the given ones they are."""
        place = spread >> self._shift
        left = self._begins[place]
        hits = self._begins[place + np.uint32(1)] - left
        which = np.repeat(np.arange(len(spread)), hits)
        at = np.repeat(left - (np.cumsum(hits) - hits), hits) + np.arange(len(which))
        rests = (spread & np.uint32(2 ** int(self._shift) - 1)).astype(np.uint16)
        same = np.flatnonzero(self._rests[at] == rests[which])
        return at[same], which[same]

    @staticmethod
    def _ranked(keys: NDArray[np.int64], votes: NDArray[np.int64], begin: int) -> list[tuple[int, int, int]]:
        who, clip = keys >> 52, (keys >> 18) & _CLIP
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


def same_within(prints: Prints, *, threshold: float, sampled: int = OF_CORPUS, threads: int = 2) -> Iterator[SameSound]:
    """Yield the pairs of recordings of a corpus that are one, each once; ``query`` comes before ``clip``.

    Args:
        prints: Their fingerprints.
        threshold: As of :func:`is_same`.
        sampled: One hash in so many is looked up.
        threads: Threads to search with; what is yielded, and in which order, does not depend on it.

    Raises:
        StorageError: The scratch file cannot be written.
    """
    kept = _KeptMarks()
    for first in range(0, len(prints), AT_A_TIME):
        part = range(first, min(first + AT_A_TIME, len(prints)), _BLOCK)
        index = SoundIndex._of_part(prints, first, (kept.keep(_Marks.of(prints, at, sampled)) for at in part))

        def block(begin: int, index: SoundIndex = index) -> list[SameSound]:
            return index._find_block(prints, begin, kept[begin // _BLOCK], threshold, itself=True)

        yield from _in_threads(block, range(0, part[-1] + 1, _BLOCK), threads)


class _KeptMarks:
    """The hashes of the blocks of a corpus, in a scratch file (about 5 kB a recording of ten seconds)."""

    def __init__(self) -> None:
        self._spill = Spill()
        self._where: list[tuple[int, int, type]] = []

    def keep(self, marks: _Marks) -> _Marks:
        parts = (marks.spread, marks.places, marks.times)
        begin = self._spill.append(b"".join(part.tobytes() for part in parts))
        self._where.append((begin, len(marks.spread), marks.times.dtype.type))
        return marks

    def __getitem__(self, block: int) -> _Marks:
        begin, count, kind = self._where[block]
        size = np.dtype(kind).itemsize
        data = self._spill.read(begin, (6 + size) * count)
        return _Marks(
            np.frombuffer(data, np.uint32, count),
            np.frombuffer(data, np.int16, count, 4 * count),
            np.frombuffer(data, kind, count, 6 * count),
        )


def _sorted(numbers: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the numbers sorted and their order: as a stable argsort, but plain numbers sort several times as fast."""
    both = numbers.astype(np.uint64)
    both <<= np.uint64(32)
    both |= np.arange(numbers.size, dtype=np.uint64)
    both.sort()
    order = both.astype(np.uint32)
    both >>= np.uint64(32)
    return both.astype(np.uint32), order


def _in_threads(work: Callable[[int], list[SameSound]], begins: Iterable[int], threads: int) -> Iterator[SameSound]:
    """Yield what the blocks give, in their order; a few of them are on their way at a time."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[SameSound]]] = deque()
        for begin in begins:
            waiting.append(pool.submit(work, begin))
            if len(waiting) > 2 * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
