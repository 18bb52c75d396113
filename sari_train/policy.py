"""Learning from one rollout: micro-batches, the policy's pass over them, and optimizer steps.

Shapes: B rows, C completion tokens, N completion tokens of all rows of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sari_train.batch import Batch, Encoded, collate
from sari_train.config import Grpo
from sari_train.distributed import ALONE, World
from sari_train.kernels.linear_loss import LinearLoss, linear_loss
from sari_train.logprobs import autocast, completion_hidden, selected_logprobs
from sari_train.losses import LOSSES
from sari_train.losses.base import Loss, policy_terms, step_total, token_weights
from sari_train.losses.correction import sampler_correction
from sari_train.models.base import AudioLM
from sari_train.optim import take_step
from sari_train.parallel import workers
from sari_train.reference import Reference
from sari_train.rollout import Completion

# What is measured of the tokens that are learned from: means with the weights of the loss, and others.
MEANS = ("kl", "clip_fraction", "clip_low", "clip_high")
MEASURED = ("loss", "weight", *MEANS, "entropy", "sampler_gap", "correction_weight")

_SHORT = {"clip_low_fraction": "clip_low", "clip_high_fraction": "clip_high"}

Objective = Callable[[Tensor, slice], tuple[Tensor, dict[str, Tensor]]]
Phase = Callable[[str], AbstractContextManager[object]]


def unmeasured(name: str) -> AbstractContextManager[object]:
    """Measure nothing."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Experience:
    """One sampled completion with what it earned beyond its group; one that is not counted teaches nothing."""

    row: Encoded
    advantage: float
    completion: Completion
    counted: bool = True


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Some rows as tensors, flat over their N completion tokens."""

    batch: Batch
    rows_N: Tensor
    targets_N: Tensor
    advantages_N: Tensor
    sampled_N: Tensor
    weights_N: Tensor
    ref_N: Tensor | None

    @property
    def tokens(self) -> int:
        """Number of completion tokens."""
        return len(self.rows_N)


def chosen_loss(table: Grpo) -> tuple[Loss, float, float]:
    """Return the recipe's loss with the bounds of its ratio: below 1 and above."""
    loss = LOSSES[table.loss]
    low = loss.clip_low if table.clip_epsilon is None else table.clip_epsilon
    if table.clip_epsilon_high is not None:
        return loss, low, table.clip_epsilon_high
    # Who sets one bound of a symmetric interval means both.
    both = table.clip_epsilon is not None and loss.clip_low == loss.clip_high
    return loss, low, low if both else loss.clip_high


def learn(
    lm: AudioLM,
    optimizer: torch.optim.Optimizer,
    experience: Sequence[Experience],
    reference: Reference | None,
    step: int,
    table: Grpo,
    world: World = ALONE,
    phase: Phase = unmeasured,
) -> dict[str, float]:
    """Take ``updates_per_rollout`` optimizer steps on one rollout; return the metrics of the last.

    Where every group is flat and there is no KL penalty, there is nothing to learn and nothing to measure.
    """
    loss, low, high = chosen_loss(table)
    penalty = reference if table.kl_in == "loss" else None
    with phase("policy" if penalty is None else "reference"):
        micro = micro_batches(lm, experience, penalty, table, world)
    run_tokens = world.total({"tokens": sum(m.tokens for m in micro)})["tokens"]
    old_logps: list[Tensor | None] = [None] * len(micro)

    def forward(at: int) -> tuple[Tensor, tuple[Tensor, dict[str, float]]]:
        m, old_N = micro[at], old_logps[at]

        def correction(old: Tensor, some: slice) -> Tensor | None:
            if table.rollout.engine == "local":
                return None
            level: Literal["token", "sequence"] = "token" if loss.per_token else "sequence"
            cap = table.rollout.correction_cap
            return sampler_correction(old, m.sampled_N[some], cap=cap, level=level, rows_N=m.rows_N[some])

        def objective(logps: Tensor, some: slice) -> tuple[Tensor, dict[str, Tensor]]:
            # On the first update the policy that learns is the one that sampled.
            old = logps.detach() if old_N is None else old_N[some]
            return policy_terms(
                loss,
                logps,
                old,
                m.advantages_N[some],
                m.weights_N[some],
                clip_low=low,
                clip_high=high,
                beta=table.beta if penalty is not None else 0.0,
                kl=table.kl,
                ref_N=None if m.ref_N is None else m.ref_N[some],
                correction_N=correction(old, some),
                rows_N=m.rows_N[some],
            )

        with autocast(lm, table):
            # Of a loss of whole sequences, the first update's ratios are 1 in whatever slices they are asked for.
            slices = loss.per_token or (old_N is None and table.rollout.engine == "local")
            found = head_loss(lm, m, objective, table, slices=slices)
        shares = objective(found.logps_N, slice(None))[1]
        # Means over the tokens of the step: a micro-batch weighs what it has of them.
        share = m.tokens / run_tokens
        first_N = found.logps_N if old_N is None else old_N
        parts = {_SHORT.get(name, name): value.item() for name, value in shares.items()}
        parts["entropy"] = share * found.entropy_N.mean().item()
        # Distance between the sampler's log-probabilities and the trainer's: 0 but for rounding.
        parts["sampler_gap"] = share * (first_N - m.sampled_N).abs().mean().item()
        weights_N = correction(first_N, slice(None))
        parts["correction_weight"] = share * (1.0 if weights_N is None else weights_N.mean().item())
        return found.loss, (first_N, parts)

    metrics = {"loss": 0.0}
    for _ in range(table.updates_per_rollout if run_tokens else 0):
        with phase("policy"):
            done = world.backward(lm, [partial(forward, at) for at in range(len(micro))])
        old_logps = [first_N for first_N, _ in done]
        metrics = world.total({name: sum(parts[name] for _, parts in done) for name in MEASURED})
        weight = metrics.pop("weight")
        metrics |= {name: metrics[name] / weight for name in MEANS}
        if penalty is None:
            del metrics["kl"]  # not measured, or measured on the samples for their reward
        if table.rollout.engine == "local":
            del metrics["correction_weight"]
        with phase("optimizer"):
            metrics |= take_step(lm, optimizer, table, step, world)
    return metrics


def micro_batches(
    lm: AudioLM, experience: Sequence[Experience], penalty: Reference | None, table: Grpo, world: World
) -> list[MicroBatch]:
    """Divide what can teach something into micro-batches, each token with what it counts in the step.

    Without a KL penalty a row without advantage has no gradient, so it is not run; the weights of the others know
    of it all the same. A group stays together, so that its prompt runs once; groups of similar length are batched
    together, the longest first.
    """
    loss = LOSSES[table.loss]
    counted = [e for e in experience if e.counted]
    g = table.group_size
    by_prompt = [experience[i : i + g] for i in range(0, len(experience), g)]
    by_prompt.sort(key=lambda group: -max(len(e.row) for e in group))
    # A mean over the micro-batch depends on all that is in it.
    every = penalty is not None or loss.weighting == "micro_batch"
    useful = [e for group in by_prompt for e in group if e.counted and (every or e.advantage != 0)]
    size = table.micro_batch
    if loss.weighting != "micro_batch":  # there it would change the result that another machine has more threads
        size = max(1, min(size, -(-len(useful) // workers(lm))))
    groups = [useful[i : i + size] for i in range(0, len(useful), size)]
    counts = {
        "completions": len(counted),
        "tokens": sum(len(e.row.completion) for e in counted),
        "micro_batches": len(groups),
    }
    total = step_total(loss.weighting, **{name: int(found) for name, found in world.total(counts).items()})
    made = []
    for group in groups:
        batch = collate(lm, [e.row for e in group])
        mask_BC = batch.completion_mask_BC
        rows_N, columns_N = mask_BC.nonzero(as_tuple=True)
        weights_BC = token_weights(mask_BC, weighting=loss.weighting, total=total, max_new_tokens=table.max_new_tokens)
        made.append(
            MicroBatch(
                batch,
                rows_N,
                targets_N=batch.ids_BT[rows_N, batch.prompt_lengths_B[rows_N] + columns_N],
                advantages_N=torch.tensor([e.advantage for e in group], device=lm.device)[rows_N],
                sampled_N=torch.from_numpy(np.concatenate([e.completion.logps for e in group])).to(lm.device),
                weights_N=weights_BC[rows_N, columns_N],
                ref_N=None,
            )
        )
    if penalty is None:
        return made
    with penalty.ready():
        return [replace(m, ref_N=penalty.logprobs(m.batch)[m.batch.completion_mask_BC]) for m in made]


def head_loss(lm: AudioLM, m: MicroBatch, objective: Objective, table: Grpo, *, slices: bool) -> LinearLoss:
    """Run the policy over a micro-batch and return the loss.

    A loss that is a sum over tokens has its gradients made while the head has the logits; one of whole
    sequences needs all log-probabilities first.
    """
    weight, bias = lm.head_weights
    hidden = completion_hidden(lm, m.batch)
    if slices:
        return linear_loss(
            hidden,
            weight,
            m.targets_N,
            lambda logps, some: objective(logps, some)[0],
            bias_V=bias,
            temperature=table.temperature,
            banned=lm.banned_ids,
        )
    logps_N, entropy_N = selected_logprobs(lm, hidden, m.targets_N, temperature=table.temperature, banned=lm.banned_ids)
    return LinearLoss(objective(logps_N, slice(None))[0], logps_N.detach(), entropy_N)
