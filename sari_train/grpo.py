"""Group relative policy optimisation with a curriculum, top to bottom.

What is left out, and why:

- A value network: the group's mean is the baseline (Shao et al. 2024, arXiv 2402.03300).
- The reference model where ``beta`` is 0 (the default): nothing would read it.
- A separate pass for the old log-probabilities: on the first update they are the current ones,
  detached, and with ``updates_per_rollout = 1`` there is no second.
- Groups whose samples all earned the same: their advantage, and without a KL penalty their gradient,
  is 0, so they are not run; the loss's denominator still counts them.
- A rollout server: the weights that learn are the weights that sample, in one process.

Shapes: P prompts, G samples of each, B = rows, C completion tokens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sari_data.console import note
from sari_data.prompting import load_mode, render_prompt
from sari_data.responder import Sampling
from sari_data.store import read_split
from sari_data.types import AudioQuestion
from sari_train.advantages import group_advantages
from sari_train.batch import Encoded, Example, collate, encode_example
from sari_train.checkpoint import corpus_hash, open_run, recipe_hash, save_run
from sari_train.config import Grpo
from sari_train.curriculum import pass_rate, schedule
from sari_train.evaluate import evaluate, read_dev
from sari_train.interrupt import StopRequest
from sari_train.kernels.linear_loss import linear_loss
from sari_train.logprobs import completion_hidden
from sari_train.lora import add_lora
from sari_train.losses.grpo import grpo_terms, token_weights
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.optim import make_optimizer, take_step
from sari_train.parallel import backward_all, run_all, workers
from sari_train.progress import Progress, draw_curves
from sari_train.reference import Reference
from sari_train.responder import Room, pack, weights_hash
from sari_train.rewards import Sample, score
from sari_train.rollout import Completion, Rollout, RolloutPrompt
from sari_train.sft import Outcome

# Rows that are decoded together; results do not depend on it.
ROLLOUT_ROWS = 192


@dataclass(frozen=True, slots=True)
class Experience:
    """One sampled completion with what it earned beyond its group."""

    row: Encoded
    advantage: float
    completion: Completion


def train_grpo(table: Grpo, *, overwrite: bool = False) -> Outcome:
    """Run (or go on with) GRPO as ``[grpo]`` describes it.

    Raises:
        SariError: The model, the corpus or the output folder does not fit; nothing is half written.
    """
    load_mode(table.mode)  # a misspelt mode is told before anything is loaded or written
    questions = read_split(table.corpus, table.split)
    dev = read_dev(table)
    draws = table.steps * table.prompts_per_step
    order = schedule(questions, draws, curriculum=table.curriculum, mode=table.mode, seed=table.seed)
    lm = load_model(table.model, dtype=table.dtype, device=table.device)
    fingerprint = recipe_hash(table, model=weights_hash(lm), corpus=corpus_hash(questions))
    lm.checkpointing = table.checkpointing
    if table.freeze_audio:
        lm.freeze_audio()
    if table.lora is not None:
        add_lora(lm, table.lora, seed=table.seed)
    reference = Reference(lm, table) if table.beta > 0 else None
    run = open_run(lm, table, "grpo", fingerprint, overwrite=overwrite)
    optimizer = make_optimizer(lm, table)
    if run.optimizer is not None:
        optimizer.load_state_dict(run.optimizer)
        note(f"going on from step {run.step} of {table.steps} in {table.out}")

    note(
        f"GRPO: {lm.name}, {len(questions)} prompts in mode {table.mode}, {table.curriculum}, {table.steps} steps of "
        f"{table.prompts_per_step} x {table.group_size}"
    )
    engine = Rollout(lm, Sampling(temperature=table.temperature, max_new_tokens=table.max_new_tokens, seed=table.seed))
    step = run.step
    metrics: dict[str, float] = {}
    with StopRequest() as stop, Progress("GRPO", table.out, steps=table.steps, done=step) as progress:
        while step < table.steps and not stop:
            started = time.perf_counter()
            drawn = order[step * table.prompts_per_step : (step + 1) * table.prompts_per_step]
            experience, metrics = roll_out(lm, engine, [questions[i] for i in drawn], step, table)
            metrics |= learn(lm, optimizer, experience, reference, step, table)
            step += 1
            tokens = sum(len(e.completion.ids) for e in experience)
            metrics["tokens_per_second"] = tokens / (time.perf_counter() - started)
            if dev and step % table.eval_every == 0:
                metrics |= evaluate(lm, dev, mode=table.mode, max_new_tokens=table.max_new_tokens)
            progress.update(step, metrics)
            if step % table.save_every == 0 or step == table.steps or stop:
                if step == table.steps:
                    draw_curves(table.out, f"GRPO of {lm.name}, mode {table.mode}, {table.curriculum}")
                save_run(lm, optimizer, table.out, step=step, fingerprint=fingerprint)
                progress.restart_clock()
    return Outcome(Path(table.out), step, metrics, stopped=step < table.steps)


def roll_out(
    lm: AudioLM, engine: Rollout, questions: Sequence[AudioQuestion], step: int, table: Grpo
) -> tuple[list[Experience], dict[str, float]]:
    """Sample a group for each question, reward every sample, and compare it with its group.

    Returns:
        P * G experiences, group after group, and the metrics of the rollout.
    """
    g = table.group_size
    prompts = [
        # The place in the step is part of the id: a question that is drawn twice gets two groups.
        RolloutPrompt(f"{at}:{q.id}", encode_example(lm, Example(q.audio, render_prompt(q, table.mode))), range(g))
        for at, q in enumerate(questions)
    ]
    found: dict[tuple[str, int], Completion] = {}
    rows = min(ROLLOUT_ROWS, -(-len(prompts) // workers(lm)) * g)
    draw = partial(engine.generate, seed=table.seed * 1_000_003 + step, decoder=lm.decoder())
    room = Room.of(lm, table.cache_mib // workers(lm), table.max_new_tokens)
    for completions in run_all(lm, [partial(draw, batch) for batch in pack(prompts, rows, room)]):
        found |= {(done.prompt_id, done.sample): done for done in completions}
    completions = [found[p.id, s] for p in prompts for s in range(g)]

    rewards, parts = [], []
    for i, done in enumerate(completions):
        sample = Sample(questions[i // g], table.mode, done.text, done.finish_reason)
        total, each = score(sample, table.rewards)
        rewards.append(total)
        parts.append(each)
    advantages_PG, metrics = group_advantages(torch.tensor(rewards).view(-1, g), scale_std=table.scale_std)

    count = len(completions)
    metrics |= {f"reward_{name}": sum(p[name] for p in parts) / count for name in table.rewards}
    metrics["reward"] = sum(rewards) / count
    metrics["length"] = sum(len(c.ids) for c in completions) / count
    metrics["truncated"] = sum(c.finish_reason == "length" for c in completions) / count
    rates = [rate for q in questions if (rate := pass_rate(q, table.mode)) is not None]
    if rates:
        metrics["pass_rate"] = sum(rates) / len(rates)
    experience = [
        Experience(Encoded(prompts[i // g].encoded.clip, prompts[i // g].encoded.prompt, done.ids), advantage, done)
        for i, (done, advantage) in enumerate(zip(completions, advantages_PG.flatten().tolist(), strict=True))
    ]
    return experience, metrics


def learn(
    lm: AudioLM,
    optimizer: torch.optim.Optimizer,
    experience: Sequence[Experience],
    reference: Reference | None,
    step: int,
    table: Grpo,
) -> dict[str, float]:
    """Take ``updates_per_rollout`` optimizer steps on one rollout; return the metrics of the last.

    Where every group is flat and there is no KL penalty, there is nothing to learn and nothing to measure.
    """
    total = len(experience) if table.normalise == "sequence" else sum(len(e.row.completion) for e in experience)
    # Without a KL penalty a row without advantage has no gradient. A group stays together, so that its prompt
    # runs once; groups of similar length are batched together, the longest first.
    g = table.group_size
    by_prompt = [experience[i : i + g] for i in range(0, len(experience), g)]
    by_prompt.sort(key=lambda group: -max(len(e.row) for e in group))
    useful = [e for group in by_prompt for e in group if e.advantage != 0 or reference is not None]
    size = max(1, min(table.micro_batch, -(-len(useful) // workers(lm))))
    groups = [useful[i : i + size] for i in range(0, len(useful), size)]
    batches = [collate(lm, [e.row for e in group]) for group in groups]
    places = [batch.completion_mask_BC.nonzero(as_tuple=True) for batch in batches]
    ref_logps = [
        reference.logprobs(batch)[place] if reference is not None else None
        for batch, place in zip(batches, places, strict=True)
    ]
    old_logps: list[Tensor | None] = [None] * len(batches)
    weight, bias = lm.head_weights

    def forward(at: int) -> tuple[Tensor, tuple[Tensor, dict[str, float]]]:
        batch, (rows_N, columns_N) = batches[at], places[at]
        advantages_N = torch.tensor([e.advantage for e in groups[at]], device=lm.device)[rows_N]
        weights_BC = token_weights(batch.completion_mask_BC, normalise=table.normalise, total=total)
        weights_N = weights_BC[rows_N, columns_N]
        old_N, ref_N = old_logps[at], ref_logps[at]

        def objective(logps: Tensor, some: slice) -> tuple[Tensor, dict[str, Tensor]]:
            return grpo_terms(
                logps,
                logps.detach() if old_N is None else old_N[some],
                advantages_N[some],
                weights_N[some],
                clip_epsilon=table.clip_epsilon,
                beta=table.beta,
                ref_logps=None if ref_N is None else ref_N[some],
            )

        found = linear_loss(
            completion_hidden(lm, batch),
            weight,
            batch.ids_BT[rows_N, batch.prompt_lengths_B[rows_N] + columns_N],
            lambda logps, some: objective(logps, some)[0],
            bias_V=bias,
            temperature=table.temperature,
            banned=lm.banned_ids,
        )
        shares = objective(found.logps_N, slice(None))[1]
        # Means over the tokens of the step: a micro-batch weighs what it has of them.
        share = batch.tokens / sum(b.tokens for b in batches)
        sampled_N = torch.from_numpy(np.concatenate([e.completion.logps for e in groups[at]])).to(lm.device)
        first_N = found.logps_N if old_N is None else old_N
        parts = {name: value.item() for name, value in shares.items()}
        parts["entropy"] = share * found.entropy_N.mean().item()
        # Distance between the sampler's log-probabilities and the trainer's: 0 but for rounding.
        parts["sampler_gap"] = share * (first_N - sampled_N).abs().mean().item()
        return found.loss, (first_N, parts)

    names = ("loss", "kl", "clip_fraction", "entropy", "sampler_gap")
    metrics = {"loss": 0.0}
    for _ in range(table.updates_per_rollout if batches else 0):
        done = backward_all(lm, [partial(forward, at) for at in range(len(batches))])
        old_logps = [first_N for first_N, _ in done]
        metrics = {name: sum(parts[name] for _, parts in done) for name in names}
        metrics |= take_step(lm, optimizer, table, step)
    return metrics
