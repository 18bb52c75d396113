"""What all tests share: one thread, no network, deterministic examples, and the real data where it is present."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

# Before any test imports numpy or torch: two test processes with a thread pool each would fight over the cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest  # noqa: E402
from browser import Browser  # noqa: E402
from hypothesis import settings  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("sari", derandomize=True, deadline=None, print_blob=False, database=None)
settings.load_profile("sari")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what commands remember between runs in a folder of this test alone."""
    monkeypatch.setenv("SARI_CACHE", str(tmp_path_factory.mktemp("cache", numbered=True)))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with published data: ``$SARI_SHARED_DATA``, or ``../shared/data`` beside the checkout."""
    path = Path(os.environ.get("SARI_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"the shared data is not in {path}: name its folder in SARI_SHARED_DATA")
    return path


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new empty folder, made the current one for the test."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run_command(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run one of the three commands in this process: ``run_command("sari-data", "check", folder)``.

    Returns:
        A function that returns the exit code, standard output and standard error, through the command's
        own ``main`` and so with its error handling.
    """

    def run(command: str, *arguments: str | Path) -> tuple[int, str, str]:
        main = import_module(f"{command.replace('-', '_')}.cli").main
        capfd.readouterr()
        argv = [command, *map(str, arguments)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", argv)
            with pytest.raises(SystemExit) as stopped:
                main()
        captured = capfd.readouterr()
        code = stopped.value.code
        return code if isinstance(code, int) else int(code is not None), captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A page in a headless Chromium, which the tests of one file share; they are skipped where there is none."""
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="session")
def plugin_site(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder into which pip has installed the example plugin."""
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target)]
    done = subprocess.run([*command, str(repository / "tests" / "plugin_package")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def plugin(plugin_site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example plugin, installed for one test and imported by nobody yet."""
    monkeypatch.syspath_prepend(str(plugin_site))
    yield
    for name in [name for name in sys.modules if name.startswith("sari_example_plugin")]:
        del sys.modules[name]
