"""Archives: what files are in them, and which of these are written, within bounds and inside one folder.

Nothing that an archive says is taken on trust. A name that leads outside its folder is refused, and so is a link that
does; other links stand for the bytes of the file in the archive that they lead to, and no link is ever written. No
file gets more bytes than the archive declares for it, and together they must fit the disk's free space.
"""

from __future__ import annotations

import copy
import errno
import gzip
import lzma
import os
import posixpath
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from sari_data.errors import InputError, StorageError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
_CHUNK = 2**20  # bytes copied at a time
_MOST_LINKS = 40  # that are followed one after the other, as Linux does
_OF_NAMES = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)  # a folder or disk that has no such names


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Args:
        size: Its bytes, as the archive declares them.
        source: The name of the file that has these bytes: its own, or that of the file to which a link in a tar leads.
    """

    size: int
    source: str


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    size: int
    open: Callable[[], IO[bytes] | None] | None = None
    link: str = ""  # where a link leads, as a name in the archive; then there is nothing to open


def list_members(archive: Path) -> dict[str, Member]:
    """Return the files of an archive by name, in its order; of a packed tar this reads all of it.

    Raises:
        InputError: No archive, one that is cut off, or one with a name or link that leads outside its own folder.
        StorageError: It cannot be read.
    """
    sizes, links = {}, {}
    with _errors(archive, archive):
        for entry in _entries(archive):
            if entry.link:
                links[entry.name] = entry.link
            else:
                sizes[entry.name] = entry.size
    return {name: Member(size, name) for name, size in sizes.items()} | {
        name: Member(sizes[source], source) for name, source in _followed(links, sizes).items() if name not in sizes
    }


def unpack_members(archive: Path, folder: Path, members: Mapping[str, Member]) -> None:
    """Write some files of an archive below a folder, each whole or not at all; what else is there stays.

    Args:
        archive: The archive.
        folder: Where to; it is made.
        members: Which, of what :func:`list_members` returned.

    Raises:
        InputError: As :func:`list_members`, a file of another size than was declared, or one that is not there.
        StorageError: They do not fit the free disk space, or the disk is full.
    """
    wanted = {member.source: member.size for member in members.values()}
    aliases = {name: member for name, member in members.items() if name != member.source}
    with _errors(archive, folder):
        folder.mkdir(parents=True, exist_ok=True)
        room = _Room(archive, folder)
        room.check(sum(wanted.values()) + sum(member.size for member in aliases.values()))
        for entry in _entries(archive):
            if not entry.link and wanted.get(entry.name) == entry.size:
                _write(entry, archive, folder, room)
        absent = [name for name in wanted if not (folder / name).is_file()]
        if absent:
            raise InputError(
                f"{archive}: expected the file {absent[0]!r} in it, found none: do not change it meanwhile"
            )
        for name, member in aliases.items():
            _copy(folder / member.source, folder / name)


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar, packed or not, or a zip beside the target and rename when all is there: a stop leaves nothing half.

    Raises:
        InputError: No archive, one that is cut off or has a password, one with a file of another size than was
            declared, or with a name or link that leads outside its own folder.
        StorageError: It does not fit the free disk space, or the disk is full.
    """
    with _errors(archive, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            room = _Room(archive, target.parent)
            if _is_zip(archive):  # says beforehand what it holds; a packed tar would have to be read twice
                room.check(sum(member.size for member in list_members(archive).values()))
            sizes, links = {}, {}
            for entry in _entries(archive):
                if entry.link:
                    links[entry.name] = entry.link
                else:
                    _write(entry, archive, work, room)
                    sizes[entry.name] = entry.size
            for name, source in _followed(links, sizes).items():
                if name not in sizes:
                    room.take(sizes[source])
                    _copy(work / source, work / name)
            _rename(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _rename(work: Path, target: Path) -> None:
    try:
        os.replace(work, target)
    except OSError as error:
        # Another process unpacked the same meanwhile; a folder has this name only when all is in it.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) or not target.is_dir():
            raise


@contextmanager
def _errors(archive: Path, target: Path) -> Iterator[None]:
    """Turn what goes wrong with an archive, or with the disk, into one sentence."""
    try:
        yield
    except (InputError, StorageError):
        raise
    # A password is a RuntimeError of zipfile, a cut off gzip an EOFError; names that are no UTF-8, or hold a zero
    # byte, and numbers that are none are ValueErrors.
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, lzma.LZMAError, struct.error, EOFError,
        RuntimeError, ValueError,
    ) as error:  # fmt: skip
        raise _broken(archive, error) from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # bz2 says so of its data; a place before the file's beginning
            raise _broken(archive, error) from error
        if error.errno in _OF_NAMES:
            raise InputError(
                f"{archive}: expected files whose names this disk can hold, each a file or a folder, found "
                f"{Path(str(error.filename2 or error.filename)).name!r} ({error.strerror}): pack them with other names"
            ) from error
        raise StorageError(
            f"{target}: could not be unpacked ({error.strerror}): free some space, or name a folder on another disk in "
            "SARI_CACHE"
        ) from error


def _broken(archive: Path, error: Exception) -> InputError:
    return InputError(f"{archive}: expected an archive, found a file that does not unpack: {error}")


class _Room:
    """The free disk space when the unpacking began, of which every file takes its part."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive, self.folder = archive, folder
        self.free = self.left = shutil.disk_usage(folder).free

    def check(self, size: int) -> None:
        """Raise StorageError where files of so many bytes in all do not fit."""
        if size > self.left:
            raise StorageError(
                f"{self.archive}: expected the files to be unpacked to fit the {_size(self.free)} that are free below "
                f"{str(self.folder)!r}, found that they take {_size(self.free - self.left + size)} or more: free some "
                "space, or name a folder on another disk in SARI_CACHE"
            )

    def take(self, size: int) -> None:
        self.check(size)
        self.left -= size


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def _entries(archive: Path) -> Iterator[_Entry]:
    """Yield the files and links of an archive, in its order; each must be read before the next one is asked for."""
    if _is_zip(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                # Some programs on Windows write backslashes, which the format does not have.
                name = info.filename.replace("\\", "/")
                parts = name.split("/")
                if ".." in parts or parts[0] == "" or ":" in parts[0]:
                    raise _outside(archive, info.filename)
                # A link in a zip is a file that holds the place it leads to: it is no audio, so it is left.
                if not name.endswith("/") and not stat.S_ISLNK(info.external_attr >> 16):
                    yield _Entry(posixpath.normpath(name), info.file_size, partial(_open_zipped, packed, info))
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.size < 0:  # tarfile would go back by it, and read the same again for ever
                raise _broken(archive, tarfile.ReadError(f"{member.name!r} has {member.size} bytes"))
            name = _inside(archive, member.name.lstrip("/"), member.name)
            if member.issym():
                place = posixpath.join(posixpath.dirname(name), member.linkname)
                yield _Entry(name, 0, link=_inside(archive, place, member.name))
            elif member.islnk():
                yield _Entry(name, 0, link=_inside(archive, member.linkname.lstrip("/"), member.name))
            elif member.isfile():
                yield _Entry(name, member.size, partial(tar.extractfile, member))


def _is_zip(archive: Path) -> bool:
    # A tar that ends with a zip has a zip's end too, but not its beginning.
    with archive.open("rb") as file:
        return file.read(2) == b"PK" and zipfile.is_zipfile(file)


def _open_zipped(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    # zipfile stops at the declared size, whatever follows; one byte more shows whether anything does.
    longer = copy.copy(info)
    longer.file_size += 1
    return packed.open(longer)


def _inside(archive: Path, place: str, name: str) -> str:
    path = posixpath.normpath(place)
    if path.startswith("/") or path == ".." or path.startswith("../"):
        raise _outside(archive, name)
    return path


def _outside(archive: Path, name: str) -> InputError:
    return InputError(f"{archive}: expected files below the archive's own folder, found {name!r}: do not use it")


def _followed(links: Mapping[str, str], files: Mapping[str, int]) -> dict[str, str]:
    """Return the file to which each link leads, over other links too; those that lead to none are left out."""
    found = {}
    for name in links:
        place = name
        for _ in range(_MOST_LINKS):
            place = links.get(place, place)
        if place in files:
            found[name] = place
    return found


def _write(entry: _Entry, archive: Path, folder: Path, room: _Room) -> None:
    """Write one file whole; of more or fewer bytes than were declared nothing stays."""
    room.take(entry.size)
    path = folder / entry.name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        source = entry.open() if entry.open is not None else None
        assert source is not None, f"{entry.name!r} is a plain file, and plain files can be read"
        done = 0
        with source, part.open("wb") as sink:
            while done <= entry.size and (data := source.read(_CHUNK)):
                done += len(data)
                sink.write(data[: max(0, entry.size - done + len(data))])
        if done != entry.size:
            raise InputError(_lies(archive, entry, f"{done:,}{' or more' if done > entry.size else ''}"))
        os.replace(part, path)
    except zipfile.BadZipFile as error:
        raise InputError(_lies(archive, entry, f"other ones ({error})")) from error
    finally:
        part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    # No longer than any name may be, whatever the file's own takes in bytes.
    return path.with_name(f".{zlib.crc32(os.fsencode(path.name)):08x}.{os.getpid()}")


def _lies(archive: Path, entry: _Entry, found: str) -> str:
    return (
        f"{archive}: expected the {entry.size:,} bytes that it declares of {entry.name!r}, found {found}: it is "
        "damaged, or made to fill the disk: do not use it"
    )


def _copy(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        shutil.copyfile(source, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
