"""Fingerprints: what survives, what does not, how large they are, and that none is computed twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
from dedup_examples import RATE, coded, hiss, melody, wav, write_wav

from sari_data import fingerprint_cache
from sari_data.audio import encode_wav, load_audio
from sari_data.dedup.prints import Prints
from sari_data.dedup.sound import SoundIndex, same_within
from sari_data.errors import StorageError
from sari_data.fingerprint import RATE as OWN_RATE
from sari_data.fingerprint import find_peaks, fingerprint, hash_many, overlay
from sari_data.fingerprint_cache import default_cache, fingerprints
from sari_data.types import AudioRef

SHARE = 0.25
MADE = {"melody": melody, "hiss": hiss}
CHANGES = {
    "mp3": lambda x: coded(x, "MP3", 0.9),
    "ogg": lambda x: coded(x, "OGG", 0.9),
    "resampled": lambda x: encode_wav(soxr.resample(x, RATE, 11025), 11025),
    "quieter": lambda x: wav(0.2 * x),
    "cut at the start": lambda x: wav(x[int(1.63 * RATE) :]),
    "cut at the end": lambda x: wav(x[: -int(2.2 * RATE)]),
    "cut and mp3": lambda x: coded(x[int(1.1 * RATE) :], "MP3", 0.3),
    "cut at both ends": lambda x: wav(x[int(1.21 * RATE) : -int(1.3 * RATE)]),
}


def peaks_of(data: bytes) -> np.ndarray:
    return fingerprint(AudioRef(path="a", data=data))


@pytest.fixture(scope="module")
def library() -> list[np.ndarray]:
    return [peaks_of(wav(made(seed))) for made in MADE.values() for seed in range(12)]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", MADE)
def test_a_changed_recording_is_found_and_nothing_else(library: list[np.ndarray], kind: str, change: str) -> None:
    queries = [peaks_of(CHANGES[change](MADE[kind](seed))) for seed in range(12)]
    found = list(SoundIndex(library).find(queries, threshold=SHARE))
    first = 12 * list(MADE).index(kind)
    right = [(i, first + i) for i in range(12)]
    assert [(same.query, same.clip) for same in found] == right
    assert all(SHARE <= same.score <= 1 and same.seconds > 2 for same in found)


def test_recordings_made_the_same_way_are_not_the_same(library: list[np.ndarray]) -> None:
    others = [peaks_of(wav(made(seed))) for made in MADE.values() for seed in range(100, 112)]
    index = SoundIndex(library)
    assert list(index.find(others, threshold=SHARE)) == []
    assert list(same_within(Prints(library), threshold=SHARE)) == []


def test_a_shared_second_is_not_the_same_recording() -> None:
    """Two scenes may hold one bark; and a recording of which most is shared is the same one."""
    one, other = melody(1), melody(2)
    other[:RATE] = one[:RATE]
    index = SoundIndex([find_peaks(soxr.resample(one, RATE, OWN_RATE))])
    assert not list(index.find([find_peaks(soxr.resample(other, RATE, OWN_RATE))], threshold=SHARE))
    other[: 5 * RATE] = one[: 5 * RATE]
    assert list(index.find([find_peaks(soxr.resample(other, RATE, OWN_RATE))], threshold=SHARE))


@pytest.mark.parametrize("kind", MADE)
def test_ten_seconds_are_about_a_kilobyte(kind: str) -> None:
    peaks = peaks_of(wav(MADE[kind](3, 10.0)))
    assert 200 <= peaks.nbytes <= 1300
    hashes, frames, _ = hash_many(peaks, np.array([len(peaks)]))
    assert len(hashes) == len(frames) > len(peaks)
    assert frames.max() <= 10 * OWN_RATE / 256


def test_gain_changes_nothing_and_time_only_the_offset() -> None:
    samples = load_audio(AudioRef(path="a", data=wav(melody(5))), OWN_RATE)
    peaks = find_peaks(samples)
    assert np.array_equal(find_peaks(0.5 * samples), peaks)
    # A cut of whole frames: the peaks away from the new edge are the same ones, ten frames earlier.
    cut = find_peaks(samples[2560:])
    moved = peaks[(peaks >> 9) >= 40] - (10 << 9)
    assert np.isin(moved, cut).mean() > 0.95
    laid = overlay(peaks, cut, 10)
    assert laid.share > 0.9
    assert laid.covered == 1
    assert overlay(peaks, cut, 25).share < 0.2


@pytest.mark.parametrize(
    "samples", [np.zeros(8000), np.zeros(10), np.full(8000, 0.25)], ids=["silent", "short", "flat"]
)
def test_what_has_no_sound_has_no_fingerprint_and_is_never_found(samples: np.ndarray) -> None:
    peaks = find_peaks(samples.astype(np.float32))
    assert peaks.size == 0
    assert hash_many(peaks, np.array([0]))[0].size == 0
    index = SoundIndex([peaks, find_peaks(load_audio(AudioRef(path="a", data=wav(melody(1))), OWN_RATE))])
    assert list(index.find([peaks], threshold=SHARE)) == []
    assert list(SoundIndex([]).find([peaks], threshold=SHARE)) == []


def test_threads_and_order_do_not_change_what_is_found(library: list[np.ndarray]) -> None:
    queries = [peaks for peaks in library for _ in range(12)]
    index = SoundIndex(library)
    one = list(index.find(queries, threshold=SHARE, threads=1))
    assert one == list(index.find(queries, threshold=SHARE, threads=3))
    assert len(one) == len(queries)
    backwards = SoundIndex(library[::-1])
    assert len(list(backwards.find(queries, threshold=SHARE))) == len(one)


def test_no_fingerprint_is_computed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [write_wav(tmp_path / f"{seed}.wav", melody(seed, 2.0)) for seed in range(3)]
    named = [(path.name, AudioRef(str(path))) for path in files]
    first = list(fingerprints(named, processes=1, cache=default_cache()))
    monkeypatch.setattr(fingerprint_cache, "fingerprint", lambda ref: pytest.fail("computed again"))
    again = list(fingerprints(named, processes=1, cache=default_cache()))
    # The same bytes elsewhere are the same recording; another part of them is another.
    moved = write_wav(tmp_path / "elsewhere" / "x.wav", melody(1, 2.0))
    [(_, kept)] = fingerprints([("x", AudioRef(str(moved)))], processes=1, cache=default_cache())
    assert [name for name, _ in first] == [name for name, _ in again] == ["0.wav", "1.wav", "2.wav"]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
    assert np.array_equal(kept, first[1][1])
    monkeypatch.undo()
    [(_, part)] = fingerprints([("x", AudioRef(str(moved), duration=1.0))], processes=1, cache=tmp_path / "new.sqlite")
    assert 0 < len(part) < len(kept)


def test_audio_that_cannot_be_read_is_told_and_asked_again(tmp_path: Path) -> None:
    broken = tmp_path / "b.wav"
    refs = [("gone", AudioRef(str(tmp_path / "gone.wav"))), ("broken", AudioRef(str(broken)))]
    broken.write_bytes(b"no audio")
    found = dict(fingerprints(refs, processes=1, cache=default_cache()))
    assert "gone.wav" in str(found["gone"])
    assert "does not decode" in str(found["broken"])
    write_wav(broken, melody(1, 2.0))
    assert isinstance(dict(fingerprints(refs, processes=1, cache=default_cache()))["broken"], np.ndarray)


def test_a_cache_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageError, match="remove it"):
        list(fingerprints([("a", AudioRef(path="a", data=wav(melody(1, 1.0))))], processes=1, cache=path))


def test_processes_give_the_same(tmp_path: Path) -> None:
    refs = [(seed, AudioRef(path="a", data=wav(melody(seed, 1.0)))) for seed in range(20)]
    one = list(fingerprints(refs, processes=1))
    two = list(fingerprints(iter(refs), processes=2))
    assert [name for name, _ in two] == list(range(20))
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(one, two, strict=True))
