"""``sari-data sources``: what every source says of itself, for people and for programs."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest
from pydantic import Field

from sari_data import console
from sari_data.commands.sources import example, keys
from sari_data.config import Table
from sari_data.sources import load_source, source_names

Run = Callable[..., tuple[int, str, str]]


class Inner(Table):
    """A table inside.

    Args:
        folder: Where
            it is.
    """

    folder: str


class Outer(Table):
    """A table.

    Args:
        path: The ``file``.
        how: One of two.
        many: How many, where: any number.
        inner: Another table.
    """

    path: str
    how: Literal["this", "that"] = "this"
    many: dict[str, tuple[int, int]] = Field(default_factory=lambda: {"a": (1, 2)})
    inner: Inner | None = None
    plain: Mapping[str, float] = Field(default_factory=dict)
    names: tuple[str, ...] | str | None = None


def test_the_keys_of_a_table_come_with_type_default_and_meaning() -> None:
    found = {key["key"]: (key["type"], key["required"], key["default"], key["about"]) for key in keys(Outer)}
    assert found == {
        "path": ("text", True, None, "The `file`."),
        "how": ('"this" or "that"', False, "this", "One of two."),
        "many": ("table of list of whole number", False, {"a": [1, 2]}, "How many, where: any number."),
        "inner": ("table", False, None, "Another table."),
        "inner.folder": ("text", True, None, "Where it is."),
        "plain": ("table of number", False, {}, ""),
        "names": ("list of text or text", False, None, ""),
    }


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits_a_terminal(run_command: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(console.out, "_width", width)
    code, out, err = run_command("sari-data", "sources")
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]
    headings = [line.split("  ")[0] for line in lines if line and not line.startswith(" ")]
    assert headings == source_names()
    assert "sari-data sources NAME" in err
    whole = " ".join(out.split())
    for name in source_names():
        about = load_source(name).ABOUT
        for text in (about.title, about.gives, *about.needs, about.licence, *about.get):
            assert " ".join(text.split()) in whole or width == 80
    assert whole.count("is not published: ids and segments are") + whole.count("may be published with a corpus") == len(
        source_names()
    )


@pytest.mark.parametrize("name", source_names())
def test_one_source_is_shown_with_its_keys_and_a_recipe_that_is_valid(run_command: Run, name: str) -> None:
    code, out, _ = run_command("sari-data", "sources", name)
    assert code == 0
    source: Any = load_source(name)
    for key in source.Options.model_fields:
        assert f"\n  {key} " in out
    shown = out[out.rindex("a small recipe") :].split("\n", 2)[2]
    recipe = tomllib.loads("\n".join(line[4:] for line in shown.splitlines()))["build"][name]
    assert recipe == tomllib.loads(f"[build.{name}]\n{example(source)}")["build"][name]
    source.Options.model_validate(recipe)


def test_programs_get_the_same_as_json(run_command: Run) -> None:
    code, out, _ = run_command("sari-data", "sources", "--json")
    found = {about["name"]: about for about in json.loads(out)["sources"]}
    assert code == 0
    assert sorted(found) == source_names()
    assert found["scenes"]["share_audio"] is True
    assert found["audiomcq"]["licence"] == "Apache-2.0"
    assert isinstance(found["table"]["needs"], list)
    code, out, _ = run_command("sari-data", "sources", "table", "--json")
    one = json.loads(out)
    assert one["title"] == "Any table"
    path = next(key for key in one["keys"] if key["key"] == "path")
    assert path["required"] is True
    assert {"columns.audio", "answer_form"} <= {key["key"] for key in one["keys"]}
    assert tomllib.loads(one["recipe"])["build"]["table"]["path"]


def test_an_unknown_source_is_one_sentence(run_command: Run) -> None:
    code, out, err = run_command("sari-data", "sources", "audioset2")
    assert (code, out) == (2, "")
    assert "source 'audioset2' is unknown; expected one of [" in err
