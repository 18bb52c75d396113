"""Reports for the terminal and as Markdown: leaderboards, full scores, comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sari_bench.compare import Comparison, Transcript, format_p
from sari_bench.leaderboard import Board
from sari_bench.metrics import PairedDifference, Tally, percent
from sari_bench.scoring import Score, honest_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def cell(value: float | None) -> str:
    """Return a share as percent with two decimals, or a dash."""
    return "–" if value is None else f"{percent(value):.2f}"


def interval_cell(tally: Tally) -> str:
    """Return a tally's 95 % interval in percent."""
    interval = tally.interval
    return "–" if interval is None else f"{interval[0] * 100:.1f}–{interval[1] * 100:.1f}"


def board_rows(board: Board) -> tuple[list[str], list[list[str]]]:
    """Return a board's header and rows as text; columns that say nothing are left out."""
    named = all(entry.run.name.endswith(f"@{entry.run.mode}") for entry in board.entries)
    absent = any(entry.score.honest.outcomes["missing"] for entry in board.entries)
    header = ["model", *([] if named else ["mode"]), *board.tasks, "average", "95 % int.", "n", "unread"]
    header += [*(["missing"] if absent else []), "tokens"]
    rows = []
    for entry in board.entries:
        overall, by = entry.score.overall, entry.score.by.get("task", {})
        tokens = entry.run.mean_tokens
        rows.append(
            [
                entry.run.name,
                *([] if named else [entry.run.mode]),
                *(cell(by[task].accuracy) if task in by else "–" for task in board.tasks),
                cell(overall.accuracy),
                interval_cell(overall),
                str(overall.n),
                str(entry.score.honest.unread),
                *([str(entry.score.honest.outcomes["missing"])] if absent else []),
                "–" if tokens is None else f"{tokens:.0f}",
            ]
        )
    return header, rows


def score_rows(score: Score) -> tuple[list[str], list[list[str]]]:
    """Return a score's header and rows as text: overall, then every group of every dimension.

    The row before a dimension's groups has its name alone. "unread" is unparsed, truncated and refused; "of all %" is
    the accuracy over every question, where the scorer's own total leaves unanswered ones out.
    """
    beside = score.drops_missing
    header = [
        "",
        "n",
        "correct",
        "acc. %",
        "95 % int.",
        "wrong",
        "unread",
        "missing",
        *(["of all %"] if beside else []),
    ]

    def row(name: str, tally: Tally) -> list[str]:
        counts = [str(tally.outcomes["wrong"]), str(tally.unread), str(tally.outcomes["missing"])]
        counts += [cell(honest_of(tally).accuracy)] if beside else []
        return [name, str(tally.n), str(tally.correct), cell(tally.accuracy), interval_cell(tally), *counts]

    rows = [row("all", score.overall)]
    for dimension, parts in score.by.items():
        rows.append([f"by {dimension}", *[""] * (len(header) - 1)])
        rows += [row(f"  {name}", tally) for name, tally in parts.items()]
    return header, rows


def comparison_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return a comparison's header and rows as text."""

    def row(name: str, d: PairedDifference) -> list[str]:
        interval = f"{d.interval[0] * 100:+.2f} to {d.interval[1] * 100:+.2f}"
        p_value = "–" if d.p_value is None else format_p(d.p_value).removeprefix("= ")
        return [name, str(d.n), f"{d.difference * 100:+.2f}", interval, str(d.won), str(d.lost), p_value]

    header = ["task", "n", "points", "95 % interval", "won", "lost", "McNemar p"]
    return header, [*(row(name, part) for name, part in comparison.by.items()), row("all", comparison.overall)]


def to_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table for the terminal: names on the left, figures right-aligned, cells as plain text."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, name in enumerate(header):
        words = index == 0 or name == "mode"
        table.add_column(Text(name), justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for row in rows:
        heading = len(row) > 1 and not any(row[1:])
        table.add_row(*(Text(value, style="dim" if heading else "") for value in row))
    return table


def to_markdown(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown under a heading."""
    marks = [":---" if index == 0 or name == "mode" else "---:" for index, name in enumerate(header)]
    lines = [f"## {_plain(title)}", "", _line(header), _line(marks), *(_line(row) for row in rows), ""]
    return "\n".join(lines)


def outcome_line(score: Score) -> str:
    """Return the outcomes of every answer that was due, in one line."""
    return "outcomes: " + ", ".join(f"{name} {count:,}" for name, count in score.honest.outcomes.items())


def boards_markdown(boards: Sequence[Board], leaderboard: bool) -> str:
    """Return boards as Markdown; unless ``leaderboard``, with every figure of each run."""
    parts = []
    for board in boards:
        parts.append(to_markdown(board.title, *board_rows(board)))
        parts += [f"- {_plain(note)}" for note in board.notes]
        if not leaderboard:
            parts += [to_markdown(f"{e.run.name} on {board.title}", *score_rows(e.score)) for e in board.entries]
    return "\n".join(parts)


def boards_json(boards: Sequence[Board], leaderboard: bool) -> dict[str, Any]:
    """Return boards as one JSON object; unless ``leaderboard``, with every figure of each run."""
    body: dict[str, Any] = {"boards": [board.to_json() for board in boards]}
    if not leaderboard:
        body["runs"] = [
            {"name": entry.run.name, "folder": str(entry.run.folder), **entry.score.to_json()}
            for board in boards
            for entry in board.entries
        ]
    return body


def transcript_view(transcript: Transcript, before: str, after: str) -> RenderableType:
    """Return a question with both models' full texts, for the terminal."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    gold = transcript.before.gold
    options = "\n".join(f"  ({chr(ord('A') + index)}) {choice}" for index, choice in enumerate(gold.choices))
    where = " · ".join(part for part in (gold.task, gold.sub_category, gold.difficulty) if part)
    asked = Text(f"{gold.question}\n{options}\nright answer: {gold.answer}")
    return Group(
        Panel(asked, title=Text(where), title_align="left"),
        Panel(_spaced(transcript.before.answer.text), title=Text(f"before: {before}, {transcript.before.outcome}")),
        Panel(_spaced(transcript.after.answer.text), title=Text(f"after: {after}, {transcript.after.outcome}")),
    )


def _spaced(text: str | None) -> RenderableType:
    """The text as it is, with a line break between sections for reading."""
    from rich.text import Text

    return Text((text or "").replace("><", ">\n<"))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_plain(value) for value in cells) + " |"


def _plain(text: str) -> str:
    """Escape what Markdown or HTML inside it would act on: names come from folders and files."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("|", "\\|").replace("\n", " ")
