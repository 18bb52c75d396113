"""Archives that were damaged, or made to hang whoever reads them; two processes that unpack the same one."""

from __future__ import annotations

import errno
import os
import random
import signal
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_sources_unpacking import FILES, MAKERS, everything, tar_of, zip_of

from sari_data.errors import InputError, SariError, StorageError
from sari_data.sources import unpacking
from sari_data.sources.unpacking import list_members, unpack, unpack_members

Maker = Callable[[dict[str, bytes], Path], Path]


@pytest.mark.parametrize("make", MAKERS)
def test_a_long_name_of_signs_with_several_bytes_is_written(tmp_path: Path, make: Maker) -> None:
    name = "音" * 83 + ".wav"  # 253 bytes of the 255 that a name may have
    archive = make({name: b"one"}, tmp_path / "audio.zip")
    unpack_members(archive, tmp_path / "some", list_members(archive))
    unpack(archive, tmp_path / "all")
    assert everything(tmp_path / "some") == everything(tmp_path / "all") == {name: b"one"}


@pytest.mark.parametrize("files", [{"a": b"1", "a/b": b"2"}, {".": b"1"}, {"a" * 300: b"1"}])
@pytest.mark.parametrize("make", MAKERS)
def test_names_that_cannot_stand_are_the_archives_fault(tmp_path: Path, make: Maker, files: dict[str, bytes]) -> None:
    archive = make(files, tmp_path / "audio.tar.gz")
    with pytest.raises(InputError, match="names this disk can hold") as caught:
        unpack(archive, tmp_path / "all")
    assert repr(next(iter(files))) in str(caught.value) or "." in files
    with pytest.raises(InputError, match="names this disk can hold"):
        unpack_members(archive, tmp_path / "some", list_members(archive))


def test_backslashes_of_a_zip_from_windows_are_folders(tmp_path: Path) -> None:
    archive = zip_of({}, tmp_path / "audio.zip")
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("audios\\", "audios\\one.wav"):
            info = zipfile.ZipInfo("x")
            info.filename = name
            packed.writestr(info, b"one" if name.endswith("wav") else b"")
    assert list(list_members(archive)) == ["audios/one.wav"]
    unpack(archive, tmp_path / "all")
    assert everything(tmp_path / "all") == {"audios/one.wav": b"one"}


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = zip_of({"inner.wav": b"no"}, tmp_path / "inner.zip")
    archive = tmp_path / "audio.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(tar_of(FILES, tmp_path / "x"), "one.wav")
        tar.add(inner, "inner.zip")
    assert zipfile.is_zipfile(archive), "the case is the one that was meant"
    assert list(list_members(archive)) == ["one.wav", "inner.zip"]


def test_a_size_below_zero_is_refused_and_does_not_read_for_ever(tmp_path: Path) -> None:
    archive = tmp_path / "audio.tar"
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        entry = tarfile.TarInfo("one.wav")
        tar.addfile(entry)
    data = bytearray(archive.read_bytes())
    data[124:136] = tarfile.itn(-512, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    archive.write_bytes(data)
    signal.alarm(20)
    for read in (list_members, lambda path: unpack(path, tmp_path / "all")):
        with pytest.raises(InputError, match="-512"):
            read(archive)
    signal.alarm(0)


def test_names_that_are_no_utf8_or_hold_a_zero_byte_are_one_sentence(tmp_path: Path) -> None:
    archive = zip_of({"é.wav": b"one"}, tmp_path / "audio.zip")
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xc3\xff"))
    with pytest.raises(InputError, match="does not unpack"):
        list_members(archive)
    with tarfile.open(tmp_path / "audio.tar", "w") as tar:
        entry = tarfile.TarInfo("one.wav")
        entry.pax_headers = {"path": "o\0e.wav"}
        tar.addfile(entry)
    with pytest.raises(InputError, match="null byte"):
        unpack(tmp_path / "audio.tar", tmp_path / "all")


def packed_with(method: int) -> Maker:
    def make(files: dict[str, bytes], path: Path) -> Path:
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path

    return make


@pytest.mark.parametrize("make", [*MAKERS, packed_with(zipfile.ZIP_BZIP2), packed_with(zipfile.ZIP_LZMA)])
def test_damage_anywhere_is_the_archives_fault_and_never_the_disks(tmp_path: Path, make: Maker) -> None:
    data = make({"d/é.wav": bytes(range(256)), "two.wav": b"two" * 100}, tmp_path / "a.zip").read_bytes()
    draw, archive = random.Random(0), tmp_path / "damaged.zip"
    found: list[SariError] = []
    for _ in range(400):
        damaged = bytearray(data)
        damaged[draw.randrange(len(data))] = draw.randrange(256)
        archive.write_bytes(damaged[: draw.choice([len(data), len(data), draw.randrange(len(data))])])
        try:
            unpack_members(archive, tmp_path / "some", list_members(archive))
        except SariError as error:
            found.append(error)
    # A size of terabytes that was declared does not fit the disk.
    assert found
    assert not [e for e in found if not isinstance(e, InputError) and "that are free below" not in str(e)]


def test_two_processes_that_unpack_one_archive_both_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zip_of(FILES, tmp_path / "audio.zip")
    replace = os.replace

    def late(source: Any, target: Any) -> None:
        if Path(target) == tmp_path / "all" and not Path(target).exists():
            monkeypatch.setattr(unpacking.os, "replace", replace)
            unpack(archive, tmp_path / "all")  # the other process is there first
        replace(source, target)

    monkeypatch.setattr(unpacking.os, "replace", late)
    unpack(archive, tmp_path / "all")
    assert everything(tmp_path / "all") == FILES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all", "audio.zip"]


def test_a_full_disk_leaves_what_was_whole_and_the_next_go_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zip_of(FILES, tmp_path / "audio.zip")
    replace = os.replace
    done: list[Any] = []

    def full(source: Any, target: Any) -> None:
        if done:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(unpacking.os, "replace", full)
    with pytest.raises(StorageError, match=r"No space left.*SARI_CACHE"):
        unpack_members(archive, tmp_path / "some", list_members(archive))
    assert everything(tmp_path / "some") == {"a/one.wav": b"one"}
    monkeypatch.setattr(unpacking.os, "replace", replace)
    unpack_members(archive, tmp_path / "some", list_members(archive))
    assert everything(tmp_path / "some") == FILES
