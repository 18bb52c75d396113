"""Voxtral and Audio Flamingo 3 against transformers' own forward, over clips of one window and of two.

The reference takes what the model's processor makes of a clip and a prompt, row by row, and takes whole logits.
Voxtral's processor is tested on Mistral's own tokenizer where mistral-common is installed, and on a tokenizer with a
chat template of the same form everywhere.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import model_builders_more as small
import pytest
import torch
from train_helpers import make_clip

from sari_data.errors import CheckpointError, InputError
from sari_data.responder import Sampling
from sari_train.batch import Example, collate, embed, encode_example, positions
from sari_train.checkpoint import save_model
from sari_train.logprobs import completion_logprobs
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model, wrap_model
from sari_train.rollout import Rollout, RolloutPrompt

FLOAT32, FLOAT64 = 1e-5, 1e-9
KINDS = ["flamingo", "voxtral"]
needs_mistral = pytest.mark.skipif(
    importlib.util.find_spec("mistral_common") is None, reason="mistral-common is not installed"
)
ALL_KINDS = [*KINDS, pytest.param("voxtral, tekken", marks=needs_mistral)]


@dataclass
class Kind:
    """An architecture: its processor, and how models and inputs are made."""

    processor: Any
    model: Any
    inputs: small.Inputs

    def lm(self, setting: str = "all weights", dtype: torch.dtype = torch.float64, seed: int = 0) -> AudioLM:
        return small.build(self.model(self.processor, seed), self.processor, setting, dtype)

    def reference(self, setting: str = "all weights", **planted: Any) -> small.Found:
        return small.reference(self.lm(setting), self.inputs, **planted)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def make(name: str) -> Kind:
        if name == "flamingo":
            return Kind(small.flamingo_processor(), small.flamingo_model, small.flamingo_inputs)
        folder = tmp_path_factory.mktemp("tekken") if "tekken" in name else None
        return Kind(small.voxtral_processor(folder), small.voxtral_model, small.voxtral_inputs)

    return make


@pytest.fixture(autouse=True)
def norms_in_their_own_type(monkeypatch: pytest.MonkeyPatch) -> None:
    small.norms_in_float64(monkeypatch)


@pytest.mark.parametrize("setting", ["all weights", "adapters, checkpointing", "frozen encoder"])
@pytest.mark.parametrize("name", KINDS)
def test_equal_to_transformers(kinds: Any, name: str, setting: str) -> None:
    expected = kinds(name).reference(setting)
    for dtype, bound in ((torch.float64, FLOAT64), (torch.float32, FLOAT32)):
        found = small.ours(kinds(name).lm(setting, dtype))
        assert found.logps.dtype == dtype
        errors = found.error(expected)
        assert max(errors.values()) < bound, errors


@pytest.mark.parametrize("name", KINDS)
def test_planted_errors_would_be_caught(kinds: Any, name: str) -> None:
    right = kinds(name).reference()
    for planted in ({"clip": 2}, {"windows": True}, {"temperature": small.TEMPERATURE * 1.001}, {"ban": False}):
        errors = kinds(name).reference(**planted).error(right)
        assert min(errors.values()) > 2 * FLOAT32, (planted, errors)


@pytest.mark.parametrize("name", ALL_KINDS)
def test_prompts_are_the_processors(kinds: Any, name: str) -> None:
    lm = kinds(name).lm()
    for seed, seconds, text in [*small.CLIPS, (4, 60.0, "Three windows, or two?"), (5, 0.01, "Less than a token?")]:
        audio = make_clip(seed, seconds)
        made = kinds(name).inputs(lm.processor, audio, text)
        if seconds == 0.01 and name == "flamingo":
            with pytest.raises(InputError, match="too short"):
                encode_example(lm, Example(audio, text))
            continue
        row = encode_example(lm, Example(audio, text))
        assert list(row.prompt) == made["input_ids"][0].tolist()
        assert row.clip.tokens == row.prompt.count(lm.audio_token_id) > 0


def generated(lm: AudioLM, inputs: dict[str, Any]) -> list[int]:
    """The new tokens of transformers' own greedy decoding."""
    settings = {"do_sample": False, "max_new_tokens": 12, "eos_token_id": list(lm.stop_ids), "pad_token_id": 0}
    out = lm.model.generate(**inputs, **settings, suppress_tokens=list(lm.banned_ids))
    return out[0, inputs["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize("name", ALL_KINDS)
def test_greedy_decoding_equals_generate(kinds: Any, name: str) -> None:
    lm, plain = kinds(name).lm("adapters"), kinds(name).lm("adapters")
    plain.model.set_attn_implementation("sdpa")
    examples = [Example(make_clip(seed, seconds), text) for seed, seconds, text in small.CLIPS]
    prompts = [RolloutPrompt(str(i), encode_example(lm, e)) for i, e in enumerate(examples)]
    found = Rollout(lm, Sampling(temperature=0.0, max_new_tokens=12)).generate(prompts)
    differs = 0
    for completion, example in zip(found, examples, strict=True):
        made = kinds(name).inputs(lm.processor, example.audio, example.prompt)
        inputs = {key: value for key, value in made.items() if key.startswith("input_")}
        inputs["input_features"] = inputs["input_features"].double()
        expected = generated(plain, inputs)
        assert list(completion.ids) == expected
        inputs["input_features"] = inputs["input_features"].flip(0) * 0.5
        differs += generated(plain, inputs) != expected
    assert differs  # other audio would show


@pytest.mark.parametrize("name", ALL_KINDS)
def test_a_saved_model_loads_with_its_processor(kinds: Any, name: str, tmp_path: Path) -> None:
    import transformers

    lm = kinds(name).lm(dtype=torch.float32)
    save_model(lm, tmp_path)
    again = load_model(str(tmp_path), device="cpu")
    assert type(again) is type(lm)
    examples = [Example(make_clip(seed, seconds), text, "two") for seed, seconds, text in small.CLIPS[::2]]
    models = (again, lm, kinds(name).lm(dtype=torch.float32, seed=1))
    with torch.no_grad():
        found, expected, other = (completion_logprobs(x, collate(x, examples))[0] for x in models)
    assert torch.equal(found, expected)
    assert not torch.allclose(found, other, atol=FLOAT32)
    plain = getattr(transformers, type(lm.model).__name__).from_pretrained(tmp_path)
    states = lm.model.state_dict()
    assert all(torch.equal(weight, states[key]) for key, weight in plain.state_dict().items())


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_of_one_equals_a_batch_of_many(kinds: Any, name: str) -> None:
    for setting in ("all weights", "frozen encoder"):
        lm = kinds(name).lm(setting)
        rows = small.rows(lm)
        with torch.no_grad():
            together = completion_logprobs(lm, collate(lm, rows))[0]
            for at, row in enumerate(rows):
                alone = completion_logprobs(lm, collate(lm, [row]))[0][0]
                torch.testing.assert_close(together[at, : len(alone)], alone, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_padded_rows_equal_the_packed_sequence(kinds: Any, name: str) -> None:
    lm = kinds(name).lm()
    batch = collate(lm, small.rows(lm))
    with torch.no_grad():
        packed, _ = completion_logprobs(lm, batch)
        table = lm.head(lm.backbone(embed(lm, batch), positions(batch))).log_softmax(-1)
        late = lm.head(lm.backbone(embed(lm, batch), positions(batch).square())).log_softmax(-1)
    for row in range(len(batch.ids_BT)):
        start, count = int(batch.prompt_lengths_B[row]), int(batch.completion_lengths_B[row])
        wanted = batch.ids_BT[row, start : start + count, None]
        found, other = (x[row, start - 1 : start + count - 1].gather(-1, wanted)[:, 0] for x in (table, late))
        torch.testing.assert_close(packed[row, :count], found, atol=1e-9, rtol=1e-9)
        assert not torch.allclose(found, other, atol=1e-4)


def test_flamingo_hears_what_its_processor_hears(kinds: Any) -> None:
    processor = small.flamingo_processor(max_audio_len=65)
    lm = wrap_model(small.flamingo_model(processor), processor, name="af3")
    assert lm.max_seconds == 60  # whole windows, as the processor counts
    with pytest.raises(InputError, match=r"lasts 61.00 s.*hears at most 60 s.*split or truncate"):
        lm.clip(make_clip(1, 61.0))
    lm.long_audio = "truncate"
    clip = lm.clip(make_clip(1, 61.0))
    features = processor.feature_extractor
    made = small.flamingo_inputs(processor, make_clip(1, 61.0), "How many?")
    assert clip.tokens == 1500 == int((made["input_ids"] == lm.audio_token_id).sum())
    assert torch.equal(clip.mel_MF.reshape(features.feature_size, 2, 3000).transpose(0, 1), made["input_features"])
    lm.long_audio = "split"
    with pytest.raises(InputError, match=r"expected 2, found 1: set long_audio to error or truncate"):
        encode_example(lm, Example(make_clip(1, 61.0), "How many?"))


def test_voxtral_hears_what_its_context_holds(kinds: Any) -> None:
    lm = kinds("voxtral").lm()
    assert lm.max_seconds == 30 * (2048 // 375) == 150
    with pytest.raises(InputError, match=r"lasts 151.00 s.*hears at most 150 s"):
        lm.clip(make_clip(1, 151.0))


def test_voxtral_without_a_way_to_render_its_chat_is_refused() -> None:
    processor = small.voxtral_processor()
    processor.tokenizer.chat_template = None
    with pytest.raises(CheckpointError, match=r"install mistral-common\[audio\]"):
        wrap_model(small.voxtral_model(processor), processor)


@pytest.mark.parametrize("name", KINDS)
def test_files_that_do_not_belong_together_are_refused(kinds: Any, name: str) -> None:
    model, processor = kinds(name).model(kinds(name).processor), kinds(name).processor
    model.config.audio_token_id = 5
    with pytest.raises(CheckpointError, match=r"the id .*config.json says 5"):
        wrap_model(model, processor)


@pytest.mark.parametrize(
    ("name", "seconds", "window_tokens"), [("flamingo", 600.0, 750), ("voxtral", 30.0 * (131_072 // 375), 375)]
)
def test_limits_of_the_published_configurations(kinds: Any, name: str, seconds: float, window_tokens: int) -> None:
    """One layer each, on no device; everything else is the configuration classes' own default."""
    from transformers import AudioFlamingo3Config, VoxtralConfig, WhisperFeatureExtractor

    kind = kinds(name)
    old = kind.processor.feature_extractor
    kind.processor.feature_extractor = WhisperFeatureExtractor(feature_size=128, return_attention_mask=True)
    try:
        made = (AudioFlamingo3Config if name == "flamingo" else VoxtralConfig)()
        made.audio_token_id = kind.processor.audio_token_id
        made.audio_config.num_hidden_layers = made.text_config.num_hidden_layers = 1
        if name == "flamingo":
            made.text_config.layer_types = made.text_config.layer_types[:1]
        with torch.device("meta"):
            lm = wrap_model(type(kind.model(kind.processor))(made), kind.processor)
        assert lm.max_seconds == seconds
        clip = lm.clip(make_clip(1, 30.0))
        assert (clip.tokens, clip.frames) == (window_tokens, 3000)
    finally:
        kind.processor.feature_extractor = old
