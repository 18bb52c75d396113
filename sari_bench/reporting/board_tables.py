"""Boards as rows of text: runs beside published rows, groups against runs, and published rows of other versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sari_bench.published import PublishedRow
from sari_bench.reporting.groups import Grouping, group_name, grouping_name, tallies
from sari_bench.reporting.leaderboard import Board, Entry
from sari_bench.reporting.report import DASH, INTERVAL, cell, interval_cell, share_cell
from sari_bench.statistics.adjust import chance_note
from sari_bench.statistics.metrics import range_text
from sari_bench.statistics.voting import shown_pass_at

PUBLISHED = (
    "published rows were scored by their authors, mostly with the benchmark's own script ('--scorer official' is most "
    "like it); nothing of them was measured here"
)


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table ready to show: cells are text, the first column is a name, and notes stand below.

    ``own`` holds the places of the rows that were measured here, where others stand beside them.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    notes: tuple[str, ...] = ()
    own: frozenset[int] = frozenset()


def board_table(board: Board) -> TextTable:
    """Return a board as a table: runs and published rows by their average; columns that say nothing are left out."""
    columns = _columns(board)
    numbers = _source_numbers(board.published)
    ranked: list[tuple[float, int, list[str]]] = []
    for place, entry in enumerate(board.entries):
        accuracy = entry.score.overall.accuracy
        cells = [_entry_cell(board, entry, name) for name in columns]
        ranked.append((-100 * (accuracy or 0.0), place, [entry.run.name, *cells]))
    for place, row in enumerate(board.published, start=len(ranked)):
        name = f"{row.label} (published [{numbers[row.source, row.url]}]{'; flagged' if row.problem else ''})"
        cells = [_published_cell(board, row, column) for column in columns]
        ranked.append((-row.average if row.average is not None else 1.0, place, [name, *cells]))
    ranked.sort(key=lambda item: item[:2])
    header = ["model", *(_SHORT.get(name, name) for name in columns)]
    return TextTable(
        f"{board.title}, scorer {board.scorer}",
        header,
        [cells for _, _, cells in ranked],
        (*board.notes, *published_notes(board.published)),
        frozenset(at for at, (_, place, _) in enumerate(ranked) if board.published and place < len(board.entries)),
    )


_SHORT = {"interval": INTERVAL}


def _columns(board: Board) -> list[str]:
    entries = board.entries
    named = all(entry.run.name.endswith(f"@{entry.run.mode}") for entry in entries)
    absent = any(entry.score.honest.outcomes["missing"] for entry in entries)
    voted = any(entry.majority is not None for entry in entries)
    samples = sorted({found.k for entry in entries for found in shown_pass_at(entry.pass_at)})
    return [
        *([] if named else ["mode"]),
        *board.tasks,
        "average",
        "interval",
        *board.scorers[1:],
        *(["clean"] if board.clean is not None else []),
        *(["majority"] if voted else []),
        *(f"pass@{k}" for k in samples),
        "n",
        "unread",
        *(["missing"] if absent else []),
        *(["tokens"] if any(entry.run.mean_tokens is not None for entry in entries) else []),
    ]


def _entry_cell(board: Board, entry: Entry, column: str) -> str:
    overall, by = entry.score.overall, entry.score.by.get("task", {})
    honest, tokens = entry.score.honest, entry.run.mean_tokens
    if column in board.tasks:
        return cell(by[column].accuracy) if column in by else DASH
    if column in board.scorers[1:]:
        return cell(entry.scores[column].overall.accuracy)
    if column.startswith("pass@"):
        found = next((one for one in entry.pass_at if f"pass@{one.k}" == column), None)
        return DASH if found is None else f"{cell(found.value)} [{range_text(found.interval)}]"
    clean, majority = entry.clean, entry.majority
    return {
        "mode": entry.run.mode,
        "average": cell(overall.accuracy),
        "interval": interval_cell(overall),
        "clean": DASH if clean is None else cell(clean.overall.accuracy),
        "majority": DASH if majority is None else cell(majority.overall.accuracy),
        "n": str(overall.n),
        "unread": str(honest.unread),
        "missing": str(honest.outcomes["missing"]),
        "tokens": DASH if tokens is None else f"{tokens:.0f}",
    }[column]


def _published_cell(board: Board, row: PublishedRow, column: str) -> str:
    if column == "average":
        return printed(row.average)
    return printed(row.figures.get(column)) if column in board.tasks else DASH


def printed(value: float | None) -> str:
    """Return a printed percentage with two decimals, or a dash."""
    return DASH if value is None else f"{value:.2f}"


def _source_numbers(rows: Iterable[PublishedRow]) -> dict[tuple[str, str], int]:
    """Return the number of each source, which is a text with its address, in the order of the rows."""
    return {source: i for i, source in enumerate(dict.fromkeys((row.source, row.url) for row in rows), start=1)}


def published_notes(rows: Sequence[PublishedRow], said: str = PUBLISHED) -> tuple[str, ...]:
    """Return where published rows come from, after what is ``said`` of them, and what cannot be right in them."""
    if not rows:
        return ()
    listed = [f"[{i}] {source}{f' ({url})' if url else ''}" for (source, url), i in _source_numbers(rows).items()]
    flags = [f"{row.label} (published): {row.problem}" for row in rows if row.problem]
    remarks = [f"{row.label}: {row.remark}" for row in rows if row.remark]
    also = (f"of published rows it is also known: {'; '.join(remarks)}",) if remarks else ()
    return (f"{said}: {'; '.join(listed)}", *flags, *also)


def earlier_tables(boards: Iterable[Board]) -> list[TextTable]:
    """Return the published rows of versions that no run was made on, one table for each benchmark, version and split.

    Rows whose source does not say on which version they were scored are among them, whatever the runs were made on.
    """
    groups: dict[tuple[str, str, str], list[PublishedRow]] = {}
    boards = list(boards)
    shown = {(board.benchmark, board.version) for board in boards}
    for board in boards:
        for row in board.earlier:
            rows = groups.setdefault((row.benchmark, row.version, row.split), [])
            if row not in rows and not (row.stated and (row.benchmark, row.version) in shown):
                rows.append(row)
    tables = []
    for (benchmark, version, split), rows in sorted(groups.items()):
        if not rows:
            continue
        tasks = list(dict.fromkeys(task for row in rows for task in row.figures))
        numbers = _source_numbers(rows)
        cells = [
            [
                f"{row.label} (published [{numbers[row.source, row.url]}]{'; flagged' if row.problem else ''})",
                *(printed(row.figures.get(task)) for task in tasks),
                printed(row.average),
            ]
            for row in rows
        ]
        part = f", {split}" if split and not benchmark.endswith(split) else ""
        title = f"published results on {benchmark}{part} ({version}), another version of the questions"
        if not rows[0].stated:
            title = f"published results on {benchmark}{part}, whose sources do not say which version of the questions"
        tables.append(TextTable(title, ["model", *tasks, "average"], cells, published_notes(rows, "sources")))
    return tables


def group_tables(board: Board, grouping: Grouping) -> list[TextTable]:
    """Return the groups of one grouping against the runs, one table for each scorer; none where there are no groups."""
    tables = []
    for scorer in board.scorers:
        counted = [tallies(entry.scores.get(scorer, entry.score), grouping) for entry in board.entries]
        groups = list(dict.fromkeys(labels for found in counted for labels in found))
        if not groups:
            continue
        rows = []
        for labels in groups:
            parts = [found.get(labels) for found in counted]
            most = max((part.questions for part in parts if part is not None), default=0)
            rows.append([group_name(labels), str(most), *map(share_cell, parts)])
        note = chance_note(len(groups), len(counted))
        tables.append(
            TextTable(
                f"{board.title}, by {grouping_name(grouping)}, scorer {scorer}",
                [grouping_name(grouping), "n", *(entry.run.name for entry in board.entries)],
                rows,
                (note,) if note else (),
            )
        )
    return tables
