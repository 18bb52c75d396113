"""Experiment trackers: TensorBoard, Weights & Biases and Trackio get what metrics.jsonl and timings.jsonl get.

Each package is imported only where ``report_to`` names it. A run that goes on from a checkpoint goes on
in the same tracker run: its id is kept in the run's folder (``trackers.json``).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from sari_data.errors import PluginError
from sari_train.run_files import TENSORBOARD, TRACKERS

PROJECT = "sari"
# Events reach TensorBoard's file at most this many seconds after they were logged.
FLUSH_SECONDS = 10.0

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


class Tracker(Protocol):
    """What a run's numbers are sent to."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the numbers of a step (counted from 1)."""

    def close(self) -> None:
        """Send what is left and end."""


def require_trackers(names: Sequence[str]) -> None:
    """Check, before anything is loaded or written, that every tracker's package is installed.

    Raises:
        PluginError: One is not; the message says how to install it.
    """
    for name in names:
        if find_spec(name) is None:
            raise PluginError(_absent(name, "is not installed"))


def open_trackers(
    names: Sequence[str],
    out: str | Path,
    *,
    title: str,
    config: Mapping[str, Any],
    fingerprint: str,
    step: int = 0,
    active: bool = True,
) -> list[Tracker]:
    """Open the trackers of a run.

    Args:
        names: The recipe's ``report_to``.
        out: The run's folder.
        title: What runs, for instance ``grpo``; runs of one kind are grouped.
        config: The effective recipe.
        fingerprint: Hash of what decides the run's result.
        step: Steps done before: above 0 the run's own tracker runs are gone on with.
        active: False in all but the main process: nothing is opened.

    Raises:
        PluginError: A package is not installed, or refuses to start a run; the message says what to do.
    """
    if not names or not active:
        return []
    require_trackers(names)
    out = Path(out)
    run_id = stable_id(out, fingerprint, step)
    opened: list[Tracker] = []
    for name in names:
        try:
            # What a package prints must not get between the lines of --json.
            with redirect_stdout(sys.stderr):
                opened.append(_OPENERS[name](out, run_id, title, dict(config), step))
        except ImportError as error:
            _close(opened)
            raise PluginError(_absent(name, f"cannot be imported ({error})")) from error
        except Exception as error:
            _close(opened)
            reason = (str(error) or "no message").strip().splitlines()[0]
            raise PluginError(
                f"tracker {name!r} could not start a run ({type(error).__name__}: {reason}): {_REMEDIES[name]}, or "
                "take it out of report_to"
            ) from error
    return opened


def stable_id(out: str | Path, fingerprint: str, step: int) -> str:
    """Return the id of a run's tracker runs: a new one at step 0, else the one that the run began with.

    It is made of the folder's name, the fingerprint, and a few random digits, because the same recipe run anew is
    another run; what a recipe computes never depends on it.
    """
    path = Path(out) / TRACKERS
    if step > 0 and path.is_file():
        return str(json.loads(path.read_text(encoding="utf-8"))["run_id"])
    name = _UNSAFE.sub("-", Path(os.path.realpath(out)).name).strip("-.")[:32] or "run"
    run_id = f"{name}-{fingerprint[:8]}-{secrets.token_hex(3)}"
    path.write_text(json.dumps({"run_id": run_id}) + "\n", encoding="utf-8")
    return run_id


class _TensorBoard:
    """Event files in the run's folder.

    Events are written when they are flushed, and only the thread that trains does that: TensorBoard's own thread
    would now and then write while a checkpoint is moving the folder.
    """

    def __init__(self, out: Path, run_id: str, title: str, config: dict[str, Any], step: int) -> None:
        import_module("tensorboard")  # torch's own message does not name the package
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        # What was logged beyond the checkpoint is hidden: those steps are taken again.
        self._writer = writer(str(out / TENSORBOARD), purge_step=step + 1, max_queue=10_000, flush_secs=10**9)
        if step == 0:
            text = json.dumps(config, indent=2, ensure_ascii=False)
            self._writer.add_text("recipe", "    " + text.replace("\n", "\n    "), 0)
        self._writer.flush()
        self._flushed = time.monotonic()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of Weights & Biases; ``WANDB_PROJECT``, ``WANDB_MODE`` and its other variables hold."""

    def __init__(self, out: Path, run_id: str, title: str, config: dict[str, Any], step: int) -> None:
        wandb = import_module("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run_id,
            name=run_id,
            group=title,
            config=config,
            resume="allow",
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        # Its steps only go up. Steps that are taken again after a kill give the same metrics, and it has them.
        if step >= self._run.step:
            self._run.log(dict(metrics), step=step, commit=True)

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    """A run of Trackio, which keeps it on this machine (``TRACKIO_DIR``) unless its variables name a Space."""

    def __init__(self, out: Path, run_id: str, title: str, config: dict[str, Any], step: int) -> None:
        self._trackio = import_module("trackio")
        self._trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=run_id,
            group=title,
            config=config,
            resume="allow",
            embed=False,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._trackio.log(dict(metrics), step=step)

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self._trackio.finish()


_OPENERS: Mapping[str, Callable[[Path, str, str, dict[str, Any], int], Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "trackio": _Trackio,
}
_REMEDIES = {
    "tensorboard": "see that the run's folder can be written",
    "wandb": "run `wandb login`, or set WANDB_MODE=offline",
    "trackio": "see its message above",
}


def _absent(name: str, how: str) -> str:
    return (
        f"report_to names {name!r}, but its package {how}: run `pip install {name}` (or install sari-audio[trackers]), "
        "or take it out of report_to"
    )


def _close(opened: Sequence[Tracker]) -> None:
    for tracker in opened:
        tracker.close()
