"""Fingerprints in a scratch file, and a corpus that is compared with itself one part at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from sari_data.dedup import prints, sound
from sari_data.dedup.prints import Prints, Spill
from sari_data.dedup.sound import SoundIndex, same_within
from sari_data.errors import StorageError
from sari_data.fingerprint import hash_many


def made(number: int, seed: int = 0) -> list[np.ndarray]:
    """Fingerprints of ten seconds; no two are alike."""
    rng = np.random.default_rng(seed)
    return [
        np.unique(rng.integers(0, 312, 250) * 512 + rng.integers(0, 448, 250)).astype(np.uint32) for _ in range(number)
    ]


@pytest.mark.parametrize("in_memory", [0, 100, 2**20])
def test_what_was_put_is_there(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(prints, "_IN_MEMORY", in_memory)
    peaks = [np.arange(size, dtype=np.uint32) * 7 for size in (3, 0, 40, 1, 0, 200)]
    held = Prints(peaks)
    assert [one.tolist() for one in held] == [one.tolist() for one in peaks]
    assert (len(held), held.filled, held.nbytes) == (6, 4, 4 * 244)
    for begin, end in ((0, 6), (1, 4), (4, 5), (5, 9)):
        together, sizes = held.block(begin, end)
        assert together.tolist() == np.concatenate(peaks[begin:end]).tolist()
        assert sizes.tolist() == [len(one) for one in peaks[begin:end]]


def test_bytes_across_the_edge_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prints, "_IN_MEMORY", 10)
    spill, whole = Spill(), bytes(range(100))
    assert [spill.append(whole[at : at + 4]) for at in range(0, 100, 4)] == list(range(0, 100, 4))
    assert all(spill.read(a, b - a) == whole[a:b] for a in range(100) for b in range(a, 100))


def test_no_room_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match="TMPDIR"):
        Spill().append(bytes(2**21))


def test_hashes_of_many_are_those_of_each() -> None:
    peaks = [*made(5), np.zeros(0, np.uint32), *made(2, seed=1), np.zeros(0, np.uint32)]
    hashes, times, owners = hash_many(np.concatenate(peaks), np.array([len(one) for one in peaks]), 2)
    for number, one in enumerate(peaks):
        own_hashes, own_times, _ = hash_many(one, np.array([len(one)]), 2)
        alone = sorted(zip(own_hashes.tolist(), own_times.tolist(), strict=True))
        assert sorted(zip(hashes[owners == number].tolist(), times[owners == number].tolist(), strict=True)) == alone


@pytest.mark.parametrize(("block", "part"), [(512, 8192), (8, 16), (8, 8)])
def test_parts_and_blocks_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch, block: int, part: int) -> None:
    monkeypatch.setattr(sound, "_BLOCK", block)
    monkeypatch.setattr(sound, "AT_A_TIME", part)
    monkeypatch.setattr(prints, "_IN_MEMORY", 100)
    peaks = made(40)
    # A copy in the same block, one in another part, and one that begins 1.3 seconds later.
    peaks[3], peaks[37], peaks[20] = peaks[1], peaks[2], peaks[5][peaks[5] >> 9 >= 40] - np.uint32(40 << 9)
    found = sorted((same.query, same.clip) for same in same_within(Prints(peaks), threshold=0.25))
    assert found == [(1, 3), (2, 37), (5, 20)]
    against = [(same.query, same.clip) for same in SoundIndex(peaks).find(peaks[:6], threshold=0.25)]
    assert sorted(against) == sorted([(i, i) for i in range(6)] + [(1, 3), (3, 1), (2, 37), (5, 20)])


def test_a_hash_that_is_everywhere_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def find() -> int:
        return len(list(SoundIndex(made(1) * 12).find(made(1), threshold=0.25)))

    assert find() == sound.MOST_CANDIDATES
    monkeypatch.setattr(sound, "MOST_POSTINGS", 11)
    assert find() == 0


def test_a_recording_of_forty_minutes_is_found_by_its_end() -> None:
    """Its frames do not fit two bytes."""
    long = np.concatenate([one + np.uint32(at * 320 * 512) for at, one in enumerate(made(230))])
    assert int(long[-1] >> 9) > 2**16
    [same] = SoundIndex([*made(3, seed=5), long]).find([made(230)[-1]], threshold=0.25)
    assert same.clip == 3
