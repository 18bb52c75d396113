"""What the three commands share at the terminal: where text goes and how errors end a command.

Results go to standard output; progress and notes go to standard error, so that ``--json`` output
can be piped. Exit codes: 0 done; 1 a check found a problem; 2 wrong usage or input.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from sari_data.errors import SariError

if TYPE_CHECKING:
    import typer

out = Console()
err = Console(stderr=True)


def note(text: str) -> None:
    """Say what is being done, on standard error."""
    err.print(text, highlight=False, soft_wrap=True)


def run_app(app: typer.Typer) -> NoReturn:
    """Run a command; a SariError becomes one sentence on standard error and exit code 2."""
    try:
        app()
    except SariError as error:
        err.print(f"[bold red]error:[/] {_escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("stopped")
        sys.exit(130)
    sys.exit(0)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
