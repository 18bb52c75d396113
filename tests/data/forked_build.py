"""Builds in processes of their own that begin at once: forked off a process that has everything imported.

So a kill after a tenth of a second falls into the work, and twenty builds do not import twenty times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

PRELOADED = (
    "sari_data.build",
    "sari_data.commands.build",
    "sari_data.hub",
    "sari_data.responders.server",
    "sari_data.sources.audioset",
    "huggingface_hub.inference._client",
    "sklearn.feature_extraction.text",
    "sklearn.preprocessing",
    "scipy.signal",
    "joblib",
    "pyarrow.parquet",
    "jinja2",
    "rich.progress",
    "rich.table",
)


class Forks:
    """The process that builds are forked off; one build at a time."""

    def __init__(self) -> None:
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def start(self, arguments: Sequence[str], folder: Path, log: Path, **environment: str) -> int:
        """Start ``sari-data`` in a folder; returns its process id. What it says is appended to the log."""
        said = {"arguments": list(arguments), "folder": str(folder), "log": str(log), "environment": environment}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def wait(self) -> int:
        """Wait for the build's end; returns its exit code, or less than 0 where a signal ended it."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def main() -> None:
    """Fork a build for every line on standard input, and say how it ended."""
    for name in PRELOADED:
        __import__(name)
    print("ready", flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        child = os.fork()
        if child == 0:
            _build(wanted)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _build(wanted: Mapping[str, object]) -> None:
    os.environ.update(wanted["environment"])  # type: ignore[call-overload]
    os.chdir(str(wanted["folder"]))
    log = os.open(str(wanted["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from sari_data.cli import main as sari_data

    sys.argv = ["sari-data", *wanted["arguments"]]  # type: ignore[misc]
    code = 1
    try:
        sari_data()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
