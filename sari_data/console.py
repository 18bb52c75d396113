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

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from sari_data.errors import SariError

if TYPE_CHECKING:
    import typer

# Text of models, files and folders must not steer a terminal: C0 and C1 controls but tab and line break, DEL, and
# lone surrogates, which no output can encode.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_JSON_RAW = re.compile(r"[\x7f-\x9f\ud800-\udfff]")  # those of them that JSON lets stand


def visible(text: str) -> str:
    """Return a text with a sign in place of each control character but tab and line break; a terminal obeys those."""
    return _UNPRINTABLE.sub(_picture, text)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


class _Visible:
    """What is printed, with its own control characters made visible; what rich adds for styles stays."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


class _Guard(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Visible(renderable) for renderable in renderables]


def make_console(**options: Any) -> Console:
    """Return a console of rich, with its options, on which no text that is printed can steer the terminal."""
    console = Console(**options)
    console.push_render_hook(_Guard())
    return console


out = make_console()
err = make_console(stderr=True)

# What the machine refused, and a path that cannot be one, are no faults of the program: one sentence, no traceback.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_NO_PATH = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP}

_EVERY_S = 30.0  # between two lines of progress in a log file
_SHOWN = 120  # characters of a path in a message
_LONGEST = 4000  # characters of an error; a longer one, which quotes a huge value, is cut in its middle
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
    sys.stdout.write(json_text(value, indent=2) + "\n")


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON with its letters as they are; what steers a terminal or has no encoding is escaped."""
    return _JSON_RAW.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False, indent=indent))


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
        task = bar.add_task(visible(description), total=total, text="")

        def advance(count: int = 1, /, text: str = "") -> None:
            if text:
                bar.update(task, advance=count, text=visible(text))
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

    sentence = " ".join(sentence.split("\n"))  # what a library says may have several lines
    if len(sentence) > _LONGEST:
        sentence = f"{sentence[: _LONGEST // 2]} ... {sentence[-_LONGEST // 2 :]}"
    err.print(Text("error:", style="bold red").append(f" {sentence}", style="not bold default"), soft_wrap=True)
    sys.exit(2)
