"""``sari-data sources``: what a corpus can be built from."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from sari_data.commands.arguments import JsonOption
from sari_data.console import note, out, print_json, say

if TYPE_CHECKING:
    from pydantic import BaseModel

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def sources(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show all of this source.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the sources that a corpus can be built from; with a name, all of one and its recipe keys."""
    from sari_data.sources import load_source, source_names

    if name is None:
        every = [load_source(each).ABOUT for each in source_names()]
        if as_json:
            print_json({"sources": [asdict(about) for about in every]})
            return
        for about in every:
            _print_about(asdict(about))
        note("next: `sari-data sources NAME` says what a recipe can set for one of them")
        return
    source: Any = load_source(name)
    found = list(keys(source.Options))
    recipe = f"[build.{name}]\n{example(source)}"
    if as_json:
        print_json({**asdict(source.ABOUT), "keys": found, "recipe": recipe})
        return
    _print_about(asdict(source.ABOUT))
    say(f"\nrecipe keys of [build.{name}]\n")
    _print_keys(found)
    say("\na small recipe\n")
    for line in recipe.rstrip().split("\n"):
        say(f"    {line}" if line else "")


def keys(table: type[BaseModel], prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield the keys of a recipe table, those of tables inside it with a dot.

    Each is a mapping of ``key``, ``type`` in words, ``required``, ``default`` (a JSON value, ``None`` where there is
    none) and ``about``, from the table's own documentation.
    """
    from pydantic import BaseModel

    said = {}
    for found in _ARGUMENT.finditer(inspect.cleandoc(table.__doc__ or "")):
        said[found[1]] = " ".join(found[2].split()).replace("``", "`")
    for name, field in table.model_fields.items():
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_table(kind)]
        required = field.is_required()
        default = None if required else field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            default = default.model_dump(mode="json", exclude_defaults=True)
        yield {
            "key": f"{prefix}{name}",
            "type": "table" if inner else _in_words(field.annotation),
            "required": required,
            "default": json.loads(json.dumps(default, default=list)),
            "about": said.get(name, ""),
        }
        for kind in inner:
            yield from keys(kind, f"{prefix}{name}.")


def example(source: Any) -> str:
    """Return a small body of a source's recipe table: its own ``EXAMPLE``, or the keys that it must have."""
    given: str | None = getattr(source, "EXAMPLE", None)
    if given is not None:
        return given
    needed = [key for key in keys(source.Options) if key["required"] and "." not in key["key"]]
    lines = [f"{key['key']} = {_VALUES.get(key['type'], json.dumps('...'))}" for key in needed]
    return "".join(f"{line}\n" for line in lines) or "# every key has a default\n"


_VALUES = {"whole number": "1", "number": "1.0", "true or false": "true", "list of text": '["..."]'}


def _is_table(kind: Any) -> bool:
    from pydantic import BaseModel

    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _in_words(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(json.dumps(part) for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(part) for part in parts if part is not type(None))
    if origin is Annotated:
        return _in_words(parts[0])
    if origin in (tuple, list, Sequence):
        return f"list of {_in_words(parts[0])}"
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return f"table of {_in_words(parts[1])}"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def _print_about(about: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    say("")
    out.print(Text(about["name"], style="bold").append(f"  {about['title']}", style="not bold"), highlight=False)
    shared = "may be published with a corpus" if about["share_audio"] else "is not published: ids and segments are"
    facts: list[tuple[str, Sequence[str]]] = [
        ("gives", (about["gives"],)),
        ("needs", about["needs"]),
        ("annotations", (about["licence"],)),
        ("audio", (about["audio_licence"], shared)),
        ("get", about["get"]),
        ("see", tuple(filter(None, (about["homepage"], about["paper"])))),
    ]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, lines in facts:
        for number, line in enumerate(lines):
            grid.add_row(f"  {'' if number else label}", Text(line))
    _print_grid(grid)


def _print_keys(found: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("  key", "default", "what", box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.columns[0].no_wrap = True
    table.columns[1].overflow = "fold"
    for key in found:
        default = "needed" if key["required"] else _shown(key["default"])
        what = key["about"] or key["type"]
        if key["about"] and key["type"] not in ("text", "table"):
            what = f"{what.removesuffix('.')} ({key['type']})."
        table.add_row(Text(f"  {key['key']}"), Text(default, style="bold" if key["required"] else ""), Text(what))
    _print_grid(table)


def _print_grid(grid: Any) -> None:
    # Cells are filled up with spaces, which a reader who copies a line does not want.
    with out.capture() as captured:
        out.print(grid, highlight=False)
    out.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _shown(default: Any) -> str:
    if default is None or default in ([], {}, ""):
        return "–"
    if isinstance(default, dict):
        return "{" + ", ".join(f"{key} = {_shown(value)}" for key, value in default.items()) + "}"
    return json.dumps(default, ensure_ascii=False)
