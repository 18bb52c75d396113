"""``sari-train plan``: what a training will take of a device's memory, said before anything is loaded.

What is read is in ``plan_model.py`` and ``plan_inputs.py``; the bytes are worked out in ``plan.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table

from sari_data.console import note, out, say
from sari_data.errors import InputError
from sari_train.config import Grpo, Sft, Training
from sari_train.distributed import Processes
from sari_train.plan import PARTS, Division, Load, Phase, peak, plan_phases
from sari_train.plan_inputs import Lengths, find_device, find_memory, read_lengths, starting_model
from sari_train.plan_model import meta_model, read_sizes
from sari_train.plan_parts import ONE
from sari_train.plan_sizes import Sizes
from sari_train.rollouts.engine import ROLLOUT_ROWS
from sari_train.sharding import Sharded

# With this environment variable glibc gives freed tensors back to the system; benchmarks/plan.py measures both.
GIVES_BACK = "MALLOC_MMAP_THRESHOLD_"
# The search for the largest group ends here.
MOST_SAMPLES = 512
LABELS = {
    "weights": "weights",
    "gathered": "weights gathered from shards",
    "reference": "reference's weights",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "audio": "audio activations",
    "text": "text activations",
    "decoder": "weights laid out for decoding",
    "cache": "keys and values",
    "head": "logits and loss",
    "sent": "weights on their way to the server",
    "data": "audio and features",
    "process": "the program itself",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a step takes, and what would fit.

    Args:
        model: The model whose config was read.
        device: Where it is to run.
        table: The recipe's table.
        sizes: The model's sizes.
        lengths: How long prompts are.
        workers: Batches that run side by side.
        memory: Bytes that there are.
        memory_source: How that is known.
        phases: The step, with the longest prompts.
        usual: Bytes of the highest phase with prompts of mean length.
        group_size: Largest group that fits, ``None`` where none does, and for SFT.
        micro_batch: Largest micro-batch that fits, ``None`` where none does.
        division: The processes that share the run; all figures are those of one.
        bounds: What of it is an upper bound rather than a count, a sentence each.
    """

    model: str
    device: str
    table: Training
    sizes: Sizes
    lengths: Lengths
    workers: int
    memory: int
    memory_source: str
    phases: tuple[Phase, ...]
    usual: int
    group_size: int | None
    micro_batch: int | None
    division: Division = ONE
    bounds: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """``sft`` or ``grpo``."""
        return "grpo" if isinstance(self.table, Grpo) else "sft"

    @property
    def peak(self) -> Phase:
        """The highest phase."""
        return peak(self.phases)

    @property
    def fits(self) -> bool:
        """Whether the memory suffices for the worst case."""
        return self.peak.total <= self.memory

    @property
    def rows(self) -> int:
        """Rows of a step in one process: more than that are in no micro-batch."""
        return _rows(self.table, self.division)

    def to_json(self) -> dict[str, Any]:
        """Return everything as one object; sizes are in bytes."""
        load, mean = self.lengths.longest, self.lengths.mean
        step: dict[str, int] = {"micro_batch": self.table.micro_batch}
        if isinstance(self.table, Grpo):
            step |= {"prompts_per_step": self.table.prompts_per_step, "group_size": self.table.group_size}
        elif isinstance(self.table, Sft):
            step |= {"batch_size": self.table.batch_size}
        return {
            "for": self.kind,
            "model": self.model,
            "device": self.device,
            "workers": self.workers,
            "processes": self.division.count,
            "sharded": self.division.sharded,
            "memory_bytes": self.memory,
            "memory_source": self.memory_source,
            "fits": self.fits,
            "peak": {"phase": self.peak.name, "bytes": self.peak.total},
            "peak_with_mean_prompts_bytes": self.usual,
            "phases": {phase.name: {"bytes": phase.total, "parts": phase.parts} for phase in self.phases},
            "largest": {"group_size": self.group_size, "micro_batch": self.micro_batch},
            "searched_up_to": {"group_size": MOST_SAMPLES, "micro_batch": self.rows},
            "assumed": {
                "lengths": self.lengths.source,
                "prompt_tokens": {"longest": load.prompt, "mean": mean.prompt},
                "audio_tokens": {"longest": load.audio, "mean": mean.audio},
                "completion_tokens": load.completion,
                **step,
            },
            "upper_bounds": list(self.bounds),
            "weights_bytes": dict(self.sizes.weights),
            "trained_bytes": dict(self.sizes.trained),
        }


def make_plan(
    table: Training,
    sft: Sft,
    *,
    device: str | None = None,
    memory_gib: float | None = None,
    clip_seconds: float | None = None,
    prompt_tokens: int | None = None,
    division: Division | None = None,
) -> Plan:
    """Plan a run.

    Args:
        table: The recipe's ``[grpo]`` or ``[sft]``.
        sft: Its ``[sft]``: where the warm-up is not there yet, its model's config serves.
        device: Used instead of the table's.
        memory_gib: Used instead of what the device has free.
        clip_seconds: Length of every clip, instead of the corpus's.
        prompt_tokens: Tokens of every prompt's text, instead of the corpus's.
        division: The processes that share the run; default: one.

    Raises:
        SariError: No such model, corpus or device, numbers that mean nothing, or processes that cannot run the recipe.
    """
    among = check_division(table, division or ONE)
    place = find_device(device or table.device, memory_gib)
    memory, memory_source = find_memory(place, memory_gib)
    lm = meta_model(starting_model(table, sft) if isinstance(table, Grpo) else table.model, table)
    sizes = read_sizes(lm, table, cpu=place.type == "cpu")
    lengths = read_lengths(lm, table, seconds=clip_seconds, tokens=prompt_tokens)
    workers = torch.get_num_threads() if place.type == "cpu" else 1

    def phases(changed: Training, load: Load = lengths.longest) -> list[Phase]:
        return plan_phases(sizes, changed, load, workers=workers, division=among)

    def fits(**changes: int) -> bool:
        return peak(phases(table.model_copy(update=changes))).total <= memory

    return Plan(
        model=str(lm.path),
        device=str(place),
        table=table,
        sizes=sizes,
        lengths=lengths,
        workers=workers,
        memory=memory,
        memory_source=memory_source,
        phases=tuple(phases(table)),
        usual=peak(phases(table, lengths.mean)).total,
        group_size=largest(lambda g: fits(group_size=g), 2, MOST_SAMPLES) if isinstance(table, Grpo) else None,
        micro_batch=largest(lambda b: fits(micro_batch=b), 1, _rows(table, among)),
        division=among,
        bounds=tuple(upper_bounds(sizes, table, among)),
    )


def _rows(table: Training, division: Division) -> int:
    if isinstance(table, Grpo):
        return division.share(table.prompts_per_step) * table.group_size
    assert isinstance(table, Sft)
    return division.share(table.batch_size)


def check_division(table: Training, division: Division) -> Division:
    """Return the processes, where they can run the recipe.

    Raises:
        InputError: Too many or too few of them, or a setting that weights in shards do not go with.
    """
    if division.count < 1:
        raise InputError(f"--processes must be 1 or more; found {division.count}: give another")
    if division.sharded and division.count == 1:
        raise InputError("--sharded needs --processes of 2 or more: one process holds all weights")
    if division.count > 1:
        kind = Sharded if division.sharded else Processes
        kind(0, division.count, torch.device("cpu")).check(table)
    return division


def upper_bounds(sizes: Sizes, table: Training, division: Division) -> list[str]:
    """Return what of a plan is an upper bound, a sentence each (docs/plan.md)."""
    found = []
    if sizes.experts is not None:
        found.append("mixtures of experts: what their backward pass needs is a bound")
    if sizes.quantized:
        found.append("weights in 4 or 8 bits: one layer's at a time counted as unpacked, whatever the kernel")
    if sizes.mixed and (table.checkpointing or not sizes.cpu):
        found.append("mixed_precision: all cast copies of the layers' weights counted to the end of the forward pass")
    if division.sharded:
        found.append("shards: two layers' weights and gradients counted as whole at any moment")
    if isinstance(table, Grpo) and table.rollout.engine == "vllm":
        found.append("the weights' way to the server: the largest merged weight, and on a CPU a file and its tensors")
    return found


def largest(fits: Callable[[int], bool], least: int, most: int) -> int | None:
    """Return the largest number from ``least`` to ``most`` that fits, or ``None``.

    Every one is tried, from the top: memory does not rise with each sample. A group that fills a micro-batch by
    itself takes less than two that share it with their two prompts.
    """
    return next((number for number in range(most, least - 1, -1) if fits(number)), None)


# -- the table ------------------------------------------------------------------------------------------------------


def show(plan: Plan) -> None:
    """Print the plan: the table and what follows from it on standard output, what was assumed on standard error."""
    load, table = plan.lengths.longest, plan.table
    beside = f", {plan.workers} batches side by side" if plan.workers > 1 else ""
    if isinstance(table, Grpo):
        step = f"{table.prompts_per_step} x {table.group_size} rows"
    else:
        assert isinstance(table, Sft)
        step = f"{table.batch_size} chains"
    among = f", {plan.division.count} processes" if plan.division.count > 1 else ""
    among += " with the weights in shards" if plan.division.sharded else ""
    note(
        f"{plan.kind.upper()} from {plan.model} on {plan.device}{beside}{among}: {step} a step, micro-batches of "
        f"{table.micro_batch}"
    )
    note(
        f"prompts of at most {load.prompt} tokens ({load.audio} of audio; {plan.lengths.mean.prompt} on average) from "
        f"{plan.lengths.source}; every completion {load.completion} tokens, the most that there can be"
    )
    if plan.sizes.cpu and GIVES_BACK not in os.environ:
        note(
            "counted are tensors: glibc keeps up to a quarter more of what was freed, unless the training runs with "
            f"{GIVES_BACK}=65536 in its environment"
        )
    for bound in plan.bounds:
        note(f"an upper bound: {bound}")
    each = " in each process" if plan.division.count > 1 else ""
    grid = Table(title=f"predicted peak memory of a step{each}, in MiB")
    grid.add_column("part")
    for phase in plan.phases:
        grid.add_column(phase.name, justify="right", style="bold" if phase is plan.peak else "")
    for part in PARTS:
        if any(phase.parts[part] for phase in plan.phases):
            grid.add_row(LABELS[part], *(_mib(phase.parts[part]) for phase in plan.phases))
    grid.add_section()
    grid.add_row("all", *(_mib(phase.total) for phase in plan.phases))
    out.print(grid)
    for line in verdict(plan):
        say(line)


def verdict(plan: Plan) -> list[str]:
    """Return what the figures mean, a sentence a line."""
    need, have = _gib(plan.peak.total), _gib(plan.memory)
    usual = f"with prompts of mean length {_gib(plan.usual)}"
    fits = "fits" if plan.fits else "does not fit"
    lines = [f"{fits}: {need} at the highest, in the phase {plan.peak.name} ({usual}), of {have} {plan.memory_source}"]
    if plan.kind == "sft":
        pass
    elif plan.group_size is None:
        lines.append("no group fits: lower micro_batch, set checkpointing, or take a smaller model")
    elif plan.group_size == MOST_SAMPLES:
        lines.append(
            f"largest group_size that fits: {MOST_SAMPLES} or more: of a larger group no more rows run together, which "
            f"micro_batch and the rollout's {ROLLOUT_ROWS} rows bound"
        )
    else:
        lines.append(f"largest group_size that fits: {plan.group_size}")
    if plan.micro_batch is None:
        lines.append(
            "no micro_batch fits, not even of one row: set checkpointing, add adapters, or take a smaller model"
        )
    else:
        whole = " (all rows of a step)" if plan.micro_batch == plan.rows else ""
        lines.append(f"largest micro_batch that fits: {plan.micro_batch}{whole}")
    return lines


def _mib(size: int) -> str:
    if not size:
        return ""
    return f"{size / 2**20:,.0f}" if size >= 10 * 2**20 else f"{size / 2**20:.1f}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
