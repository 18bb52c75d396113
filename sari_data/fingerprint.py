"""An acoustic fingerprint: the constellation of spectral peaks of a recording, and how two of them are compared.

The method is that of Wang, "An industrial-strength audio search algorithm" (ISMIR 2003): peaks of the spectrogram
survive resampling, lossy coding, gain and noise; pairs of neighbouring peaks are hashed to find candidates, and what
is the same recording agrees in one time offset. Two things differ. What is kept are the peaks, four bytes each, and
not the hashes, so that ten seconds are about a kilobyte; and a candidate counts only after its peaks were
laid over each other at that offset, which gives a share of agreeing peaks whose chance level is known.
"""

from __future__ import annotations

from dataclasses import dataclass

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
# Pairs: each peak with the next few that are neither too near nor too far away.
FAN_OUT, _SHORTEST, _LONGEST, _WIDEST = 5, 2, 40, 100

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


def pair_hashes(peaks: Peaks) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Return the hashes (bin, difference in bins and in frames, each halved, in 24 bits) of pairs and their frames."""
    time, bins = (peaks >> 9).astype(np.int32), (peaks & 511).astype(np.int32)
    hashes, times = [], []
    order = np.arange(len(peaks))
    taken = np.zeros(len(peaks), np.int32)
    for step in range(1, len(peaks)):
        first = order[:-step]
        apart = time[first + step] - time[first]
        away = bins[first + step] - bins[first]
        good = (apart >= _SHORTEST) & (apart <= _LONGEST) & (np.abs(away) <= _WIDEST) & (taken[first] < FAN_OUT)
        if not (apart <= _LONGEST).any() or step > 200:
            break
        chosen = first[good]
        taken[chosen] += 1
        hashes.append(((bins[chosen] >> 1) << 16) | (((away[good] + 128) >> 1) << 8) | (apart[good] >> 1))
        times.append(time[chosen])
    if not hashes:
        return np.zeros(0, np.uint32), np.zeros(0, np.int32)
    return np.concatenate(hashes).astype(np.uint32), np.concatenate(times)


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


def overlay(one: Peaks, other: Peaks, offset: int) -> Overlay:
    """Lay ``other``, moved by ``offset`` frames, over ``one``; a frame and a bin to each side still agree."""
    t1, f1 = (one >> 9).astype(np.int64), (one & 511).astype(np.int64)
    t2, f2 = (other >> 9).astype(np.int64) + offset, (other & 511).astype(np.int64)
    begin, end = max(t1[0], t2[0]), min(t1[-1], t2[-1])
    in1, in2 = (t1 >= begin) & (t1 <= end), (t2 >= begin) & (t2 <= end)
    n1, n2 = int(in1.sum()), int(in2.sum())
    if end <= begin or not n1 or not n2:
        return Overlay(0.0, 0, 0.0, 0.0)
    if n2 < n1:
        t1, f1, t2, f2, in1, in2 = t2, f2, t1, f1, in2, in1
    wide = 1024
    t2, f2, t1, f1 = t2[in2], f2[in2], t1[in1], f1[in1]
    near = np.concatenate([(t2 + dt) * wide + f2 + df for dt in (-1, 0, 1) for df in (-1, 0, 1)])
    agree = np.isin(t1 * wide + f1, near)
    cells = (t1 - begin) // 16
    covered = len(np.unique(cells[agree])) / len(np.unique(cells))
    return Overlay(float(agree.mean()), int(agree.sum()), float((end - begin) / FRAMES_A_SECOND), covered)
