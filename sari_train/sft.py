"""Supervised fine-tuning, top to bottom: the warm-up on chains of thought.

A micro-batch runs as one packed sequence: nothing is padded, and a chain sees nothing but itself
(``kernels/packing.py``).

What is left out, and why:

- Dropout: the model that learns is the model that answers, and the chains are few passes at most.
- Loss on the prompt: only the chain, the answer and the end of the turn are taught.
- Epochs: a run is a number of steps; which examples a step takes follows from seed and step alone, so
  a run that goes on from a checkpoint needs no other position.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from torch import Tensor

from sari_data.console import note
from sari_data.errors import InputError
from sari_data.prompting import render_prompt, render_target
from sari_data.store import read_split
from sari_data.types import AudioQuestion
from sari_train.batch import Encoded, Example, collate, encode_example
from sari_train.config import Sft
from sari_train.distributed import ALONE, World
from sari_train.logprobs import autocast, completion_loss
from sari_train.models.base import AudioLM
from sari_train.optim import take_step
from sari_train.parallel import workers
from sari_train.run import Outcome, Run


def train_sft(table: Sft, *, overwrite: bool = False, world: World = ALONE) -> Outcome:
    """Run (or go on with) supervised fine-tuning as ``[sft]`` describes it.

    Raises:
        SariError: The model, the corpus or the output folder does not fit; nothing is half written.
    """
    questions = read_chains(table)
    examples = [Example(q.audio, render_prompt(q, table.mode), render_target(q, table.mode)) for q in questions]
    run = Run(table, "sft", questions, {}, overwrite=overwrite, world=world)
    lm = run.lm
    note(f"SFT: {lm.name}, {len(questions)} chains in mode {table.mode}, {table.steps} steps of {table.batch_size}")
    with run.going():
        while run.more:
            drawn = world.share(batch_indices(len(examples), table.batch_size, run.step, table.seed))
            rows = [encode_example(lm, examples[i]) for i in drawn]
            with run.phase("policy"):
                metrics = accumulate(lm, rows, table, world)
            with run.phase("optimizer"):
                metrics |= take_step(lm, run.optimizer, table, run.step, world)
            run.finish_step(metrics, tokens=int(world.total({"tokens": sum(map(len, rows))})["tokens"]))
    return run.outcome


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


def accumulate(lm: AudioLM, rows: Sequence[Encoded], table: Sft, world: World = ALONE) -> dict[str, float]:
    """Add the gradient of the step's loss, micro-batch by micro-batch; return the step's metrics.

    Every token of the step weighs alike, in whatever micro-batch and process it is.
    """
    rows = sorted(rows, key=len)
    tokens = world.total({"tokens": sum(len(row.completion) for row in rows)})["tokens"]
    count = -(-len(rows) // min(table.micro_batch, max(1, -(-len(rows) // workers(lm)))))

    def forward(chunk: Sequence[Encoded]) -> tuple[Tensor, float]:
        with autocast(lm, table):
            loss = completion_loss(lm, collate(lm, chunk)) / tokens
        return loss, loss.item()

    # Interleaved, so that micro-batches that run side by side have about the same lengths.
    parts = world.backward(lm, [partial(forward, rows[i::count]) for i in range(count)])
    return world.total({"loss": sum(parts)})
