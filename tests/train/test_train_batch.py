"""Rows become tensors: the completion is masked exactly, clips are shared, nothing is cut silently."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from train_helpers import make_clip

from sari_data.errors import AudioError, InputError
from sari_data.types import AudioRef
from sari_train.batch import IGNORE, Example, collate, embed, encode_example
from sari_train.models.base import AudioLM


def test_labels_are_the_completion_and_nothing_else(small_lm: AudioLM) -> None:
    examples = [
        Example(make_clip(1, 0.6), "What do you hear?", "<answer>dog</answer>"),
        Example(make_clip(2, 1.4), "What do you hear first? Say one word.", "<answer>a bell</answer>"),
    ]
    batch = collate(small_lm, examples)
    for row, example in enumerate(examples):
        kept = batch.labels_BT[row] != IGNORE
        assert small_lm.tokenizer.decode(batch.labels_BT[row][kept]) == example.target + "<|im_end|>"
        assert torch.equal(batch.labels_BT[row][kept], batch.ids_BT[row][kept])
        places = kept.nonzero()[:, 0]
        assert places[0] == batch.prompt_lengths_B[row]
        assert len(places) == batch.completion_lengths_B[row] == places[-1] - places[0] + 1
        prompt = small_lm.tokenizer.decode(batch.ids_BT[row][: int(places[0])])
        assert prompt.endswith(f"{example.prompt}<|im_end|>\n<|im_start|>assistant\n")
    assert batch.completion_mask_BC.sum(-1).tolist() == batch.completion_lengths_B.tolist()


def test_a_shared_clip_is_in_the_batch_once(small_lm: AudioLM) -> None:
    a, b = make_clip(1, 0.6), make_clip(2, 1.4)
    batch = collate(small_lm, [Example(a, "One?"), Example(b, "Two?"), Example(a, "Three?")])
    assert len(batch.clips) == 2
    assert batch.clip_of_row_B.tolist() == [0, 1, 0]


def test_placeholders_are_as_many_as_transformers_makes(small_lm: AudioLM, processor: Any) -> None:
    from train_helpers import chat, waveform

    for seed, seconds in ((1, 0.1), (2, 0.85), (3, 2.0), (4, 3.0)):
        audio = make_clip(seed, seconds)
        expected = processor(text=chat(processor, "What?"), audio=[waveform(audio)], sampling_rate=16_000)["input_ids"]
        assert list(encode_example(small_lm, Example(audio, "What?")).prompt) == list(expected[0])


def test_each_rows_audio_lands_in_that_row(small_lm: AudioLM) -> None:
    examples = [Example(make_clip(i, 0.5 + 0.4 * i), "What do you hear?") for i in range(3)]
    together = embed(small_lm, collate(small_lm, [*examples, examples[1]]))
    for row, example in enumerate([*examples, examples[1]]):
        alone = embed(small_lm, collate(small_lm, [example]))[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example(make_clip(1, 3.2), "What?"), "hears at most 3 s"),
        (Example(make_clip(1, 0.02), "What?"), "too short"),
        (Example(make_clip(1, 1.0), "What is <|AUDIO|>?"), "control token"),
        (Example(make_clip(1, 1.0), "What?", "<|im_end|>"), "control token"),
        (Example(make_clip(1, 1.0), "What? " * 400), "context of 512"),
        (Example(make_clip(1, 1.0), "What?", "word " * 600), "context of 512"),
    ],
)
def test_what_does_not_fit_is_refused(small_lm: AudioLM, example: Example, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode_example(small_lm, example)


def test_audio_that_does_not_decode_is_refused(small_lm: AudioLM) -> None:
    with pytest.raises(AudioError):
        encode_example(small_lm, Example(AudioRef(path="x.wav", data=b"not audio"), "What?"))
