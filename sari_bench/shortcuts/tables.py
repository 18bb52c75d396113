"""The table of shortcuts for the terminal."""

from __future__ import annotations

from sari_bench.comparing.compare import format_p
from sari_bench.reporting.report import cell
from sari_bench.shortcuts.results import Row, Shortcuts
from sari_bench.statistics.metrics import PairedDifference


def shortcut_rows(found: Shortcuts) -> tuple[list[str], list[list[str]]]:
    """Return header and rows as text; without a run there is nothing to subtract from."""
    compared = any(row.gain is not None for row in found.rows)
    header = ["", "acc. %", "95 % int.", "n", *(["own − this", "95 % interval", "p"] if compared else [])]
    rows = []
    for row in found.rows:
        low, high = row.interval
        figures = [cell(row.accuracy), f"{low * 100:.1f}–{high * 100:.1f}", str(row.n)]
        rows.append([row.name, *figures, *(_gain(row.gain) if compared else [])])
    return header, rows


def task_rows(found: Shortcuts) -> tuple[list[str], list[list[str]]]:
    """Return the gains by task as text: a line for each variant and task; no rows where there is no variant."""
    rows: list[list[str]] = []
    for row in found.rows:
        if row.kind == "variant" and row.by:
            rows.append([row.name, *[""] * 4])
            rows += [[f"  {task}", str(part.n), *_gain(part)] for task, part in row.by.items()]
    return ["own − this, by task", "n", "points", "95 % interval", "p (Holm)"], rows


def position_rows(found: Shortcuts) -> tuple[list[str], list[list[str]]]:
    """Return what the rotations show of each position as text; no rows where nothing was rotated."""
    header = ["option", "right there %", "n", "answered", "evenly"]
    if found.circular is None:
        return header, []
    return header, [
        [
            f"({p.letter})",
            cell(p.right / p.n if p.n else None),
            str(p.n),
            str(p.chosen),
            f"{p.expected:.0f}",
        ]
        for p in found.circular.positions
    ]


def table_title(found: Shortcuts) -> str:
    """Return what the table is about."""
    where = f"{found.benchmark['name']} ({found.benchmark['version']})"
    return f"{found.model} {found.mode} on {where}" if found.model else f"rules on {where}, without a model"


def rule_notes(rows: tuple[Row, ...]) -> list[str]:
    """Return what each rule does exactly where its name does not say it, a line each."""
    return [f"{row.name}: {row.about}" for row in rows if row.kind == "rule" and not row.name.startswith("always")]


def _gain(gain: PairedDifference | None) -> list[str]:
    if gain is None:
        return ["–", "–", "–"]
    low, high = gain.deciding_interval
    p_value = gain.adjusted_p if gain.adjusted_p is not None else gain.deciding_p
    said = "–" if p_value is None else format_p(p_value).removeprefix("= ")
    return [f"{gain.difference * 100:+.2f}", f"{low * 100:+.2f} to {high * 100:+.2f}", said]
