"""What the commands of ``sari-bench`` share: their arguments, and how options become overrides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sari_data.errors import InputError

if TYPE_CHECKING:
    from sari_bench.config import Bench

RecipeArgument = Annotated[
    str | None, typer.Argument(metavar="RECIPE", help="A TOML file, or the name of a recipe that ships with sari.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key: bench.limit=50. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
QuestionsOption = Annotated[
    Path | None,
    typer.Option(help="The benchmark's question file, a folder with it, or hub:owner/name; default: from the Hub."),
]
AudioOption = Annotated[
    Path | None,
    typer.Option(
        help="Its audio: a folder, an archive (.tar.gz, .tgz, .tar, .zip) or hub:owner/name/path; default: where the "
        "questions are."
    ),
]
LimitOption = Annotated[
    int | None, typer.Option(help="Ask only so many questions, the same ones for every model; default: all.")
]
OneRecordingOption = Annotated[
    bool | None,
    typer.Option("--one-recording", help="Leave out questions about several recordings, which mmau-pro has."),
]
ScorerOption = Annotated[
    str,
    typer.Option(
        "--scorer",
        help="answer (sari's grader), official (the benchmark's own matching), letter, or judge with stored verdicts.",
    ),
]
ResponderOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--responder-option", metavar="KEY=VALUE", help="Option of the responder, such as concurrency=8. Repeatable."
    ),
]


def effective_bench(recipe: str | None, overrides: list[str] | None, given: dict[str, Any]) -> Bench:
    """The [bench] table with the command's own options on top; an option is an override like any other."""
    from sari_bench.benchmarks import benchmark_names
    from sari_bench.config import Bench
    from sari_data.config import load_tables

    if recipe in benchmark_names() and not Path(recipe).exists():
        raise InputError(f"{recipe!r} is a benchmark, and a recipe stands here: give --benchmark {recipe}")
    options = [
        f"bench.{key}={json.dumps(str(v) if isinstance(v, Path) else v, ensure_ascii=False)}"
        for key, v in given.items()
        if v is not None
    ]
    table: Bench = load_tables(recipe, {"bench": Bench}, [*(overrides or []), *options])["bench"]
    return table


def responder_options(pairs: list[str] | None, option: str = "--responder-option") -> dict[str, Any]:
    """Return the options of a responder from texts such as ``path=answers.jsonl`` or ``concurrency=8``.

    A number, truth value, list or table in TOML is one; anything else is text.

    Raises:
        InputError: One is not key=value.
    """
    import tomllib

    found: dict[str, Any] = {}
    for pair in pairs or []:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise InputError(f"{option} {pair}: expected key=value, for instance model=NAME")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        found[key] = value if isinstance(value, (bool, int, float, str, list, dict)) else text
    return found
