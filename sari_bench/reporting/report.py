"""Reports for the terminal and as Markdown: full scores, comparisons, and how tables look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from sari_bench.scoring import Score, honest_of
from sari_bench.statistics.adjust import chance_note
from sari_bench.statistics.metrics import Tally, percent, range_text
from sari_data.console import visible

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from sari_bench.comparing.compare import Transcript


INTERVAL = "95 % CI"
WORDS = {"mode", "reason", "right answer", "what was said"}  # columns of text besides the first
DASH = "–"  # no figure
_HEADING = 18  # terminal cells of a heading before it is broken over several lines
_TEXT = 18  # terminal cells that a column of text needs


def cell(value: float | None) -> str:
    """Return a share as percent with two decimals, or a dash."""
    return DASH if value is None else f"{percent(value):.2f}"


def interval_cell(tally: Tally) -> str:
    """Return a tally's 95 % interval in percent: by clip where clips or samples repeat, else Wilson's."""
    return range_text(tally.best_interval)


def share_cell(tally: Tally | None) -> str:
    """Return an accuracy with its interval, or a dash where there is none."""
    return DASH if tally is None or tally.accuracy is None else f"{cell(tally.accuracy)} [{interval_cell(tally)}]"


def score_rows(score: Score) -> tuple[list[str], list[list[str]]]:
    """Return a score's header and rows as text: overall, then every group of every dimension.

    The row before a dimension's groups has its name alone. "wrong" and every other outcome that occurs has a column, so
    that each row adds up to n (without "missing" where unanswered questions are no part of it). "of all %" is the
    accuracy over every question, where the scorer's own total leaves unanswered ones out.
    """
    counted = score.honest.outcomes
    beside = score.drops_missing and counted["missing"] > 0
    outcomes = [name for name, count in counted.items() if name == "wrong" or (count and name != "correct")]
    header = ["", "n", "correct", "acc. %", INTERVAL, *outcomes, *(["of all %"] if beside else [])]

    def row(name: str, tally: Tally) -> list[str]:
        counts = [str(tally.outcomes.get(outcome, 0)) for outcome in outcomes]
        counts += [cell(honest_of(tally).accuracy)] if beside else []
        return [name, str(tally.n), str(tally.correct), cell(tally.accuracy), interval_cell(tally), *counts]

    rows = [row("all", score.overall)]
    for dimension, parts in score.by.items():
        rows.append([f"by {dimension}", *[""] * (len(header) - 1)])
        rows += [row(f"  {name}", tally) for name, tally in parts.items()]
    return header, rows


def score_notes(score: Score) -> tuple[str, ...]:
    """Return what must be known of a score's table: the score's own sentences, and one where it has many groups."""
    most = max(map(len, score.by.values()), default=0)
    return (*score.notes, *filter(None, [chance_note(most)]))


def to_table(header: Sequence[str], rows: Iterable[Sequence[str]], width: int, strong: Collection[int] = ()) -> Table:
    """Return a table for a terminal of ``width`` cells: names on the left, figures on the right, cells as plain text.

    The rows at the places ``strong`` are bold.

    Long headings and texts are broken over several lines; figures never are. A broken name keeps its indentation.
    """
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    header = [visible(name) for name in header]
    body = [[visible(value) for value in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, (name, needed) in enumerate(zip(header, column_widths(header, body), strict=True)):
        if index == 0:
            table.add_column(Text(name), overflow="fold", min_width=_name_width(header, body, width))
        elif name in WORDS:
            table.add_column(Text(name), overflow="fold", min_width=needed)
        else:
            table.add_column(Text(name), justify="right", width=needed, overflow="fold")
    for at, (name, *values) in enumerate(body):
        heading = values and not any(values)  # of a group of rows
        style = "dim" if heading else "bold" if at in strong else ""
        bare = name.lstrip(" ")
        first = Padding(Text(bare, style=style), (0, 0, 0, len(name) - len(bare)))
        table.add_row(first, *(Text(value, style=style) for value in values))
    return table


def _name_width(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> int:
    """Return the cells that the first column of a table has at least, of ``width`` in all.

    That is all it needs, up to two fifths; up to half for a single word, such as a question's id.
    """
    from rich.cells import cell_len

    names = [header[0], *(row[0] for row in rows)]
    words = (len(name) - len(name.lstrip()) + max(map(cell_len, name.split()), default=0) for name in names)
    return max(min(max(map(cell_len, names)), width * 2 // 5), min(max(words), width // 2))


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

    A name in the first column may be broken over several lines once it is longer than two fifths of the width. Later
    parts leave out rows that have nothing in their columns.
    """
    widths = column_widths(header, rows)
    room = width - 2 - (_name_width(header, rows, width) + 1)  # 2: the edges; a column has a blank on either side
    parts: list[list[int]] = [[]]
    used = 0
    for index, needed in enumerate(widths[1:], start=1):
        if parts[-1] and used + needed + 2 > room:
            parts.append([])
            used = 0
        parts[-1].append(index)
        used += needed + 2
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


def unread_line(score: Score, most: int) -> str:
    """Return why no option was read, the ``most`` frequent reasons first; empty where every answer was read."""
    reasons = Counter(
        item.reason or item.outcome for item in score.items if item.outcome in ("unparsed", "truncated", "refused")
    )
    shown = [f"{why} {count:,}" for why, count in reasons.most_common(most)]
    rest = reasons.total() - sum(count for _, count in reasons.most_common(most))
    return f"unread: {', '.join(shown)}{f', other reasons {rest:,}' if rest else ''}" if shown else ""


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
    escaped = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A backslash before a bar would undo the bar's own, and a link or picture begins with "](".
    escaped = escaped.replace("\\", "\\\\").replace("|", "\\|").replace("](", "]\\(")
    return " ".join(escaped.split("\n"))
