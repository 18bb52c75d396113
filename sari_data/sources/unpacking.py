"""Archives: what files are in them, and which of these are written, within bounds and inside one folder.

Nothing that an archive says is taken on trust. A name that leads outside its folder is refused, and so is a link that
does; other links stand for the bytes of the file in the archive that they lead to, and no link is ever written. No
file gets more bytes than the archive declares for it, and together they must fit the disk's free space.
"""

from __future__ import annotations

import copy
import gzip
import lzma
import os
import posixpath
import shutil
import stat
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
            if zipfile.is_zipfile(archive):  # says beforehand what it holds; a packed tar would have to be read twice
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
            os.replace(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _errors(archive: Path, target: Path) -> Iterator[None]:
    """Turn what goes wrong with an archive, or with the disk, into one sentence."""
    try:
        yield
    except (InputError, StorageError):
        raise
    # A password is a RuntimeError of zipfile, a cut off gzip an EOFError.
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, lzma.LZMAError, EOFError, RuntimeError,
    ) as error:  # fmt: skip
        raise InputError(f"{archive}: expected an archive, found a file that does not unpack: {error}") from error
    except OSError as error:
        raise StorageError(f"{target}: could not be unpacked ({error.strerror or error}): free some space") from error


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
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                parts = info.filename.replace("\\", "/").split("/")
                if ".." in parts or parts[0] == "" or ":" in parts[0]:
                    raise _outside(archive, info.filename)
                # A link in a zip is a file that holds the place it leads to: it is no audio, so it is left.
                if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16):
                    yield _Entry(posixpath.normpath(info.filename), info.file_size, partial(_open_zipped, packed, info))
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            name = _inside(archive, member.name.lstrip("/"), member.name)
            if member.issym():
                place = posixpath.join(posixpath.dirname(name), member.linkname)
                yield _Entry(name, 0, link=_inside(archive, place, member.name))
            elif member.islnk():
                yield _Entry(name, 0, link=_inside(archive, member.linkname.lstrip("/"), member.name))
            elif member.isfile():
                yield _Entry(name, member.size, partial(tar.extractfile, member))


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
    part = path.with_name(f".{path.name[:100]}.{os.getpid()}")
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


def _lies(archive: Path, entry: _Entry, found: str) -> str:
    return (
        f"{archive}: expected the {entry.size:,} bytes that it declares of {entry.name!r}, found {found}: it is "
        "damaged, or made to fill the disk: do not use it"
    )


def _copy(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:100]}.{os.getpid()}")
    try:
        shutil.copyfile(source, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
