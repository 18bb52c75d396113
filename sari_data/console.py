"""What the three commands share at the terminal: where text goes and how errors end a command.

Results go to standard output; progress and notes go to standard error, so that ``--json`` output
can be piped. Exit codes: 0 done; 1 a check found a problem; 2 wrong usage or input; 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import errno
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from rich.console import Console

from sari_data.errors import SariError

if TYPE_CHECKING:
    import typer

out = Console()
err = Console(stderr=True)

# What the machine refused, and a path that cannot be one, are no faults of the program: one sentence, no traceback.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_NO_PATH = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP}

_EVERY_S = 30.0  # between two lines of progress in a log file
_SHOWN = 120  # characters of a path in a message
_HEADING = re.compile(r"\[bold\](\w+)\[/\]")


_muted = False


def mute() -> None:
    """Have :func:`note` say nothing from now on: one of several processes speaks for all. Errors are still told."""
    global _muted
    _muted = True


def note(text: str) -> None:
    """Say what is being done, on standard error.

    Args:
        text: Plain text, in which brackets are brackets; it may begin with one word as ``[bold]word[/]``.
    """
    if _muted:
        return
    from rich.text import Text

    heading = _HEADING.match(text)
    line = Text(heading[1], style="bold") if heading else Text()
    err.print(line.append(text[heading.end() if heading else 0 :]), highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print one line of a result on standard output as it is: no markup, no emoji codes, no wrapping."""
    out.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON object on standard output, unwrapped and unstyled."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


class Advance(Protocol):
    """Advances a progress display by so many items; ``text`` says what else there is to know just now."""

    def __call__(self, count: int = 1, /, text: str = "") -> None:
        """Advance."""
        ...


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Advance]:
    """Show progress on standard error: a bar on a terminal, elsewhere a line from time to time.

    Args:
        description: What is being done.
        total: Number of items; ``None`` where it is unknown.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    if not err.is_terminal:
        yield _Lines(description, total)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(description, total=total, text="")

        def advance(count: int = 1, /, text: str = "") -> None:
            if text:
                bar.update(task, advance=count, text=text)
            else:
                bar.advance(task, count)

        yield advance


class _Lines:
    """Progress in a log file: one line when half a minute has passed since the last."""

    def __init__(self, description: str, total: int | None) -> None:
        self._description, self._total = description, total
        self._begun = self._told = time.monotonic()
        self._count = 0

    def __call__(self, count: int = 1, /, text: str = "") -> None:
        self._count += count
        now = time.monotonic()
        if now - self._told < _EVERY_S:
            return
        self._told = now
        of = f" of {self._total:,}" if self._total is not None else ""
        rate = self._count / (now - self._begun)
        note(f"{self._description}: {self._count:,}{of}, {rate:,.1f} a second" + (f"; {text}" if text else ""))


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command; a SariError becomes one sentence on standard error and exit code 2.

    Args:
        app: The command.
        arguments: Its arguments; ``None`` means the process's own.
    """
    try:
        app(args=None if arguments is None else list(arguments))
    except SariError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in _REFUSED | _NO_PATH:
            raise
        name = str(error.filename or "")
        where = f"{name if len(name) <= _SHOWN else name[:_SHOWN] + '...'}: " if name else ""
        remedy = "correct the path" if error.errno in _NO_PATH else "free some space, or name another place"
        _fail(f"{where}could not be read or written ({error.strerror}): {remedy}")
    except KeyboardInterrupt:
        err.print("stopped")
        sys.exit(130)
    except SystemExit as ending:
        # typer turns Ctrl-C into a bare exit code; a command that ends with 130 of its own has said why.
        exit_ = ending.__context__
        if exit_ is not None and isinstance(exit_.__cause__, KeyboardInterrupt):
            err.print("stopped")
        raise
    sys.exit(0)


def _fail(sentence: str) -> NoReturn:
    from rich.text import Text

    err.print(Text("error:", style="bold red").append(f" {sentence}", style="not bold default"), soft_wrap=True)
    sys.exit(2)
