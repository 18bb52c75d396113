"""Where a benchmark's questions and audio are: on the Hub, in a file, in a folder, in an archive.

Questions come first and need no audio. Audio is looked for only where it is asked for; where a file is not there, its
path is given all the same, since the run says which are missing before it asks anything.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sari_bench.benchmarks.hub import HUB, Home, Place, pick
from sari_bench.benchmarks.packed import PackedAudio
from sari_data.console import note
from sari_data.errors import BenchmarkError, InputError, MissingFileError
from sari_data.resources import cache_folder


@dataclass(frozen=True, slots=True)
class Found:
    """Where a benchmark's questions are.

    Args:
        files: Local paths, or ``hf://datasets/owner/name@commit/path``.
        title: What they are called in messages.
        archives: Archives with their audio, in the same place.
        folder: Where audio is looked for when nothing else is said; ``None`` on the Hub.
    """

    files: tuple[str, ...]
    title: str
    archives: tuple[str, ...] = ()
    folder: Path | None = None


def find_questions(name: str, questions: Path | None, home: Home, *, audio: bool) -> Found:
    """Find a benchmark's question files.

    Args:
        name: The benchmark's name.
        questions: A file, a folder with the published files in it, ``hub:owner/name[@revision][/path]``, or ``None``
            for the benchmark's own place on the Hub.
        home: Where the benchmark is published.
        audio: Whether its audio is wanted too.

    Raises:
        MissingFileError: There is no such file or data set.
        BenchmarkError: The folder has no question file, or the Hub cannot be reached.
        InputError: Something after ``hub:`` that is not owner/name.
    """
    text = f"{HUB}{home.repo}" if questions is None else str(questions)
    if text.startswith(HUB):
        place = Place.parse(text)
        by_hand = f"try again later, or download {home.file} and give --questions FILE"
        files = place.addresses((place.path,) if place.path else home.questions, f"benchmark {name!r}", by_hand)
        packed = []
        if audio and home.audio:
            what = f"the audio of benchmark {name!r}"
            packed = place.addresses(home.audio, what, "give --audio FOLDER", needed=False)
        return Found(tuple(files), text, tuple(packed))
    path = Path(text)
    if path.is_dir():
        names = [p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()]
        found = pick(names, home.questions)
        if not found:
            raise BenchmarkError(
                f"folder {text!r}: expected the questions of {name!r} in it ({' or '.join(home.questions)}), found "
                f"none: give --questions FILE"
            )
        packed = [str(path / name) for name in pick(names, home.audio)]
        return Found(tuple(str(path / name) for name in found), text, tuple(packed), path)
    if not path.is_file():
        raise MissingFileError(
            f"benchmark {name!r}: its questions file {text!r} does not exist: give the path of {home.file}, or leave "
            f"--questions out to load {home.repo} from the Hub"
        )
    return Found((text,), text, (), path.parent)


class AudioPlace:
    """Finds audio files by the names that rows give them.

    Args:
        roots: Folders and archives; none where questions embed their audio.
        deep: Whether to look in all their subfolders too, for the bare name.
    """

    def __init__(self, roots: Sequence[Path | PackedAudio], *, deep: bool = True) -> None:
        self.roots, self._deep = tuple(roots), deep
        self._below: dict[str, list[tuple[Path | PackedAudio, str]]] | None = None

    def find(self, name: str, where: str) -> str:
        """Return the path of a row's audio: as named, without its first folder, or by its bare name.

        Where it is not there, or its bare name is there in several subfolders, the path as named. A file in an archive
        is there after :meth:`unpack`.

        Raises:
            BenchmarkError: The name leads outside the folder; such a file would be sent to a model unasked.
            InputError: An archive is none.
        """
        inside = [_inside(_folder(root), name, where) for root in self.roots]
        for root, relative in zip(self.roots, inside, strict=True):
            parts = Path(relative).parts
            for tail in (parts, parts[1:], parts[-1:]):
                if tail and _has(root, "/".join(tail)):
                    return _path(root, "/".join(tail))
        deeper = self._index().get(Path(name).name, []) if self._deep else []
        return _path(*deeper[0]) if len(deeper) == 1 else str(_folder(self.roots[0]) / inside[0])

    def unpack(self) -> None:
        """Unpack what was found in archives.

        Raises:
            InputError: A file of an archive has another size than was declared.
            StorageError: It does not fit the free disk space, or the disk is full.
        """
        for root in self.roots:
            if isinstance(root, PackedAudio):
                root.unpack()

    def _index(self) -> dict[str, list[tuple[Path | PackedAudio, str]]]:
        """The files below the folders and in the archives by bare name; each folder is walked once, links included."""
        if self._below is None:
            self._below = {}
            seen: set[str] = set()
            for root in self.roots:
                for name in root.members if isinstance(root, PackedAudio) else _walked(root, seen):
                    self._below.setdefault(os.path.basename(name), []).append((root, name))
        return self._below


def _folder(root: Path | PackedAudio) -> Path:
    return root.folder if isinstance(root, PackedAudio) else root


def _has(root: Path | PackedAudio, name: str) -> bool:
    return name in root.members if isinstance(root, PackedAudio) else (root / name).is_file()


def _path(root: Path | PackedAudio, name: str) -> str:
    return root.want(name) if isinstance(root, PackedAudio) else os.path.join(root, name)


def _walked(root: Path, seen: set[str]) -> Iterator[str]:
    """Yield the files below a folder, but for folders that were ``seen``."""
    for folder, below, names in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:
            below.clear()
            continue
        seen.add(here)
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)


def _inside(root: Path, name: str, where: str) -> str:
    inside = os.path.relpath(os.path.join(root, name), root)
    if "\0" in name or inside == os.pardir or inside.startswith(os.pardir + os.sep):
        raise BenchmarkError(
            f"{where}: expected audio below {str(root)!r}, found {name!r}, which lies outside: correct the row, or "
            "give --audio with the folder that holds it"
        )
    return inside


def open_audio(audio_root: Path | None, found: Found) -> AudioPlace:
    """Return where audio is looked for; of archives only what is found is unpacked, into the cache, each file once.

    Args:
        audio_root: A folder, an archive (.tar, .tar.gz, .tgz, .zip), ``hub:owner/name[@revision]/path`` of archives,
            or ``None``: then the archives beside the questions, or the questions' own folder.
        found: Where the questions are.

    Raises:
        InputError: No archive, by its name.
        MissingFileError: No such folder or file, here or on the Hub.
        BenchmarkError: The Hub cannot be reached.
    """
    if audio_root is None:
        if not found.archives:
            # Not deep: the folder of a question file may be anything, a home folder too.
            return AudioPlace([] if found.folder is None else [found.folder], deep=False)
        if found.folder is None:
            return AudioPlace(_fetched(found.title, found.archives))
        return AudioPlace([found.folder, *(_unpacked(Path(archive)) for archive in found.archives)])
    from sari_data.sources.unpacking import ARCHIVES

    text = str(audio_root)
    if text.startswith(HUB):
        place = Place.parse(text)
        if place.path is None:
            raise InputError(f"--audio {text}: expected hub:owner/name/path of archives: add the path, or a pattern")
        otherwise = "try again later, or download it and give --audio FILE"
        return AudioPlace(_fetched(text, place.addresses((place.path,), f"audio {text}", otherwise)))
    if not audio_root.exists():  # which files a folder lacks is said before the run
        raise MissingFileError(
            f"--audio {text!r} does not exist: give a folder, an archive ({', '.join(ARCHIVES)}) or hub:owner/name/path"
        )
    return AudioPlace([_unpacked(audio_root) if audio_root.is_file() else audio_root])


def _fetched(title: str, addresses: Sequence[str]) -> list[Path | PackedAudio]:
    from sari_data.sources.fetching import archives_of
    from sari_data.sources.hub_tables import fetch

    roots: list[Path | PackedAudio] = []
    for one in archives_of(title, addresses):
        about = f"{one.name} of {one.repo}"

        def fetched(address: str = one.address, about: str = about) -> Path:
            note(f"fetching {about}, unless the Hub's cache has it")
            return fetch(address)

        # A data set of the corpus may have unpacked all of it.
        folder = one.folder.with_name(f"{one.folder.name}.named")
        roots.append(one.folder if one.folder.is_dir() else PackedAudio(folder, about, fetched))
    return roots


def _unpacked(archive: Path) -> PackedAudio:
    """Return a local archive, kept under what tells its content from an earlier one: place, size and time of change."""
    from sari_data.sources.unpacking import ARCHIVES

    if not archive.name.endswith(ARCHIVES):
        raise InputError(
            f"--audio {str(archive)!r}: expected a folder or an archive ({', '.join(ARCHIVES)}), found another file"
        )
    status = archive.stat()
    key = hashlib.sha256(f"{archive.resolve()}|{status.st_size}|{status.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = cache_folder() / "benchmarks" / "audio" / f"{archive.name}-{key}"
    return PackedAudio(folder, str(archive), lambda: archive)
