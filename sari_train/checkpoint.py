"""Checkpoints: a folder that plain transformers opens, with the training state beside the weights.

A checkpoint is written into a fresh folder and then swapped in by renaming, so weights and training
state always belong together, and a crash leaves the old one or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from sari_data.config import write_effective
from sari_data.errors import CheckpointError, StorageError
from sari_data.types import AudioQuestion
from sari_train.config import Training
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model, no_bars

STATE = "training_state.pt"
RECIPE = "recipe.json"
METRICS = "metrics.jsonl"
CURVES = "curves.png"
# What a run writes before its first checkpoint; a folder that holds anything else is somebody's.
BEFORE_CHECKPOINT = {RECIPE, METRICS, CURVES}
# Changing these does not change what a run computes.
FREE_KEYS = ("out", "device", "save_every", "eval_every", "eval_questions", "cache_mib", "checkpointing")


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands: steps done, and the optimizer's state where it goes on from a checkpoint."""

    step: int = 0
    optimizer: dict[str, Any] | None = None


def recipe_hash(table: Training, **inputs: str) -> str:
    """Return a hash of what decides a run's result: its table, and the hashes of its model and corpus."""
    body = {k: v for k, v in table.model_dump(mode="json").items() if k not in FREE_KEYS}
    return hashlib.sha256(json.dumps([body, inputs], sort_keys=True).encode()).hexdigest()[:16]


def corpus_hash(questions: Sequence[AudioQuestion]) -> str:
    """Return a hash of the questions: their ids, which derive from their content, pass rates and chains."""
    digest = hashlib.sha256()
    for question in questions:
        digest.update(f"{question.id}{question.pass_rates}{question.reasoning}".encode())
    return digest.hexdigest()[:16]


def open_run(lm: AudioLM, table: Training, name: str, fingerprint: str, *, overwrite: bool) -> RunState:
    """Prepare the output folder; where it holds a checkpoint of this same run, load it into ``lm``.

    Args:
        lm: The model as the run starts; it takes the checkpoint's weights.
        table: The run's recipe table.
        name: The table's name, for the recipe that is written beside the output.
        fingerprint: See :func:`recipe_hash`.
        overwrite: Delete what an earlier run left in the folder.

    Raises:
        CheckpointError: The folder holds another run, or something that is not a run.
    """
    check_out(table)
    out = Path(os.path.realpath(table.out))
    _recover(out)
    if (out / STATE).is_file():
        if not overwrite:
            return _resume(lm, out, fingerprint)
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / METRICS).unlink(missing_ok=True)
        write_effective(out / RECIPE, {name: table})
    except OSError as error:
        raise StorageError(f"the output folder {out} cannot be written ({error}): choose another out") from error
    return RunState()


def check_out(table: Training) -> None:
    """Refuse an output folder that a checkpoint must not replace.

    Every checkpoint takes the folder's place as a whole, so it must be a run's own.

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
    if not out.is_dir() or (out / STATE).is_file() or {p.name for p in out.iterdir()} <= BEFORE_CHECKPOINT:
        return
    if (out / "config.json").is_file() or (out / "adapter_config.json").is_file():
        raise CheckpointError(f"{table.out} holds a model without training state: choose another out")
    raise CheckpointError(f"{table.out} was not written by a training run, so it is left alone: choose another out")


def finished(table: Training) -> bool:
    """Whether the output folder holds a checkpoint that has all the steps of ``table``."""
    out = Path(table.out)
    return (out / STATE).is_file() and _read_state(out)["step"] >= table.steps


def save_run(lm: AudioLM, optimizer: torch.optim.Optimizer, out: str | Path, *, step: int, fingerprint: str) -> None:
    """Write weights, processor and training state after ``step`` steps, and swap them in.

    Raises:
        StorageError: The disk is full or not writable; the last checkpoint is left as it was.
    """
    out = Path(out)

    def fill(fresh: Path) -> None:
        save_model(lm, fresh)
        for kept in (RECIPE, METRICS, CURVES):
            if (out / kept).is_file():
                shutil.copy2(out / kept, fresh / kept)
        state = {"step": step, "fingerprint": fingerprint, "optimizer": optimizer.state_dict()}
        torch.save(state, fresh / STATE)

    replace_folder(out, fill, keep=True)


def save_model(lm: AudioLM, folder: Path) -> None:
    """Write model (or adapter) and processor in Hugging Face format."""
    with no_bars():
        if lm.adapter is None:
            lm.model.save_pretrained(str(folder))
        else:
            # The vocabulary never changes, so peft need not ask a hub what the base's was.
            lm.adapter.save_pretrained(str(folder), save_embedding_layers=False)
    lm.processor.save_pretrained(str(folder))


def replace_folder(out: Path, fill: Callable[[Path], None], *, keep: bool = False) -> None:
    """Let ``fill`` write a fresh folder beside ``out``, then put it in its place.

    Args:
        out: The folder to replace; of a link, the folder that it names.
        fill: Writes the new contents into the folder that it is given.
        keep: Take over the files of ``out`` that ``fill`` did not write (somebody's notes).

    Raises:
        StorageError: Writing failed; ``out`` is as it was.
    """
    out = Path(os.path.realpath(out))
    fresh, old = _beside(out, "new"), _beside(out, "old")
    try:
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir(parents=True)
        fill(fresh)
        if out.exists():
            os.replace(out, old)
        os.replace(fresh, out)
        if keep and old.is_dir():
            _take_over(old, out)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException as error:  # Ctrl-C too: nothing half written stays behind
        if old.is_dir() and not out.exists():
            os.replace(old, out)
        shutil.rmtree(fresh, ignore_errors=True)
        # torch.save reports a full disk as a RuntimeError, safetensors as an error of its own.
        if not isinstance(error, (OSError, RuntimeError, SafetensorError)):
            raise
        raise StorageError(
            f"checkpoint {out} cannot be written ({error}): free some space or choose another out; what was there "
            "before is unchanged"
        ) from error


def _resume(lm: AudioLM, out: Path, fingerprint: str) -> RunState:
    state = _read_state(out)
    if state["fingerprint"] != fingerprint:
        raise CheckpointError(
            f"{out} holds a run with another recipe, model or corpus (see {out / RECIPE}): give --overwrite to start "
            "anew, or choose another out"
        )
    if lm.adapter is None:
        fresh = load_model(str(out), dtype=str(lm.dtype).removeprefix("torch."), device=str(lm.device))
        lm.model.load_state_dict(fresh.model.state_dict())
    else:
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        set_peft_model_state_dict(lm.adapter, load_file(out / "adapter_model.safetensors"))
    _cut_metrics(out / METRICS, state["step"])
    return RunState(state["step"], state["optimizer"])


def _read_state(out: Path) -> dict[str, Any]:
    try:
        state = torch.load(out / STATE, weights_only=True, map_location="cpu")
        return {key: state[key] for key in ("step", "fingerprint", "optimizer")}
    except Exception as error:
        raise CheckpointError(
            f"the training state {out / STATE} cannot be read ({type(error).__name__}), so the run cannot go on: give "
            "--overwrite to start anew, or choose another out"
        ) from error


def _cut_metrics(path: Path, step: int) -> None:
    """Drop what was logged after the checkpoint: those steps are taken again."""
    if path.is_file():
        # A run that was killed may have left half a line; it is beyond the checkpoint, which copies whole lines.
        whole = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        lines = [line for line in whole if json.loads(line)["step"] <= step]
        path.write_text("".join(lines), encoding="utf-8")


def _recover(out: Path) -> None:
    """Undo a swap that was cut between its two renames, or finish one that was cut after them."""
    old = _beside(out, "old")
    if not old.is_dir():
        return
    if out.exists():
        _take_over(old, out)
    else:
        os.replace(old, out)


def _take_over(old: Path, out: Path) -> None:
    """Move what ``out`` lacks from ``old`` to it."""
    for item in old.iterdir():
        if not (out / item.name).exists():
            os.replace(item, out / item.name)


def _beside(out: Path, suffix: str) -> Path:
    return out.parent / f".{out.name}.{suffix}"
