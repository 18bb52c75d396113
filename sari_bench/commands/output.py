"""What the commands of ``sari-bench`` print and write alike."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sari_data.console import make_console, note, out
from sari_data.errors import InputError, StorageError

if TYPE_CHECKING:
    from rich.console import Console

    from sari_bench.reporting.board_tables import TextTable
    from sari_bench.scoring import Score

_PIPE = 160  # terminal cells where the width is unknown


def print_score(result: Score, title: str) -> None:
    """Print a score: every group in a table, the outcomes in a line, and what else must be known."""
    from sari_bench.reporting.report import outcome_line, score_rows, to_table

    header, rows = score_rows(result)
    print_table(to_table(title, header, rows))
    out.print(outcome_line(result), markup=False, highlight=False, soft_wrap=True)
    for sentence in result.notes:
        note(f"note: {sentence}")


def print_text_table(table: TextTable) -> None:
    """Print a table, in several parts where the terminal is too narrow for it, and its notes."""
    from sari_bench.reporting.report import fit_columns, to_table

    console = _console()
    for number, (header, rows) in enumerate(fit_columns(table.header, table.rows, console.width)):
        console.print(to_table(f"{table.title}{' (continued)' if number else ''}", header, rows))
    for sentence in table.notes:
        note(f"note: {sentence}")


def print_table(table: Any) -> None:
    """Print a table whole: into a pipe, where the width is unknown, it is as wide as it needs to be."""
    _console().print(table)


def _console() -> Console:
    return out if out.is_terminal else make_console(width=_PIPE)


def check_apart(option: str, path: Path, inputs: Iterable[Path | None]) -> None:
    """Raise InputError where a file that is to be written is one of the command's inputs: it would be lost."""
    given = [one for one in inputs if one is not None and one.exists()] if path.exists() else []
    same = next((one for one in given if path.samefile(one)), None)
    if same is not None:
        raise InputError(f"{option} {path} is the file that is read ({same}), and would replace it: name another file")


def write_text(path: Path, text: str) -> None:
    """Write a file that was asked for, folders included, and say where it is.

    Raises:
        StorageError: It cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")  # "?" for what is no UTF-8
    except OSError as error:
        raise StorageError(f"{str(path)!r} could not be written ({error.strerror}): choose another path") from error
    note(f"wrote {path}")
