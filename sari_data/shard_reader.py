"""A shard as the Hub's client reads it: in pieces, with its progress, and open only while it is read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

MEGABYTE = 10**6


class ShardReader(io.BufferedIOBase):
    """A file that is opened when it is read and tells how far it was; the client reads it in pieces.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._at = path, 0
        self._file: io.FileIO | None = None
        self._size = path.stat().st_size
        self.advance: Callable[[int], None] = lambda count: None

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position in bytes."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes; at the end the file is closed until it is read again."""
        if self._file is None:
            self._file = self.path.open("rb", buffering=0)
        self._file.seek(self._at)
        wanted = self._size - self._at if size is None or size < 0 else size
        data = self._file.read(max(0, wanted)) or b""
        self._at += len(data)
        if self._at >= self._size:
            self.rest()
        self.advance(len(data))
        return data

    def rest(self) -> None:
        """Close the file for now."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Close the file."""
        self.rest()
        super().close()


class Megabytes:
    """Turns bytes into steps of a progress bar that counts megabytes."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance, self._bytes = advance, 0

    def __call__(self, number: int) -> None:
        before = self._bytes // MEGABYTE
        self._bytes += number
        if self._bytes // MEGABYTE > before:
            self._advance(self._bytes // MEGABYTE - before)
