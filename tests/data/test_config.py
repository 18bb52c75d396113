"""Recipes: validated as a whole, overridden, found by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from sari_data.config import Table, find_recipe, load_tables, read_recipe, write_effective
from sari_data.errors import MissingFileError, RecipeError


class Inner(Table):
    size: int = Field(default=3, ge=1)


class Outer(Table):
    name: str = "a"
    rate: float = 0.5
    inner: Inner = Inner()
    perhaps: Inner | None = None


class Other(Table):
    steps: int = 1


MODELS = {"build": Outer, "sft": Other}


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_absent_tables_take_their_defaults() -> None:
    assert load_tables(None, MODELS) == {"build": Outer(), "sft": Other()}


def test_a_recipe_is_read_and_tables_of_other_commands_are_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path, '[build]\nname = "b"\ninner.size = 7\n[grpo]\nanything = 1\n')
    tables = load_tables(path, MODELS)
    assert tables["build"] == Outer(name="b", inner=Inner(size=7))


def test_all_wrong_keys_of_all_tables_are_named_at_once_and_with_what_was_meant(tmp_path: Path) -> None:
    path = write(tmp_path, '[build]\nnmae = "b"\nrate = "fast"\n[build.inner]\nsise = 2\n[sft]\nsteps = "many"\n')
    with pytest.raises(RecipeError) as caught:
        load_tables(path, MODELS)
    problems = caught.value.problems
    assert len(problems) == 4
    assert "build.nmae: unknown key; did you mean name?" in problems
    assert "build.inner.sise: unknown key; did you mean size?" in problems
    assert any(p.startswith("build.rate: input should be a valid number") and p.endswith("'fast'") for p in problems)
    assert any(p.startswith("sft.steps: input should be a valid integer") for p in problems)
    assert str(path) in str(caught.value)
    assert "4 problems" in str(caught.value)


def test_an_optional_table_knows_its_keys(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"build\.perhaps\.sise: unknown key; did you mean size\?"):
        load_tables(write(tmp_path, "[build.perhaps]\nsise = 2\n"), MODELS)


def test_a_key_that_resembles_none_gets_the_list_of_all(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"build\.zzz: unknown key; known are name, rate, inner, perhaps"):
        load_tables(write(tmp_path, "[build]\nzzz = 2\n"), MODELS)


def test_unknown_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_tables(write(tmp_path, "sft = 3\n[biuld]\nname = 'x'\n"), MODELS)
    assert caught.value.problems == (
        "sft: expected a table, found 3",
        "biuld: unknown table; did you mean build?",
    )


@pytest.mark.parametrize("text", ["[build\n", "name = \n", "\x00"])
def test_what_is_not_toml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_tables(write(tmp_path, text), MODELS)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xfe[build]")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_tables(path, MODELS)


def test_a_recipe_that_is_nowhere_is_named_with_those_that_ship() -> None:
    with pytest.raises(MissingFileError, match=r"'no-such' is neither a file nor one .*default"):
        find_recipe("no-such")


def test_a_file_in_the_current_folder_comes_before_a_shipped_recipe(empty_folder: Path) -> None:
    assert find_recipe("default.toml") != Path("default.toml")
    (empty_folder / "default.toml").write_text("[build]\nname = 'mine'\n", encoding="utf-8")
    assert find_recipe("default.toml") == Path("default.toml")


def test_overrides_are_toml_values_or_else_text() -> None:
    overrides = ["build.name=folder/of mine", "build.rate=2", "build.inner.size=9", "sft.steps=4"]
    tables = load_tables(None, MODELS, overrides)
    assert tables == {"build": Outer(name="folder/of mine", rate=2.0, inner=Inner(size=9)), "sft": Other(steps=4)}


def test_overrides_win_over_the_file_and_the_last_one_over_the_others(tmp_path: Path) -> None:
    path = write(tmp_path, '[build]\nname = "file"\n')
    assert load_tables(path, MODELS, ["build.name=one", 'build.name="two"'])["build"].name == "two"


def test_malformed_overrides_are_all_named() -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(None, ["build.name", "=3", "build.name=a", "build.name.deeper=1"])
    assert caught.value.problems == (
        "--set build.name: expected key=value, for instance sft.steps=100",
        "--set =3: expected key=value, for instance sft.steps=100",
        "--set build.name.deeper=1: name is a value, not a table",
    )


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
def test_any_quoted_text_comes_through_an_override_unchanged(text: str) -> None:
    assert load_tables(None, MODELS, [f"build.name={json.dumps(text, ensure_ascii=False)}"])["build"].name == text


def test_values_are_frozen_once_validated() -> None:
    table = load_tables(None, MODELS)["build"]
    with pytest.raises(ValueError, match="frozen"):
        table.name = "other"


def test_the_effective_recipe_says_every_value(tmp_path: Path) -> None:
    tables = load_tables(None, MODELS, ["sft.steps=8"])
    write_effective(tmp_path / "effective.json", tables)
    assert json.loads((tmp_path / "effective.json").read_text(encoding="utf-8")) == {
        "build": {"name": "a", "rate": 0.5, "inner": {"size": 3}, "perhaps": None},
        "sft": {"steps": 8},
    }
