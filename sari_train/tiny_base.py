"""How the embedded base model is made: a tiny Qwen2-Audio that hears, but does not reason yet.

As with Qwen2-Audio, the text model comes first: dialogues about short lists (repeat it, what comes after
bark, what is 8 plus 2) stand for what any pretrained text model knows. Then it hears: scenes with two
kinds of targets, a caption of what the question is about and the direct answer, while the texts go on
beside them. It never sees a chain of thought. Its steps were chosen to make it good at
hearing and at answering directly; nothing holds it back to flatter what follows.

Left out: everything a large base has from text alone (grammar at large, world knowledge), dropout,
weight averaging, data in more than one language.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor

from sari_data.answers import grade
from sari_data.config import Table, write_effective
from sari_data.console import note
from sari_data.errors import CheckpointError, InputError
from sari_data.prompting import list_modes, render, render_prompt, render_target
from sari_data.responder import Request, Sampling
from sari_data.sources.scenes import Options, generate
from sari_data.types import AudioQuestion
from sari_train.batch import Encoded, collate, encode_text
from sari_train.checkpoint import replace_folder
from sari_train.logprobs import completion_loss
from sari_train.models.base import AudioLM
from sari_train.models.load import DTYPES, load_model, no_bars, wrap_model
from sari_train.models.tiny import build_tiny
from sari_train.optim import split_weights
from sari_train.parallel import backward_all, workers
from sari_train.responder import LocalResponder
from sari_train.text_skills import dialogue
from sari_train.tiny_text import TextRow, draw_rows, skill_accuracy, text_loss

# Seed of the texts for evaluation; training draws with others.
_OTHER_TEXTS = 20_000


class Scenes(Options):
    """The scenes that the base hears: those of the source, and shorter ones."""

    questions: dict[str, int] = Field(default_factory=lambda: dict.fromkeys(("sound", "music", "speech"), 8000))
    events: dict[str, tuple[int, int]] = Field(
        default_factory=lambda: {"sound": (1, 5), "music": (1, 5), "speech": (1, 4)}
    )


class Tiny(Table):
    """``[tiny]``: the base model.

    Args:
        init: ``random``, or a model to go on from (``tiny`` or a folder).
        out: Folder for model and processor.
        seed: Seed of weights, scenes and order.
        text_steps: Optimizer steps on texts alone (``text_skills.py``), before it hears anything.
        recital_steps: The first of those, with recitals only.
        text_rows: Texts in each of those steps.
        steps: Optimizer steps on scenes.
        clips_per_step: Scenes in each of those; each gives one caption row and one answer row.
        rows_beside: Texts beside the scenes in each of those steps.
        learning_rate: Peak of AdamW's learning rate (embeddings, head, projector, convolutions, norms, biases).
        matrix_learning_rate: Peak of Muon's (the matrices inside the layers).
        warmup_steps: Steps of the warm-up, in each of the two parts; then a cosine down to a fiftieth over the
            scenes, to a third over the dialogues.
        weight_decay: Of both optimizers.
        vocab_size: Upper bound on the tokenizer's size (for ``random``).
        dtype: Type in which the weights are stored.
        eval_every: Steps between evaluations, each followed by a checkpoint.
        eval_questions: Number of fresh scenes of each domain for that.
        short_first_steps: Over nine tenths of so many steps the pool opens from its shortest tenth to all of it:
            names of sounds are learned from scenes with one or two of them, their order from longer ones.
        scenes: The scenes to train on.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    init: str = "random"
    out: str = Field("checkpoints/tiny", min_length=1)
    seed: int = Field(0, ge=0, lt=2**63)
    text_steps: int = Field(1900, ge=0)
    recital_steps: int = Field(300, ge=0)
    text_rows: int = Field(64, ge=1)
    steps: int = Field(2000, ge=1)
    clips_per_step: int = Field(32, ge=1)
    rows_beside: int = Field(16, ge=0)
    learning_rate: float = Field(1e-3, gt=0)
    matrix_learning_rate: float = Field(1e-2, gt=0)
    warmup_steps: int = Field(100, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    vocab_size: int = Field(700, ge=300)
    dtype: Literal["float32", "bfloat16", "float16"] = "float16"
    eval_every: int = Field(500, ge=1)
    eval_questions: int = Field(100, ge=1)
    short_first_steps: int = Field(800, ge=0)
    scenes: Scenes = Field(default_factory=Scenes)

    @model_validator(mode="after")
    def _steps_fit(self) -> Tiny:
        scenes = sum(self.scenes.questions.values())
        if scenes < self.clips_per_step:
            raise ValueError(f"clips_per_step is {self.clips_per_step}, but scenes.questions are only {scenes} in all")
        if 0 < self.text_steps < self.recital_steps:
            raise ValueError(f"recital_steps ({self.recital_steps}) are the first of text_steps ({self.text_steps})")
        for name, steps in (("text_steps", self.text_steps), ("steps", self.steps)):
            if 0 < steps <= self.warmup_steps:
                raise ValueError(f"{name} ({steps}) must be more than warmup_steps ({self.warmup_steps})")
        return self


def make_tiny(recipe: Tiny) -> dict[str, Any]:
    """Train the base model and save it; returns what it can do on fresh scenes."""
    _check_out(recipe)
    lm = None if recipe.init == "random" else load_model(recipe.init)
    note(f"[bold]tiny[/]: composing {sum(recipe.scenes.questions.values())} scenes (seed {recipe.seed})")
    pool = generate(recipe.scenes, seed=recipe.seed + 1000)
    begin = list(islice(pool, 4000))
    fresh = _fresh(recipe)
    if lm is None:
        model, processor = build_tiny(_texts(begin), vocab_size=recipe.vocab_size, seed=recipe.seed)
        lm = wrap_model(model, processor, name="tiny")
    parameters = sum(p.numel() for p in lm.model.parameters())
    note(f"[bold]tiny[/]: {parameters:,} parameters, {len(lm.tokenizer)} tokens, from {recipe.init}")
    rows = [_rows(lm, question) for question in chain(begin, pool)]  # features; no waveform is kept
    begin.clear()
    report: dict[str, Any] = {}

    def tell(text_steps: int, steps: int) -> None:
        report.update(_tell(lm, [] if steps == 0 else fresh))
        save(lm, recipe, {"text_steps": text_steps, "steps": steps, **report})

    _follow(_read(lm, recipe), "text", recipe.text_steps, recipe.eval_every, lambda step: tell(step, 0))
    _follow(
        _listen(lm, rows, recipe), "scenes", recipe.steps, recipe.eval_every, lambda step: tell(recipe.text_steps, step)
    )
    return {"parameters": parameters, "steps": recipe.steps, "out": recipe.out, **report}


def _check_out(recipe: Tiny) -> None:
    """Refuse, before anything is made, a folder that the model must not replace."""
    out = Path(recipe.out)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "recipe.json").is_file()):
        raise CheckpointError(
            f"{recipe.out} was not written by `sari-train tiny`, so it is left alone: choose another out"
        )


def _follow(losses: Iterator[float], what: str, steps: int, eval_every: int, tell: Callable[[int], None]) -> None:
    """Run one part of the training; tell its loss (mean of the last hundred steps) and what it has come to."""
    started, recent = time.monotonic(), deque[float](maxlen=100)
    for step, loss in enumerate(losses, 1):
        recent.append(loss)
        if step % 100 == 0 or step == steps:
            mean = sum(recent) / len(recent)
            note(f"{what} {step}/{steps}  loss {mean:.4f}  {time.monotonic() - started:.0f} s")
        if step % eval_every == 0 or step == steps:
            tell(step)


def _tell(lm: AudioLM, scenes: Sequence[AudioQuestion]) -> dict[str, Any]:
    """Evaluate on scenes that training does not see, and on texts drawn with another seed."""
    found: dict[str, Any] = {"text_skills": skill_accuracy(lm, 30, seed=_OTHER_TEXTS)}
    note("  texts: " + ", ".join(f"{name} {share:.0%}" for name, share in found["text_skills"].items()))
    if scenes:
        found["fresh_scenes"] = evaluate(lm, scenes)
        told = (f"{k} {v['answer']:.1%} (captions {v['caption']:.1%})" for k, v in found["fresh_scenes"].items())
        note("  scenes: " + ", ".join(told))
    return found


def evaluate(lm: AudioLM, questions: Sequence[AudioQuestion]) -> dict[str, dict[str, float]]:
    """Return the share of right direct answers and of exact captions, for each domain and over all (greedy)."""
    responder = LocalResponder(lm)
    sampling = Sampling(max_new_tokens=48)
    asked = {"answer": lambda q: render_prompt(q, "direct"), "caption": _caption_prompt}
    texts: dict[str, dict[str, str]] = {}
    for kind, prompt in asked.items():
        requests = [Request(q.id, q.audio, prompt(q)) for q in questions]
        texts[kind] = {r.request_id: r.text for r in responder.respond(requests, sampling)}
    counts: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for q in questions:
        right = grade(texts["answer"][q.id], q).correct
        heard = _normal(texts["caption"][q.id]) == _normal(str(q.caption))
        for group in ("all", q.domain):
            counts[group].append((right, heard))
    return {
        group: {"answer": sum(a for a, _ in rows) / len(rows), "caption": sum(c for _, c in rows) / len(rows)}
        for group, rows in sorted(counts.items())
    }


def save(lm: AudioLM, recipe: Tiny, report: Mapping[str, Any]) -> None:
    """Save model and processor in ``recipe.dtype``, with the recipe and how far it has come.

    Raises:
        StorageError: The disk is full or not writable; what was there is left as it was.
    """
    dtype = DTYPES[recipe.dtype]

    def fill(fresh: Path) -> None:
        with no_bars():
            lm.model.save_pretrained(fresh, state_dict={k: v.to(dtype) for k, v in lm.model.state_dict().items()})
        lm.processor.save_pretrained(fresh)
        write_effective(fresh / "recipe.json", {"tiny": recipe})
        (fresh / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    replace_folder(Path(recipe.out), fill)


def _read(lm: AudioLM, recipe: Tiny) -> Iterator[float]:
    """Train on texts alone; yields each step's mean loss per learned token."""
    rng = random.Random(recipe.seed)
    optimizers = _optimizers(lm, recipe)
    for step in range(1, recipe.text_steps + 1):
        texts = draw_rows(lm, rng, recipe.text_rows, recitals=1.0 if step <= recipe.recital_steps else 0.1)
        yield _step(lm, [], texts, optimizers, _schedule(step, recipe.text_steps, recipe.warmup_steps, floor=1 / 3))


def _listen(lm: AudioLM, rows: Sequence[tuple[Encoded, Encoded]], recipe: Tiny) -> Iterator[float]:
    """Train on scenes, with texts beside them; yields each step's mean loss per learned token."""
    rng = random.Random(recipe.seed + 1)
    optimizers = _optimizers(lm, recipe)
    rows = sorted(rows, key=lambda row: (row[0].clip.frames, row[0].clip.key))
    order: list[int] = []
    for step in range(1, recipe.steps + 1):
        if len(order) < recipe.clips_per_step or step <= recipe.short_first_steps:
            share = min(1.0, 0.1 + step / recipe.short_first_steps) if recipe.short_first_steps else 1.0
            order = list(range(max(recipe.clips_per_step, int(share * len(rows)))))
            rng.shuffle(order)
        scenes = [row for _ in range(recipe.clips_per_step) for row in rows[order.pop()]]
        texts = draw_rows(lm, rng, recipe.rows_beside)
        yield _step(lm, scenes, texts, optimizers, _schedule(step, recipe.steps, recipe.warmup_steps, floor=1 / 50))


def _step(
    lm: AudioLM,
    scenes: Sequence[Encoded],
    texts: Sequence[TextRow],
    optimizers: Sequence[tuple[torch.optim.Optimizer, float]],
    factor: float,
) -> float:
    """Take one optimizer step on the mean loss per token; returns that loss."""
    tokens = sum(len(row.completion) for row in scenes) + sum(row.tokens for row in texts)
    count = workers(lm)
    # A clip's two rows stay together, so that it is encoded once.
    cut = [2 * round(i * len(scenes) / 2 / count) for i in range(count + 1)]
    tasks = [
        partial(_forward, lm, scenes[begin:end], texts[i::count], tokens)
        for i, (begin, end) in enumerate(pairwise(cut))
        if scenes[begin:end] or texts[i::count]
    ]
    parts = backward_all(lm, tasks)
    for optimizer, rate in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
    weights = [p for p in lm.model.parameters() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(weights, 1.0).item()
    if not math.isfinite(norm):
        raise InputError(f"the gradient has norm {norm}: lower learning_rate and matrix_learning_rate")
    for optimizer, _ in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return sum(parts)


def _forward(lm: AudioLM, scenes: Sequence[Encoded], texts: Sequence[TextRow], tokens: int) -> tuple[Tensor, float]:
    """Return a micro-batch's share of the step's loss."""
    losses = []
    if scenes:
        losses.append(completion_loss(lm, collate(lm, scenes)))
    if texts:
        losses.append(text_loss(lm, texts))
    loss = torch.stack(losses).sum() / tokens
    return loss, loss.item()


def _optimizers(lm: AudioLM, recipe: Tiny) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the matrices inside the layers, AdamW for all else; with each its peak learning rate."""
    inside, other = split_weights(lm)
    return [
        (
            torch.optim.Muon(inside, lr=0.0, momentum=0.95, weight_decay=recipe.weight_decay),
            recipe.matrix_learning_rate,
        ),
        (
            torch.optim.AdamW(other, lr=0.0, betas=(0.9, 0.98), weight_decay=recipe.weight_decay),
            recipe.learning_rate,
        ),
    ]


def _schedule(step: int, steps: int, warmup: int, *, floor: float) -> float:
    """A linear rise, then half a cosine down to ``floor``."""
    if step <= warmup:
        return step / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))


def _rows(lm: AudioLM, question: AudioQuestion) -> tuple[Encoded, Encoded]:
    """The caption row and the answer row of a scene."""
    clip = lm.clip(question.audio)
    return (
        encode_text(lm, clip, _caption_prompt(question), str(question.caption)),
        encode_text(lm, clip, render_prompt(question, "direct"), render_target(question, "direct")),
    )


def _caption_prompt(question: AudioQuestion) -> str:
    return render("annotate/caption.jinja", question=question.question).strip()


def _normal(caption: str) -> str:
    """Captions differ in how they join events; what is heard is the same."""
    return caption.replace(", then ", ", ").strip()


def _fresh(recipe: Tiny) -> list[AudioQuestion]:
    """Scenes that training does not see (another seed), neither those of the benchmark."""
    counts = {d: recipe.eval_questions for d, n in recipe.scenes.questions.items() if n}
    return list(generate(recipe.scenes.model_copy(update={"questions": counts}), seed=recipe.seed + 2000))


def _texts(questions: Sequence[AudioQuestion]) -> Iterator[str]:
    """What the tokenizer is trained on: dialogues, and the prompts and targets of all modes for ``questions``."""
    yield "You are a helpful assistant. system user assistant Audio 1:"
    rng = random.Random(0)
    for _ in range(1000):
        for turn in dialogue(rng):
            yield " ".join(turn)
    for question in questions:
        yield _caption_prompt(question)
        for mode in list_modes():
            yield render_prompt(question, mode)
            yield render_target(question, mode)
