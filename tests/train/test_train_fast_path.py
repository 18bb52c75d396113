"""The packed pass, model and all, against transformers' own eager forward in float64, row by row.

The reference runs every row by itself, prompt and audio and completion, through
``Qwen2AudioForConditionalGeneration.forward``, takes whole logits and differentiates
them; it shares no code with the package beyond the tokens and the features.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from train_helpers import make_clip, make_lm, whole_window, window
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from sari_train.batch import Encoded, Example, collate, encode_example
from sari_train.config import Lora
from sari_train.logprobs import completion_logprobs, completion_loss
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM, Clip

FLOAT32, FLOAT64 = 1e-5, 1e-9
TEMPERATURE = 0.8
CLIPS = [(1, 0.6, "What do you hear?"), (2, 1.9, "What do you hear first? Say one word."), (3, 3.0, "How many?")]
WORDS = ["one", "two or three of them", "a bell rings, then a dog", "four", "x", "the end"]
OWNERS = [0, 1, 0, 2, 2, 0]  # groups of 3, 1 and 2 completions, interleaved


@dataclass
class Found:
    """Log-probabilities and entropies of all completion tokens, and the gradient of each weight."""

    logps: Tensor
    entropy: Tensor
    grads: dict[str, Tensor]

    def error(self, other: Found) -> dict[str, float]:
        """Global relative errors: the norm of the difference over the norm."""
        assert self.grads.keys() == other.grads.keys()
        a, b = (torch.cat([f.grads[name].double().flatten() for name in self.grads]) for f in (self, other))
        pairs = {"logps": (self.logps, other.logps), "entropy": (self.entropy, other.entropy), "grads": (a, b)}
        return {name: ((x.double() - y.double()).norm() / y.double().norm()).item() for name, (x, y) in pairs.items()}


@pytest.fixture(autouse=True)
def norms_in_their_own_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' RMS norm goes through float32; in float64 that would hide errors of 1e-8."""
    original = Qwen2RMSNorm.forward

    def forward(self: Any, hidden: Tensor) -> Tensor:
        if hidden.dtype != torch.float64:
            return original(self, hidden)
        return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    monkeypatch.setattr(Qwen2RMSNorm, "forward", forward)


@torch.autocast("cpu", enabled=False)
def rows(lm: AudioLM) -> list[Encoded]:
    prompts = [encode_example(lm, Example(make_clip(seed, seconds), text)) for seed, seconds, text in CLIPS]
    completions = [tuple(lm.tokenizer(f"<answer>{w}</answer>")["input_ids"]) for w in WORDS]
    return [Encoded(prompts[o].clip, prompts[o].prompt, c) for o, c in zip(OWNERS, completions, strict=True)]


def weights_of(tokens: int) -> Tensor:
    """A weight of either sign for each token: what a loss might want."""
    return torch.linspace(-1, 1.3, tokens, dtype=torch.float64)


def ours(lm: AudioLM) -> Found:
    batch = collate(lm, rows(lm))
    logps, entropy = completion_logprobs(lm, batch, TEMPERATURE, banned=lm.banned_ids)
    mask = batch.completion_mask_BC
    (logps[mask].double() * weights_of(int(mask.sum()))).sum().backward()
    return Found(logps[mask].detach(), entropy[mask], gradients(lm))


def reference(lm: AudioLM, **planted: Any) -> Found:
    model, logps, entropies, some = lm.model, [], [], rows(lm)
    # Eager attention takes its softmax in float32; this one stays in float64.
    model.set_attn_implementation("eager" if lm.dtype != torch.float64 else "sdpa")
    weights = weights_of(sum(len(row.completion) for row in some)).split([len(row.completion) for row in some])
    for at, (row, weight) in enumerate(zip(some, weights, strict=True)):
        clip: Clip = planted["clips"](lm, at) if "clips" in planted else row.clip
        ids = torch.tensor([[*row.prompt, *row.completion]])
        out = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            position_ids=torch.arange(ids.shape[1])[None] + planted.get("shift", 0) * (torch.arange(ids.shape[1]) > 20),
            input_features=whole_window(lm, clip.mel_MF)[None].to(lm.dtype),
            feature_attention_mask=(torch.arange(window(lm)) < clip.frames).long()[None],
        )
        logits = out.logits[0, len(row.prompt) - 1 : -1].double() / planted.get("temperature", TEMPERATURE)
        banned = lm.banned_ids if planted.get("ban", True) else lm.banned_ids[1:]
        logits = logits.index_fill(-1, torch.tensor(banned), float("-inf"))
        table = logits.log_softmax(-1)
        found = table.gather(-1, torch.tensor(row.completion)[:, None])[:, 0]
        (found * weight).sum().backward()
        logps.append(found.detach())
        entropies.append(-(table.exp() * table.masked_fill(table.isinf(), 0)).sum(-1).detach())
    return Found(torch.cat(logps), torch.cat(entropies), gradients(lm))


def gradients(lm: AudioLM) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in lm.model.named_parameters() if p.grad is not None}
    lm.model.zero_grad()
    return found


def build(processor: Any, setting: str, dtype: torch.dtype) -> AudioLM:
    lm = make_lm(processor)
    if "tied" not in setting:
        lm.model.lm_head.weight = torch.nn.Parameter(lm.model.lm_head.weight.detach().clone() * 0.9)
    lm.model.to(dtype)
    if "frozen encoder" in setting:
        lm.freeze_audio()
    if "frozen head" in setting:
        lm.model.lm_head.requires_grad_(False)
    if "adapters" in setting:
        add_lora(lm, Lora(rank=2), seed=0)
        with torch.no_grad():
            for name, weight in lm.model.named_parameters():
                if "lora_B" in name:
                    weight.copy_(torch.linspace(-0.2, 0.2, weight.numel()).view_as(weight))
    lm.checkpointing = "checkpointing" in setting
    return lm


SETTINGS = [
    "all weights",
    "tied head",
    "frozen encoder",
    "frozen head",
    "adapters",
    "checkpointing",
    "adapters, checkpointing",
]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)])
@pytest.mark.parametrize("setting", SETTINGS)
def test_equal_to_transformers_in_float64(processor: Any, setting: str, dtype: torch.dtype, bound: float) -> None:
    found = ours(build(processor, setting, dtype))
    expected = reference(build(processor, setting, torch.float64))
    assert found.logps.dtype == dtype
    errors = found.error(expected)
    assert max(errors.values()) < bound, errors


@pytest.mark.parametrize(
    "planted",
    [
        {"temperature": TEMPERATURE * 1.001},
        {"ban": False},
        {"shift": 1},
        {"clips": lambda lm, at: lm.clip(make_clip(CLIPS[OWNERS[at]][0] + 5 * (at == 2), CLIPS[OWNERS[at]][1]))},
    ],
    ids=["temperature", "a banned token", "positions", "one row's clip"],
)
def test_the_tolerances_would_catch_a_planted_error(processor: Any, planted: dict[str, Any]) -> None:
    right = reference(build(processor, "all weights", torch.float64))
    wrong = reference(build(processor, "all weights", torch.float64), **planted)
    errors = wrong.error(right)
    assert min(errors["logps"], errors["grads"]) > 10 * FLOAT32, errors


@pytest.mark.parametrize("part", ["lm_head.weight", "q_proj.bias", "v_proj.bias", "layers.1.self_attn.o_proj.weight"])
def test_a_weight_that_is_dropped_would_be_caught(processor: Any, part: str) -> None:
    """A quarter of a weight's rows (for the attention's output: one head) are off by a thousandth."""
    lm, changed = build(processor, "all weights", torch.float64), build(processor, "all weights", torch.float64)
    with torch.no_grad():
        for name, weight in changed.model.named_parameters():
            if name.endswith(part) and "audio_tower" not in name:
                weight[: len(weight) // 4] += 1e-3 * weight.abs().mean() + 1e-3
    assert max(ours(changed).error(ours(lm)).values()) > 2 * FLOAT32


def test_the_loss_of_fine_tuning_is_the_cross_entropy(processor: Any) -> None:
    lm = build(processor, "all weights", torch.float64)
    batch = collate(lm, rows(lm))
    completion_loss(lm, batch).backward()
    fused = gradients(lm)
    logps, _ = completion_logprobs(lm, batch)
    loss = -logps.sum()
    loss.backward()
    plain = gradients(lm)
    for name, gradient in plain.items():
        assert (fused[name] - gradient).norm() <= FLOAT64 * gradient.norm() + 1e-12, name
    torch.testing.assert_close(completion_loss(lm, batch), loss, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("mixed", [False, True], ids=["bfloat16 weights", "autocast"])
def test_bfloat16_is_no_further_off_than_transformers_in_bfloat16(processor: Any, mixed: bool) -> None:
    kind = torch.float32 if mixed else torch.bfloat16
    exact = reference(build(processor, "all weights", torch.float64))
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        found = ours(build(processor, "all weights", kind))
        plain = reference(build(processor, "all weights", kind))
    mine, theirs = found.error(exact), plain.error(exact)
    for name, error in mine.items():
        assert error < 1.5 * theirs[name] + 0.01, (mine, theirs)


def test_the_references_own_weights_are_those_compared(processor: Any) -> None:
    """Both sides' gradients cover every weight that trains."""
    lm = build(processor, "all weights", torch.float64)
    trained = {n for n, p in lm.model.named_parameters() if p.requires_grad}
    assert set(ours(copy.copy(lm)).grads) == trained
