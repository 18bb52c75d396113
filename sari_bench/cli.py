"""The command ``sari-bench``: its commands are in ``sari_bench.commands``, one a file.

Heavy imports are made inside the commands, so that ``--help`` is quick and works without torch.
"""

from __future__ import annotations

import sys

import typer

from sari_bench.commands.compare import compare
from sari_bench.commands.diagnose import diagnose
from sari_bench.commands.list import list_benchmarks
from sari_bench.commands.report import report
from sari_bench.commands.run import run
from sari_bench.commands.score import score
from sari_bench.commands.shortcuts import shortcuts
from sari_bench.commands.submit import submit
from sari_data.commands.arguments import optional_repo
from sari_data.console import run_app

app = typer.Typer(
    name="sari-bench",
    help="Measure audio-language models: run benchmarks, score answers, report and compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (run, score, report, compare, shortcuts, diagnose, submit):
    app.command()(_command)
app.command("list")(list_benchmarks)


def main() -> None:
    """Run the command."""
    run_app(app, optional_repo(sys.argv[1:]))
