"""The guides: every recipe in them is valid, every command exists, and every link leads somewhere."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from recipe_models import MODELS, model_of

from sari_data.config import load_tables
from sari_data.errors import RecipeError

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Names of a reader's own in the examples: a reward that a package of theirs registers.
OF_THE_READER = ("brief",)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PROGRAM = re.compile(r"sari-(?:data|train|bench)\b")


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _blocks(text: str, *kinds: str) -> Iterator[str]:
    return (body for kind, body in _BLOCK.findall(text) if kind in kinds)


def _recipes(text: str) -> Iterator[str]:
    """Yield the recipes of a page; a TOML block that has no table of ours is something else."""
    for body in _blocks(text, "toml"):
        if set(tomllib.loads(body)) & set(MODELS):
            yield re.sub(rf"^({'|'.join(OF_THE_READER)}) = .*\n", "", body, flags=re.MULTILINE)


def _commands(text: str) -> Iterator[list[str]]:
    """Yield every command of ours as words: whole lines of code blocks, and code within a line that has options."""
    lines = [line for body in _blocks(text, "", "bash", "sh") for line in body.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`(sari-(?:data|train|bench) [^`]+)`", _BLOCK.sub("", text).replace("\n", " "))
    for line in (*lines, *inline):
        for part in line.split("&&"):
            if _PROGRAM.match(part.strip()):
                yield shlex.split(part.partition("->")[0], comments=True)


def problems_of_recipe(text: str, folder: Path) -> list[str]:
    """Return what is wrong with a recipe, each as a text."""
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    try:
        load_tables(path, {table: model_of(table) for table in tomllib.loads(text) if table in MODELS})
    except RecipeError as error:
        return [str(error)]
    return [f"unknown table {table}" for table in tomllib.loads(text) if table not in MODELS]


def problems_of_command(words: list[str]) -> list[str]:
    """Return what is wrong with a command line, each as a text."""
    import typer

    program, *rest = words
    group: Any = typer.main.get_command(import_module(f"{program.replace('-', '_')}.cli").app)
    if not rest or rest[0].startswith("-"):
        return []
    sub = group.commands.get(rest[0])
    if sub is None:
        return [f"{program} has no command {rest[0]!r}"]
    known = {option for parameter in sub.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0] for word in rest[1:] if word.startswith("--")}
    found = [f"{program} {rest[0]} has no option {option}" for option in sorted(used - known - {"--help"})]
    settings = [value for option, value in pairwise(rest) if option == "--set"]
    for table in {setting.partition(".")[0] for setting in settings}:
        if table not in MODELS:
            found.append(f"--set {table}: no such table")
            continue
        try:
            load_tables(None, {table: model_of(table)}, [s for s in settings if s.partition(".")[0] == table])
        except RecipeError as error:
            found.append(str(error))
    return found


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_recipe_of_a_guide_is_valid(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not [problem for recipe in _recipes(text) for problem in problems_of_recipe(recipe, tmp_path)]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_of_a_guide_exists_with_its_options_and_keys(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = [f"{shlex.join(words)}: {problem}" for words in _commands(text) for problem in problems_of_command(words)]
    assert not found


def problems_of_program(text: str) -> list[str]:
    """Return what is wrong with a Python example, each as a text: its syntax, and names of ours that are not there."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sari_"):
            module = import_module(node.module or "")
            found += [f"{node.module} has no {name.name}" for name in node.names if not hasattr(module, name.name)]
    return found


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_python_example_of_a_guide_imports_what_there_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not [problem for body in _blocks(text, "python") for problem in problems_of_program(body)]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_of_a_guide_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(_BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        to = (page.parent / name).resolve() if name else page
        assert to.exists(), f"{target}: no such file"
        assert not anchor or anchor in _anchors(to), f"{target}: no such heading"


def test_every_file_that_the_papers_name_is_there() -> None:
    text = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:sari_\w+|templates|recipes|benchmarks)/[\w./-]+)`", text)
    assert len(named) > 20
    assert not [name for name in named if not (ROOT / name).exists()]


def test_most_of_the_guides_are_read() -> None:
    """The readers above find something: a page without recipes or commands would pass whatever it says."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sum(len(list(_recipes(text))) for text in texts) >= 12
    assert sum(len(list(_commands(text))) for text in texts) >= 50


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("[build.meld]\nrulez = ['emotion']\n", "rulez"),
        ("[dedup]\nnear = 0.1\n", "dedup.near"),
        ("[anotate]\n[build]\nseed = 1\n", "anotate"),
    ],
)
def test_a_wrong_recipe_is_noticed(recipe: str, said: str, tmp_path: Path) -> None:
    assert said in " ".join(problems_of_recipe(recipe, tmp_path))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sari-data biuld", "no command 'biuld'"),
        ("sari-data push corpus --public", "no option --public"),
        ("sari-data build --set annotate.rehearsal=true", "annotate.rehearsal"),
        ("sari-data build --set calibrates.seed=1", "no such table"),
    ],
)
def test_a_wrong_command_is_noticed(command: str, said: str) -> None:
    assert said in " ".join(problems_of_command(shlex.split(command)))


def test_a_wrong_import_is_noticed() -> None:
    said = problems_of_program("from sari_bench.scoring import score_all, disagreement\nimport sari_data")
    assert said == ["sari_bench.scoring has no disagreement"]
