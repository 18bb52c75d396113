"""Archives that lie, that are larger than the disk, or that lead elsewhere; and honest ones, whole and in part."""

from __future__ import annotations

import io
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sari_data.errors import InputError, StorageError
from sari_data.sources.unpacking import Member, list_members, unpack, unpack_members

BOMB = b"\0" * 30_000_000
FILES = {"a/one.wav": b"one", "a/two.wav": b"two" * 1000, "three.wav": b""}


def zip_of(files: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tar_of(files: dict[str, bytes], path: Path, links: dict[str, tuple[bytes, str]] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, (kind, place) in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, place
            archive.addfile(entry)
    return path


def lying_zip(path: Path, declared: int, method: int, *, checksum: bool) -> Path:
    """A zip with one member of BOMB's bytes that declares fewer, with the checksum of these where that is asked for."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("bomb.wav", BOMB)
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    for at in (22, central + 24):
        struct.pack_into("<I", data, at, declared)
    if checksum:
        for at in (14, central + 16):
            struct.pack_into("<I", data, at, zlib.crc32(BOMB[:declared]))
    path.write_bytes(data)
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


MAKERS: list[Callable[[dict[str, bytes], Path], Path]] = [zip_of, tar_of]


@pytest.mark.parametrize("make", MAKERS)
def test_all_of_an_archive_and_some_of_it(tmp_path: Path, make: Callable[[dict[str, bytes], Path], Path]) -> None:
    archive = make(FILES, tmp_path / "archive")
    members = list_members(archive)
    assert members == {name: Member(len(data), name) for name, data in FILES.items()}
    unpack(archive, tmp_path / "all")
    assert everything(tmp_path / "all") == FILES
    some = tmp_path / "some"
    unpack_members(archive, some, {"a/two.wav": members["a/two.wav"]})
    assert everything(some) == {"a/two.wav": FILES["a/two.wav"]}
    unpack_members(archive, some, {"a/one.wav": members["a/one.wav"]})
    assert set(everything(some)) == {"a/one.wav", "a/two.wav"}, "what was there stays"
    with pytest.raises(InputError, match=r"expected the file 'gone\.wav' in it, found none"):
        unpack_members(archive, some, {"gone.wav": Member(3, "gone.wav")})


NAMES = st.lists(st.text("ab.-_ ", min_size=1, max_size=6).filter(lambda n: set(n) - {"."}), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES.map("/".join), st.binary(max_size=50), max_size=6), st.sampled_from(MAKERS))
def test_any_files_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, bytes],
    make: Callable[[dict[str, bytes], Path], Path],
) -> None:
    files = {n: d for n, d in files.items() if not any(o != n and o.startswith(f"{n}/") for o in files)}
    folder = tmp_path_factory.mktemp("any")
    unpack(make(files, folder / "archive"), folder / "all")
    assert everything(folder / "all") == files


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("checksum", [False, True])
def test_a_member_with_more_bytes_than_it_declares_is_refused(tmp_path: Path, method: int, checksum: bool) -> None:
    archive = lying_zip(tmp_path / "bomb.zip", 1000, method, checksum=checksum)
    if checksum:
        with zipfile.ZipFile(archive) as packed:
            assert packed.read("bomb.wav") == BOMB[:1000], "zipfile by itself notices nothing"
    sentence = r"bomb\.zip: expected the 1,000 bytes that it declares of 'bomb\.wav', found .* do not use it"
    with pytest.raises(InputError, match=sentence):
        unpack(archive, tmp_path / "all")
    with pytest.raises(InputError, match=sentence):
        unpack_members(archive, tmp_path / "some", list_members(archive))
    assert not (tmp_path / "all").exists()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["bomb.zip"], "not a byte of it stays"


def test_a_member_with_fewer_bytes_is_refused_too(tmp_path: Path) -> None:
    archive = lying_zip(tmp_path / "short.zip", len(BOMB) + 1, zipfile.ZIP_DEFLATED, checksum=False)
    with pytest.raises(InputError, match=r"expected the 30,000,001 bytes .* found 30,000,000"):
        unpack(archive, tmp_path / "all")


@pytest.mark.parametrize("make", MAKERS)
def test_what_does_not_fit_the_free_disk_space_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[dict[str, bytes], Path], Path]
) -> None:
    archive = make({"bomb.wav": BOMB, "small.wav": b"small"}, tmp_path / "archive")
    assert archive.stat().st_size < len(BOMB) / 500, "it does not look it"
    members = list_members(archive)

    def free(count: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=count))

    free(len(BOMB) + 4)
    sentence = r"expected the files to be unpacked to fit the 28\.6 MiB that are free below .*, found that they take 28"
    with pytest.raises(StorageError, match=sentence):
        unpack(archive, tmp_path / "all")
    with pytest.raises(StorageError, match="SARI_CACHE"):
        unpack_members(archive, tmp_path / "some", members)
    assert everything(tmp_path).keys() == {"archive"}
    unpack_members(archive, tmp_path / "some", {"small.wav": members["small.wav"]})
    assert everything(tmp_path / "some") == {"small.wav": b"small"}, "what is not wanted needs no room"
    free(len(BOMB) + 5)
    unpack(archive, tmp_path / "all")
    assert len(everything(tmp_path / "all")) == 2


def test_a_name_that_stands_twice_takes_no_more_than_its_last_size(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "twice.tar", "w") as archive:
        for data in (BOMB[:9000], b"last"):
            entry = tarfile.TarInfo("clip.wav")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    members = list_members(tmp_path / "twice.tar")
    assert members == {"clip.wav": Member(4, "clip.wav")}
    unpack_members(tmp_path / "twice.tar", tmp_path / "some", members)
    assert everything(tmp_path / "some") == {"clip.wav": b"last"}


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (tarfile.SYMTYPE, "/etc/hostname"),
        (tarfile.SYMTYPE, "../../secret"),
        (tarfile.LNKTYPE, "../secret"),
    ],
)
def test_a_link_that_leads_outside_is_refused(tmp_path: Path, kind: bytes, place: str) -> None:
    archive = tar_of(FILES, tmp_path / "a.tar.gz", {"a/link.wav": (kind, place)})
    for read in (lambda: list_members(archive), lambda: unpack(archive, tmp_path / "all")):
        with pytest.raises(InputError, match=r"expected files below the archive's own folder, found 'a/link\.wav'"):
            read()
    assert not (tmp_path / "all").exists()


def test_links_inside_stand_for_the_bytes_and_are_never_written(tmp_path: Path) -> None:
    links = {
        "a/soft.wav": (tarfile.SYMTYPE, "two.wav"),
        "b/hard.wav": (tarfile.LNKTYPE, "a/two.wav"),
        "b/chain.wav": (tarfile.SYMTYPE, "../a/soft.wav"),
        "nowhere.wav": (tarfile.SYMTYPE, "gone.wav"),
        "round.wav": (tarfile.SYMTYPE, "round.wav"),
        "folder": (tarfile.SYMTYPE, "a"),
    }
    archive = tar_of(FILES, tmp_path / "a.tar.gz", links)
    members = list_members(archive)
    assert members.keys() - FILES.keys() == {"a/soft.wav", "b/hard.wav", "b/chain.wav"}
    unpack(archive, tmp_path / "all")
    unpack_members(archive, tmp_path / "some", {"b/chain.wav": members["b/chain.wav"]})
    assert everything(tmp_path / "some") == dict.fromkeys(("a/two.wav", "b/chain.wav"), FILES["a/two.wav"])
    assert everything(tmp_path / "all")["b/hard.wav"] == FILES["a/two.wav"]
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


def test_a_link_in_a_zip_is_left(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link.wav")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/hostname")
        archive.writestr("plain.wav", b"x")
    assert list(list_members(tmp_path / "a.zip")) == ["plain.wav"]
    unpack(tmp_path / "a.zip", tmp_path / "all")
    assert everything(tmp_path / "all") == {"plain.wav": b"x"}


def test_a_link_cannot_be_written_through(tmp_path: Path) -> None:
    """A link to a folder outside, and then a file below it: the old way out of an archive."""
    (tmp_path / "outside").mkdir()
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("door")
        link.type, link.linkname = tarfile.SYMTYPE, "inside"
        archive.addfile(link)
        entry = tarfile.TarInfo("door/evil.wav")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"evil"))
    unpack(tmp_path / "a.tar", tmp_path / "all")
    assert everything(tmp_path / "all") == {"door/evil.wav": b"evil"}, "the link was never made"
