"""Rows become tensors: the completion is masked exactly, clips are shared, nothing is cut silently."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from train_helpers import make_clip, make_lm, whole_window, window

from sari_data.errors import AudioError, InputError, SariError
from sari_data.types import AudioRef
from sari_train.batch import Example, collate, embed, encode_example
from sari_train.logprobs import completion_logprobs
from sari_train.models.base import AudioLM
from sari_train.models.load import wrap_model


def test_a_row_is_its_prompt_and_then_its_completion(small_lm: AudioLM) -> None:
    examples = [
        Example(make_clip(1, 0.6), "What do you hear?", "<answer>dog</answer>"),
        Example(make_clip(2, 1.4), "What do you hear first? Say one word.", "<answer>a bell</answer>"),
    ]
    batch = collate(small_lm, examples)
    for row, example in enumerate(examples):
        start = int(batch.prompt_lengths_B[row])
        end = start + int(batch.completion_lengths_B[row])
        assert small_lm.tokenizer.decode(batch.ids_BT[row][start:end]) == example.target + "<|im_end|>"
        assert set(batch.ids_BT[row][end:].tolist()) <= {small_lm.pad_id}
        prompt = small_lm.tokenizer.decode(batch.ids_BT[row][:start])
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


@pytest.mark.parametrize("template", ["{% if %}", "{{ messages[9].content }}", "hello"])
def test_a_chat_template_that_fails_is_refused(processor: Any, template: str) -> None:
    lm = make_lm(copy.deepcopy(processor))
    lm.processor.chat_template = template
    with pytest.raises(InputError, match="chat template of model 'small'"):
        encode_example(lm, Example(make_clip(1, 1.0), "What?"))


def test_a_file_that_changes_is_another_clip(processor: Any, tmp_path: Path) -> None:
    lm = make_lm(processor)
    first, second = (make_clip(seed, 1.0).data or b"" for seed in (1, 2))
    path = tmp_path / "clip.wav"
    path.write_bytes(first)
    audio = AudioRef(path=str(path))
    before = lm.clip(audio)
    assert lm.clip(audio) is before
    path.write_bytes(second)
    os.utime(path, ns=(1, 1))
    after = lm.clip(audio)
    assert after.key != before.key
    assert torch.equal(after.mel_MF, lm.clip(AudioRef(data=second)).mel_MF)
    assert lm.clip(AudioRef(path=str(path), start=0.5)).frames < after.frames
    path.unlink()
    with pytest.raises(SariError):
        lm.clip(audio)


def test_the_same_name_with_other_audio_inside_is_another_clip(small_lm: AudioLM) -> None:
    a, b = (AudioRef(path="clip.wav", data=make_clip(seed, 1.0).data) for seed in (1, 2))
    assert not torch.equal(small_lm.clip(a).mel_MF, small_lm.clip(b).mel_MF)


def test_kept_audio_states_follow_the_weights(processor: Any) -> None:
    lm = make_lm(processor)
    clips = [lm.clip(make_clip(1, 1.0)), lm.clip(make_clip(2, 2.0))]
    trained = lm.audio_embeddings(clips)
    lm.freeze_audio()
    for order in ([0, 1], [1, 0], [1]):
        kept = lm.audio_embeddings([clips[i] for i in order])
        torch.testing.assert_close(kept, [trained[i] for i in order], atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        for weight in lm.model.model.audio_tower.parameters():
            weight.mul_(1.5)
    lm.freeze_audio()
    fresh = make_lm(processor)
    fresh.model.load_state_dict(lm.model.state_dict())
    expected = fresh.audio_embeddings(clips)
    assert (expected[0] - trained[0]).abs().max() > 1e-2
    torch.testing.assert_close(lm.audio_embeddings(clips), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_clip_costs_its_own_length_and_gives_what_the_whole_window_gives(processor: Any, frozen: bool) -> None:
    """Against transformers' own encoder over the whole window, for odd and even numbers of frames."""
    lm = make_lm(processor)
    lm.model.double()
    if frozen:
        lm.freeze_audio()
    clips = [lm.clip(make_clip(seed, 0.3 + 0.31 * seed)) for seed in range(9)]
    assert {clip.frames % 4 for clip in clips} == {0, 1, 2, 3}
    found = lm.audio_embeddings(clips)
    tower = lm.model.model.audio_tower
    for clip, ours in zip(clips, found, strict=True):
        positions = window(lm) // 2
        seen = torch.arange(positions) < (clip.frames - 1) // 2 + 1
        mask = seen[None, None, None, :].expand(1, 1, positions, -1)
        mel = whole_window(lm, clip.mel_MF)[None].double()
        theirs = lm.project(tower(mel, attention_mask=mask).last_hidden_state[0, : clip.tokens])
        assert clip.mel_MF.shape[1] <= clip.frames + 8
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)
        # Two frames less is a difference that would show.
        cut = whole_window(lm, clip.mel_MF[:, : clip.frames - 2])[None].double()
        wrong = lm.project(tower(cut, attention_mask=mask).last_hidden_state[0, : clip.tokens])
        assert (wrong - theirs).abs().max() > 1e-6


def test_a_tokenizer_without_padding_pads_with_the_end_of_turn(small_lm: AudioLM, processor: Any) -> None:
    bare = make_lm(copy.deepcopy(processor))
    bare.tokenizer.pad_token = None
    examples = [Example(make_clip(1, 0.6), "What?", "dog"), Example(make_clip(2, 1.4), "What first?", "a bell rings")]
    found, expected = (completion_logprobs(lm, collate(lm, examples))[0] for lm in (bare, small_lm))
    assert bare.pad_id == bare.stop_ids[0] != small_lm.pad_id
    assert torch.equal(found, expected)


def test_known_keys_are_bounded_in_bytes(processor: Any) -> None:
    lm = make_lm(processor)
    lm._keys.max_bytes = 100_000
    for seed in range(6):
        lm.clip(make_clip(seed, 1.0))  # 32 kB each
    assert len(lm._keys._items) == 3


def test_attention_is_causal_whatever_the_model_was_loaded_with(small_lm: AudioLM, processor: Any) -> None:
    lm = make_lm(processor)
    lm.model.set_attn_implementation("eager")
    eager = wrap_model(lm.model, processor)
    batch = collate(eager, [Example(make_clip(1, 1.0), "What?", "<answer>dog</answer>")])
    found, _ = completion_logprobs(eager, batch)
    torch.testing.assert_close(found, completion_logprobs(small_lm, batch)[0], atol=1e-5, rtol=1e-5)
