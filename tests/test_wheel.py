"""The wheel works outside the checkout, and what needs no torch works without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("sari-data", "sari-train", "sari-bench")
# Quick to build: nobody is asked, and a few questions of each domain.
SMALL = ["--set", "build.sft=3", "--set", "build.dev=3"]
SMALL += [part for d in ("sound", "music", "speech") for part in ("--set", f"build.scenes.questions.{d}=4")]

# Imported before anything else by a Python that has it on its path: as if these were not installed.
BLOCKER = """
import sys

class Absent:
    names = {"torch", "transformers", "peft", "accelerate"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import importlib.util
found = importlib.util.find_spec

def find_spec(name, package=None):
    return None if name.partition(".")[0] in Absent.names else found(name, package)

importlib.util.find_spec = find_spec
"""


def run(
    arguments: Sequence[str | Path], folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program in ``folder`` with nothing of the checkout on its path; fail with its output if it fails."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(a) for a in arguments],
        cwd=folder,
        env=clean | (environment or {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the tree."""
    if find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the wheel, is not installed: run `make setup`")
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
    run([*pip, "--wheel-dir", out, ROOT], out)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it; returns the folder of its programs.

    Its dependencies are those of the environment that runs the tests, seen through a path file, so that
    the test needs no network. The checkout is not among them: an editable install puts itself on the path by a path
    file of its own, and path files count only in an environment's own folder.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet"]
    run([*pip, "--no-deps", "--no-index", wheel], folder)
    asked = run([programs / "python", "-c", "import site; print(site.getsitepackages()[0])"], folder)
    site = Path(asked.stdout.strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return programs


def test_the_wheel_has_the_texts_and_no_tests(wheel: Path) -> None:
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("templates", "recipes"):
        here = {p.relative_to(ROOT).as_posix() for p in (ROOT / folder).rglob("*") if p.is_file()}
        there = {n.removeprefix("sari_data/_resources/") for n in names}
        assert here <= there
    packages = {name.split("/")[0] for name in names}
    assert {n for n in packages if not n.endswith(".dist-info")} == {"sari_data", "sari_train", "sari_bench"}
    files = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert files <= set(names)


def test_the_three_commands_run_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    for command in COMMANDS:
        assert "Usage" in run([installed / command, "--help"], tmp_path).stdout
    code = "import sari_data as a, sari_train as b, sari_bench as c; print(a.__file__, b.__file__, c.__file__)"
    for place in run([installed / "python", "-c", code], tmp_path).stdout.split():
        assert Path(place).is_relative_to(installed.parent)


def test_the_wheel_builds_a_corpus_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    build = [installed / "sari-data", "build", *SMALL, "--set", "calibrate.responder=none", "--json"]
    manifest = json.loads(run(build, tmp_path).stdout)
    assert manifest["splits"] == {"sft": {"rows": 3}, "rl": {"rows": 6}, "dev": {"rows": 3}}
    run([installed / "sari-data", "check", "corpus"], tmp_path)


def test_all_but_training_works_without_torch(tmp_path: Path) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(BLOCKER, encoding="utf-8")
    environment = {"PYTHONPATH": f"{tmp_path / 'path'}{os.pathsep}{ROOT}"}

    def command(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        module = name.replace("-", "_")
        return run([sys.executable, "-c", f"from {module}.cli import main; main()", *arguments], tmp_path, environment)

    blocked = "try:\n    import torch\nexcept ModuleNotFoundError:\n    print('absent')"
    assert run([sys.executable, "-c", blocked], tmp_path, environment).stdout == "absent\n"
    for name in COMMANDS:
        assert "Usage" in command(name, "--help").stdout
    done = command("sari-data", "build", *SMALL)
    assert "calibrate: skipped (torch and transformers not installed)" in done.stderr
    assert "sari-data calibrate corpus" in done.stderr
    manifest = json.loads((tmp_path / "corpus" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["calibrated"] is False
    command("sari-data", "check", "corpus")
