"""A run's folder on disk: what lies where, and its numbered checkpoints.

::

    <out>/                       a model that plain transformers opens: the newest checkpoint's (publication.py)
        manifest.json            which step that is; taken away first and written last
        recipe.json metrics.jsonl timings.jsonl completions/ curves.png ...
        best.json                the best checkpoint by dev accuracy, where it was measured
        checkpoints/run.json     says that this is a run's folder, not somebody's
        checkpoints/step-00000100/
            config.json model.safetensors ...   model (or adapter) and processor, as at the top
            training/            what going on needs: state.safetensors, state.json
            manifest.json        written last: with it the checkpoint is complete

Nothing here knows of models or torch. Every change is one rename, so a process that is killed leaves the state before
it or after it; ``publication.settle`` finishes or undoes, at the next start, what was cut between two of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from sari_data.errors import CheckpointError, StorageError
from sari_train.run_files import CURVES, LOGS, RECIPE

if TYPE_CHECKING:
    from sari_train.config import Training

CHECKPOINTS = "checkpoints"
TRAINING = "training"
MANIFEST = "manifest.json"
OWNER = "run.json"
BEST = "best.json"
CARD = "README.md"
# What a run of before wrote ahead of its first checkpoint; a folder that holds anything else is somebody's.
BEFORE_CHECKPOINT = {RECIPE, *LOGS, CURVES}
# The state of runs before checkpoints were numbered: a pickle, which is never opened.
OLD_STATE = "training_state.pt"
FORMAT = "sari-checkpoint"
FORMAT_VERSION = 1
# The sentence by which a card at the top of a run's folder is known as the run's own.
CARD_MARK = "<!-- sari-train writes this card anew with every checkpoint; without this line it keeps off -->"

# Without one of these no loader takes a folder for a model.
ENTRIES = ("config.json", "adapter_config.json")
_STEP = re.compile(r"step-(\d{8,})")
# safetensors and tokenizers are written in Rust, whose errors say this of what the system refused.
_OS_ERROR = re.compile(r"\(os error \d+\)")
_HASHED = 8 * 2**20  # bytes up to which a file's hash is recorded; of larger ones the size


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint: its folder, and its manifest."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.manifest["step"])

    @property
    def accuracy(self) -> float | None:
        """Dev accuracy after that step, in [0, 1]; ``None`` where it was not measured then."""
        return self.manifest["metrics"].get("eval_accuracy")


def is_run(out: Path) -> bool:
    """Whether a training run made this folder."""
    return (out / CHECKPOINTS / OWNER).is_file()


def is_model(folder: Path) -> bool:
    """Whether a loader would take a folder for a model or an adapter."""
    return any((folder / name).is_file() for name in ENTRIES)


def check_out(table: Training, *, overwrite: bool = False) -> None:
    """Refuse an output folder that checkpoints must not be written into.

    Args:
        table: The run's table.
        overwrite: Whether an earlier run's files there are to be deleted; nobody else's ever are.

    Raises:
        CheckpointError: It holds the model, the corpus or the working folder, or files that no run wrote.
    """
    out = Path(os.path.realpath(table.out))
    for what, path in (("the working folder", "."), ("the model", table.model), ("the corpus", table.corpus)):
        if os.path.exists(path) and Path(os.path.realpath(path)).is_relative_to(out):
            raise CheckpointError(
                f"out {table.out!r} is or holds {what}, which checkpoints would replace: choose another out"
            )
    if out.is_file():
        raise CheckpointError(f"out {table.out!r} is a file, but checkpoints need a folder: choose another out")
    if not out.is_dir() or is_run(out) or _is_bare(out):
        return
    if (out / OLD_STATE).is_file():
        if overwrite:
            return
        raise CheckpointError(
            f"{table.out} holds a run of an earlier version of sari, whose training state ({OLD_STATE}) is a pickle, "
            "which is never opened: give --overwrite to start anew, or choose another out"
        )
    if is_model(out):
        raise CheckpointError(f"{table.out} holds a model without training state: choose another out")
    raise CheckpointError(f"{table.out} was not written by a training run, so it is left alone: choose another out")


def _is_bare(out: Path) -> bool:
    """Whether a folder holds at most what a run writes before it has claimed it."""
    names = {path.name for path in out.iterdir()} - BEFORE_CHECKPOINT
    return not names or (names == {CHECKPOINTS} and all(p.name.startswith(".") for p in (out / CHECKPOINTS).iterdir()))


def claim(out: Path, name: str, fingerprint: str) -> None:
    """Make the folder a run's own, before anything else is written into it."""
    (out / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    write_json(out / CHECKPOINTS / OWNER, {"format": "sari-run", "table": name, "fingerprint": fingerprint})


# -- checkpoints ----------------------------------------------------------------------------------------------------


def list_checkpoints(out: Path) -> list[Checkpoint]:
    """Return the complete checkpoints of a run, by their step.

    Raises:
        CheckpointError: A manifest that is not as it was written.
    """
    found = []
    for path in sorted((out / CHECKPOINTS).glob("step-*")):
        if _STEP.fullmatch(path.name) and (path / MANIFEST).is_file():
            found.append(Checkpoint(path, read_manifest(path)))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a checkpoint's manifest.

    Raises:
        CheckpointError: It is not as it was written.
    """
    try:
        body = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        valid = (
            (body["format"], body["format_version"]) == (FORMAT, FORMAT_VERSION)
            and isinstance(body["step"], int)
            and isinstance(body["fingerprint"], str)
            and isinstance(body["metrics"], dict)
            and all(isinstance(entry["bytes"], int) and is_inside(name) for name, entry in body["files"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"{MANIFEST} cannot be read, {type(error).__name__}") from error
    if not valid:
        raise _damaged(path, f"{MANIFEST} is none of this version of sari")
    return dict(body)


def verify(checkpoint: Checkpoint) -> None:
    """Compare a checkpoint's files with its manifest.

    Raises:
        CheckpointError: A file is absent, of another size, or (a small one) of other content.
    """
    for name, entry in checkpoint.manifest["files"].items():
        file = checkpoint.path / name
        if not file.is_file():
            raise _damaged(checkpoint.path, f"{name} is not there")
        if file.stat().st_size != entry["bytes"]:
            size = file.stat().st_size
            raise _damaged(checkpoint.path, f"{name} has {size:,} bytes and was written with {entry['bytes']:,}")
        if "sha256" in entry and _sha256(file) != entry["sha256"]:
            raise _damaged(checkpoint.path, f"{name} was changed since it was written")


def best_of(checkpoints: list[Checkpoint]) -> Checkpoint | None:
    """Return the checkpoint of highest dev accuracy, of equal ones the earliest; ``None`` where none was measured."""
    measured = [checkpoint for checkpoint in checkpoints if checkpoint.accuracy is not None]
    return max(measured, key=lambda checkpoint: (checkpoint.accuracy, -checkpoint.step), default=None)


def write_checkpoint(out: Path, step: int, about: Mapping[str, Any], fill: Callable[[Path], None]) -> Checkpoint:
    """Let ``fill`` write a checkpoint's files aside, then its manifest, then give it its name.

    Args:
        out: The run's folder.
        step: Optimizer steps done.
        about: What the manifest says besides the step and the files: ``fingerprint``, ``table``, ``metrics``.
        fill: Writes the files into the folder that it is given.
    """
    target = out / CHECKPOINTS / f"step-{step:08d}"
    fresh, old = _aside(target, "partial"), _aside(target, "old")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        fill(fresh)
        body = {"format": FORMAT, "format_version": FORMAT_VERSION, "step": step, **about, "files": _describe(fresh)}
        write_json(fresh / MANIFEST, body)
        # A checkpoint that has its name survives a power cut too, and so do the lines of the steps before it.
        for path in (*fresh.rglob("*"), *(out / name for name in LOGS), fresh):
            _sync(path)
        if target.exists():
            os.replace(target, old)
        os.replace(fresh, target)
    except BaseException:  # Ctrl-C too: nothing half written stays behind
        if old.is_dir() and not target.exists():
            os.replace(old, target)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)
    return Checkpoint(target, body)


def prune(out: Path, keep: int) -> None:
    """Delete all checkpoints but the newest ``keep`` and the best, and name the best in ``best.json``."""
    found = list_checkpoints(out)
    best = best_of(found)
    if best is not None:
        about = {"step": best.step, "eval_accuracy": best.accuracy, "checkpoint": f"{CHECKPOINTS}/{best.path.name}"}
        write_json(out / BEST, about)
    for checkpoint in found[:-keep]:
        if best is None or checkpoint.path != best.path:
            remove_checkpoint(checkpoint.path)


def remove_checkpoint(path: Path) -> None:
    """Delete a checkpoint; one that is half deleted never passes for a complete one."""
    gone = _aside(path, "gone")
    shutil.rmtree(gone, ignore_errors=True)
    os.replace(path, gone)
    shutil.rmtree(gone, ignore_errors=True)


# -- files ----------------------------------------------------------------------------------------------------------


def write_json(path: Path, body: Any) -> None:
    """Write JSON aside and give it its name."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(aside, path)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk, where there is one."""
    if path.exists():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _describe(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = file.stat().st_size
        entry: dict[str, Any] = {"bytes": size}
        if size <= _HASHED:
            entry["sha256"] = _sha256(file)
        found[file.relative_to(folder).as_posix()] = entry
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _aside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}")


def is_inside(name: str) -> bool:
    """Whether a file's name leads nowhere but into its own folder."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path} is damaged ({what}): delete that folder to go on from the one before, or "
        "give --overwrite to start anew"
    )


@contextmanager
def storing(what: str, rest: str = "") -> Iterator[None]:
    """Turn what the system refused into a StorageError."""
    try:
        yield
    except Exception as error:
        # Rust's libraries report a full disk as errors of their own, tokenizers as a bare Exception.
        refused = isinstance(error, (OSError, SafetensorError)) or _OS_ERROR.search(str(error))
        if not refused or isinstance(error, StorageError):
            raise
        raise StorageError(
            f"{what} cannot be written ({error}): free some space or choose another out{rest}"
        ) from error
