"""The checks of ``preflight`` on learning: gradients, one step, memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import torch
from torch import Tensor

from sari_data.errors import CheckpointError
from sari_train.batch import Batch, Encoded, collate, encode_example
from sari_train.checks.corpus import clip_seconds
from sari_train.checks.model import score_batch
from sari_train.checks.setting import Setting, Verdict, untouched
from sari_train.logprobs import autocast, completion_loss
from sari_train.optim import learning_rate, make_optimizer
from sari_train.phases import resident

# Bytes of weights that one step may move: they are copied, to be put back.
STEP_BYTES = 2 * 2**30
# Shares of the loss that a step along the gradient is to take off, and how far it may miss that, in float32.
STEPS, COARSE_STEPS = (0.02, 0.005, 0.001), (0.1, 0.03)
FIRST_ORDER = (0.5, 1.5)
# Share of the weights with a gradient that a first step should move: in half precision small ones are rounded away.
FEW_MOVE = 0.05
# A change of the loss below this share of it is rounding.
ROUNDING = 1e-5


def check_gradients(setting: Setting) -> Verdict:
    """Find weights that are set to train but get no gradient, gradients that are not finite, and nothing to train.

    One backward pass over the right responses: each weight that trains must get a gradient, one that is frozen none.
    """
    named = list(setting.lm.model.named_parameters())
    trained = [(name, p) for name, p in named if p.requires_grad]
    count, whole = sum(p.numel() for _, p in trained), sum(p.numel() for _, p in named)
    measured = f"{count:,} of {whole:,} weights train, in {len(trained)} tensors"
    if not trained:
        return Verdict("fail", measured, "weights that train", "none", "unfreeze the model, or add adapters (lora)")
    with untouched(setting.lm):
        loss = _backward(setting)
        without = [name for name, p in trained if p.grad is None]
        broken = [name for name, p in trained if p.grad is not None and not bool(p.grad.isfinite().all())]
        # An adapter's A has no gradient before the first step: its B is 0.
        still = [n for n, p in trained if p.grad is not None and "lora_A" not in n and not bool(p.grad.any())]
        squares = [float(p.grad.float().square().sum()) for _, p in trained if p.grad is not None]
        stray = [name for name, p in named if not p.requires_grad and p.grad is not None]
    measured += f"; loss {loss:.4g}, gradient norm {math.sqrt(sum(squares)):.3g}"
    for names, what, remedy in (
        (without, "get no gradient", "freeze them, or mend the pass that leaves them out"),
        (broken, "get a gradient that is not finite", "use dtype float32 or bfloat16, and look for broken audio"),
        (stray, "are frozen but get a gradient", "mend the adapter's freezing"),
    ):
        if names:
            found = f"{len(names)} tensors {what}: {', '.join(names[:3])}"
            return Verdict("fail", measured, "a finite gradient for each weight that trains, no other", found, remedy)
    if len(still) == len(trained):
        return Verdict("fail", measured, "a gradient", "all are 0", "the loss does not depend on what trains: mend it")
    if still:
        found = f"{len(still)} tensors have a gradient of 0: {', '.join(still[:3])}"
        return Verdict("warning", measured, "a gradient other than 0", found, "freeze them if that is meant")
    return Verdict("ok", measured)


def check_step(setting: Setting) -> Verdict:
    """Find gradients that do not lower the loss, and a first step that is too large or too small.

    The loss is that of the right responses: for SFT their cross entropy, for GRPO the surrogate of a positive
    advantage, which has the same gradient, at the recipe's temperature. First a step against the gradient, sized to
    take a small share off the loss: in float32 it must take off what the gradient promises, in half precision anything.
    Then a step of the recipe's optimizer at its first rate: one that raises the loss or moves nothing is a warning.
    The weights are put back bit for bit. Of a large model at most STEP_BYTES move, the smallest tensors first.
    """
    lm, table = setting.lm, setting.table
    trained = sorted((p for p in lm.model.parameters() if p.requires_grad), key=lambda p: p.numel())
    if not trained:
        return Verdict("skipped", "no weight trains")
    sizes = accumulate(p.numel() * p.element_size() for p in trained)
    moving = [p for p, size in zip(trained, sizes, strict=True) if size <= STEP_BYTES] or trained[:1]
    with untouched(lm), _put_back(moving) as kept:
        still = {id(p) for p in moving}
        for p in trained:
            p.requires_grad_(id(p) in still)
        before = _backward(setting)
        squared = sum(float(p.grad.float().square().sum()) for p in moving if p.grad is not None)
        if not 0 < squared < math.inf or not math.isfinite(before):
            found = f"loss {before:.4g}, squared gradient {squared:.3g}"
            return Verdict("fail", f"loss {before:.4g}", "a gradient to follow", found, "see the check of gradients")
        share, after = _descend(setting, moving, kept, before, squared)
        promised, taken = share * before, before - after
        measured = f"loss {before:.4g}; a step along the gradient takes off {taken / promised:.0%} of what it promises"
        fine = FIRST_ORDER[0] <= taken / promised <= FIRST_ORDER[1] if _exact(setting, moving) else taken > 0
        if not fine:
            return Verdict(
                "fail",
                measured,
                f"about {promised:.2g} off the loss" if _exact(setting, moving) else "a lower loss",
                f"{before:.6g} before, {after:.6g} after",
                "the gradient is not the loss's: a pass is detached, or has a wrong sign or scale",
            )
        first, moved = _recipe_step(setting, moving, kept)
    part = "" if len(moving) == len(trained) else f" ({len(moving)} of {len(trained)} tensors)"
    rate = learning_rate(table, 0)
    measured += f"; {table.optimizer}'s first step, at {rate:.1e}{part}: {before:.6g} to {first:.6g}"
    if moved < FEW_MOVE:
        expected, found = "a first step that moves the weights", f"{moved:.1%} of them move in {lm.dtype}"
        return Verdict("warning", measured, expected, found, "raise learning_rate, use dtype float32, or add adapters")
    if first > before * (1 + ROUNDING):
        found = f"it rises by {first - before:.2g}"
        return Verdict("warning", measured, "a lower loss", found, "lower learning_rate, or set more warmup_steps")
    return Verdict("ok", measured)


def check_memory(setting: Setting) -> Verdict:
    """Find a recipe whose step takes more memory than there is, by the formulas of ``sari-train plan``.

    Counted for the longest prompts that were read, with responses of ``max_new_tokens`` for GRPO and the longest
    target for SFT, against what this process holds already and what is free. Where only prompts of mean length fit,
    that is a warning. Architectures that the planner does not know are skipped.
    """
    from sari_train import plan, plan_inputs, plan_model  # they import the training loop, which runs these checks

    lm, table = setting.lm, setting.table
    try:
        sizes = plan_model.read_sizes(lm, table, cpu=lm.device.type == "cpu")
    except CheckpointError as error:
        return Verdict("skipped", str(error))
    pairs, target = _lengths(setting)
    corpus = sum(len(q.audio.data or b"") for q in setting.questions)
    completion = None if setting.grpo else target
    loads = plan_inputs.make_loads(lm, table, pairs, clips=len(setting.questions), corpus=corpus, completion=completion)
    workers = torch.get_num_threads() if lm.device.type == "cpu" else 1
    needs = []
    for load in loads:
        highest = plan.peak(plan.plan_phases(sizes, table, load, workers=workers)).total
        # On a CPU what the process holds counts in, and that is the weights and the corpus already.
        needs.append(highest - (sum(sizes.weights.values()) + corpus if lm.device.type == "cpu" else 0))
    free, source = plan_inputs.find_memory(lm.device, None)
    held = resident() if lm.device.type == "cpu" else torch.cuda.memory_reserved(lm.device)
    measured = f"about {_gib(needs[0])} at the most, {_gib(held + free)} there ({_gib(free)} {source})"
    if needs[0] <= held + free:
        return Verdict("ok", measured)
    remedy = "lower micro_batch, set checkpointing, add adapters (lora), or see `sari-train plan` for the parts"
    if needs[1] <= held + free:
        found = f"{_gib(needs[1])} with prompts of mean length, more with the longest"
        return Verdict("warning", measured, "room for the longest prompts", found, remedy)
    return Verdict("fail", measured, f"at most {_gib(held + free)}", f"{_gib(needs[0])} by the plan", remedy)


# -- helpers --------------------------------------------------------------------------------------------------------


def _chunks(setting: Setting) -> tuple[list[list[Encoded]], int]:
    """The right responses in micro-batches, and how many completion tokens they have."""
    rows = [encode_example(setting.lm, example) for example in setting.examples[::2]]
    size = setting.table.micro_batch
    return [rows[i : i + size] for i in range(0, len(rows), size)], sum(len(row.completion) for row in rows)


def _loss(setting: Setting, batch: Batch) -> Tensor:
    """The loss of right responses, summed over tokens."""
    with autocast(setting.lm, setting.table):
        return completion_loss(setting.lm, batch) if setting.grpo is None else -score_batch(setting, batch).sum()


def _backward(setting: Setting) -> float:
    """Add the gradient of the mean loss to the weights; return the loss."""
    chunks, tokens = _chunks(setting)
    total = 0.0
    with torch.enable_grad():
        for chunk in chunks:
            loss = _loss(setting, collate(setting.lm, chunk)) / tokens
            loss.backward()
            total += loss.item()
    return total


@torch.no_grad()
def _loss_now(setting: Setting) -> float:
    chunks, tokens = _chunks(setting)
    return sum(float(_loss(setting, collate(setting.lm, chunk))) for chunk in chunks) / tokens


@contextmanager
def _put_back(weights: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield copies of the weights, and put them back at the end."""
    kept = [p.detach().clone() for p in weights]
    try:
        yield kept
    finally:
        with torch.no_grad():
            for p, copy in zip(weights, kept, strict=True):
                p.copy_(copy)


def _exact(setting: Setting, weights: Sequence[Tensor]) -> bool:
    single = all(p.dtype in (torch.float32, torch.float64) for p in (*weights, setting.lm.head_weights[0]))
    return single and setting.table.mixed_precision == "no"


@torch.no_grad()
def _descend(
    setting: Setting, weights: Sequence[Tensor], kept: Sequence[Tensor], before: float, squared: float
) -> tuple[float, float]:
    """Step along the gradient, in smaller and smaller steps until one keeps its promise: (share, loss after it)."""
    share = after = math.nan
    for share in STEPS if _exact(setting, weights) else COARSE_STEPS:
        for p, copy in zip(weights, kept, strict=True):
            p.copy_(copy)
            if p.grad is not None:
                p.add_(p.grad, alpha=-share * before / squared)
        after = _loss_now(setting)
        if FIRST_ORDER[0] <= (before - after) / (share * before) <= FIRST_ORDER[1]:
            break
    return share, after


def _recipe_step(setting: Setting, weights: Sequence[Tensor], kept: Sequence[Tensor]) -> tuple[float, float]:
    """Take the first step of the recipe's optimizer from the weights kept: (loss after it, share that moved)."""
    with torch.no_grad():
        for p, copy in zip(weights, kept, strict=True):
            p.copy_(copy)
    optimizer = make_optimizer(setting.lm, setting.table)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(setting.table, 0)
    torch.nn.utils.clip_grad_norm_(weights, setting.table.grad_clip)
    optimizer.step()
    moved = sum(int((p != copy).sum()) for p, copy in zip(weights, kept, strict=True))
    wanted = sum(int(p.grad.count_nonzero()) for p in weights if p.grad is not None)
    return _loss_now(setting), moved / max(1, wanted)


def _lengths(setting: Setting) -> tuple[list[tuple[int, float]], int]:
    """(Tokens of the prompt's text, seconds of audio that are heard) of each question read, and the longest target."""
    from sari_train.plan_inputs import span_count, text_tokens

    lm, rows = setting.lm, setting.read
    texts = [setting.prompt(q) for q in rows]
    plain = [len(i) for i in lm.tokenizer([*texts, setting.examples[0].prompt], add_special_tokens=False)["input_ids"]]
    split = setting.table.long_audio == "split"
    template: dict[int, int] = {}  # what the chat adds, for each number of spans
    pairs = []
    for count, q in zip(plain, rows, strict=False):
        seconds = clip_seconds(q) if split else min(clip_seconds(q), lm.max_seconds)
        spans = span_count(lm, seconds)
        if spans not in template:
            template[spans] = text_tokens(lm, setting.examples[0].prompt, spans) - plain[-1]
        pairs.append((count + template[spans], seconds))
    return pairs, max(len(i) + 1 for i in setting.target_ids)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
