"""``sari-data build``: a corpus from a recipe, and up to the Hub with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sari_data.commands.arguments import (
    PUSH,
    AllowContaminatedOption,
    AudioFormOption,
    JsonOption,
    RecipeArgument,
    SetOption,
    flags,
)
from sari_data.console import note, out, print_json, say


def build(
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    out_: Annotated[str | None, typer.Option("--out", metavar="FOLDER", help="The corpus folder.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the source and of the split.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a corpus that is there.")] = False,
    push: Annotated[
        bool, typer.Option(PUSH, help="Upload it as a dataset: --push-to-hub [REPO]; default USER/NAME of the corpus.")
    ] = False,
    repo: Annotated[str | None, typer.Option("--repo", metavar="REPO", help="Where to upload it to.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    audio: AudioFormOption = "shareable",
    allow_contaminated: AllowContaminatedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build a corpus; without a recipe the embedded default, which downloads nothing."""
    from sari_data.build import Plan, build
    from sari_data.hub import find_repo
    from sari_data.publishing import check_audio, check_before, publish

    overrides = [*(set_ or ()), *flags(("build.out", out_), ("build.seed", seed))]
    plan = Plan.load(recipe, overrides)
    table = plan.build
    check_audio(audio)
    # Asked before the work, so that a missing token costs no time.
    target = find_repo(repo, table.corpus_name) if push or repo else None
    if target is not None:
        asked = plan.annotate
        stages = (asked.caption, asked.question, asked.reasoning, asked.judge)
        check_before(
            sources=table.sources,
            compared=plan.dedup is not None and bool(plan.dedup.against),
            responders={"rehearsal" if asked.rehearse and stage.on else stage.responder for stage in stages},
            allow_contaminated=allow_contaminated,
        )
    note(f"building {table.out} from {_origin(recipe)}")
    manifest = build(plan, overwrite=overwrite)
    url = None
    if target is not None:
        note(f"pushing {table.out} to {target}")
        url = publish(table.out, target, private=private, audio=audio, allow_contaminated=allow_contaminated)
    if as_json:
        print_json({"folder": str(Path(table.out).resolve()), "url": url, **manifest})
        return
    _print_counts(manifest)
    _print_funnel(manifest)
    say(f"corpus: {Path(table.out).resolve()}")
    if url is not None:
        say(f"dataset: {url}")
    note(f"next: `sari-data check {table.out}`, or train on it with `sari-train sft`")


def _origin(recipe: str | None) -> str:
    from sari_data.config import DEFAULT_RECIPE, find_recipe
    from sari_data.resources import recipes_dir

    path = find_recipe(recipe or DEFAULT_RECIPE)
    if recipe is None:
        return "the embedded default (recipe default, which ships with sari; nothing is downloaded)"
    return f"recipe {path}" + (" (ships with sari)" if path.parent == recipes_dir() else "")


def _print_counts(manifest: Mapping[str, Any]) -> None:
    from rich.table import Table

    from sari_data.counting import NOT_STATED

    domains = list(dict.fromkeys(d for counts in manifest["counts"].values() for d in counts["domains"]))
    levels = list(dict.fromkeys(d for counts in manifest["counts"].values() for d in counts["difficulties"]))
    levels = [] if levels == [NOT_STATED] else levels
    heads = ["difficulty not stated" if level == NOT_STATED else level for level in levels]
    table = Table("split", "questions", *domains, *heads)
    for number, column in enumerate(table.columns):
        column.overflow, column.no_wrap = "fold", number < 2
    for split, counts in manifest["counts"].items():
        cells = [counts["domains"].get(d, 0) for d in domains] + [counts["difficulties"].get(d, 0) for d in levels]
        table.add_row(split, str(counts["questions"]), *map(str, cells))
    out.print(table)


def _print_funnel(manifest: Mapping[str, Any]) -> None:
    """What went into each stage and came out, what was in a benchmark, and the bands of an adaptive calibration."""
    from rich.markup import escape
    from rich.table import Table

    from sari_data.commands.calibrate import print_bars
    from sari_data.commands.check import print_contamination

    table = Table("stage", "in", "out", "left out and why")
    for column in table.columns[1:3]:
        column.justify = "right"
    for stage in manifest["funnel"]:
        made = f"{stage['out']:,}" if stage["made"] == stage["unit"] else f"{stage['out']:,} {stage['made']}"
        why = [f"{number:,} {escape(reason)}" for reason, number in stage["dropped"].items()]
        table.add_row(escape(stage["stage"]), f"{stage['in']:,} {stage['unit']}", made, "\n".join(why))
    out.print(table)
    if manifest["contamination"].get("checked"):
        print_contamination(manifest["contamination"])
    elif manifest["contamination"]:
        say("compared with no benchmark: name those that you measure on in dedup.against")
    for summary in manifest["calibrations"]:
        if summary["method"] == "adaptive":
            print_bars(summary)
