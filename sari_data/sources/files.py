"""What sources share in reading a published data set: the folder of its audio, and the choice of clips.

A data set is read as it is published: tables that name clips, and a folder (with subfolders) that holds some of them.
:func:`take` puts the two together, so that a source is left with what its rows mean. The tables' readers are in
:mod:`sari_data.sources.readers`.
"""

from __future__ import annotations

import heapq
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import numpy as np

from sari_data.errors import AudioError, InputError, MissingFileError
from sari_data.sources.base import SetAside
from sari_data.types import AudioRef, Provenance

# What libsndfile decodes, in the order of preference where one clip is there in several forms.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au")
# What holds audio too, but is not decoded: said so, rather than that nothing is there.
OTHER_SUFFIXES = (".m4a", ".aac", ".webm", ".mp4", ".mkv", ".wma")
MISSING = "audio is missing"
UNREADABLE = "audio format cannot be read"
UNDECODABLE = "audio cannot be decoded"
_SUFFIXES = {suffix: rank for rank, suffix in enumerate(AUDIO_SUFFIXES + OTHER_SUFFIXES)}

T = TypeVar("T")


class AudioIndex:
    """The audio files below a folder, found by name without suffix; read once, some 50 bytes a file.

    Links to folders are followed, each folder once. Where a name is there several times, the first of AUDIO_SUFFIXES
    and then of the alphabet is taken.

    Args:
        folder: The folder; its subfolders are read too.
        forms: The forms of names that the source looks for, for messages: ``("<YTID>_<start>.wav", "<YTID>.wav")``.

    Raises:
        MissingFileError: No such folder.
        InputError: There is no audio file in it at all.
    """

    def __init__(self, folder: str | Path, forms: Sequence[str]) -> None:
        self.folder, self.forms = Path(folder), tuple(forms)
        if not self.folder.is_dir():
            raise MissingFileError(
                f"audio folder {str(folder)!r}: expected a folder with audio files, found none: correct the path or "
                f"fetch the audio; names looked for are {', '.join(self.forms)}"
            )
        self._folders: list[str] = []
        self._names, ends, homes, keys = bytearray(), array("Q", [0]), array("I"), array("Q")
        for home, name in self._walk():
            self._names += os.fsencode(name)
            ends.append(len(self._names))
            homes.append(home)
            keys.append(_hash64(name.rpartition(".")[0]))
        found = np.frombuffer(keys, dtype=np.uint64) if keys else np.empty(0, np.uint64)
        self._order = np.argsort(found, kind="stable")
        # A plain array: bisect finds one key in it several times faster than numpy does.
        self._keys, self._homes, self._ends = array("Q", found[self._order].tobytes()), homes, ends
        if not len(self):
            raise self.nothing_found()

    def __len__(self) -> int:
        """The number of audio files."""
        return len(self._homes)

    def find(self, names: Iterable[str]) -> Path | None:
        """Return the file of the first of ``names`` that is there and can be decoded, or ``None``.

        Args:
            names: Names without suffix. One with slashes (``"train/dia0_utt1"``) fits files whose path ends so.
        """
        return next((path for path in map(self._first, names) if path and _rank(path) < len(AUDIO_SUFFIXES)), None)

    def absent(self, names: Sequence[str]) -> tuple[str, str]:
        """Return why :meth:`find` has nothing for ``names``: a reason to count under, and the detail."""
        other = next((path for path in map(self._first, names) if path), None)
        if other is not None:
            return UNREADABLE, f"{other} is not decoded: convert it to one of {', '.join(AUDIO_SUFFIXES)}"
        return MISSING, f"looked in {self.folder} for {', '.join(names)}"

    def nothing_found(self, looked_for: Sequence[str] = ()) -> InputError:
        """Return the error for a folder that holds none of the data set's audio."""
        example = f", for instance {looked_for[0]!r}" if looked_for else ""
        return InputError(
            f"audio folder {str(self.folder)!r}: expected files named {' or '.join(self.forms)}{example} "
            f"(any of {', '.join(AUDIO_SUFFIXES)}; subfolders too), found none of them among "
            f"{len(self)} audio files: correct the path or fetch the audio"
        )

    def _walk(self) -> Iterator[tuple[int, str]]:
        """Yield the number of its folder and the name of each audio file."""
        waiting, seen = [str(self.folder)], set()
        while waiting:
            here = waiting.pop()
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            self._folders.append(here)
            below = []
            with os.scandir(here) as entries:
                for entry in entries:
                    if os.path.splitext(entry.name)[1].lower() in _SUFFIXES and entry.is_file():
                        yield len(self._folders) - 1, entry.name
                    elif entry.is_dir():
                        below.append(entry.path)
            # What scandir gives comes in no order; of two links to one folder the same must be followed each time.
            waiting += sorted(below, reverse=True)

    def _first(self, name: str) -> Path | None:
        """The best file of a name, decodable or not."""
        stem = name.rpartition("/")[2]
        key = _hash64(stem)
        low = bisect_left(self._keys, key)
        if low == len(self._keys) or self._keys[low] != key:
            return None
        high = bisect_right(self._keys, key, low)
        paths = []
        for i in self._order[low:high]:
            file = os.fsdecode(bytes(self._names[self._ends[i] : self._ends[i + 1]]))
            path = Path(self._folders[self._homes[i]]) / file
            if path.stem == stem and ("/" not in name or f"/{path.with_suffix('').as_posix()}".endswith(f"/{name}")):
                paths.append(path)
        return min(paths, key=lambda path: (_rank(path), str(path)), default=None)


def _rank(path: Path) -> int:
    return _SUFFIXES[path.suffix.lower()]


def _hash64(text: str) -> int:
    return int.from_bytes(blake2b(os.fsencode(text), digest_size=8).digest(), "big")


def seeded_hash(seed: int, text: str) -> int:
    """Return a number in [0, 2^128) that depends on ``seed`` and ``text`` alone and looks drawn at random."""
    return int.from_bytes(blake2b(text.encode(), digest_size=16, person=b"%d" % (seed % 10**15)).digest(), "big")


class Choice:
    """Some of many ids, known by a bound on their seeded hash: ``id in choice``. Made by :func:`choose`.

    Args:
        seed: The seed of the hash.
        bound: Largest hash that is in; ``None`` where all are.
        size: Number of ids that are in.
    """

    def __init__(self, seed: int, bound: int | None, size: int) -> None:
        self.seed, self.bound, self.size = seed, bound, size

    def __contains__(self, id: str) -> bool:
        """Whether ``id`` is chosen; meant for ids that the choice was made from."""
        return self.bound is None or seeded_hash(self.seed, id) <= self.bound


def choose(ids: Iterable[str], limit: int | None, seed: int) -> Choice:
    """Choose the ``limit`` ids with the smallest seeded hash; an id that comes again counts once.

    Which are chosen does not depend on the order of ``ids``, and a larger limit chooses the same ones and more.
    Memory is bounded by ``limit``.

    Args:
        ids: All ids.
        limit: How many to choose; ``None`` for all of them (``ids`` is then read only to its first, and ``size``
            of the result is 1 or 0: whether there is any).
        seed: The seed.

    Raises:
        InputError: ``limit`` is negative.
    """
    if limit is None:
        return Choice(seed, None, sum(1 for _ in zip(ids, range(1), strict=False)))
    if limit < 0:
        raise InputError(f"limit must be 0 or more, or left out for all; found {limit}")
    heap: list[int] = []  # the smallest so far, negated: the largest of them on top
    held: set[int] = set()
    for id in ids:
        number = seeded_hash(seed, id)
        if number in held or limit == 0:
            continue
        if len(heap) < limit:
            heapq.heappush(heap, -number)
            held.add(number)
        elif number < -heap[0]:
            held.discard(-heapq.heapreplace(heap, -number))
            held.add(number)
    return Choice(seed, -heap[0] if heap else -1, len(heap))


def take(
    rows: Callable[[], Iterable[T | SetAside]],
    index: AudioIndex,
    *,
    names: Callable[[T], Sequence[str]],
    clip: Callable[[T], str],
    provenance: Callable[[T], Provenance],
    limit: int | None,
    seed: int,
) -> Iterator[tuple[T, Path, float] | SetAside]:
    """Yield each row with the file of its audio and that file's length in seconds, for ``limit`` clips with audio.

    They come in the data set's order. A :class:`SetAside` among the rows is passed on. A row without audio, or with a
    file whose header cannot be read, becomes one. Rows of clips that the limit
    leaves out are not mentioned: nobody asked for them.

    Args:
        rows: Reads the data set from its beginning; called twice, so that nothing has to be held.
        index: The audio.
        names: The names, without suffix, that a row's audio may have, the best first.
        clip: The id of a row's clip; several rows may have the same.
        provenance: Where a row is from; its ``source_id`` names the row.
        limit: How many clips to take (:func:`choose`); ``None`` for all.
        seed: The seed of the choice.

    Raises:
        InputError: There are rows, and none of them has its audio in the folder.
    """
    from sari_data.audio import probe

    first: list[Sequence[str]] = []

    def present() -> Iterator[str]:
        for row in rows():
            if isinstance(row, SetAside):
                continue
            looked_for = names(row)
            first.extend([looked_for] * (not first))
            if index.find(looked_for) is not None:
                yield clip(row)

    # With a limit of 0 the heap stays empty although there is audio.
    chosen = choose(present(), limit, seed)
    if first and not chosen.size and limit != 0:
        raise index.nothing_found(first[0])
    for row in rows():
        if isinstance(row, SetAside):
            yield row
            continue
        path = index.find(names(row))
        if path is None:
            where = provenance(row)
            reason, detail = index.absent(names(row))
            yield SetAside(stage="collect", reason=reason, id=where.source_id, provenance=where, detail=detail)
        elif clip(row) in chosen:
            try:
                seconds = probe(AudioRef(path=str(path))).seconds
            except AudioError as error:
                where = provenance(row)
                yield SetAside(
                    stage="collect", reason=UNDECODABLE, id=where.source_id, provenance=where, detail=str(error)
                )
                continue
            yield row, path, seconds
