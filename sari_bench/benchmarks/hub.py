"""Question files and archives of audio on the Hub, by the patterns that a benchmark states for them.

What a repository held when it was last listed is remembered, so that a benchmark whose files are in the Hub's cache
loads without the Hub too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from sari_bench.jsonfiles import keep_text
from sari_data.console import note
from sari_data.errors import BenchmarkError, InputError, StorageError
from sari_data.resources import cache_folder

HUB = "hub:"
_FORM = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<path>.+))?")


@dataclass(frozen=True, slots=True)
class Home:
    """Where a benchmark is published, and what its files are called.

    Args:
        repo: ``owner/name`` of the data set on the Hub.
        questions: Patterns of its question files, the best first; they fit whole paths.
        audio: Patterns of its archives of audio; none where the question files embed it.
        file: What to download by hand where the Hub cannot be reached, for people.
    """

    repo: str
    questions: tuple[str, ...]
    audio: tuple[str, ...]
    file: str


@dataclass(frozen=True, slots=True)
class Place:
    """A place on the Hub, from ``hub:owner/name``, ``hub:owner/name@revision`` or either with ``/path``."""

    repo: str
    revision: str | None
    path: str | None

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read the text.

        Raises:
            InputError: It is not of that form.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise InputError(f"expected hub:owner/name, with @revision or /path where wanted, found {text!r}")
        return cls(found["repo"], found["revision"], found["path"])

    def addresses(self, patterns: Sequence[str], what: str, else_do: str, *, needed: bool = True) -> list[str]:
        """Return the addresses, with the commit, of the files that fit the first pattern which fits any.

        Args:
            patterns: As of :class:`Home`.
            what: What needs them, for messages.
            else_do: What to do where the Hub cannot be reached, for messages.
            needed: Whether there must be such a file.

        Raises:
            BenchmarkError: The Hub cannot be reached and was not before, or no file fits and one is needed.
            MissingFileError: No such data set or revision.
        """
        commit, names = self._listed(what, else_do)
        found = pick(names, patterns)
        if not found and needed:
            some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise BenchmarkError(
                f"{what}: expected {' or '.join(patterns)} in {self.repo} on the Hub, found only {some or 'no files'}: "
                f"{else_do}"
            )
        return [f"hf://datasets/{self.repo}@{commit}/{name}" for name in found]

    def _listed(self, what: str, else_do: str) -> tuple[str, list[str]]:
        from sari_data.hub import first_line
        from sari_data.sources.fetching import list_repository

        kept = cache_folder() / "hub" / f"{self.repo.replace('/', '--')}@{self.revision or 'main'}.json"
        try:
            commit, names = list_repository(self.repo, self.revision, f"hub:{self.repo}")
        except StorageError as error:
            if not kept.is_file():
                raise BenchmarkError(
                    f"{what} is loaded from {self.repo} on the Hub, which cannot be reached "
                    f"({first_line(error.__cause__ or error)}): {else_do}"
                ) from error
            body = json.loads(kept.read_text(encoding="utf-8"))
            note(f"the Hub cannot be reached: {self.repo} is taken as it was, commit {body['commit'][:12]}")
            return body["commit"], body["files"]
        keep_text(kept, json.dumps({"commit": commit, "files": names}))
        return commit, names


def pick(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names, sorted, that fit the first of the patterns which fits any; ``*`` fits ``/`` too."""
    for pattern in patterns:
        found = sorted(name for name in names if fnmatch(name, pattern))
        if found:
            return found
    return []
