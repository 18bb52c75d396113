"""What the commands of ``sari-data`` share: their arguments, and how options become overrides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

RecipeArgument = Annotated[
    str | None, typer.Argument(metavar="[RECIPE]", help="A TOML file, or the name of a recipe that ships with sari.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. build.sft=100. Repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="A corpus folder.")]
AudioFormOption = Annotated[
    str,
    typer.Option(
        "--audio", metavar="shareable|all|none", help="Whose audio is uploaded: of sources that allow it, all, or none."
    ),
]
AllowContaminatedOption = Annotated[
    bool, typer.Option("--allow-contaminated", help="Upload also what contains a benchmark, or was compared with none.")
]

PUSH = "--push-to-hub"


def flags(*pairs: tuple[str, Any]) -> list[str]:
    """Turn options that were given into overrides; a text is quoted, so that "1" stays a text."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in pairs if value is not None]


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
