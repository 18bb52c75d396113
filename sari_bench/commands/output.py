"""What the commands of ``sari-bench`` print and write alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sari_data.console import make_console, note, out, say
from sari_data.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from sari_bench.reporting.board_tables import TextTable
    from sari_bench.scoring import Score

_PIPE = 160  # terminal cells where the width is unknown
_REASONS = 4  # reasons for which no option was read; 'diagnose' lists all


def print_score(result: Score, title: str) -> None:
    """Print a score: every group in a table, the outcomes in a line, what samples vote, and what else must be known."""
    from sari_bench.reporting.report import outcome_line, score_notes, score_rows, unread_line
    from sari_bench.statistics.voting import vote_lines

    print_table(title, *score_rows(result))
    for line in (outcome_line(result), unread_line(result, _REASONS), *vote_lines(result)):
        if line:
            say(line)
    for sentence in score_notes(result):
        note(f"note: {sentence}")


def print_text_table(table: TextTable) -> None:
    """Print a table and its notes."""
    print_table(table.title, table.header, table.rows, table.own)
    for sentence in table.notes:
        note(f"note: {sentence}")


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], strong: Collection[int] = ()) -> None:
    """Print a table under its title, in several parts where the terminal is too narrow for it; some rows in bold.

    Into a pipe, where the width is unknown, it is as wide as it needs to be, up to 160 cells; no line ends in blanks.
    """
    from rich.text import Text

    from sari_bench.reporting.report import fit_columns, to_table

    console = _console()
    for number, (part, body) in enumerate(fit_columns(header, rows, console.width)):
        # Not the table's own title, which would be broken at the width of the table.
        heading = Text(f"{title}{' (continued)' if number else ''}", style="bold")
        table = to_table(part, body, console.width, strong)
        if out.is_terminal:
            console.print(heading)
            console.print(table)
            continue
        with console.capture() as printed:
            console.print(heading)
            console.print(table)
        say("\n".join(line.rstrip() for line in printed.get().splitlines()))


def _console() -> Console:
    return out if out.is_terminal else make_console(width=_PIPE)


def check_apart(option: str, path: Path, inputs: Iterable[Path | None]) -> None:
    """Raise InputError where a file that is to be written is one of the command's inputs: it would be lost."""
    given = [one for one in inputs if one is not None and one.exists()] if path.exists() else []
    same = next((one for one in given if path.samefile(one)), None)
    if same is not None:
        raise InputError(f"{option} {path} is the file that is read ({same}), and would replace it: name another file")


def check_files(paths: Mapping[str, Path | None]) -> None:
    """Check the files that options are to write, before the work that they are to hold.

    Raises:
        StorageError: One is a folder.
        InputError: Two options are to write one file: the last would win.
    """
    seen: dict[Path, str] = {}
    for option, path in paths.items():
        if path is None:
            continue
        if path.is_dir():
            raise StorageError(f"{str(path)!r} could not be written (it is a folder): choose another path")
        first = seen.setdefault(path.resolve(), option)
        if first != option:
            raise InputError(f"{first} and {option} both write {path}: name two files")


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
