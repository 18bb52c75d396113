"""Supervised fine-tuning, top to bottom: the warm-up on chains of thought.

What is left out, and why:

- Packing several examples into one row: rows of similar length in a micro-batch waste little, and a
  row then never sees another's audio.
- Dropout: the model that learns is the model that answers, and the chains are few passes at most.
- Loss on the prompt: only the chain, the answer and the end of the turn are taught.
- Epochs: a run is a number of steps; which examples a step takes follows from seed and step alone, so
  a run that goes on from a checkpoint needs no other position.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from sari_data.console import note
from sari_data.errors import InputError
from sari_data.prompting import render_prompt, render_target
from sari_data.store import read_split
from sari_data.types import AudioQuestion
from sari_train.batch import Encoded, Example, collate, encode_example
from sari_train.checkpoint import corpus_hash, open_run, recipe_hash, save_run
from sari_train.config import Sft
from sari_train.evaluate import evaluate, read_dev
from sari_train.interrupt import StopRequest
from sari_train.logprobs import completion_loss
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.optim import make_optimizer, take_step
from sari_train.parallel import backward_all, workers
from sari_train.progress import Progress, draw_curves
from sari_train.responder import weights_hash


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its folder, steps done, the last step's metrics, and whether Ctrl-C ended it."""

    out: Path
    step: int
    metrics: dict[str, float]
    stopped: bool = False


def train_sft(table: Sft, *, overwrite: bool = False) -> Outcome:
    """Run (or go on with) supervised fine-tuning as ``[sft]`` describes it.

    Raises:
        SariError: The model, the corpus or the output folder does not fit; nothing is half written.
    """
    questions = read_chains(table)
    examples = [Example(q.audio, render_prompt(q, table.mode), render_target(q, table.mode)) for q in questions]
    dev = read_dev(table)
    lm = load_model(table.model, dtype=table.dtype, device=table.device)
    fingerprint = recipe_hash(table, model=weights_hash(lm), corpus=corpus_hash(questions))
    lm.checkpointing = table.checkpointing
    if table.freeze_audio:
        lm.freeze_audio()
    if table.lora is not None:
        add_lora(lm, table.lora, seed=table.seed)
    run = open_run(lm, table, "sft", fingerprint, overwrite=overwrite)
    optimizer = make_optimizer(lm, table)
    if run.optimizer is not None:
        optimizer.load_state_dict(run.optimizer)
        note(f"going on from step {run.step} of {table.steps} in {table.out}")

    note(f"SFT: {lm.name}, {len(questions)} chains in mode {table.mode}, {table.steps} steps of {table.batch_size}")
    step = run.step
    metrics: dict[str, float] = {}
    with StopRequest() as stop, Progress("SFT", table.out, steps=table.steps, done=step) as progress:
        while step < table.steps and not stop:
            started = time.perf_counter()
            rows = [
                encode_example(lm, examples[i])
                for i in batch_indices(len(examples), table.batch_size, step, table.seed)
            ]
            metrics = accumulate(lm, rows, table)
            metrics |= take_step(lm, optimizer, table, step)
            step += 1
            metrics["tokens_per_second"] = sum(map(len, rows)) / (time.perf_counter() - started)
            if dev and step % table.eval_every == 0:
                metrics |= evaluate(lm, dev, mode=table.mode, max_new_tokens=table.max_new_tokens)
            progress.update(step, metrics)
            if step % table.save_every == 0 or step == table.steps or stop:
                if step == table.steps:
                    draw_curves(table.out, f"SFT of {lm.name}, mode {table.mode}")
                save_run(lm, optimizer, table.out, step=step, fingerprint=fingerprint)
                progress.restart_clock()
    return Outcome(Path(table.out), step, metrics, stopped=step < table.steps)


def read_chains(table: Sft) -> list[AudioQuestion]:
    """Return the chains that the run trains on, in the corpus's order."""
    questions = read_split(table.corpus, table.split)
    if not questions:
        raise InputError(f"split {table.split!r} of corpus {table.corpus} is empty: build one with `sari-data build`")
    return questions[: table.chains]


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Return the examples of a step: the run reads one shuffled pass after another, whatever the batch size."""
    order: list[int] = []
    first = step * batch_size
    for turn in range(first // count, (first + batch_size - 1) // count + 1):
        order += np.random.default_rng([seed, 0x5F7, turn]).permutation(count).tolist()
    start = first % count
    return order[start : start + batch_size]


def accumulate(lm: AudioLM, rows: Sequence[Encoded], table: Sft) -> dict[str, float]:
    """Add the gradient of the step's loss, micro-batch by micro-batch; return the step's metrics."""
    rows = sorted(rows, key=len)
    tokens = sum(len(row.completion) for row in rows)
    size = min(table.micro_batch, -(-len(rows) // workers(lm)))

    def forward(chunk: Sequence[Encoded]) -> tuple[Tensor, dict[str, float]]:
        loss = completion_loss(lm, collate(lm, chunk)) / tokens
        return loss, {"loss": loss.item()}

    # Interleaved, so that micro-batches that run side by side have about the same lengths.
    parts = backward_all(lm, [partial(forward, rows[i :: -(-len(rows) // size)]) for i in range(-(-len(rows) // size))])
    metrics = {"loss": sum(part["loss"] for part in parts)}
    return metrics
