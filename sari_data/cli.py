"""The command ``sari-data``: build, calibrate, check, sources.

Heavy imports are made inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sari_data.console import note, out, print_json, run_app, say

app = typer.Typer(
    help="Build multiple-choice audio corpora, measure how hard their questions are, and check them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipeArgument = Annotated[
    str | None, typer.Argument(metavar="[RECIPE]", help="A TOML file, or the name of a recipe that ships with sari.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. build.sft=100. Repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="A corpus folder.")]

PUSH = "--push-to-hub"


@app.command()
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
    as_json: JsonOption = False,
) -> None:
    """Build a corpus; without a recipe the embedded default, which downloads nothing."""
    from sari_data.build import Build, build
    from sari_data.calibrate import Calibrate
    from sari_data.config import DEFAULT_RECIPE, load_tables
    from sari_data.hub import find_repo, push_corpus

    overrides = [*(set_ or ()), *_flags(("build.out", out_), ("build.seed", seed))]
    tables = load_tables(recipe or DEFAULT_RECIPE, {"build": Build, "calibrate": Calibrate}, overrides)
    table: Build = tables["build"]
    # Asked before the work, so that a missing token costs no time.
    target = find_repo(repo, table.corpus_name) if push or repo else None
    note(f"building {table.out} from {_origin(recipe)}")
    manifest = build(table, tables["calibrate"], overwrite=overwrite)
    url = None
    if target is not None:
        note(f"pushing {table.out} to {target}")
        url = push_corpus(table.out, target, private=private)
    if as_json:
        print_json({"folder": str(Path(table.out).resolve()), "url": url, **manifest})
        return
    _print_counts(manifest)
    say(f"corpus: {Path(table.out).resolve()}")
    if url is not None:
        say(f"dataset: {url}")
    note(f"next: `sari-data check {table.out}`, or train on it with `sari-train sft`")


@app.command()
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
    from sari_data.build import recalibrate
    from sari_data.calibrate import Calibrate
    from sari_data.config import load_tables

    given = {"responder": responder, "model": model, "mode": mode, "samples": samples, "seed": seed}
    overrides = [*(set_ or ()), *_flags(*((f"calibrate.{key}", value) for key, value in given.items()))]
    table: Calibrate = load_tables(recipe, {"calibrate": Calibrate}, overrides)["calibrate"]
    manifest = recalibrate(folder, table)
    summary = manifest["calibrations"][-1]
    if as_json:
        print_json({"folder": str(folder.resolve()), "counts": manifest["counts"], **summary})
        return
    _print_histogram(summary)


@app.command()
def check(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Check a corpus: files, hashes, every row, every clip's audio, and that no clip of dev is trained on."""
    from sari_data.store import check_corpus, read_manifest

    problems = check_corpus(folder)
    manifest = read_manifest(folder)
    if as_json:
        print_json({"folder": str(folder.resolve()), "sound": not problems, "problems": problems})
    else:
        rows = sum(split["rows"] for split in manifest["splits"].values())
        for problem in problems:
            say(f"problem: {problem}")
        verdict = f"{len(problems)} found" if problems else "none found"
        say(f"{folder}: {rows} questions in {len(manifest['files'])} files; problems: {verdict}")
    if problems:
        raise typer.Exit(1)


@app.command()
def sources(as_json: JsonOption = False) -> None:
    """List the sources that a corpus can be built from."""
    from sari_data.sources import load_source, source_names

    about = {name: (load_source(name).__doc__ or "").strip().split("\n")[0] for name in source_names()}
    if as_json:
        print_json({"sources": [{"name": name, "about": text} for name, text in about.items()]})
        return
    for name, text in about.items():
        say(f"{name}  {text}")


def main() -> None:
    """Run ``sari-data``."""
    run_app(app, optional_repo(sys.argv[1:]))


def optional_repo(arguments: Sequence[str]) -> list[str]:
    """Rewrite ``--push-to-hub REPO`` as ``--push-to-hub --repo REPO``: options here have a value always or never."""
    rewritten: list[str] = []
    for argument in arguments:
        flag, separator, value = argument.partition("=")
        if flag == PUSH and separator:
            rewritten += [PUSH, "--repo", value]
        elif rewritten and rewritten[-1] == PUSH and not argument.startswith("-"):
            rewritten += ["--repo", argument]
        else:
            rewritten.append(argument)
    return rewritten


def _flags(*pairs: tuple[str, Any]) -> list[str]:
    """Turn options that were given into overrides; a text is quoted, so that "1" stays a text."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in pairs if value is not None]


def _origin(recipe: str | None) -> str:
    from sari_data.config import DEFAULT_RECIPE, find_recipe
    from sari_data.resources import recipes_dir

    path = find_recipe(recipe or DEFAULT_RECIPE)
    if recipe is None:
        return "the embedded default (recipe default, which ships with sari; nothing is downloaded)"
    return f"recipe {path}" + (" (ships with sari)" if path.parent == recipes_dir() else "")


def _print_counts(manifest: Mapping[str, Any]) -> None:
    from rich.table import Table

    domains = list(dict.fromkeys(d for counts in manifest["counts"].values() for d in counts["domains"]))
    levels = list(dict.fromkeys(d for counts in manifest["counts"].values() for d in counts["difficulties"]))
    table = Table("split", "questions", *domains, *levels)
    for split, counts in manifest["counts"].items():
        cells = [counts["domains"].get(d, 0) for d in domains] + [counts["difficulties"].get(d, 0) for d in levels]
        table.add_row(split, str(counts["questions"]), *map(str, cells))
    out.print(table)


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
