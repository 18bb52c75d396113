"""Checkpoints of a run: writing them, going on from them, and which run a folder belongs to.

A checkpoint holds the model (or adapter) with its processor, which plain transformers opens, and beside it all that
the run needs to go on as if it had never stopped. What lies where is in ``run_folder.py``; how the newest model comes
to the top of the folder in ``publication.py``; how the training state is stored without pickle in ``state_io.py``.

Several processes can share a run. Each opens it before its model is wrapped or sharded, the main one first
(``main=False`` in the others changes nothing on disk); the main one alone saves, with weights and optimizer state that
it has gathered and the random generators' states of all.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sari_data.config import write_effective
from sari_data.errors import CheckpointError
from sari_data.types import AudioQuestion
from sari_train.config import Training
from sari_train.model_card import render_card
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model, no_bars
from sari_train.publication import clear, cut_lines, publish, settle
from sari_train.run_files import RECIPE
from sari_train.run_folder import (
    CARD,
    TRAINING,
    Checkpoint,
    best_of,
    check_out,
    claim,
    is_run,
    list_checkpoints,
    prune,
    storing,
    verify,
    write_checkpoint,
)
from sari_train.state_io import capture_rng, named_optimizer_state, read_state, write_state

# In ``RunState.extra``: the trouble that ended the run, in words.
TROUBLE = "trouble"
# Changing these does not change what a run computes.
FREE_KEYS = (
    "out",
    "device",
    "save_every",
    "keep",
    "eval_every",
    "eval_questions",
    "cache_mib",
    "checkpointing",
    "preflight",
    "on_trouble",
    "report_to",
    "log_completions",
    "reference_offload",
)
# The same inside a table of a table.
FREE_SUBKEYS = {"rollout": ("url", "timeout")}


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands.

    Attributes:
        step: Optimizer steps done; 0 where the run begins.
        optimizer: The optimizer's state by the weights' names, for ``state_io.load_optimizer_state``; ``None`` where
            the run begins.
        extra: What the loop gave to :func:`save_run`.
        rng: States of the random generators, one a process, for ``state_io.restore_rng``.
        best: Step and dev accuracy of the best checkpoint so far; ``None`` where none was measured.
    """

    step: int = 0
    optimizer: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    rng: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[int, float] | None = None


def recipe_hash(table: Training, **inputs: str) -> str:
    """Return a hash of what decides a run's result.

    Args:
        table: The run's table; keys that change no result are left out.
        **inputs: Hashes of contents by the key that names where they lie (``model``, ``corpus``): the content counts
            and not its place, so both may be moved.
    """
    body = {k: v for k, v in table.model_dump(mode="json").items() if k not in FREE_KEYS and k not in inputs}
    for name, free in FREE_SUBKEYS.items():
        if isinstance(body.get(name), dict):
            body[name] = {k: v for k, v in body[name].items() if k not in free}
    return hashlib.sha256(json.dumps([body, inputs], sort_keys=True).encode()).hexdigest()[:16]


def corpus_hash(questions: Sequence[AudioQuestion]) -> str:
    """Return a hash of the questions: their ids, which derive from their content, pass rates and chains."""
    digest = hashlib.sha256()
    for question in questions:
        digest.update(f"{question.id}{question.pass_rates}{question.reasoning}".encode())
    return digest.hexdigest()[:16]


def open_run(
    lm: AudioLM, table: Training, name: str, fingerprint: str, *, overwrite: bool = False, main: bool = True
) -> RunState:
    """Prepare the output folder; where it holds a checkpoint of this same run, load it into ``lm``.

    Args:
        lm: The model as the run starts, not wrapped and not sharded; it takes the checkpoint's weights.
        table: The run's recipe table.
        name: The table's name, for the recipe that is written beside the output.
        fingerprint: See :func:`recipe_hash`.
        overwrite: Delete what an earlier run left in the folder.
        main: Whether this process writes. Another one only reads, and must come after the main one.

    Raises:
        CheckpointError: The folder holds another run, or something that is not a run, or a damaged checkpoint.
        StorageError: The folder cannot be written.
    """
    check_out(table, overwrite=overwrite)
    out = Path(os.path.realpath(table.out))
    if main:
        with storing(f"the output folder {out}"):
            if overwrite:
                clear(out)
            settle(out)
    checkpoints = list_checkpoints(out)
    if checkpoints:
        state = _resume(lm, out, checkpoints, fingerprint)
        if main:
            with storing(f"the output folder {out}"):
                prune(out, table.keep + (state.extra.get(TROUBLE) is not None))
                cut_lines(out, state.step)
        return state
    if main:
        with storing(f"the output folder {out}"):
            claim(out, name, fingerprint)
            cut_lines(out, 0)
            write_effective(out / RECIPE, {name: table})
    return RunState()


def finished(table: Training) -> bool:
    """Whether the output folder holds a checkpoint that has all the steps of ``table``.

    Raises:
        CheckpointError: A checkpoint that is damaged.
    """
    checkpoints = list_checkpoints(Path(os.path.realpath(table.out)))
    return bool(checkpoints) and checkpoints[-1].step >= table.steps


def save_run(
    lm: AudioLM,
    optimizer: torch.optim.Optimizer | None,
    out: str | Path,
    *,
    step: int,
    fingerprint: str,
    extra: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    keep: int = 1,
    rng: Sequence[Mapping[str, Any]] | None = None,
    model_state: Mapping[str, Tensor] | None = None,
    optimizer_state: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint after ``step`` steps, publish its model at the top of ``out``, and prune older ones.

    Args:
        lm: The model.
        optimizer: The optimizer; may be ``None`` where ``optimizer_state`` is given.
        out: The run's folder.
        step: Optimizer steps done.
        fingerprint: See :func:`recipe_hash`.
        extra: State of the loop's parts (curriculum, guards): plain values, lists, dicts and tensors.
        metrics: The step's metrics; ``eval_accuracy`` among them makes the checkpoint a candidate for the best.
        keep: Newest checkpoints that are kept; the best is kept besides.
        rng: What ``state_io.capture_rng`` returned in every process; default: this process's.
        model_state: The whole model's (or adapter's) weights, gathered from several processes; default: ``lm``'s.
        optimizer_state: The optimizer's state by the weights' names, gathered; default: ``optimizer``'s.

    Returns:
        The checkpoint's folder.

    Raises:
        StorageError: The disk is full or not writable; the checkpoints before are left as they were.
    """
    out = Path(os.path.realpath(out))
    if optimizer_state is None:
        assert optimizer is not None, "save_run needs the optimizer or its state"
        optimizer_state = named_optimizer_state(optimizer, lm.model)
    training = {
        "step": step,
        "fingerprint": fingerprint,
        "optimizer": dict(optimizer_state),
        "rng": [dict(state) for state in (rng if rng is not None else [capture_rng()])],
        "extra": dict(extra or {}),
    }
    # JSON has no word for what is not finite; metrics.jsonl and troubles.jsonl tell of it.
    numbers = {name: float(value) for name, value in (metrics or {}).items() if math.isfinite(value)}

    def fill(fresh: Path) -> None:
        save_model(lm, fresh, model_state)
        if (out / RECIPE).is_file():
            shutil.copyfile(out / RECIPE, fresh / RECIPE)
        (fresh / CARD).write_text(render_card(out, fresh, step=step), encoding="utf-8")
        write_state(fresh / TRAINING, training)

    with storing(f"checkpoint {out}", "; the checkpoint before it is unchanged"):
        if not is_run(out):
            claim(out, "", fingerprint)
        written = write_checkpoint(out, step, {"fingerprint": fingerprint, "metrics": numbers}, fill)
    with storing(f"the model of {written.path} at the top of {out}", "; the checkpoint itself is complete"):
        publish(out, written)
        prune(out, keep)
    return written.path


def save_model(lm: AudioLM, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Write model (or adapter) and processor in Hugging Face format, the weights as safetensors.

    Args:
        lm: The model.
        folder: Where to.
        state: The weights, where ``lm`` does not hold them all; default: its own.
    """
    given = {} if state is None else {"state_dict": dict(state)}
    with no_bars():
        if lm.adapter is None:
            lm.model.save_pretrained(str(folder), **given)
        else:
            # The vocabulary never changes, so peft need not ask a hub what the base's was.
            lm.adapter.save_pretrained(str(folder), save_embedding_layers=False, **given)
    lm.processor.save_pretrained(str(folder))


def replace_folder(out: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write a fresh folder beside ``out``, then put it in its place.

    Args:
        out: The folder to replace; of a link, the folder that it names.
        fill: Writes the new contents into the folder that it is given.

    Raises:
        StorageError: Writing failed; ``out`` is as it was.
    """
    out = Path(os.path.realpath(out))
    fresh, old = out.parent / f".{out.name}.new", out.parent / f".{out.name}.old"
    with storing(f"checkpoint {out}", "; what was there before is unchanged"):
        try:
            for leftover in (fresh, old):
                shutil.rmtree(leftover, ignore_errors=True)
            fresh.mkdir(parents=True)
            fill(fresh)
            if out.exists():
                os.replace(out, old)
            os.replace(fresh, out)
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:  # Ctrl-C too: nothing half written stays behind
            if old.is_dir() and not out.exists():
                os.replace(old, out)
            shutil.rmtree(fresh, ignore_errors=True)
            raise


def _resume(lm: AudioLM, out: Path, checkpoints: list[Checkpoint], fingerprint: str) -> RunState:
    newest, best = checkpoints[-1], best_of(checkpoints)
    if newest.manifest["fingerprint"] != fingerprint:
        raise CheckpointError(
            f"{out} holds a run with another recipe, model or corpus (see {out / RECIPE}): give --overwrite to start "
            "anew, or choose another out"
        )
    verify(newest)
    state = read_state(newest.path / TRAINING)
    try:
        found = RunState(
            state["step"],
            state["optimizer"],
            state["extra"],
            state["rng"],
            None if best is None or best.accuracy is None else (best.step, best.accuracy),
        )
    except KeyError as error:
        raise CheckpointError(
            f"the training state {newest.path / TRAINING} lacks {error}, so the run cannot go on: give --overwrite to "
            "start anew, or choose another out"
        ) from error
    if lm.adapter is None:
        # On the CPU: a second model beside the first would double the accelerator's memory.
        fresh = load_model(str(newest.path), dtype=str(lm.dtype).removeprefix("torch."), device="cpu")
        lm.model.load_state_dict(fresh.model.state_dict())
    else:
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        set_peft_model_state_dict(lm.adapter, load_file(newest.path / "adapter_model.safetensors"))
    return found
