"""Prompts about several recordings against transformers' own processor, forward pass and generation."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import model_builders_more as more
import pytest
import torch
from model_builders import in_type, omni_lm, omni_processor, stay_in_float64, whole_processor
from rollout_server import Server
from test_models_voxtral_flamingo import needs_mistral
from torch import Tensor
from train_helpers import make_clip, make_lm, waveform

from sari_data.errors import AudioError, InputError
from sari_data.responder import Request, Response, Sampling, hears_several
from sari_data.types import AudioQuestion, AudioRef
from sari_train.batch import Example, collate, encode_example
from sari_train.config import RolloutEngine
from sari_train.logprobs import completion_logprobs
from sari_train.models.base import AudioLM
from sari_train.responder import LocalResponder
from sari_train.rollout import Rollout, RolloutPrompt
from sari_train.rollouts.vllm import VllmEngine

PROMPT, TARGET = "What do you hear first? Say one word.", "two or three"
# Seconds: each more than a chunk of Qwen3-Omni, whose convolutions see what a shorter clip is padded with in a batch.
PAIR = (make_clip(1, 1.2), make_clip(2, 1.9))
KINDS = ["qwen2-audio", "qwen2.5-omni", "qwen3-omni", "voxtral", pytest.param("tekken", marks=needs_mistral)]
Inputs = dict[str, Any]


@pytest.fixture(scope="module")
def built(processor: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Any]]:
    """Of each architecture a model in float64 behind its adapter, and what its processor makes of recordings."""

    @cache
    def make(kind: str) -> tuple[Any, Any]:
        if kind == "qwen2-audio":
            return make_lm(processor), _by_processor(processor)
        if kind in ("voxtral", "tekken"):
            folder: Path | None = tmp_path_factory.mktemp("tekken") if kind == "tekken" else None
            made = more.voxtral_processor(folder)
            return more.build(more.voxtral_model(made), made, "", torch.float64), _by_voxtral(made)
        omni = omni_processor(kind, [PROMPT, TARGET] * 3)
        lm = omni_lm(kind, omni)
        in_type(lm.model, torch.float64)
        return lm, _by_processor(whole_processor(kind, omni))

    return make


def _by_processor(processor: Any) -> Callable[..., Inputs]:
    def inputs(recordings: tuple[AudioRef, ...], target: str = "") -> Inputs:
        content = [{"type": "audio", "audio_url": "x"}] * len(recordings) + [{"type": "text", "text": PROMPT}]
        chat = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        audio = [waveform(one) for one in recordings]
        return dict(processor(text=chat + target, audio=audio, sampling_rate=16_000, return_tensors="pt"))

    return inputs


def _by_voxtral(processor: Any) -> Callable[..., Inputs]:
    """Its processor takes the chat whole; without a template of text it makes ids alone, and the rest is its parts."""

    def inputs(recordings: tuple[AudioRef, ...], target: str = "") -> Inputs:
        encoded = [base64.b64encode(one.data or b"").decode() for one in recordings]
        content = [{"type": "audio", "base64": one} for one in encoded] + [{"type": "text", "text": PROMPT}]
        found = dict(processor.apply_chat_template([{"role": "user", "content": content}]))
        ids = found["input_ids"][0].tolist()
        if "input_features" not in found:
            settings = {k: v for k, v in processor.audio_kwargs.items() if k != "max_source_positions"}
            parts = [processor._retrieve_input_features([waveform(one)], 3000, **settings) for one in recordings]
            found["input_features"] = torch.cat(parts)
            ids = [i for token in ids for i in [token] * (375 if token == processor.audio_token_id else 1)]
        ids += processor.tokenizer(target, add_special_tokens=False)["input_ids"] if target else []
        return {"input_ids": torch.tensor([ids]), "input_features": found["input_features"]}

    return inputs


def in_float64(lm: AudioLM, inputs: Inputs) -> Inputs:
    lm.model.double()
    return {**inputs, "input_features": inputs["input_features"].double()}


def plain_logits(lm: AudioLM, inputs: Inputs) -> Tensor:
    """Logits [T, V] of the model's own forward."""
    with torch.no_grad():
        return lm.model(**in_float64(lm, inputs)).logits[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", [False, True])
def test_two_recordings_in_a_prompt_equal_the_models_own(
    built: Any, kind: str, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stay_in_float64(monkeypatch)
    more.norms_in_float64(monkeypatch)
    lm, inputs = built(kind)
    monkeypatch.setattr(lm, "audio_frozen", frozen)
    lm.model.double()
    assert lm.hears_several
    row = encode_example(lm, Example(PAIR[0], PROMPT, TARGET, more_audio=PAIR[1:]))
    made = inputs(PAIR, TARGET)
    assert [*row.prompt, *row.completion[:-1]] == made["input_ids"][0].tolist()
    single = encode_example(lm, Example(PAIR[0], PROMPT, TARGET))
    assert row.clip.tokens == row.prompt.count(lm.audio_token_id) > single.clip.tokens
    with torch.no_grad():
        found, _ = completion_logprobs(lm, collate(lm, [single, row, single]))
        alone, _ = completion_logprobs(lm, collate(lm, [row]))
    count = len(row.completion) - 1
    torch.testing.assert_close(found[1, : count + 1], alone[0], atol=1e-9, rtol=1e-9)
    wanted = torch.tensor(row.completion[:-1])[:, None]
    logits = [plain_logits(lm, x) for x in (made, inputs(PAIR[::-1], TARGET))]
    table, swapped = (x[-count - 1 : -1].log_softmax(-1).gather(-1, wanted)[:, 0] for x in logits)
    torch.testing.assert_close(found[1, :count], table, atol=1e-8, rtol=1e-8)
    assert (swapped - table).abs().max() > 1e-4  # the other order would show


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_about_two_recordings_equal_generate(
    built: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stay_in_float64(monkeypatch)
    more.norms_in_float64(monkeypatch)
    lm, inputs = built(kind)
    lm.model.double()
    pairs = {"two": PAIR, "turned": PAIR[::-1], "one": PAIR[:1]}
    prompts = [
        RolloutPrompt(name, encode_example(lm, Example(pair[0], PROMPT, more_audio=pair[1:])))
        for name, pair in pairs.items()
    ]
    found = Rollout(lm, Sampling(max_new_tokens=8)).generate(prompts)
    said = set()
    for done in found:
        made = in_float64(lm, inputs(pairs[done.prompt_id]))
        out = lm.model.generate(
            **made,
            do_sample=False,
            max_new_tokens=8,
            eos_token_id=list(lm.stop_ids),
            pad_token_id=0,
            suppress_tokens=list(lm.banned_ids),
        )
        assert list(done.ids) == out[0, made["input_ids"].shape[1] :].tolist()
        said.add(tuple(done.logps.tolist()))
    assert len(said) == 3  # one recording, or two in the other order, is another prompt


def test_the_local_responder_hears_them_and_names_one_that_is_not_there(processor: Any, tmp_path: Path) -> None:
    responder = LocalResponder(make_lm(processor), on_error="skip")
    assert hears_several(responder)
    absent = AudioRef(path=str(tmp_path / "absent.wav"))
    requests = [
        Request("one", PAIR[0], PROMPT),
        Request("two", PAIR[0], PROMPT, more_audio=PAIR[1:]),
        Request("bad", PAIR[0], PROMPT, more_audio=(absent,)),
    ]

    def answers(batch_size: int) -> dict[str, Response]:
        responder.batch_size = batch_size
        return {r.request_id: r for r in responder.respond(requests, Sampling(max_new_tokens=12))}

    found = answers(8)
    assert found.keys() == {"one", "two"}
    assert found == answers(1)
    assert found["one"].text != found["two"].text
    assert list(responder.failed) == ["bad"]
    assert "absent.wav" in responder.failed["bad"]


def test_a_model_whose_turn_has_room_for_one_says_so() -> None:
    processor = more.flamingo_processor()
    lm = more.build(more.flamingo_model(processor), processor, "", torch.float32)
    assert not lm.hears_several
    assert not hears_several(LocalResponder(lm))
    with pytest.raises(InputError, match=r"one recording, which is all that the chat template of model 'small' has"):
        encode_example(lm, Example(PAIR[0], PROMPT, more_audio=PAIR[1:]))


def test_a_template_that_refuses_a_second_recording_has_room_for_one(
    processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = "{% if messages[0].content | length > 2 %}{{ raise_exception('one audio') }}{% endif %}"
    monkeypatch.setattr(processor, "chat_template", refusing + processor.chat_template)
    assert not make_lm(processor).hears_several


def test_pieces_of_a_long_recording_are_not_taken_for_recordings(processor: Any) -> None:
    lm, long = make_lm(processor), make_clip(3, 4.0)  # it hears 3 s
    lm.long_audio = "split"
    assert len(encode_example(lm, Example(long, PROMPT)).clip.spans) == 2
    with pytest.raises(AudioError, match=r"one of 2 recordings of a prompt, is longer than the 3 s .*to truncate"):
        encode_example(lm, Example(PAIR[0], PROMPT, more_audio=(long,)))
    lm.long_audio = "truncate"
    assert len(encode_example(lm, Example(PAIR[0], PROMPT, more_audio=(long,))).clip.spans) == 2


def test_a_vllm_server_is_not_asked_about_several(
    processor: Any, scene_questions: list[AudioQuestion], tmp_path: Path
) -> None:
    lm, question = make_lm(processor), scene_questions[0].replace(more_audio=PAIR)
    with Server(make_lm(processor, seed=5)) as server:
        settings = RolloutEngine(engine="vllm", url=server.url, timeout=20.0)
        engine = VllmEngine(lm, Sampling(max_new_tokens=4), settings, folder=tmp_path / "w")
        engine.update_weights(lm, 0)
        prompt = RolloutPrompt("p", encode_example(lm, Example(question.audio, PROMPT)))
        with pytest.raises(InputError, match=r"expected one recording, found 3: rollouts are of questions about one"):
            engine.sample([prompt], [question], seed=0)
