"""Log-probabilities against transformers' own forward in float64, and that planted errors would show."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from train_helpers import make_clip, make_lm, reference_logprobs

from sari_train.batch import Batch, Encoded, Example, collate, encode_example
from sari_train.kernels import _rows
from sari_train.logprobs import completion_logprobs, selected_logprobs
from sari_train.models.base import AudioLM

TOLERANCE = 2e-4
EXAMPLES = [
    Example(make_clip(1, 0.6), "What do you hear?", "<answer>dog</answer>"),
    Example(
        make_clip(2, 1.9), "What do you hear first? Say one word.", "<think>one, two</think><answer>a bell</answer>"
    ),
    Example(make_clip(3, 3.0), "How many?", "<answer>two</answer>"),
]


def worst(found: torch.Tensor, batch: Batch, references: list[torch.Tensor]) -> float:
    """Largest distance from the reference over all completion tokens."""
    return max((found[row, : len(ref)].double() - ref).abs().max().item() for row, ref in enumerate(references))


@pytest.fixture(scope="module")
def batch(small_lm: AudioLM) -> Batch:
    return collate(small_lm, EXAMPLES)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_equal_to_transformers(small_lm: AudioLM, processor: Any, batch: Batch, temperature: float) -> None:
    def reference(**changes: Any) -> list[torch.Tensor]:
        options = {"temperature": temperature} | changes
        return [
            reference_logprobs(small_lm.model, processor, e.audio, e.prompt, e.target or "", **options)
            for e in EXAMPLES
        ]

    found, entropy = completion_logprobs(small_lm, batch, temperature)
    assert found.shape == entropy.shape == batch.completion_mask_BC.shape
    assert worst(found.detach(), batch, reference()) < TOLERANCE
    assert (found[~batch.completion_mask_BC] == 0).all()
    # The tolerance would catch what goes wrong in practice.
    assert worst(found.detach(), batch, reference(temperature=temperature * 1.05)) > 20 * TOLERANCE
    assert worst(found.detach(), batch, reference(shift=-1)) > 20 * TOLERANCE
    wrong_audio = [
        reference_logprobs(
            small_lm.model, processor, EXAMPLES[row - 1].audio, e.prompt, e.target or "", temperature=temperature
        )
        for row, e in enumerate(EXAMPLES)
    ]
    assert worst(found.detach(), batch, wrong_audio) > 20 * TOLERANCE


def test_entropy_is_that_of_the_distribution(small_lm: AudioLM) -> None:
    hidden = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    _, entropy = selected_logprobs(small_lm, hidden, torch.zeros(5, dtype=torch.long), temperature=0.5)
    expected = torch.distributions.Categorical(logits=(small_lm.head(hidden) / 0.5).double()).entropy()
    torch.testing.assert_close(entropy.double(), expected, atol=1e-4, rtol=1e-4)


def test_banned_tokens_take_no_part(small_lm: AudioLM) -> None:
    hidden = torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    logits = small_lm.head(hidden).double()
    logits[:, list(small_lm.banned_ids)] = float("-inf")
    targets = torch.tensor([5, 6, 7, 8])
    found, entropy = selected_logprobs(small_lm, hidden, targets, banned=small_lm.banned_ids)
    expected = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)
    assert entropy.isfinite().all()


def test_chunks_change_neither_values_nor_gradients(processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for elements in (2**24, 2 * 500):
        monkeypatch.setattr(_rows, "CHUNK_ELEMENTS", elements)
        monkeypatch.setattr(_rows, "BLOCK_ELEMENTS", elements)
        lm = make_lm(processor)
        found, _ = completion_logprobs(lm, collate(lm, EXAMPLES))
        found.sum().backward()
        results.append((found.detach(), [p.grad for p in lm.model.parameters() if p.grad is not None]))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-5, rtol=1e-5)
    for whole, chunked in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(whole, chunked, atol=1e-4, rtol=1e-3)


def test_in_a_batch_of_groups_each_completion_hears_its_own_clip(small_lm: AudioLM) -> None:
    """Two prompts, three samples each: the layout in which `repeat` and `repeat_interleave` differ."""
    prompts = [encode_example(small_lm, Example(make_clip(seed, 1.5), "What do you hear?")) for seed in (11, 12)]
    completions = [tuple(small_lm.tokenizer(f"<answer>{w}</answer>")["input_ids"]) for w in ("one", "two", "a bell")]
    rows = [Encoded(p.clip, p.prompt, c) for p in prompts for c in completions]
    group, _ = completion_logprobs(small_lm, collate(small_lm, rows))
    swapped_rows = [Encoded(prompts[1 - i // 3].clip, r.prompt, r.completion) for i, r in enumerate(rows)]
    swapped, _ = completion_logprobs(small_lm, collate(small_lm, swapped_rows))
    for i, row in enumerate(rows):
        alone, _ = completion_logprobs(small_lm, collate(small_lm, [row]))
        count = len(row.completion)
        torch.testing.assert_close(group[i, :count], alone[0, :count], atol=TOLERANCE, rtol=0)
        assert (group[i, :count] - swapped[i, :count]).abs().max() > 20 * TOLERANCE


def grouped_rows(lm: AudioLM) -> list[Encoded]:
    """Groups of 3, 1 and 2 completions of prompts and lengths that differ, the groups interleaved."""
    words = ["one", "two or three of them", "a bell rings, then a dog", "four", "x", "the end"]
    owners = [0, 1, 0, 2, 2, 0]
    prompts = [encode_example(lm, Example(e.audio, e.prompt)) for e in EXAMPLES]
    completions = [tuple(lm.tokenizer(f"<answer>{w}</answer>")["input_ids"]) for w in words]
    return [Encoded(prompts[o].clip, prompts[o].prompt, c) for o, c in zip(owners, completions, strict=True)]


def test_sharing_a_prompt_changes_neither_values_nor_gradients(processor: Any) -> None:
    results = []
    for shared in (True, False):
        lm = make_lm(processor)
        rows = grouped_rows(lm)
        batches = [collate(lm, rows)] if shared else [collate(lm, [row]) for row in rows]
        assert (2 * len(batches[0].first_rows_P) <= len(batches[0].ids_BT)) == shared
        found = []
        for batch in batches:
            logps, _ = completion_logprobs(lm, batch, 0.9)
            weighted = logps * torch.arange(1, logps.shape[1] + 1)
            weighted.sum().backward()
            found += [logps[i, :n].detach() for i, n in enumerate(batch.completion_lengths_B.tolist())]
        gradients = {name: p.grad for name, p in lm.model.named_parameters() if p.grad is not None}
        results.append((found, gradients))
    for together, alone in zip(results[0][0], results[1][0], strict=True):
        torch.testing.assert_close(together, alone, atol=TOLERANCE, rtol=0)
    assert results[0][1].keys() == results[1][1].keys()
    for name, gradient in results[0][1].items():
        scale = results[1][1][name].abs().max().item()
        torch.testing.assert_close(gradient, results[1][1][name], atol=1e-4 * scale + 1e-6, rtol=1e-3, msg=name)


def test_completions_of_one_token_share_their_prompt(small_lm: AudioLM) -> None:
    rows = [Encoded(r.clip, r.prompt, r.completion[:1]) for r in grouped_rows(small_lm)]
    together, _ = completion_logprobs(small_lm, collate(small_lm, rows))
    for i, row in enumerate(rows):
        alone, _ = completion_logprobs(small_lm, collate(small_lm, [row]))
        torch.testing.assert_close(together[i], alone[0], atol=TOLERANCE, rtol=0)
