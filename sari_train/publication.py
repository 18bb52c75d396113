"""The newest checkpoint's model at the top of its run's folder, and what a start does with what a run left there.

Publishing is laying files ready and then a handful of renames between two marks: the manifest at the top goes first
and comes last. A process that is killed in between leaves a folder without a model's config, which every loader
refuses; :func:`settle` repairs it at the next start.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from sari_data.errors import CheckpointError
from sari_train.run_files import COMPLETIONS, CURVES, LOGS, RECIPE, REPORT, TENSORBOARD, TRACKERS
from sari_train.run_folder import (
    BEST,
    CARD,
    CARD_MARK,
    CHECKPOINTS,
    ENTRIES,
    MANIFEST,
    OLD_STATE,
    TRAINING,
    Checkpoint,
    is_inside,
    is_run,
    list_checkpoints,
    prune,
    read_manifest,
    remove_checkpoint,
    verify,
    write_json,
)

_STAGE = ".publishing"
_PREVIOUS = "previous.json"
_STEP_FILE = re.compile(r"step-(\d+)\.jsonl")
# What a run of before had at its top, besides what is named above.
_OLD_FILES = re.compile(
    r"training_state\.pt|(generation_|adapter_|processor_|preprocessor_|tokenizer_)?config\.json|chat_template\.jinja"
    r"|(adapter_)?model.*\.safetensors(\.index\.json)?|tokenizer\.json|special_tokens_map\.json|added_tokens\.json"
    r"|vocab\.json|merges\.txt"
)


def publish(out: Path, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's model at the top of the run's folder, in place of the one before.

    The files are laid ready aside first, weights as hard links where the file system has them, so that they take no
    room. Then ``manifest.json`` and the model's config go, the files take their places, the config comes back,
    and last the manifest: a loader in between finds no model, never a mixture of two.
    """
    stage = out / _STAGE
    previous = _published(out)
    _lay_ready(stage, out, checkpoint)
    if (out / MANIFEST).is_file():
        os.replace(out / MANIFEST, stage / _PREVIOUS)
    try:
        _take_places(out, stage, previous, checkpoint)
    except KeyboardInterrupt:
        _take_places(out, stage, previous, checkpoint)  # a handful of renames: finish them, then stop
        raise


def is_published(out: Path, checkpoint: Checkpoint) -> bool:
    """Whether the top of the run's folder holds this checkpoint's model, whole."""
    there = _published(out) if (out / MANIFEST).is_file() and not (out / _STAGE).exists() else None
    if there is None or there["step"] != checkpoint.step:
        return False
    sizes = {name: entry["bytes"] for name, entry in there["files"].items()}
    return all((out / name).is_file() and (out / name).stat().st_size == size for name, size in sizes.items())


def _published(out: Path) -> dict[str, Any] | None:
    """What the top's manifest says, or said before a publication was cut."""
    for folder, name in ((out, MANIFEST), (out / _STAGE, _PREVIOUS)):
        try:
            body = json.loads((folder / name).read_text(encoding="utf-8"))
            if all(is_inside(file) and isinstance(entry["bytes"], int) for file, entry in body["files"].items()):
                return {"step": body["step"], "files": body["files"]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # it is repaired by publishing anew, which reads nothing else of it
    return None


def _lay_ready(stage: Path, out: Path, checkpoint: Checkpoint) -> None:
    """Fill the folder ``stage`` with the files and the manifest that the top will have."""
    stage.mkdir(exist_ok=True)
    for leftover in stage.iterdir():
        if leftover.name != _PREVIOUS:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    entries = {}
    for name, entry in checkpoint.manifest["files"].items():
        if PurePosixPath(name).parts[0] == TRAINING or name == RECIPE or (name == CARD and has_own_card(out)):
            continue
        source, target = checkpoint.path / name, stage / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Texts are copied: somebody who edits one at the top must not change the checkpoint with it.
        if source.suffix != ".safetensors" or not _link(source, target):
            shutil.copyfile(source, target)
        entries[name] = entry
    write_json(stage / MANIFEST, {**checkpoint.manifest, "files": entries})


def _take_places(out: Path, stage: Path, previous: Mapping[str, Any] | None, checkpoint: Checkpoint) -> None:
    """Move what is laid ready to its places; safe to repeat from any point."""
    names = [name for name in checkpoint.manifest["files"] if name not in ENTRIES]
    stale = set(previous["files"] if previous is not None else ()) - set(names)
    for name in (*ENTRIES, *sorted(stale)):
        (out / name).unlink(missing_ok=True)
    for name in (*names, *ENTRIES, MANIFEST):
        if (stage / name).is_file():
            if "/" in name:
                (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(stage / name, out / name)
    shutil.rmtree(stage, ignore_errors=True)


def has_own_card(out: Path) -> bool:
    """Whether the card at the top of a run's folder is somebody's own, which the run leaves alone."""
    card = out / CARD
    return card.is_file() and CARD_MARK.encode() not in card.read_bytes()


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links: the caller copies
        return False
    return True


# -- going on, and starting anew -----------------------------------------------------------------------------------


def settle(out: Path, keep: int | None = None) -> None:
    """Finish what a process that was killed left unfinished: a swap, a publication, a pruning.

    Args:
        out: The run's folder; one that is no run's is left alone.
        keep: Checkpoints to keep besides the best; ``None``: all that are there.
    """
    if not is_run(out):
        return
    for old in (out / CHECKPOINTS).glob(".step-*.old"):
        target = old.with_name(old.name[1 : -len(".old")])
        if not target.exists():
            os.replace(old, target)
    for leftover in (out / CHECKPOINTS).glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    found = list_checkpoints(out)
    if found and not is_published(out, found[-1]):
        verify(found[-1])
        publish(out, found[-1])
    if keep is not None:
        prune(out, keep)


def clear(out: Path) -> None:
    """Delete what a run wrote into its folder, and nothing else."""
    there = _published(out)
    names = set(there["files"] if there is not None else ())
    for path in sorted((out / CHECKPOINTS).glob("step-*"), reverse=True):
        with suppress(CheckpointError):  # it is to be deleted, whatever is wrong with it
            names.update(name for name in read_manifest(path)["files"] if PurePosixPath(name).parts[0] != TRAINING)
        remove_checkpoint(path)
    if (out / OLD_STATE).is_file():
        names.update(p.name for p in out.iterdir() if p.is_file() and _OLD_FILES.fullmatch(p.name))
    for name in {*names, *LOGS, MANIFEST, BEST, RECIPE, CURVES, REPORT, TRACKERS} - {CARD}:
        (out / name).unlink(missing_ok=True)
    if not has_own_card(out):
        (out / CARD).unlink(missing_ok=True)
    for name in (_STAGE, COMPLETIONS, TENSORBOARD):
        shutil.rmtree(out / name, ignore_errors=True)


def cut_lines(out: Path, step: int) -> None:
    """Drop from the run's JSONL files what was logged after ``step``: those steps are taken again.

    A line that a kill or a full disk left half written, or that is not what a run writes, is dropped as well. What
    stays, stays byte for byte. A file of which nothing is left is deleted.

    Args:
        out: The run's folder. Each line of its logs has its step; a file of completions (``step-00000100.jsonl``) has
            it in its name.
        step: The last step to keep.
    """

    def in_time(row: dict[str, Any]) -> bool:
        return isinstance(row.get("step"), int) and row["step"] <= step

    for name in LOGS:
        _keep_lines(out / name, in_time)
    for path in sorted((out / COMPLETIONS).glob("*.jsonl")):
        named = _STEP_FILE.fullmatch(path.name)
        if named is None:
            _keep_lines(path, in_time)
        elif int(named[1]) <= step:
            _keep_lines(path, lambda row: True)
        else:
            path.unlink()


def _keep_lines(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Keep the whole lines of a JSONL file whose object is wanted, in one rename."""
    if not path.is_file():
        return

    def holds(line: bytes) -> bool:
        try:
            row = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            return False
        return isinstance(row, dict) and wanted(row)

    body = path.read_bytes()
    kept = b"".join(line + b"\n" for line in body.split(b"\n")[:-1] if holds(line))
    if not kept:
        path.unlink()
    elif kept != body:
        aside = path.with_name(f".{path.name}.cut")
        aside.write_bytes(kept)
        os.replace(aside, path)
