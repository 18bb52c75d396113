"""What thoughts have to do with answers, and what a run gets without listening, as texts for tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sari_bench.pages.groups import finely
from sari_bench.reporting.leaderboard import Board
from sari_bench.shortcuts import Shortcuts, read_shortcuts
from sari_bench.shortcuts.tables import position_rows, rule_notes, shortcut_rows, task_rows
from sari_bench.thoughts.diagnostic_tables import diagnosis_sentences, diagnosis_tables
from sari_bench.thoughts.diagnostics import Diagnostics, diagnose
from sari_bench.thoughts.lengths import Lengths


def diagnoses(board: Board) -> list[Diagnostics]:
    """Return what the thoughts of each run have to do with its answers."""
    return [diagnose(entry.run, board.scorer, entry.score, entry.scores.get("answer")) for entry in board.entries]


def thought_tables(found: Sequence[Diagnostics]) -> list[dict[str, Any]]:
    """Return sentences and tables about the thoughts of each run that has any."""
    return [
        {
            "name": one.run,
            "sentences": list(diagnosis_sentences(one)),
            "tables": [
                _table(title.removeprefix(f"{one.run}: "), header, rows)
                for title, header, rows in diagnosis_tables(one)
            ],
        }
        for one in found
        if one.has_thoughts
    ]


def thought_lengths(one: Diagnostics) -> dict[str, Any] | None:
    """Return thought length against accuracy as the page's script draws it; ``None`` for a run without thoughts."""
    return _lengths(one.words) if one.has_thoughts else None


def token_lengths(one: Diagnostics) -> dict[str, Any] | None:
    """Return the same of the whole responses' tokens; ``None`` where they were not counted."""
    return None if one.tokens is None else _lengths(one.tokens)


def _lengths(found: Lengths) -> dict[str, Any]:
    rows = []
    for part in found.bins:
        low, high = part.tally.best_interval or (None, None)
        figures = [part.tally.n, part.tally.correct, *map(finely, (part.tally.accuracy, low, high))]
        rows.append({"from": part.low, "to": part.high, "figures": figures})
    return {"unit": found.unit, "rows": rows}


def shortcuts_of(board: Board) -> list[Shortcuts | None]:
    """Return what each run gets without its audio, or ``None`` where ``sari-bench shortcuts`` did not measure that.

    Raises:
        BenchmarkError: What was measured is not as it was written.
    """
    return [read_shortcuts(entry.run.folder) for entry in board.entries]


def shortcut_table(name: str, found: Shortcuts) -> dict[str, Any]:
    """Return sentences and tables about what a run gets without its audio."""
    tables = [_table("", *shortcut_rows(found)), _table("By task", *task_rows(found))]
    tables.append(_table("By position of the option, over all rotations", *position_rows(found)))
    return {
        "name": name,
        "sentences": [*found.sentences, *found.notes],
        "tables": [table for table in tables if table["rows"]],
        "rules": rule_notes(found.rows),
    }


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    words = 2 if list(header[:2]) == ["outcome", "reason"] else 1  # columns of words, the others are of figures
    return {"title": title, "header": header, "rows": rows, "words": words}
