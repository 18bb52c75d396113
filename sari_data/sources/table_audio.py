"""The audio of a table's rows: files named in a column, or the encoded bytes themselves.

Embedded bytes are put into a folder, the spool, under the hash of their content: questions carry a path and a hash,
never bytes, and the same clip in a thousand rows is one file. A named file must lie in the audio folder: a table that
somebody else wrote cannot name any other file of this machine.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sari_data.errors import InputError, MissingFileError, StorageError
from sari_data.sources.cells import UnfitError, is_empty, read_text
from sari_data.sources.files import AUDIO_SUFFIXES, MISSING, OTHER_SUFFIXES, UNREADABLE, AudioIndex
from sari_data.sources.hub_tables import fetch, is_remote, root_of
from sari_data.types import AudioRef, hash_path

OUTSIDE = "audio lies outside the audio folder"

_MAGIC = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"ID3": ".mp3", b"FORM": ".aiff", b".snd": ".au"}


class TableAudio:
    """Finds the audio of a row.

    Args:
        table: The table's first file, beside which audio is looked for where no folder is given.
        folder: The folder that names in the audio column are relative to; files may lie in its subfolders.
        spool: Where embedded audio is put.

    Raises:
        MissingFileError: No such folder.
        InputError: There is no audio file in the folder at all.
    """

    def __init__(self, table: str, folder: str | None, spool: Path) -> None:
        self._spool = spool
        self._index = None if folder is None else AudioIndex(folder, ["<the audio column>"])
        self._remote = root_of(table) if folder is None and is_remote(table) else None
        self._folder = Path(folder if folder is not None else "." if self._remote else Path(table).parent)

    def is_there(self, cell: Any) -> bool:
        """Return whether a row has its audio; for files on the Hub only whether it names one."""
        try:
            data, name = _parts(cell)
            return data is not None or self._remote is not None or bool(self._find(name))
        except UnfitError:
            return False

    def ref(self, cell: Any, start: float, duration: float | None) -> AudioRef:
        """Return a row's audio, by path and hash.

        Raises:
            UnfitError: It is missing, cannot be decoded, or lies outside the audio folder.
            StorageError: Embedded audio cannot be stored, or the Hub cannot be reached.
        """
        data, name = _parts(cell)
        if data is not None:
            path, digest = self._keep(data, name)
            return AudioRef(path=str(path), start=start, duration=duration, sha256=digest)
        return hash_path(self._find(name), start=start, duration=duration)

    def nothing_found(self, cell: Any) -> InputError:
        """Return the error for a table none of whose audio is there; ``cell`` is an example of its audio column."""
        example = read_text(cell.get("path") if isinstance(cell, Mapping) else cell)
        if self._index is not None:
            return self._index.nothing_found([example])
        return InputError(
            f"expected the audio of the table below {str(self._folder)!r}, for instance {example!r}, found none of it: "
            "name its folder with `audio`"
        )

    def _find(self, name: str) -> Path:
        if self._remote is not None:
            return self._fetch(self._remote, name)
        inside = os.path.relpath(os.path.join(self._folder, name), self._folder)
        if inside == os.pardir or inside.startswith(os.pardir + os.sep):
            raise UnfitError(OUTSIDE, f"found {name!r}, expected below {self._folder}")
        path = self._folder / inside
        stem, suffix = os.path.splitext(inside)
        if path.is_file():
            if suffix.lower() in OTHER_SUFFIXES:
                raise UnfitError(UNREADABLE, f"{path} is not decoded: convert it to one of {', '.join(AUDIO_SUFFIXES)}")
            return path
        if self._index is None:
            raise UnfitError(MISSING, f"looked for {path}")
        # In a subfolder, or converted since the table was written.
        names = [stem if suffix.lower() in (*AUDIO_SUFFIXES, *OTHER_SUFFIXES) else inside]
        found = self._index.find(names)
        if found is None:
            raise UnfitError(*self._index.absent(names))
        return found

    def _fetch(self, root: str, name: str) -> Path:
        inside = os.path.normpath(name)
        if os.path.isabs(inside) or inside.startswith(".."):
            raise UnfitError(OUTSIDE, f"found {name!r}, expected below {root}")
        try:
            return fetch(f"{root}/{inside}")
        except MissingFileError as error:
            raise UnfitError(MISSING, str(error)) from error

    def _keep(self, data: bytes, name: str) -> tuple[Path, str]:
        """Store encoded audio under its hash; a file that is there already is complete, for it was renamed last."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._spool / digest[:2] / f"{digest}{_suffix(data, name)}"
        if path.is_file():
            return path, digest
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as file:
                try:
                    file.write(data)
                    file.close()
                    os.replace(file.name, path)
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            raise StorageError(
                f"{self._spool}: embedded audio could not be stored there ({error.strerror or error}): free some "
                "space, or name another folder with `spool`"
            ) from error
        return path, digest


def _parts(cell: Any) -> tuple[bytes | None, str]:
    """The bytes of an audio cell, where it has them, and the name."""
    name: Any = cell
    if isinstance(cell, Mapping):
        data, name = cell.get("bytes"), cell.get("path")
        if isinstance(data, bytes) and data:
            return data, read_text(name)
    elif isinstance(cell, bytes) and cell:
        return cell, ""
    if is_empty(name) or not isinstance(name, str) or "\0" in name:
        raise UnfitError(MISSING, f"the cell is {str(cell)[:100]!r}")
    return None, name.strip()


def _suffix(data: bytes, name: str) -> str:
    """What the bytes say that they are, else what the name says."""
    for magic, suffix in _MAGIC.items():
        if data.startswith(magic):
            return suffix
    if data[:1] == b"\xff" and data[1:2] >= b"\xe0":
        return ".mp3"
    suffix = Path(name).suffix.lower()
    return suffix if suffix in AUDIO_SUFFIXES else ".audio"
