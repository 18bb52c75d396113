"""The command ``sari-data``: its commands are in ``sari_data.commands``, one a file.

Heavy imports are made inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import sys

import typer

from sari_data.commands.arguments import optional_repo
from sari_data.commands.build import build
from sari_data.commands.cache import cache
from sari_data.commands.calibrate import calibrate
from sari_data.commands.check import check
from sari_data.commands.push import push
from sari_data.commands.rehydrate import rehydrate
from sari_data.commands.sources import sources
from sari_data.commands.view import view
from sari_data.console import run_app

app = typer.Typer(
    help="Build multiple-choice audio corpora, measure how hard their questions are, and check them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (build, cache, calibrate, check, push, rehydrate, sources, view):
    app.command()(_command)


def main() -> None:
    """Run ``sari-data``."""
    run_app(app, optional_repo(sys.argv[1:]))
