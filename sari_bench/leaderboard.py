"""Leaderboards: the runs on one version of one benchmark, best first.

Runs on different questions never share a table, not even two revisions of one benchmark or a part
of it (``--limit``) and the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sari_bench.metrics import label_order
from sari_bench.runs import Run
from sari_bench.scoring import Score


@dataclass(frozen=True, slots=True)
class Entry:
    """A run with its score."""

    run: Run
    score: Score

    def to_json(self) -> dict[str, Any]:
        """Return the entry's figures."""
        honest = self.score.honest
        return {
            "name": self.run.name,
            "folder": str(self.run.folder),
            "model": self.run.meta["model"],
            "mode": self.run.mode,
            "samples": self.run.samples,
            "mean_tokens": self.run.mean_tokens,
            **self.score.overall.to_json(),
            "unparsed": honest.outcomes["unparsed"],
            "truncated": honest.outcomes["truncated"],
            "missing": honest.outcomes["missing"],
            "task": {name: part.to_json() for name, part in self.score.by.get("task", {}).items()},
        }


@dataclass(frozen=True, slots=True)
class Board:
    """One table: entries on exactly the same questions, best first."""

    benchmark: str
    version: str
    digest: str
    scorer: str
    tasks: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def title(self) -> str:
        """Benchmark, version and number of questions."""
        count = len(self.entries[0].run.benchmark.golds)
        return f"{self.benchmark} ({self.version}), {count:,} questions"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, each sentence once."""
        about = dict.fromkeys(note for entry in self.entries for note in entry.run.benchmark.notes)
        own = [f"{entry.run.name}: {note}" for entry in self.entries for note in entry.score.notes if note not in about]
        return (*about, *own)

    def to_json(self) -> dict[str, Any]:
        """Return the board as one JSON object."""
        return {
            "benchmark": self.benchmark,
            "version": self.version,
            "digest": self.digest,
            "scorer": self.scorer,
            "entries": [entry.to_json() for entry in self.entries],
            "notes": list(self.notes),
        }


def make_boards(runs: Sequence[Run], scorer: str = "answer") -> list[Board]:
    """Score the runs and sort them into one board for each set of questions."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for run in runs:
        groups.setdefault((run.benchmark.name, run.benchmark.digest), []).append(Entry(run, run.score(scorer)))
    boards = []
    for (name, digest), entries in sorted(groups.items()):
        entries.sort(key=lambda entry: (-(entry.score.overall.accuracy or 0.0), entry.run.name))
        tasks = dict.fromkeys(task for entry in entries for task in entry.score.by.get("task", {}))
        first = entries[0].run.benchmark
        boards.append(Board(name, first.version, digest, scorer, tuple(sorted(tasks, key=label_order)), tuple(entries)))
    return boards
