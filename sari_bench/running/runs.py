"""Run folders: what a benchmark run leaves on disk, and how it is read back.

A run folder holds ``responses.jsonl`` (one raw response a line, only ever appended to), ``run.json``
(what was asked of which model and how) and ``questions.jsonl`` (the golds, without audio), so that
every score can be recomputed from the folder alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Gold, digest_of
from sari_bench.running.timing import Timing, timing_of
from sari_bench.scorers import JUDGE_FOLDER, load_scorer
from sari_bench.scoring import Answer, BenchmarkGolds, Score, score
from sari_data.errors import BenchmarkError, MissingFileError

RESPONSES = "responses.jsonl"
META = "run.json"
QUESTIONS = "questions.jsonl"
RECIPE = "recipe.json"  # the [bench] table in effect
FAILED = "failed.json"  # question id to why its responder could not answer, of the latest sitting
_NEAR = 5  # runs that a message names
MOST_SAMPLES = 10_000  # answers to a question; a score looks at every one that is due


@dataclass(frozen=True)
class Run:
    """A run folder as read.

    Args:
        folder: Where it is.
        meta: The content of ``run.json``.
        benchmark: Its golds.
        answers: Answers by question id.
    """

    folder: Path
    meta: dict[str, Any]
    benchmark: BenchmarkGolds
    answers: dict[str, list[Answer]]

    @cached_property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.folder.resolve().name

    @property
    def mode(self) -> str:
        """The response mode."""
        return str(self.meta["mode"])

    @property
    def samples(self) -> int:
        """How many answers each question was due."""
        return int(self.meta["samples"])

    @property
    def mean_tokens(self) -> float | None:
        """Mean length of the responses in tokens, or ``None`` where it was not recorded."""
        lengths = [answer.tokens for given in self.answers.values() for answer in given]
        return sum(lengths) / len(lengths) if any(lengths) else None

    @property
    def variant(self) -> str:
        """What was asked otherwise than the benchmark says; empty: nothing was."""
        return str((self.meta.get("variant") or {}).get("name", ""))

    @property
    def sittings(self) -> list[dict[str, Any]]:
        """When and on what the run was made, one go after the other; one that was killed has no ``ended``."""
        return list(self.meta.get("sittings", []))

    @property
    def failed(self) -> dict[str, str]:
        """Question id to why its responder could not answer, of the latest sitting; it is asked again in the next.

        Raises:
            BenchmarkError: The file is not what a run writes.
        """
        path = self.folder / FAILED
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {str(identifier): str(why) for identifier, why in found.items()}
        except (ValueError, AttributeError) as error:
            raise BenchmarkError(f"{path} is not what a run writes ({error}): restore or delete it") from error

    def timing(self, sitting: int | None = None) -> Timing:
        """Return how long the run took, or one of its sittings (they count from 1)."""
        rows = read_responses(self.folder)
        return timing_of(row for row in rows if sitting is None or row.get("sitting") == sitting)

    def score(self, scorer: str = "answer") -> Score:
        """Score the run; ``judge`` needs the verdicts that ``sari-bench score --judge`` left in its folder."""
        return score(self.benchmark, self.answers, load_scorer(scorer, self.folder / JUDGE_FOLDER), self.samples)


def check_run_folder(folder: Path) -> None:
    """Raise MissingFileError where a path is no run folder, with what it is and what may be given instead."""
    for name in (META, QUESTIONS):
        if not (folder / name).is_file():
            there = "it is a file" if folder.exists() else "there is nothing of that name"
            lacks = f"it has no {name}" if folder.is_dir() else there
            raise MissingFileError(f"{str(folder)!r} is not a run folder: {lacks}; {instead(folder)}")


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        MissingFileError: It is not there, or lacks a file.
        BenchmarkError: A file in it is not as it was written.
    """
    check_run_folder(folder)
    meta = read_meta(folder)
    golds = tuple(
        Gold.from_row(row, f"{folder / QUESTIONS}, line {number}")
        for number, row in _parsed(read_lines(folder / QUESTIONS)[0], folder / QUESTIONS)
    )
    about = meta["benchmark"]
    if digest_of(golds) != about["digest"]:
        raise BenchmarkError(
            f"{folder / QUESTIONS} was changed after the run (its content hash differs from that in {META}): restore it"
        )
    answers: dict[str, list[Answer]] = {}
    for row in read_responses(folder):
        if row["sample"] >= meta["samples"]:
            raise BenchmarkError(
                f"{folder / RESPONSES} has sample {row['sample']} of question {row['id']!r}, and by {META} the run has "
                f"{meta['samples']} of each, counted from 0: restore both files as the run wrote them"
            )
        answers.setdefault(row["id"], []).append(
            Answer(row["id"], row["text"], row["sample"], row["finish_reason"], tokens=row["tokens"])
        )
    benchmark = BenchmarkGolds(about["name"], about["version"], about["digest"], golds, tuple(about["notes"]))
    return Run(folder, meta, benchmark, answers)


def read_meta(folder: Path) -> dict[str, Any]:
    """Read ``run.json``.

    Raises:
        BenchmarkError: It is not what a run writes.
    """
    path = folder / META
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        complete = isinstance(meta, dict) and _is_complete(meta)
    except (ValueError, TypeError, RecursionError) as error:
        raise BenchmarkError(f"{path} is not valid JSON ({error}): restore it or delete the run folder") from error
    if not complete:
        raise BenchmarkError(
            f"{path} lacks keys that a run writes, or has other values in them: restore it or delete the run folder"
        )
    found: dict[str, Any] = meta
    return found


def _is_complete(meta: dict[str, Any]) -> bool:
    """Return whether the keys that readers of a run rely on are there, with their types."""
    about = meta.get("benchmark")
    return (
        all(isinstance(meta.get(key), dict) for key in ("model", "benchmark", "sampling"))
        and all(isinstance(meta["model"].get(key, ""), str) for key in ("name", "path", "responder"))
        and isinstance(meta.get("prompt", {}), dict)
        and isinstance(meta.get("mode"), str)
        and isinstance(meta.get("samples"), int)
        and 1 <= meta["samples"] <= MOST_SAMPLES
        and isinstance(about, dict)
        and all(isinstance(about.get(key), str) for key in ("name", "version", "digest"))
        and isinstance(about.get("notes"), list)
        and all(isinstance(note, str) for note in about["notes"])
        and isinstance(meta.get("variant", {}), dict)
        and isinstance(meta.get("sittings", []), list)
        and all(isinstance(sitting, dict) for sitting in meta.get("sittings", []))
    )


def read_responses(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``responses.jsonl``; a torn last line, of a run that was killed, is left out.

    Raises:
        BenchmarkError: A complete line is not a response, or a response stands twice.
    """
    path = folder / RESPONSES
    if not path.is_file():
        return
    seen = set()
    for number, row in _parsed(read_lines(path)[0], path):
        try:
            key = (row["id"], row["sample"])
            valid = (
                isinstance(row["id"], str)
                and isinstance(row["sample"], int)
                and row["sample"] >= 0
                and isinstance(row["text"], str)
                and row["finish_reason"] in ("stop", "length")
                and row["tokens"] >= 0
            )
        except (KeyError, TypeError) as error:
            raise BenchmarkError(f"{path}, line {number}: not a response ({error}): restore the file") from error
        if not valid or key in seen:
            problem = "the same id and sample stand twice" if valid else "its values have the wrong types"
            raise BenchmarkError(f"{path}, line {number}: {problem}: restore the file as the run wrote it")
        seen.add(key)
        yield row


def read_lines(path: Path) -> tuple[list[bytes], int]:
    """Return a file's complete lines, and their length in bytes: what follows is a torn line."""
    body = path.read_bytes()
    end = body.rfind(b"\n") + 1
    return body[:end].split(b"\n")[:-1], end


def count_responses(folder: Path) -> int:
    """Return how many whole responses a run folder holds; 0 where there is none."""
    path = folder / RESPONSES
    return len(read_lines(path)[0]) if path.is_file() else 0


def _parsed(lines: Iterable[bytes], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        try:
            # Text spares json the guess at the encoding, a third of its time.
            row = json.loads(line.decode("utf-8", "surrogatepass") if line.startswith(b"{") else line)
        except (ValueError, RecursionError) as error:
            raise BenchmarkError(f"{path}, line {number}: not valid JSON ({error}): restore the file") from error
        if not isinstance(row, dict):
            raise BenchmarkError(f"{path}, line {number}: expected a JSON object: restore the file")
        yield number, row


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Read the run folders at or below ``paths``, sorted by path.

    Raises:
        MissingFileError: A path is not there, or holds no run.
    """
    folders: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            check_run_folder(path)
        below = [path] if (path / META).is_file() else _own_runs(path)
        if not below:
            raise MissingFileError(
                f"{str(path)!r} holds no run: make one with 'sari-bench run', or give another folder"
            )
        folders.update(dict.fromkeys(below))
    return [read_run(folder) for folder in folders]


def instead(path: Path) -> str:
    """Return what may be given instead of a path that is no run folder: the runs that are in it or beside it."""
    place = path if path.is_dir() else path.parent
    # Only where runs are kept: the whole of a large disk is not walked for a message.
    near = [str(meta.parent) for pattern in (META, f"*/{META}", f"*/*/{META}") for meta in sorted(place.glob(pattern))]
    near = [other for other in near if other != str(path)]
    return f"give {' or '.join(near[:_NEAR])}" if near else "give a folder that 'sari-bench run' wrote"


def _own_runs(path: Path) -> list[Path]:
    """Return the run folders below ``path``; what is kept inside one, such as a variant, is no run of its own."""
    found = sorted(meta.parent for meta in path.rglob(META))
    runs = set(found)
    return [folder for folder in found if not any(parent in runs for parent in folder.parents)]
