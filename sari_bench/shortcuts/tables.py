"""The table of shortcuts for the terminal."""

from __future__ import annotations

from sari_bench.comparing.compare import format_p
from sari_bench.reporting.report import INTERVAL, cell
from sari_bench.shortcuts.results import Row, Shortcuts
from sari_bench.statistics.metrics import PairedDifference

_TIES = "; of several the first"


def shortcut_rows(found: Shortcuts) -> tuple[list[str], list[list[str]]]:
    """Return header and rows as text; without a run there is nothing to subtract from."""
    compared = any(row.gain is not None for row in found.rows)
    header = ["", "acc. %", INTERVAL, "n", *(["gain", "its 95 % CI", "p"] if compared else [])]
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
    return ["own audio minus", "n", "points", INTERVAL, "p (Holm)"], rows


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
    """Return what each rule does exactly where its name does not say it, a line each, and what the columns mean."""
    told = [row for row in rows if row.kind == "rule" and not row.name.startswith("always")]
    notes = [f"{row.name}: {row.about.removesuffix(_TIES)}" for row in told]
    if any(row.about.endswith(_TIES) for row in told):
        notes.append("where several options fit a rule, it takes the first")
    if any(row.gain is not None for row in rows):
        notes.append("gain: accuracy with the own audio minus that of the row, on the same questions, in points")
    return notes


def best_rule(rows: tuple[Row, ...]) -> str:
    """Return a sentence about the rule that scores most: what a model has to beat before it has shown anything."""
    rules = [row for row in rows if row.kind == "rule"]
    guess = next(row for row in rows if row.kind == "chance")
    best = max(rules, key=lambda row: row.accuracy)
    return (
        f"without hearing anything, {best.name!r} scores {cell(best.accuracy)} %, chance {cell(guess.accuracy)} %: a "
        "model that does not beat that has not shown that it listens"
    )


def _gain(gain: PairedDifference | None) -> list[str]:
    if gain is None:
        return ["–", "–", "–"]
    low, high = gain.deciding_interval
    p_value = gain.adjusted_p if gain.adjusted_p is not None else gain.deciding_p
    said = "–" if p_value is None else format_p(p_value).removeprefix("= ")
    return [f"{gain.difference * 100:+.2f}", f"{low * 100:+.2f} to {high * 100:+.2f}", said]
