"""A GRPO step as public audio trainers do it, written out in the open: what the fast path is compared with.

Sampling by ``generate`` with ``num_return_sequences=G``; then full forward passes of the policy and the
reference over the prompt and its audio repeated G times, logits [G, T, V] in float32, ``log_softmax``, ``gather``.
So R1-AQA (github.com/xiaomi-research/r1-aqa, src/trainer/grpo_trainer.py) and Ke-Omni-R
(github.com/shuaijiang/Ke-Omni-R, src/open_r1/trainer) compute their log-probabilities; both take the
log-softmax row by row, and so does this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sari_train.batch import Encoded
from sari_train.models.base import AudioLM


def inputs(lm: AudioLM, prompt: Encoded, copies: int) -> dict[str, Tensor]:
    """The model's inputs for a prompt, ``copies`` times: its features padded to the model's whole window."""
    window = lm.model.config.audio_config.max_source_positions * 2
    mel = torch.nn.functional.pad(prompt.clip.mel_MF, (0, window - prompt.clip.mel_MF.shape[1]))
    ids = torch.tensor([prompt.prompt], device=lm.device)
    frames = torch.arange(window, device=lm.device)[None] < prompt.clip.frames
    return {
        "input_ids": ids.repeat_interleave(copies, 0),
        "attention_mask": torch.ones_like(ids).repeat_interleave(copies, 0),
        "input_features": mel[None].to(lm.device, lm.dtype).repeat_interleave(copies, 0),
        "feature_attention_mask": frames.long().repeat_interleave(copies, 0),
    }


def rollout(lm: AudioLM, prompt: Encoded, sizes: Sequence[int]) -> list[list[int]]:
    """Sample ``len(sizes)`` completions of so many tokens each; a row that is done is padded on."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    begin, device = len(prompt.prompt), lm.device
    ends = torch.tensor(list(sizes), device=device) + begin

    class Lengths(StoppingCriteria):
        def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
            return input_ids.shape[1] >= ends

    special = sorted({*lm.tokenizer.all_special_ids, *lm.banned_ids})
    found = lm.model.generate(
        **inputs(lm, prompt, 1),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        num_return_sequences=len(sizes),
        max_new_tokens=max(sizes),
        suppress_tokens=special,
        stopping_criteria=StoppingCriteriaList([Lengths()]),
        pad_token_id=lm.tokenizer.pad_token_id,
    )[:, begin:].tolist()
    return [row[:size] for row, size in zip(found, sizes, strict=True)]


def logprobs(lm: AudioLM, prompt: Encoded, completions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return log-probabilities [G, C] of the completions, padded on the right, and their mask [G, C]."""
    given = inputs(lm, prompt, len(completions))
    longest = max(map(len, completions))
    pad = lm.tokenizer.pad_token_id
    ids = torch.tensor([[*c] + [pad] * (longest - len(c)) for c in completions], device=lm.device)
    mask = torch.tensor([[1] * len(c) + [0] * (longest - len(c)) for c in completions], device=lm.device)
    given["input_ids"] = torch.cat([given["input_ids"], ids], 1)
    given["attention_mask"] = torch.cat([given["attention_mask"], mask], 1)
    logits = lm.model(**given, use_cache=False).logits[:, :-1]
    rows = []
    for row_logits, row_ids in zip(logits, given["input_ids"][:, 1:], strict=True):
        log_probs = row_logits.float().log_softmax(-1)
        rows.append(log_probs.gather(1, row_ids[:, None])[:, 0])
    return torch.stack(rows)[:, len(prompt.prompt) - 1 :], mask.bool()


def loss(logps: Tensor, ref_logps: Tensor, advantages: Tensor, mask: Tensor, beta: float) -> Tensor:
    """GRPO's loss of one update on its own samples, with the k3 penalty, as these trainers write it."""
    kl = (ref_logps - logps).exp() - (ref_logps - logps) - 1
    per_token = -((logps - logps.detach()).exp() * advantages[:, None] - beta * kl)
    return ((per_token * mask).sum(1) / mask.sum(1)).mean()
