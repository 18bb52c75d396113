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
    responder: Annotated[
        str | None, typer.Option(help="Who answers: local, server, scripted, or another registered.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Its model: tiny, a folder, or a hub id.")] = None,
    mode: Annotated[str | None, typer.Option(help="Response mode of the questions.")] = None,
    method: Annotated[str | None, typer.Option(help="fixed: as many answers to each; adaptive: where needed.")] = None,
    samples: Annotated[int | None, typer.Option(help="Answers to each question where the method is fixed.")] = None,
    budget: Annotated[
        float | None, typer.Option(help="Mean answers to a question where the method is adaptive.")
    ] = None,
    listening: Annotated[
        bool | None, typer.Option("--listening/--no-listening", help="Ask without the audio, and with another's, too.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampling.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how often a responder answers each question of rl right.

    An earlier measurement by the same responder, in the same mode and with the same seed is replaced; others stay.
    """
    from sari_data.calibrate import Calibrate
    from sari_data.config import load_tables
    from sari_data.recalibrate import recalibrate

    given: dict[str, Any] = {
        "responder": responder,
        "model": model,
        "mode": mode,
        "method": method,
        "samples": samples,
        "seed": seed,
    }
    given |= {"adaptive.budget": budget, "listening": listening}
    overrides = [*(set_ or ()), *flags(*((f"calibrate.{key}", value) for key, value in given.items()))]
    table: Calibrate = load_tables(recipe, {"calibrate": Calibrate}, overrides)["calibrate"]
    manifest = recalibrate(folder, table)
    summary = manifest["calibrations"][-1]
    if as_json:
        print_json({"folder": str(folder.resolve()), "counts": manifest["counts"], **summary})
        return
    _print_summary(summary)


def print_bars(summary: Mapping[str, Any]) -> None:
    """Print how many questions have so many passes, or are in each band, as bars."""
    from rich.table import Table

    fixed = summary["method"] == "fixed"
    most = max(summary["histogram"].values()) or 1
    table = Table("passes" if fixed else "band", "questions", "")
    for name, number in summary["histogram"].items():
        label = f"{name}/{summary['samples']}" if fixed else name
        table.add_row(label, str(number), "█" * round(40 * number / most))
    out.print(table)


def _print_summary(summary: Mapping[str, Any]) -> None:
    print_bars(summary)
    fate = "in the side file never_passed" if summary["dropped_never_passed"] else "kept in rl"
    say(
        f"{summary['questions']} questions, mean pass rate {summary['mean_pass_rate']}, "
        f"{summary['never_passed']} never passed ({fate}); responder {summary['responder']}, mode {summary['mode']}, "
        f"seed {summary['seed']}"
    )
    for why, number in summary.get("unanswered_because", {}).items():
        say(f"{number} more could not be answered and are in the side file unanswered: {why}")
    if summary["method"] != "fixed":
        _print_trust(summary)
    if "listening" in summary:
        _print_listening(summary["listening"])


def _print_trust(summary: Mapping[str, Any]) -> None:
    """What adaptive sampling spent, and whether its probabilities came true."""
    from rich.table import Table

    say(
        f"{summary['asked']} answers in {summary['rounds']} rounds, {summary['samples']} a question; the band of "
        f"{summary['settled']} is at least {summary['adaptive']['confidence']:.0%} sure"
    )
    table = Table("chance", "predictor", "came true", "answers", "estimate", "came true", "answers")
    bins = {name: {b["from"]: b for b in summary[name]["bins"]} for name in ("predictor", "estimates")}
    for low in sorted({*bins["predictor"], *bins["estimates"]}):
        cells = []
        for name in ("predictor", "estimates"):
            found = bins[name].get(low)
            cells += (
                [f"{found['predicted']:.3f}", f"{found['observed']:.3f}", str(found["answers"])] if found else [""] * 3
            )
        table.add_row(f"from {low:.1f}", *cells)
    out.print(table)
    for name in ("predictor", "estimates"):
        if summary[name]["brier"] is None:  # no answer came after a belief
            continue
        say(
            f"Brier score of the {name}: {summary[name]['brier']} (of the mean alone: {summary[name]['brier_of_mean']})"
        )


def _print_listening(listening: Mapping[str, Any]) -> None:
    for heard, words in (("none", "without audio"), ("other", "with another question's audio")):
        found = listening[heard]
        say(f"{words}: mean pass rate {found['mean_pass_rate']}, {found['marked']} marked as {found['flag']}")
    fate = "in the side file passed_unheard" if listening["dropped"] else "kept in rl"
    say(f"{listening['marked']} questions are passed as often without hearing ({fate})")
