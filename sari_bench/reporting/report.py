"""Reports for the terminal and as Markdown: full scores, comparisons, and how tables look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sari_bench.scoring import Score, honest_of
from sari_bench.statistics.metrics import PairedDifference, Tally, percent

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from sari_bench.comparing.compare import Comparison, Transcript


WORDS = {"mode", "right answer", "what was said"}  # columns of text besides the first
DASH = "–"  # no figure
_HEADING = 16  # terminal cells of a heading before it is broken over several lines
_TEXT = 18  # terminal cells that a column of text needs


def cell(value: float | None) -> str:
    """Return a share as percent with two decimals, or a dash."""
    return DASH if value is None else f"{percent(value):.2f}"


def interval_cell(tally: Tally) -> str:
    """Return a tally's 95 % interval in percent: by clip where clips or samples repeat, else Wilson's."""
    interval = tally.best_interval
    return DASH if interval is None else f"{interval[0] * 100:.1f}–{interval[1] * 100:.1f}"


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
    from sari_bench.comparing.compare import format_p

    def row(name: str, d: PairedDifference) -> list[str]:
        interval = f"{d.interval[0] * 100:+.2f} to {d.interval[1] * 100:+.2f}"
        p_value = "–" if d.p_value is None else format_p(d.p_value).removeprefix("= ")
        return [name, str(d.n), f"{d.difference * 100:+.2f}", interval, str(d.won), str(d.lost), p_value]

    header = ["task", "n", "points", "95 % interval", "won", "lost", "McNemar p"]
    return header, [*(row(name, part) for name, part in comparison.by.items()), row("all", comparison.overall)]


def to_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table for the terminal: names on the left, figures right-aligned, cells as plain text.

    Long headings and texts are broken over several lines; figures never are.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    body = [list(row) for row in rows]
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, (name, width) in enumerate(zip(header, column_widths(header, body), strict=True)):
        if index == 0 or name in WORDS:
            table.add_column(Text(name), overflow="fold", min_width=min(width, 4))
        else:
            table.add_column(Text(name), justify="right", width=width, overflow="fold")
    for row in body:
        heading = len(row) > 1 and not any(row[1:])
        table.add_row(*(Text(value, style="dim" if heading else "") for value in row))
    return table


def column_widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return how wide each column of a table must be, in terminal cells.

    A column of figures is as wide as its widest value, or its heading if that is short. Text can be broken, so a column
    of it needs less.
    """
    from rich.cells import cell_len

    widths = []
    for index, name in enumerate(header):
        value = max((cell_len(row[index]) for row in rows), default=0)
        needed = max(value, min(cell_len(name), _HEADING))
        widths.append(min(needed, _TEXT) if name in WORDS else needed)
    return widths


def fit_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> list[tuple[list[str], list[list[str]]]]:
    """Split a table that is wider than ``width`` into several, each with the first column; most tables come back whole.

    A name in the first column may be broken over several lines once it is longer than a third of the width. Later parts
    leave out rows that have nothing in their columns.
    """
    widths = column_widths(header, rows)
    room = width - 2 - (min(widths[0], width // 3) + 1)
    parts: list[list[int]] = [[]]
    used = 0
    for index, needed in enumerate(widths[1:], start=1):
        if parts[-1] and used + needed + 1 > room:
            parts.append([])
            used = 0
        parts[-1].append(index)
        used += needed + 1
    return [
        (
            [header[0], *(header[i] for i in part)],
            [[row[0], *(row[i] for i in part)] for row in rows if not number or any(row[i] != DASH for i in part)],
        )
        for number, part in enumerate(parts)
    ]


def to_markdown(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown under a heading."""
    marks = [":---" if index == 0 or name in WORDS else "---:" for index, name in enumerate(header)]
    lines = [f"## {_plain(title)}", "", _line(header), _line(marks), *(_line(row) for row in rows), ""]
    return "\n".join(lines)


def markdown_notes(notes: Iterable[str]) -> str:
    """Return sentences as a Markdown list."""
    return "".join(f"- {_plain(note)}\n" for note in notes)


def outcome_line(score: Score) -> str:
    """Return the outcomes of every answer that was due, in one line."""
    return "outcomes: " + ", ".join(f"{name} {count:,}" for name, count in score.honest.outcomes.items())


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
