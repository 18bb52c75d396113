"""The memory planner against torch's count for every architecture: what is saved, and the peak of every phase."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from plan_models import FAMILIES, Counter, encoded_prompts, family_lm, saved_by, some_ids

from sari_train import distributed, policy
from sari_train.batch import collate
from sari_train.config import Grpo, Lora
from sari_train.logprobs import completion_hidden
from sari_train.models.base import AudioLM
from sari_train.optim import make_optimizer
from sari_train.plan import Load, plan_phases
from sari_train.plan_model import read_sizes
from sari_train.plan_sizes import Sizes

# Of what is saved: the indices and sums of single tokens, which the formulas leave out.
TOLERANCE = 0.005
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
SETTINGS: dict[str, dict[str, Any]] = {
    "whole": {},
    "frozen tower": {"freeze_audio": True},
    "adapters": {"lora": Lora(target_modules=ATTENTION)},
    "bfloat16": {"dtype": "bfloat16"},
    "mixed": {"mixed_precision": "bf16"},
    "mixed with adapters": {"mixed_precision": "bf16", "lora": Lora(target_modules=ATTENTION)},
}


def table_of(**settings: Any) -> Grpo:
    """Two prompts of three samples of 24 tokens, in one micro-batch."""
    given = {"prompts_per_step": 2, "group_size": 3, "micro_batch": 6, "max_new_tokens": 24, "mode": "direct"}
    return Grpo.model_validate({"model": "tiny", "device": "cpu", **given, **settings})


def load_of(lm: AudioLM, encoded: list[Any], completion: int = 24) -> Load:
    """What the planner is told of some prompts."""
    clip = encoded[0].clip
    spans = tuple(span.frames for span in clip.spans)
    prompt = len(encoded[0].prompt)
    return Load(prompt, clip.tokens, max(spans), completion, clips=len(encoded), spans=spans)


def saved_bytes(sizes: Sizes, load: Load, prompts: int, rows: int) -> int:
    """Everything that the planner says is saved up to the hidden states behind the last norm."""
    after = rows * (load.completion - 1)
    tokens, queries = prompts * load.prompt + after, prompts + after
    layers = [sizes.text_saved(tokens, tokens, first=at == 0) for at in range(sizes.layers - 1)]
    layers.append(sizes.text_saved(tokens, queries, last=True))
    audio = sizes.audio_saved(prompts, load.heard, load.audio, mixed=False)
    casts = sizes.layers * sizes.layer_cast
    if sizes.mixed:
        casts += sum(sizes.casts[place] for place in ("tower", "projector") if sizes.trained[place])
    return sum(layers) + audio + casts + sizes.rotary(tokens) + tokens + sizes.final_norm_saved(queries)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_saved_tensors_are_those_that_autograd_saves(family: str, name: str) -> None:
    table = table_of(**SETTINGS[name])
    lm = family_lm(family, table)
    sizes = read_sizes(lm, table, cpu=True)
    encoded = encoded_prompts(lm, 2, 2.9)
    load = load_of(lm, encoded)
    rows = [replace(e, completion=some_ids(at, 24)) for e in encoded for at in range(3)]
    with torch.autocast("cpu", torch.bfloat16, enabled=sizes.mixed):
        _, counted = saved_by(lm, lambda: completion_hidden(lm, collate(lm, rows)))
    predicted = saved_bytes(sizes, load, 2, 6)
    assert predicted == pytest.approx(counted, rel=TOLERANCE)
