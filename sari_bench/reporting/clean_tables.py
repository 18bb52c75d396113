"""The clean subset beside the full one: a table of every run, and its figures as rows for CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sari_bench.contamination import FEW
from sari_bench.reporting.board_tables import TextTable
from sari_bench.reporting.leaderboard import Board
from sari_bench.reporting.report import DASH, share_cell
from sari_bench.statistics.metrics import percent

_HEADER = ["model", "full", "n", "clean", "n clean", "contaminated", "n contaminated"]
_DIFFERENCES = ["full − clean", "contaminated − clean"]


def clean_table(board: Board) -> TextTable | None:
    """Return each run's accuracy over all, the clean and the contaminated questions, and what sets them apart.

    Accuracies and differences have their intervals. Of a run the notes say what the figures do not: that nothing was
    found, or so little that it says nothing. ``None`` where no training corpus was given.
    """
    if board.clean is None:
        return None
    rows = []
    unclear = []  # their figures do not say all
    for entry in board.entries:
        scores = entry.training
        if scores is None:
            continue
        parts = [scores.full, scores.clean, scores.marked]
        tallies = [None if score is None else score.overall for score in parts]
        cells = [text for tally in tallies for text in (share_cell(tally), "0" if tally is None else str(tally.n))]
        rows.append([entry.run.name, *cells, _points(scores.full_less_clean), _points(scores.difference)])
        if scores.difference is None or scores.marked is None or scores.marked.overall.questions < FEW:
            unclear.append(entry)
    title = f"{board.title}, without what {board.clean.names} holds, scorer {board.scorer}"
    return TextTable(title, [*_HEADER, *_DIFFERENCES], rows, board.clean_notes(unclear))


def difference_rows(board: Board) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each run's name with its differences for CSV: ``questions`` says of what, the rest is in points."""
    for entry in board.entries:
        if entry.training is None:
            continue
        found = (entry.training.full_less_clean, entry.training.difference)
        for name, difference in zip(("full - clean", "contaminated - clean"), found, strict=True):
            if difference is not None:
                cells = {"accuracy": difference[0], "low": difference[1][0], "high": difference[1][1]}
                yield entry.run.name, {"questions": name, **{key: percent(value) for key, value in cells.items()}}


def _points(difference: tuple[float, tuple[float, float]] | None) -> str:
    if difference is None:
        return DASH
    points, (low, high) = difference
    return f"{points * 100:+.2f} [{low * 100:+.2f} to {high * 100:+.2f}]"
