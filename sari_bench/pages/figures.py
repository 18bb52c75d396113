"""Every figure of each run, and what each gains over the last one, as texts for tables."""

from __future__ import annotations

from typing import Any

from sari_bench.comparing.compare import Comparison, compare_scores
from sari_bench.comparing.difference_tables import group_rows
from sari_bench.reporting.leaderboard import Board, Entry
from sari_bench.reporting.report import score_notes, score_rows


def gains(board: Board) -> list[Comparison]:
    """Return each run but the last of the board compared with that one."""
    base = board.entries[-1]
    return [compare_scores(base.run.name, base.score, entry.run.name, entry.score) for entry in board.entries[:-1]]


def comparison_tables(found: Comparison) -> dict[str, Any]:
    """Return a comparison as a sentence, notes, and a table for each dimension."""
    tables = []
    for dimension in found.groups:
        header, rows = group_rows(found, dimension)
        tables.append({"header": header, "rows": rows, "note": found.group_note(dimension)})
    return {"name": found.b, "sentence": found.sentence, "notes": found.notes, "tables": tables}


def full_scores(board: Board) -> list[dict[str, Any]]:
    """Return of each run where it comes from, its first prompt, and every figure by every scorer."""
    return [_full(entry) for entry in board.entries]


def _full(entry: Entry) -> dict[str, Any]:
    meta = entry.run.meta
    about = {
        "model": f"{meta['model']['name']} ({meta['model'].get('path', '')})",
        "mode": entry.run.mode,
        "benchmark": f"{meta['benchmark']['name']} {meta['benchmark']['version']}",
        "sampling": ", ".join(f"{key} {value}" for key, value in meta["sampling"].items()),
        "samples": str(entry.run.samples),
        "code": f"sari {meta.get('code_version', '?')}",
        "started": meta.get("started", ""),
        "finished": meta.get("finished") or "not finished",
        "folder": str(entry.run.folder),
    }
    tables = []
    for scorer, score in entry.scores.items():
        header, rows = score_rows(score)
        tables.append({"scorer": scorer, "header": header, "rows": rows, "notes": score_notes(score)})
    example = meta.get("prompt", {}).get("example", "")
    return {"name": entry.run.name, "about": about, "tables": tables, "prompt": example}
