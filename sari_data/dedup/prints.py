"""Fingerprints of a corpus, in a scratch file: what stays in memory are twelve bytes a recording."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from sari_data.errors import StorageError
from sari_data.fingerprint import Peaks

# What is not written yet; a small corpus never needs a file.
_IN_MEMORY = 2**20


class Spill:
    """Bytes that are appended and read again in parts, in a file without a name once there are more than a MiB.

    The file lies where :mod:`tempfile` puts files (``TMPDIR``) and is gone when this object is, or the process. It is
    read with ``pread``, by any thread, and not mapped: mapped pages would count as memory of the process.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._written = 0
        self._rest = bytearray()

    def __len__(self) -> int:
        return self._written + len(self._rest)

    def append(self, data: bytes | memoryview) -> int:
        """Append bytes and return where they begin.

        Raises:
            StorageError: The file cannot be written.
        """
        begin = len(self)
        self._rest += data
        if len(self._rest) > _IN_MEMORY:
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(prefix="sari-", buffering=0)  # noqa: SIM115 (it lives as long as this)
                view = memoryview(self._rest)
                while view:
                    view = view[self._file.write(view) :]
            except OSError as error:
                raise StorageError(
                    f"{tempfile.gettempdir()}: expected room for a scratch file, found that it cannot be written "
                    f"({error}): make room, or name another folder in TMPDIR"
                ) from error
            self._written = begin + len(data)
            self._rest = bytearray()
        return begin

    def read(self, begin: int, size: int) -> bytes:
        """Return ``size`` bytes from ``begin`` on."""
        if begin >= self._written or self._file is None:
            return bytes(self._rest[begin - self._written : begin - self._written + size])
        found = []
        left = min(size, self._written - begin)
        while left:
            part = os.pread(self._file.fileno(), left, begin)
            found.append(part)
            begin, left, size = begin + len(part), left - len(part), size - len(part)
        return b"".join(found) + bytes(self._rest[:size])


class Prints(Sequence[Peaks]):
    """Fingerprints by number; of those that were never put there is an empty one.

    Args:
        peaks: Fingerprints to begin with.
    """

    def __init__(self, peaks: Iterable[Peaks] = ()) -> None:
        self._spill = Spill()
        self._begins, self._sizes = array("q"), array("I")
        for number, one in enumerate(peaks):
            self.grow()
            self.put(number, one)

    def __len__(self) -> int:
        return len(self._sizes)

    def grow(self) -> None:
        """Make room for one more, empty until it is put."""
        self._begins.append(len(self._spill))
        self._sizes.append(0)

    def put(self, number: int, peaks: Peaks) -> None:
        """Keep a fingerprint, each once; in the order of their numbers, those of a block lie together.

        Raises:
            StorageError: The scratch file cannot be written.
        """
        self._begins[number] = self._spill.append(np.ascontiguousarray(peaks, "<u4").tobytes())
        self._sizes[number] = len(peaks)

    @overload
    def __getitem__(self, number: int) -> Peaks: ...
    @overload
    def __getitem__(self, number: slice) -> list[Peaks]: ...
    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        return np.frombuffer(self._spill.read(self._begins[number], 4 * self._sizes[number]), "<u4")

    def block(self, begin: int, end: int) -> tuple[Peaks, NDArray[np.int64]]:
        """Return the fingerprints from ``begin`` to ``end``, end to end, and their sizes."""
        sizes = np.array(self._sizes[begin:end], np.int64)
        starts = np.array(self._begins[begin:end], np.int64)[sizes > 0]
        there = sizes[sizes > 0]
        if not there.size:
            return np.zeros(0, np.uint32), sizes
        if np.array_equal(starts[1:], starts[:-1] + 4 * there[:-1]):
            data = self._spill.read(int(starts[0]), 4 * int(there.sum()))
        else:
            data = b"".join(self._spill.read(int(at), 4 * int(size)) for at, size in zip(starts, there, strict=True))
        return np.frombuffer(data, "<u4"), sizes

    @property
    def sizes(self) -> Sequence[int]:
        """How many peaks each has; nothing is read for it."""
        return self._sizes

    @property
    def filled(self) -> int:
        """How many are not empty."""
        return sum(size > 0 for size in self._sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of all fingerprints, wherever they are."""
        return 4 * sum(self._sizes)
