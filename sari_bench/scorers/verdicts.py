"""Where a judge's verdicts are kept: one JSON line each, only ever appended to, so that nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal

from sari_data.errors import BenchmarkError, InputError, StorageError

Kind = Literal["option", "none", "unreadable", "again"]
KINDS = ("option", "none", "unreadable", "again")
Only = Literal["all", "unread"]


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """What a judge said of one response.

    Args:
        key: Hash of what decides it: :func:`verdict_key`.
        judge: The judge's name.
        template: Hash of the template that asked.
        id: The question's id, for people.
        sample: Index among the samples of the question.
        only: Whether every response was to be judged, or only those that ``answer`` cannot read.
        kind: ``option``; ``none`` where the response concludes nothing; ``unreadable`` where the judge
            gave nothing that can be read twice; ``again`` where it is to be asked the second time.
        choice: Index of the option, where there is one.
        texts: What the judge wrote, as it is.
    """

    key: str
    judge: str
    template: str
    id: str
    sample: int
    only: Only
    kind: Kind
    choice: int | None
    texts: tuple[str, ...]


def verdict_key(judge: str, template: str, question: str, choices: tuple[str, ...], response: str) -> str:
    """Return the hash (SHA-256, hexadecimal) of all that decides a verdict; the right answer is no part of it."""
    return hashlib.sha256(json.dumps([judge, template, question, choices, response]).encode()).hexdigest()


class VerdictStore:
    """The file of one judge's verdicts: ``<folder>/<judge>.jsonl``.

    Args:
        folder: Where verdicts are kept; it is made when the first is added.
        judge: The judge's name; signs that a file's name cannot have become ``_``.

    Raises:
        BenchmarkError: A complete line of the file is not a verdict, or is another judge's.
    """

    def __init__(self, folder: Path, judge: str) -> None:
        self.judge = judge
        self.path = folder / f"{file_name(judge)}.jsonl"
        self._end = 0
        self.verdicts: dict[str, StoredVerdict] = {}
        if self.path.is_file():
            self.verdicts, self._end = _read(self.path)
            other = next((v for v in self.verdicts.values() if v.judge != judge), None)
            if other is not None:
                raise BenchmarkError(
                    f"{self.path} holds verdicts of {other.judge!r}, not of {judge!r}: give another --judge-store"
                )
        self._file: TextIOWrapper | None = None

    def get(self, key: str) -> StoredVerdict | None:
        """Return the verdict that is kept under a key."""
        return self.verdicts.get(key)

    @property
    def only(self) -> Only:
        """``unread`` where no verdict was asked for about a response that ``answer`` reads."""
        found = self.verdicts.values()
        return "unread" if found and all(verdict.only == "unread" for verdict in found) else "all"

    def add(self, verdict: StoredVerdict) -> None:
        """Keep a verdict; it is on disk when this returns.

        Raises:
            StorageError: It cannot be written.
        """
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(json.dumps(asdict(verdict), ensure_ascii=True) + "\n")
            self._file.flush()
        except OSError as error:
            raise StorageError(
                f"verdicts could not be kept in {str(self.path)!r} ({error.strerror}): give another --judge-store"
            ) from error
        self.verdicts[verdict.key] = verdict

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> TextIOWrapper:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file():
            with self.path.open("r+b") as torn:  # what a killed process was writing is no verdict
                torn.truncate(self._end)
        return self.path.open("a", encoding="utf-8")


def file_name(judge: str) -> str:
    """Return a judge's name as the name of one file; names that differ only in other signs get a hash each."""
    plain = re.sub(r"[^\w.@=+-]", "_", judge, flags=re.ASCII).lstrip(".")[:80] or "_"
    return plain if plain == judge else f"{plain}-{hashlib.sha256(judge.encode()).hexdigest()[:8]}"


def stored_judges(folder: Path) -> dict[str, Path]:
    """Return the judges whose verdicts are kept in a folder, by name.

    Raises:
        BenchmarkError: A file in it does not begin with a verdict.
    """
    found = {}
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
        with path.open("rb") as file:
            first = file.readline()
        if first.endswith(b"\n"):
            found[_parsed(first, path, 1).judge] = path
    return found


def one_judge(folder: Path, name: str | None = None) -> str:
    """Return the name of the judge whose verdicts a folder keeps.

    Args:
        folder: Where verdicts are kept.
        name: Which of several judges.

    Raises:
        InputError: None, several and no ``name``, or not the one of that name.
    """
    found = stored_judges(folder)
    if name is not None and name not in found:
        raise InputError(f"{str(folder)!r} keeps no verdicts of judge {name!r}; found {sorted(found)}")
    if not found:
        raise InputError(
            f"scorer 'judge' needs verdicts, and {str(folder)!r} keeps none: "
            "let a model judge first, with 'sari-bench score --judge RESPONDER'"
        )
    if name is None and len(found) > 1:
        raise InputError(f"{str(folder)!r} keeps verdicts of {sorted(found)}: choose one with --judge-name")
    return name or next(iter(found))


def _read(path: Path) -> tuple[dict[str, StoredVerdict], int]:
    body = path.read_bytes()
    end = body.rfind(b"\n") + 1
    found = {}
    for number, line in enumerate(body[:end].splitlines(), start=1):
        verdict = _parsed(line, path, number)
        found[verdict.key] = verdict
    return found, end


def _parsed(line: bytes, path: Path, number: int) -> StoredVerdict:
    try:
        return _verdict(json.loads(line))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BenchmarkError(f"{path}, line {number}: not a stored verdict ({error}): restore the file") from error


def _verdict(row: Mapping[str, Any]) -> StoredVerdict:
    verdict = StoredVerdict(**{**row, "texts": tuple(row["texts"])})
    numbered = type(verdict.choice) is int and verdict.choice >= 0
    if verdict.kind not in KINDS or (verdict.kind == "option") is not numbered:
        raise ValueError(f"kind {verdict.kind!r} with choice {verdict.choice!r}")
    if not all(isinstance(text, str) for text in (verdict.key, verdict.judge, verdict.id, *verdict.texts)):
        raise ValueError("a text is missing")
    if verdict.only not in ("all", "unread") or type(verdict.sample) is not int:
        raise ValueError(f"only {verdict.only!r}, sample {verdict.sample!r}")
    return verdict
