"""Recipes: TOML validated as a whole before anything runs.

A recipe describes one experiment. Each command reads its own tables from it and leaves the others
to the commands they belong to: ``[build]``, ``[annotate]``, ``[dedup]`` and ``[calibrate]`` are
``sari-data``'s, ``[tiny]``, ``[sft]`` and ``[grpo]`` are ``sari-train``'s, ``[bench]`` is
``sari-bench``'s. All problems are reported at once, each with its key.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from sari_data.errors import MissingFileError, RecipeError
from sari_data.resources import recipes_dir

# The recipe that the commands take when they are given none.
DEFAULT_RECIPE = "default"
TABLES = ("build", "annotate", "dedup", "calibrate", "tiny", "sft", "grpo", "bench")


class Table(BaseModel):
    """Base of every recipe table: unknown keys are errors, values are frozen once validated."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def find_recipe(name: str | Path) -> Path:
    """Return the recipe's path: a file as given, or one that ships with sari by its name (``default``)."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = recipes_dir() / (path.name if path.suffix else f"{path.name}.toml")
    if len(path.parts) == 1 and shipped.is_file():
        return shipped
    names = sorted(p.stem for p in recipes_dir().glob("*.toml"))
    raise MissingFileError(
        f"recipe {str(name)!r} is neither a file nor one of those that ship with sari ({', '.join(names)})"
    )


def read_recipe(name: str | Path | None, overrides: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
    """Read a recipe's raw tables and apply ``key=value`` overrides (dotted keys, TOML values).

    Returns:
        The name to use in messages, and the tables.

    Raises:
        MissingFileError: No such recipe.
        RecipeError: Not TOML, an unknown table, or a malformed override.
    """
    source, raw = "the options" if overrides else "defaults", {}
    if name is not None:
        path = find_recipe(name)
        source = str(path)
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(source, [f"not valid TOML: {error}"]) from error
    problems = []
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            problems.append(f"--set {override}: expected key=value, for instance sft.steps=100")
            continue
        _assign(raw, key.strip().split("."), _toml_value(value.strip()), override, problems)
    for table, value in raw.items():
        if table not in TABLES:
            problems.append(f"{table}: unknown table{_suggest(table, TABLES)}")
        elif not isinstance(value, dict):
            problems.append(f"{table}: expected a table, found {value!r}")
    if problems:
        raise RecipeError(source, problems)
    return source, raw


def load_tables(
    name: str | Path | None, models: Mapping[str, type[Table]], overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Validate the tables named in ``models`` together; a table that is absent takes its defaults.

    Raises:
        RecipeError: With every problem of every table named in ``models``.
    """
    source, raw = read_recipe(name, overrides)
    problems: list[str] = []
    tables: dict[str, Any] = {}
    for table, model in models.items():
        try:
            tables[table] = model.model_validate(raw.get(table, {}))
        except ValidationError as error:
            problems += [_describe(table, model, item) for item in error.errors()]
    if problems:
        raise RecipeError(source, problems)
    return tables


def write_effective(path: Path, tables: Mapping[str, BaseModel]) -> None:
    """Write the recipe as it was in effect (defaults and overrides included) as JSON beside an output."""
    body = {name: table.model_dump(mode="json") for name, table in tables.items()}
    path.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _assign(raw: dict[str, Any], keys: list[str], value: Any, override: str, problems: list[str]) -> None:
    node = raw
    for key in keys[:-1]:
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            problems.append(f"--set {override}: {key} is a value, not a table")
            return
        node = child
    node[keys[-1]] = value


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _suggest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _describe(table: str, model: type[BaseModel], item: Mapping[str, Any]) -> str:
    location = ".".join(str(part) for part in (table, *item["loc"]))
    if item["type"] == "extra_forbidden":
        fields = _fields(model, item["loc"][:-1])
        return f"{location}: unknown key{_suggest(str(item['loc'][-1]), fields) if fields else ''}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{location}: {message[0].lower()}{message[1:]}, found {item['input']!r}"


def _fields(model: type[BaseModel], path: Sequence[Any]) -> list[str]:
    """Return the keys of the table at ``path`` below ``model``; none where it is no table of ours."""
    for key in path:
        field = model.model_fields.get(str(key))
        if field is None:
            return []
        # The annotation of an optional table is a union with None.
        inner = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)]
        tables = [t for t in inner if issubclass(t, BaseModel)]
        if not tables:
            return []
        model = tables[0]
    return list(model.model_fields)
