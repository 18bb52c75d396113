"""``sari-bench compare``: does one run beat another?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sari_bench.commands.arguments import JsonOption, ScorerOption
from sari_bench.commands.output import print_table
from sari_data.console import note, out, print_json


def compare(
    run_a: Annotated[Path, typer.Argument(help="Run folder of the model before.")],
    run_b: Annotated[Path, typer.Argument(help="Run folder of the model after.")],
    transcript: Annotated[
        bool, typer.Option("--transcript", help="Show a question wrong before and right after.")
    ] = False,
    scorer: ScorerOption = "answer",
    as_json: JsonOption = False,
) -> None:
    """Say whether run B beats run A, by how many points, with a paired 95 % interval."""
    from sari_bench.compare import compare as compare_runs
    from sari_bench.report import comparison_rows, to_table, transcript_view
    from sari_bench.runs import read_run

    result = compare_runs(read_run(run_a), read_run(run_b), scorer)
    if as_json:
        print_json(result.to_json())
        return
    out.print(result.sentence, markup=False, highlight=False, soft_wrap=True)
    header, rows = comparison_rows(result)
    print_table(to_table(f"{result.b} minus {result.a}, in points", header, rows))
    if transcript:
        if result.transcript is None:
            note(f"no question is wrong in {result.a} and right in {result.b}: there is no transcript to show")
        else:
            out.print(transcript_view(result.transcript, result.a, result.b))
