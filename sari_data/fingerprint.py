"""An acoustic fingerprint: the constellation of spectral peaks of a recording, and how two of them are compared.

The method is that of Wang, "An industrial-strength audio search algorithm" (ISMIR 2003): peaks of the spectrogram
survive resampling, lossy coding, gain and noise; neighbouring peaks are hashed together to find candidates, and what
is the same recording agrees in one time offset. Three things differ. Triples are hashed, not pairs. What is kept are
the peaks, four bytes each, and not the hashes, so that ten seconds are about a kilobyte. And a candidate counts only
after its peaks were laid over each other at that offset, which gives a share of agreeing peaks whose chance level is
known.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sari_data.audio import load_audio
from sari_data.types import AudioRef

# Part of the cache's key: raise it whenever the same audio would get another fingerprint.
VERSION = 1
RATE = 8000
WINDOW, HOP = 1024, 256
FRAMES_A_SECOND = RATE / HOP
# Below 100 Hz lies hum, above 3,600 Hz the resampler's transition band and what low bit rates cut off.
LOWEST, HIGHEST = 13, 461
_BINS = HIGHEST - LOWEST
# A peak is the highest point of its neighbourhood (frames, bins to each side) and at most so far below the clip's
# loudest one; of those, as many are kept as stand out most within half a second to each side.
_NEAR = (4, 8)
_FLOOR_DB = 60.0
# Of a window of digital silence; one step of 16 bits is about -57.
SILENCE_DB = -120.0
_AROUND = (15, 31)
_KEPT, _WITHIN = 25, 16
# Triples: each peak with two of the next few (places in their order, frames, bins apart).
FAN_OUT, _SHORTEST, _LONGEST, _WIDEST = 5, 2, 40, 100
_FARTHEST = 96
_MIX = np.uint32(0x9E3779B1)
# Recordings with more common places than this (frames times 512) are compared by a search: about 65 seconds.
_TABLE = 2**20

Peaks = NDArray[np.uint32]


def fingerprint(ref: AudioRef, *, max_seconds: float = 3600.0) -> Peaks:
    """Return the peaks of the part of the audio that ``ref`` means, ordered by time.

    Args:
        ref: The audio.
        max_seconds: A longer part is refused.

    Returns:
        uint32, shape [peaks]: frame number (of 32 ms) times 512, plus the frequency bin. Empty for silence.

    Raises:
        MissingFileError: The path is not a file.
        AudioError: As :func:`~sari_data.audio.load_audio`.
    """
    return find_peaks(load_audio(ref, RATE, max_seconds=max_seconds))


def find_peaks(samples: NDArray[np.float32]) -> Peaks:
    """Return the peaks of mono samples at RATE, as :func:`fingerprint` does."""
    from scipy.ndimage import maximum_filter, uniform_filter

    level = _levels(samples)
    if level.size == 0 or level.max() <= SILENCE_DB:
        return np.zeros(0, np.uint32)
    level = np.maximum(level, level.max() - _FLOOR_DB)
    # What stands out of its surroundings, so that each part of the spectrum and of the clip has its peaks.
    contrast = level - uniform_filter(level, _AROUND, mode="nearest")
    top = maximum_filter(level, (2 * _NEAR[0] + 1, 2 * _NEAR[1] + 1), mode="nearest")
    frames, bins = np.nonzero((level == top) & (level > level.min()) & (contrast > 0))
    keep = _outstanding(frames, contrast[frames, bins])
    return (frames[keep] * 512 + bins[keep]).astype(np.uint32)


def _levels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Spectrogram in dB, shape [frames, bins]; the clip is padded to one window at least."""
    # Without the mean, which would leak into the lowest bins of a recording with an offset.
    centred = samples - samples.mean(dtype=np.float64).astype(np.float32) if samples.size else samples
    padded = np.pad(centred, (0, max(0, WINDOW - samples.size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    window = np.hanning(WINDOW).astype(np.float32)
    levels = np.empty((len(frames), _BINS), np.float32)
    for begin in range(0, len(frames), 2048):
        spectrum = np.fft.rfft(frames[begin : begin + 2048] * window)[:, LOWEST:HIGHEST]
        levels[begin : begin + 2048] = 10 * np.log10(np.square(np.abs(spectrum)) + 1e-24)
    return levels


def _outstanding(frames: NDArray[np.intp], strength: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which peaks are among the strongest around them; independent of where the clip begins."""
    keep = np.ones(len(frames), bool)
    for begin in range(0, len(frames), 512):
        part = slice(begin, begin + 512)
        first = np.searchsorted(frames, frames[part][0] - _WITHIN, "left")
        last = np.searchsorted(frames, frames[part][-1] + _WITHIN, "right")
        near = np.abs(frames[part, None] - frames[None, first:last]) <= _WITHIN
        stronger = strength[None, first:last] > strength[part, None]
        keep[part] = (near & stronger).sum(axis=1) < _KEPT
    return keep


def hash_many(
    peaks: Peaks, sizes: NDArray[np.integer], sampled: int = 1
) -> tuple[NDArray[np.uint32], NDArray[np.int32], NDArray[np.int32]]:
    """Return the hashes of triples of peaks of many recordings.

    A triple is a peak with two of the next FAN_OUT that are neither too near nor too far away; its hash holds the first
    one's bin and how far the others are from it in bins and frames, each halved (8 + 2 * (7 + 5) bits). Pairs, as Wang
    has them, are too alike in ten thousand recordings: they gave a hundred times as many false hits.

    Args:
        peaks: The fingerprints, end to end.
        sizes: How many peaks each recording has.
        sampled: One hash in so many is returned, the same ones in every recording.

    Returns:
        The hashes, the frames of their first peaks, and the numbers of their recordings.
    """
    owner = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    time, bins = (peaks >> 9).astype(np.int32), (peaks & 511).astype(np.int16)
    # All recordings on one axis of time, too far apart for a triple across two of them.
    ends = np.cumsum(sizes)
    last = np.zeros(len(sizes), np.int64)
    last[sizes > 0] = time[ends[sizes > 0] - 1] + _LONGEST + 1
    axis = (time + np.repeat(np.cumsum(last) - last, sizes)).astype(np.int32)
    # Of each peak the codes of its partners: their distance in bins and frames. All peaks try their next one, then all
    # their second next, and so on.
    codes = np.zeros((FAN_OUT, len(peaks)), np.uint32)
    taken = np.zeros(len(peaks), np.int8)
    for step in range(1, min(_FARTHEST, len(peaks))):
        apart = axis[step:] - axis[:-step]
        aside = bins[step:] - bins[:-step]
        open_ = (apart <= _LONGEST) & (taken[:-step] < FAN_OUT)
        if not open_.any():
            break
        chosen = np.flatnonzero(open_ & (apart >= _SHORTEST) & (np.abs(aside) <= _WIDEST))
        codes[taken[chosen], chosen] = (((aside[chosen] + 128) >> 1) << 5) | (apart[chosen] >> 1)
        taken[chosen] += 1
    first = (bins >> 1).astype(np.uint32) << np.uint32(24)
    hashes, places = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
    for one, other in combinations(range(FAN_OUT), 2):
        whole = first | (codes[one] << np.uint32(12)) | codes[other]
        keep = taken > other
        if sampled > 1:
            keep &= ((whole * _MIX) >> np.uint32(16)) % np.uint32(sampled) == 0
        at = np.flatnonzero(keep)
        hashes.append(whole[at])
        places.append(at)
    where = np.concatenate(places)
    return np.concatenate(hashes), time[where], owner[where]


@dataclass(frozen=True, slots=True)
class Overlay:
    """Two constellations laid over each other.

    Args:
        share: Share of the peaks in the common part that agree, of the clip that has fewer there, in [0, 1].
        agreeing: How many agree.
        seconds: Length of the common part.
        covered: Share of the common part's half-seconds with peaks in which some agree.
    """

    share: float
    agreeing: int
    seconds: float
    covered: float


def overlay(one: Peaks, other: Peaks, offset: int, *, around: int = 0) -> Overlay:
    """Lay ``other``, moved by ``offset`` frames, over ``one``; a frame and a bin to each side still agree.

    Args:
        one: Peaks, at least one.
        other: Peaks, at least one.
        offset: In frames.
        around: Try so many frames more to each side, and return what agrees best.
    """
    begin = max(int(one[0] >> 9), int(other[0] >> 9) + offset)
    end = min(int(one[-1] >> 9), int(other[-1] >> 9) + offset)
    # As they are ordered by time and bin, the common part is a slice, and what is near a peak another one.
    first, second = _between(one, begin, end), _between(other, begin - offset, end - offset)
    if end <= begin or not len(first) or not len(second):
        return Overlay(0.0, 0, 0.0, 0.0)
    few, many, move = (first, second, -offset) if len(first) <= len(second) else (second, first, offset)
    few64, many64 = few.astype(np.int64), many.astype(np.int64)
    steps = range(-around - 1, around + 2)
    near = _are_near(many64, few64[None, :] + (np.array(steps, np.int64)[:, None] + move) * 512)
    tries = near[:-2] | near[1:-1] | near[2:]
    agree = tries[int(tries.sum(axis=1).argmax())]
    cells = (few64 >> 9) // 16
    covered = len(set(cells[agree].tolist())) / len(set(cells.tolist()))
    return Overlay(float(agree.mean()), int(agree.sum()), (end - begin) / FRAMES_A_SECOND, covered)


def _are_near(peaks: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return of each place whether a peak is there or a bin to its side."""
    lowest = min(int(peaks[0]), int(places[0, 0])) - 1
    size = max(int(peaks[-1]), int(places[-1, -1])) + 2 - lowest
    if size > _TABLE:
        return np.searchsorted(peaks, places - 1) < np.searchsorted(peaks, places + 1, "right")
    # A table of all places is several times as fast as a search.
    there = np.zeros(size, bool)
    at = peaks - lowest
    for step in (-1, 0, 1):
        there[at + step] = True
    return there[places - lowest]


def _between(peaks: Peaks, begin: int, end: int) -> Peaks:
    low, high = np.searchsorted(peaks, np.array([max(begin, 0) * 512, (max(end, -1) + 1) * 512], np.uint32))
    return peaks[low:high]
