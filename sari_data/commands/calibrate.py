"""``sari-data calibrate``: measure how hard the questions of a corpus are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sari_data.commands.arguments import FolderArgument, JsonOption, RecipeArgument, SetOption, flags
from sari_data.console import out, print_json, say


def calibrate(
    folder: FolderArgument,
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    responder: Annotated[str | None, typer.Option(help="Who answers: local, scripted, or another registered.")] = None,
    model: Annotated[str | None, typer.Option(help="Its model: tiny, a folder, or a hub id.")] = None,
    mode: Annotated[str | None, typer.Option(help="Response mode of the questions.")] = None,
    samples: Annotated[int | None, typer.Option(help="Answers to each question.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampling.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how often a responder answers each question of rl right; a measurement made before is replaced."""
    from sari_data.calibrate import Calibrate
    from sari_data.config import load_tables
    from sari_data.recalibrate import recalibrate

    given = {"responder": responder, "model": model, "mode": mode, "samples": samples, "seed": seed}
    overrides = [*(set_ or ()), *flags(*((f"calibrate.{key}", value) for key, value in given.items()))]
    table: Calibrate = load_tables(recipe, {"calibrate": Calibrate}, overrides)["calibrate"]
    manifest = recalibrate(folder, table)
    summary = manifest["calibrations"][-1]
    if as_json:
        print_json({"folder": str(folder.resolve()), "counts": manifest["counts"], **summary})
        return
    _print_histogram(summary)


def _print_histogram(summary: Mapping[str, Any]) -> None:
    from rich.table import Table

    most = max(summary["histogram"].values()) or 1
    table = Table("passes", "questions", "")
    for passes, number in summary["histogram"].items():
        table.add_row(f"{passes}/{summary['samples']}", str(number), "█" * round(40 * number / most))
    out.print(table)
    fate = "in the side file never_passed" if summary["dropped_never_passed"] else "kept in rl"
    say(
        f"{summary['questions']} questions, mean pass rate {summary['mean_pass_rate']}, "
        f"{summary['never_passed']} never passed ({fate}); responder {summary['responder']}, mode {summary['mode']}, "
        f"seed {summary['seed']}"
    )
