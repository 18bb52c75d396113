"""Audio in an archive: files are found by what it holds, and only those that questions name are unpacked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from sari_bench.jsonfiles import keep_text
from sari_data.console import note
from sari_data.sources.unpacking import Member, list_members, unpack_members


class PackedAudio:
    """An archive, and the folder into which files of it are unpacked when they are wanted.

    What it holds is listed once and kept beside the folder, which may have files of it already, for other questions.

    Args:
        folder: Where its files are or will be; its name stands for the archive's content.
        title: What it is called in messages.
        fetch: Brings it here and returns its path.
    """

    def __init__(self, folder: Path, title: str, fetch: Callable[[], Path]) -> None:
        self.folder, self.title, self._fetch = folder, title, fetch
        self._wanted: set[str] = set()

    @cached_property
    def _archive(self) -> Path:
        return self._fetch()

    @cached_property
    def members(self) -> dict[str, Member]:
        """The files in it by name.

        Raises:
            InputError: It is no archive, or has a name or link that leads outside its folder.
            StorageError: It cannot be read, or the list cannot be kept.
        """
        kept = self.folder.with_name(f"{self.folder.name}.json")
        if kept.is_file():
            # A list that does not read, of a disk that was full or failed, is made anew.
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                body = json.loads(kept.read_text(encoding="utf-8"))
                return {name: Member(size, source) for name, (size, source) in body.items()}
        found = list_members(self._archive)
        keep_text(kept, json.dumps({name: [member.size, member.source] for name, member in found.items()}))
        return found

    def want(self, name: str) -> str:
        """Return the path that a file of it has once :meth:`unpack` was called."""
        self._wanted.add(name)
        return str(self.folder / name)

    def unpack(self) -> None:
        """Unpack what is wanted and not there yet.

        Raises:
            InputError: A file of another size than was declared.
            StorageError: It does not fit the free disk space, or the disk is full.
        """
        absent = {name: self.members[name] for name in sorted(self._wanted) if not (self.folder / name).is_file()}
        if absent:
            note(f"unpacking {len(absent):,} of {len(self.members):,} files of {self.title} into {self.folder}")
            unpack_members(self._archive, self.folder, absent)
