"""Every recipe that ships is valid as a whole, says how it is run, and names what exists."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from recipe_models import MODELS, model_of

from sari_data.config import TABLES, find_recipe, load_tables, read_recipe
from sari_data.errors import RecipeError
from sari_data.prompting import list_modes
from sari_data.responder import list_responders
from sari_data.sources import source_names

RECIPES = sorted((Path(__file__).resolve().parent.parent / "recipes").glob("*.toml"))


def _models() -> dict[str, Any]:
    return {table: model_of(table) for table in MODELS}


def test_every_table_has_a_model() -> None:
    assert set(MODELS) == set(TABLES)
    assert set(_models()) == set(TABLES)


def test_there_is_a_default_recipe() -> None:
    assert "default" in [path.stem for path in RECIPES]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_is_valid_in_every_table(path: Path) -> None:
    tables = load_tables(path, _models())
    assert set(tables["build"].sources) <= set(source_names())
    responder = tables["calibrate"].responder
    assert responder in ("auto", "none", *list_responders())
    assert {tables["calibrate"].mode, tables["sft"].mode, tables["grpo"].mode} <= set(list_modes())


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_is_found_by_its_name(path: Path) -> None:
    assert find_recipe(path.stem).resolve() == path


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_is_headed_by_commands_that_exist(path: Path) -> None:
    """The commands in the heading parse: each names a command of ours, and each option is one it has."""
    import typer

    heading = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    commands = [
        part.strip()
        for line in heading
        if re.match(r"#\s+(?:sari-\w+|make) ", line)
        for part in line.lstrip("# ").split("&&")
    ]
    assert commands, "the heading shows no command that runs the recipe"
    for command in commands:
        program, *words = shlex.split(command, comments=True)
        if program == "make":
            continue
        group = typer.main.get_command(import_module(f"{program.replace('-', '_')}.cli").app)
        name = words[0]
        sub = getattr(group, "commands", {}).get(name)
        assert sub is not None, f"{program} has no command {name!r}"
        known = {option for parameter in sub.params for option in parameter.opts}
        used = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
        assert used <= known | {"--help"}, f"{command!r} uses options that {program} {name} does not have"


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_misspelt_key_in_any_of_its_tables_is_noticed(path: Path) -> None:
    _, raw = read_recipe(path)
    for table in raw:
        with pytest.raises(RecipeError, match=f"{table}.misspelt: unknown key"):
            load_tables(path, _models(), [f"{table}.misspelt=1"])
