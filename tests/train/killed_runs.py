"""Run training in processes that are killed: ``python killed_runs.py SETTINGS`` prints what became of each.

SETTINGS is a JSON list with, for each run, its ``kind`` (``sft`` or ``grpo``), its ``table``, and the ``points`` at
which its processes are killed, one process after the other; then one runs to its end. A point is a pattern and a
number: the process kills itself (SIGKILL) just before the so-manieth change of the file system below the output folder
that fits it. A change reads as Python's audit events do, for instance ``os.rename .publishing/config.json``.

Every process is forked from this one, which imports what a run imports and computes nothing.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.rmtree", "os.truncate"}


def is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audit event tells of a change of the file system."""
    if event == "open":
        return isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
    return event in CHANGES


def watch(out: str, point: tuple[str, int] | None) -> None:
    """Kill this process at the given point."""
    if point is None:
        return
    pattern, left, within = re.compile(point[0]), [point[1]], f"{out}/"

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not is_change(event, arguments):
            return
        path = str(arguments[0])
        # Deletions inside a tree name a file by its folder's descriptor: a name without a folder is one of those.
        if (path.startswith(within) or "/" not in path) and pattern.search(f"{event} {path.removeprefix(within)}"):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def train(kind: str, table: dict[str, Any]) -> None:
    """Run the real loop to its end."""
    from sari_train.config import Grpo, Sft
    from sari_train.grpo import train_grpo
    from sari_train.rewards import REWARDS
    from sari_train.sft import train_sft

    if kind == "sft":
        train_sft(Sft(**table))
        return
    # An untrained model is never right; a reward that it can earn makes there be something to learn.
    REWARDS["accuracy"] = lambda settings: lambda sample: min(1.0, sample.text.count("e") / 20)  # type: ignore[index]
    train_grpo(Grpo(**table))


def in_a_process(kind: str, table: dict[str, Any], point: tuple[str, int] | None) -> str:
    """Train in a forked process; returns how it ended: ``killed``, ``done`` or ``failed``."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            watch(table["out"], point)
            train(kind, table)
            os.write(write, json.dumps(sorted(sys.modules)).encode())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        said = stream.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return "killed"
    if status != 0:
        return "failed"
    for name in json.loads(said):  # once for all processes after this one
        with suppress(Exception):  # what only imports in its place was imported with it
            import_module(name)
    return "done"


def main() -> None:
    """Read the settings, run, print one JSON list: how each process of each run ended."""
    for name in ("sari_train.sft", "sari_train.grpo", "sari_train.models.qwen2_audio", "peft", "matplotlib.figure"):
        import_module(name)
    runs = json.loads(sys.argv[1])
    print(json.dumps([[in_a_process(run["kind"], run["table"], at) for at in (*run["points"], None)] for run in runs]))


if __name__ == "__main__":
    main()
