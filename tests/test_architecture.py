"""The rules of the architecture, checked on the source itself."""

from __future__ import annotations

import ast
import gc
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from jinja2 import Environment

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sari_data", "sari_train", "sari_bench")
# Who may import whom; a package may always import itself.
ALLOWED = {"sari_data": set(), "sari_train": {"sari_data"}, "sari_bench": {"sari_data"}}
TORCH = {"torch", "transformers", "peft", "accelerate"}
HEAVY = TORCH | {"datasets", "librosa", "sklearn", "scipy", "pandas", "matplotlib"}
MOST_LINES = 350
MOST_LINES_IN_A_FUNCTION = 80
# Folders whose text people read or run; what is generated or fetched is not in them.
TEXTS = ("*.py", "*.md", "*.toml", "*.jinja", "*.txt", "*.sh", "Makefile", "run")

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def _parse(source: str) -> ast.Module:
    """Parse with the garbage collector at rest.

    CPython 3.11 counts the depth of an AST under construction in one place for the whole interpreter. A collection in
    the middle of it can run a finalizer that builds an AST too; the outer one then ends in a SystemError.
    """
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        gc.enable()


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _imports(tree: ast.AST) -> Iterator[tuple[str, list[str], int]]:
    """Yield the module, the names taken from it, and the line of every import, those in functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, [], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}: import from the package's full name"
            yield str(node.module), [alias.name for alias in node.names], node.lineno


def _import_time(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported: not those of functions or of TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _import_time(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody", "handlers"):
            children = getattr(node, field, [])
            yield from _import_time([child for child in children if isinstance(child, ast.stmt | ast.ExceptHandler)])


def wrong_imports(package: str, source: str) -> list[str]:
    """Return what the text of a module of ``package`` imports although it may not."""
    tree = _parse(source)
    wrong = []
    for module, names, line in _imports(tree):
        top = module.partition(".")[0]
        if top in PACKAGES and top != package:
            if top not in ALLOWED[package]:
                wrong.append(f"line {line}: {package} imports {module}")
            private = [n for n in (*module.split("."), *names) if n.startswith("_") and not n.startswith("__")]
            wrong += [f"line {line}: imports the private name {name} of {top}" for name in private]
        if package == "sari_data" and top in TORCH:
            wrong.append(f"line {line}: sari_data imports {top}")
    return wrong


def eager_imports(source: str) -> list[str]:
    """Return the heavy packages that a module imports as soon as it is imported itself."""
    found = []
    for statement in _import_time(_parse(source).body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            found += [m for m, _, _ in _imports(statement) if m.partition(".")[0] in HEAVY]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_packages_import_only_whom_they_may(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert wrong_imports(package, path.read_text(encoding="utf-8")) == []


def test_the_import_rules_notice_what_breaks_them() -> None:
    assert wrong_imports("sari_train", "def f():\n    import sari_bench.running.runner")
    assert wrong_imports("sari_bench", "from sari_train.models import load")
    assert wrong_imports("sari_data", "from sari_train.responder import LocalResponder")
    assert wrong_imports("sari_data", "def f():\n    import torch.nn")
    assert wrong_imports("sari_train", "from sari_data.store import _move")
    assert wrong_imports("sari_train", "import torch\nfrom sari_data.types import AudioQuestion") == []
    assert eager_imports("class A:\n    import torch") == ["torch"]
    assert eager_imports("try:\n    import scipy.signal\nexcept ImportError:\n    pass") == ["scipy.signal"]
    assert eager_imports("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch") == []
    assert eager_imports("def f():\n    import torch") == []


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if p.relative_to(ROOT).parts[0] != "sari_train" or p.name in ("cli.py", "config.py")],
    ids=_name,
)
def test_heavy_packages_are_imported_only_where_they_are_used(path: Path) -> None:
    assert eager_imports(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_files_and_functions_stay_small_enough_to_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(_parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MOST_LINES_IN_A_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_every_module_and_public_name_has_a_docstring(path: Path) -> None:
    tree = _parse(path.read_text(encoding="utf-8"))
    if not tree.body:
        return
    bare = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        registered = bool(node.decorator_list) and not isinstance(node, ast.ClassDef)  # found by name, not imported
        if not node.name.startswith("_") and not registered and not ast.get_docstring(node):
            bare.append(node.name)
    assert bare == []


def test_every_package_that_is_imported_is_a_declared_dependency() -> None:
    """What an empty environment would lack: sari_data and sari_bench may use the plain dependencies only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    plain = {_distribution(requirement) for requirement in project["dependencies"]}
    allowed = dict.fromkeys(PACKAGES, plain)
    extras = project["optional-dependencies"]
    allowed["sari_train"] = plain | {_distribution(r) for name in extras if name != "dev" for r in extras[name]}
    homes = packages_distributions()
    undeclared = []
    for path in SOURCES:
        package = path.relative_to(ROOT).parts[0]
        for module, _, line in _imports(_parse(path.read_text(encoding="utf-8"))):
            top = module.partition(".")[0]
            if top not in PACKAGES and top not in sys.stdlib_module_names:
                found = {_distribution(name) for name in homes.get(top, [top])}
                if not found & allowed[package]:
                    undeclared.append(f"{_name(path)}:{line}: {module}")
    assert undeclared == []


def _distribution(requirement: str) -> str:
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_every_dependency_is_pinned_to_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert "sari-audio" not in pins
    assert pins["torch"] == "2.13.0"
    assert not [version for version in pins.values() if "+" in version]
    asked = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    pinned = {_distribution(name) for name in pins}
    assert {_distribution(r) for r in asked} - pinned == {"sari-audio"}


def test_every_template_compiles() -> None:
    templates = sorted((ROOT / "templates").rglob("*.jinja"))
    assert len(templates) > 10
    environment = Environment()
    for path in templates:
        environment.parse(path.read_text(encoding="utf-8"), filename=str(path))


def test_a_mode_has_all_its_files() -> None:
    for folder in (ROOT / "templates" / "modes").iterdir():
        if folder.is_dir():
            assert {p.name for p in folder.iterdir()} == {"prompt.jinja", "target.jinja", "grammar.toml"}


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if tracked.returncode:
        pytest.skip("this tree is no git checkout, so which files belong to it is not known")
    place = re.compile(r"(?<![\w./~-])/(?:work|opt|home|root|Users|mnt|tmp)/[\w.-]")
    found = []
    for name in filter(None, tracked.stdout.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and any(path.match(pattern) for pattern in TEXTS):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                if place.search(line):
                    found.append(f"{name}:{number}: {line.strip()}")
    assert found == []


@pytest.mark.parametrize("statement", ["import sari_data, sari_data.types, sari_data.responder, sari_data.config"])
def test_importing_sari_data_is_quick_and_leaves_torch_alone(statement: str) -> None:
    used = _cpu_seconds(["-c", f"{statement}\nimport sys\nassert not {HEAVY!r} & set(sys.modules)"])
    assert used < 1.0


@pytest.mark.parametrize("package", PACKAGES)
def test_help_is_quick_and_leaves_heavy_packages_alone(package: str) -> None:
    code = (
        "import sys\n"
        f"from {package}.cli import main\n"
        "sys.argv = ['command', '--help']\n"
        "try:\n    main()\nexcept SystemExit as stopped:\n    assert not stopped.code, stopped.code\n"
        f"loaded = {HEAVY | {'numpy', 'pydantic', 'jinja2'}!r} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    assert _cpu_seconds(["-c", code]) < 1.0


def _cpu_seconds(arguments: list[str]) -> float:
    """Run Python and return the least processor time of up to three runs, which other work hardly changes."""
    import resource

    least = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if least < 1.0:
            break
    return least
