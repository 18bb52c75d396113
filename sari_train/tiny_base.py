"""How the embedded base model is made: a tiny Qwen2-Audio that hears, but does not reason yet.

It sees scenes with two kinds of targets: a caption of what the question is about, and the direct
answer. Questions about short texts (repeat this list, what is 8 plus 2) stand for what any pretrained
text model knows. It never sees a chain of thought. It is trained for as long as that makes it better
at hearing and at answering directly; nothing holds it back to flatter what follows.

Left out: everything a large base has from text alone (grammar at large, world knowledge), dropout,
weight averaging, data in more than one language.
"""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from sari_data.answers import grade
from sari_data.config import Table, write_effective
from sari_data.console import note
from sari_data.prompting import list_modes, render, render_prompt, render_target
from sari_data.responder import Request, Sampling
from sari_data.sources.scenes import Options, generate
from sari_data.types import AudioQuestion
from sari_train.batch import Encoded, collate, encode_text
from sari_train.logprobs import completion_logprobs
from sari_train.models.base import AudioLM
from sari_train.models.load import DTYPES, load_model, wrap_model
from sari_train.models.tiny import build_tiny
from sari_train.parallel import backward_all, workers
from sari_train.responder import LocalResponder
from sari_train.text_skills import draw


class Tiny(Table):
    """``[tiny]``: the base model.

    Args:
        init: ``random``, or a model to go on from (``tiny`` or a folder).
        out: Folder for model and processor.
        seed: Seed of weights, scenes and order.
        steps: Optimizer steps.
        clips_per_step: Scenes in a step; each gives one caption row and one answer row.
        learning_rate: Peak; a warm-up, then a cosine down to a fiftieth.
        warmup_steps: Steps of the warm-up.
        weight_decay: AdamW's.
        text_share: Share of the answer rows that are questions about a text instead (``text_skills.py``).
        caption_share: Chance that a scene's caption row is in the step.
        vocab_size: Upper bound on the tokenizer's size (for ``random``).
        dtype: Type in which the weights are stored.
        eval_every: Steps between evaluations on fresh scenes.
        eval_questions: Number of fresh scenes of each domain for that.
        short_first_steps: Over so many steps the pool opens from its shortest tenth to all of it: names of
            sounds are learned from scenes with one or two of them, their order from longer ones.
        scenes: The scenes to train on.
    """

    init: str = "random"
    out: str = "checkpoints/tiny"
    seed: int = Field(0, ge=0)
    steps: int = Field(3000, ge=1)
    clips_per_step: int = Field(32, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    warmup_steps: int = Field(200, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    text_share: float = Field(0.35, ge=0, le=1)
    caption_share: float = Field(1.0, ge=0, le=1)
    vocab_size: int = Field(700, ge=300)
    dtype: Literal["float32", "bfloat16", "float16"] = "float16"
    eval_every: int = Field(500, ge=1)
    eval_questions: int = Field(100, ge=1)
    short_first_steps: int = Field(1000, ge=0)
    scenes: Options = Options(
        questions={"sound": 8000, "music": 8000, "speech": 8000},
        events={"sound": (1, 5), "music": (1, 5), "speech": (1, 4)},
    )


def make_tiny(recipe: Tiny) -> dict[str, Any]:
    """Train the base model and save it; returns what it can do on fresh scenes."""
    note(f"[bold]tiny[/]: composing {sum(recipe.scenes.questions.values())} scenes (seed {recipe.seed})")
    pool = list(generate(recipe.scenes, seed=recipe.seed + 1000))
    fresh = _fresh(recipe)
    if recipe.init == "random":
        model, processor = build_tiny(_texts(pool), vocab_size=recipe.vocab_size, seed=recipe.seed)
        lm = wrap_model(model, processor, name="tiny")
    else:
        lm = load_model(recipe.init)
    parameters = sum(p.numel() for p in lm.model.parameters())
    note(f"[bold]tiny[/]: {parameters:,} parameters, {len(lm.tokenizer)} tokens, from {recipe.init}")
    rows = [_rows(lm, question) for question in pool]
    pool.clear()  # the features are kept, the waveforms are not needed any more
    started, report = time.monotonic(), {}
    for step, loss in _train(lm, rows, recipe):
        if step % 100 == 0 or step == recipe.steps:
            note(f"step {step}/{recipe.steps}  loss {loss:.4f}  {time.monotonic() - started:.0f} s")
        if step % recipe.eval_every == 0 or step == recipe.steps:
            report = evaluate(lm, fresh)
            note("  " + "  ".join(f"{k} {v['answer']:.1%} (captions {v['caption']:.1%})" for k, v in report.items()))
            save(lm, recipe)
    return {"parameters": parameters, "steps": recipe.steps, "out": recipe.out, "fresh_scenes": report}


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


def save(lm: AudioLM, recipe: Tiny) -> None:
    """Save model and processor in ``recipe.dtype``, and the recipe beside them."""
    out = Path(recipe.out)
    out.mkdir(parents=True, exist_ok=True)
    dtype = DTYPES[recipe.dtype]
    lm.model.save_pretrained(out, state_dict={k: v.to(dtype) for k, v in lm.model.state_dict().items()})
    lm.processor.save_pretrained(out)
    write_effective(out / "recipe.json", {"tiny": recipe})


def _train(lm: AudioLM, rows: list[tuple[Encoded, Encoded]], recipe: Tiny) -> Iterator[tuple[int, float]]:
    """Yield (step, mean loss since the last yield of a hundredth step)."""
    rng = random.Random(recipe.seed)
    weights = [p for p in lm.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=0.0, betas=(0.9, 0.98), weight_decay=recipe.weight_decay)
    rows = sorted(rows, key=lambda row: (row[0].clip.frames, row[0].clip.key))
    order: list[int] = []
    recent: list[float] = []
    for step in range(1, recipe.steps + 1):
        if len(order) < recipe.clips_per_step or step <= recipe.short_first_steps:
            share = min(1.0, 0.1 + step / recipe.short_first_steps) if recipe.short_first_steps else 1.0
            order = list(range(max(recipe.clips_per_step, int(share * len(rows)))))
            rng.shuffle(order)
        chosen = [rows[order.pop()] for _ in range(recipe.clips_per_step)]
        picked = list(_pick(lm, chosen, recipe, rng))
        tokens = sum(len(row.completion) for row in picked)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(step, recipe)
        # A clip's two rows stay together, so that it is encoded once.
        size = -(-len(picked) // workers(lm))
        chunks = [picked[i : i + size] for i in range(0, len(picked), size)]
        parts = backward_all(lm, [partial(_forward, lm, chunk, tokens) for chunk in chunks])
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent.append(sum(parts))
        yield step, sum(recent) / len(recent)
        if step % 100 == 0:
            recent.clear()


def _forward(lm: AudioLM, rows: Sequence[Encoded], tokens: int) -> tuple[Tensor, float]:
    """Return a micro-batch's share of the step's loss."""
    logps_BC, _ = completion_logprobs(lm, collate(lm, rows), with_entropy=False)
    loss = -logps_BC.sum() / tokens
    return loss, loss.item()


def _pick(
    lm: AudioLM, chosen: Sequence[tuple[Encoded, Encoded]], recipe: Tiny, rng: random.Random
) -> Iterator[Encoded]:
    # What a text row is asked over does not matter to it; the shortest clip makes the shortest rows.
    shortest = min((caption.clip for caption, _ in chosen), key=lambda clip: clip.frames)
    for caption, answer in chosen:
        if rng.random() < recipe.caption_share:
            yield caption
        yield encode_text(lm, shortest, *draw(rng)) if rng.random() < recipe.text_share else answer


def _schedule(step: int, recipe: Tiny) -> float:
    if step <= recipe.warmup_steps:
        return step / recipe.warmup_steps
    share = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))


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


def _texts(pool: Sequence[AudioQuestion]) -> Iterator[str]:
    """What the tokenizer is trained on: the prompts and targets of all modes, for a part of the pool."""
    yield "You are a helpful assistant. system user assistant Audio 1:"
    rng = random.Random(0)
    for _ in range(1000):
        yield " ".join(draw(rng))
    for question in pool[:4000]:
        yield _caption_prompt(question)
        for mode in list_modes():
            yield render_prompt(question, mode)
            yield render_target(question, mode)
