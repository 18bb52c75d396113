"""The Omni thinkers behind the adapter, against transformers' own processor, forward pass and generation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from model_builders import OMNI, TOKENS, in_type, omni_lm, omni_processor, stay_in_float64, thinker, whole_processor
from torch import Tensor
from train_helpers import make_clip, waveform

from sari_data.errors import CheckpointError, InputError
from sari_data.responder import Sampling
from sari_train.batch import Encoded, Example, collate, embed, encode_example, positions
from sari_train.config import Lora
from sari_train.logprobs import completion_logprobs
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import wrap_model
from sari_train.models.omni_processor import OmniProcessor
from sari_train.rollout import Rollout, RolloutPrompt

FLOAT32, FLOAT64 = 1e-5, 1e-9
TEMPERATURE = 0.8
# Seed, seconds (in windows: less than one, several and a part, whole ones), question.
CLIPS = [(1, 0.4, "What do you hear?"), (2, 1.87, "What do you hear first? Say one word."), (3, 3.0, "How many?")]
WORDS = ["one", "two or three of them", "a bell rings, then a dog", "four", "x", "the end"]
OWNERS = [0, 1, 0, 2, 2, 0]  # groups of 3, 1 and 2 completions, interleaved


@pytest.fixture(scope="module")
def processors() -> dict[str, OmniProcessor]:
    return {kind: omni_processor(kind, [*WORDS, *(text for *_, text in CLIPS)] * 3) for kind in OMNI}


@pytest.fixture(params=OMNI)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def processor(kind: str, processors: dict[str, OmniProcessor]) -> OmniProcessor:
    return processors[kind]


def inputs_of(kind: str, processor: Any, at: int, completion: str = "", clip: int | None = None) -> dict[str, Tensor]:
    """What transformers' own processor makes of a question and its audio, or of another's audio."""
    whole, (seed, seconds, _) = whole_processor(kind, processor), CLIPS[at if clip is None else clip]
    message = {"role": "user", "content": [{"type": "audio", "audio_url": "x"}, {"type": "text", "text": CLIPS[at][2]}]}
    text = whole.apply_chat_template([message], tokenize=False, add_generation_prompt=True) + completion
    audio = waveform(make_clip(seed, seconds))
    return dict(whole(text=text, audio=[audio], sampling_rate=16_000, return_tensors="pt"))


def rows(lm: AudioLM) -> list[Encoded]:
    prompts = [encode_example(lm, Example(make_clip(seed, seconds), text)) for seed, seconds, text in CLIPS]
    completions = [tuple(lm.tokenizer(f"<answer>{w}</answer>")["input_ids"]) for w in WORDS]
    return [Encoded(prompts[o].clip, prompts[o].prompt, c) for o, c in zip(OWNERS, completions, strict=True)]


@pytest.mark.parametrize("seconds", [0.03, 0.26, 0.985, 1.0, 1.013, 2.0, 2.995, 3.0])
def test_audio_equals_the_models_own(kind: str, processor: OmniProcessor, seconds: float) -> None:
    model = thinker(kind, processor)
    lm, audio = omni_lm(kind, processor), make_clip(4, seconds)
    out = whole_processor(kind, processor)(
        text=TOKENS[kind]["audio_token"], audio=[waveform(audio)], sampling_rate=16_000, return_tensors="pt"
    )
    clip = lm.clip(audio)
    assert clip.tokens == out["input_ids"].shape[1]
    assert clip.frames == out["feature_attention_mask"].sum()
    expected = model.get_audio_features(out["input_features"], out["feature_attention_mask"]).last_hidden_state
    torch.testing.assert_close(lm.audio_embeddings([clip])[0], expected, atol=1e-6, rtol=1e-5)


def test_audio_does_not_depend_on_what_else_is_in_the_batch(kind: str, processor: OmniProcessor) -> None:
    lm = omni_lm(kind, processor, dtype=torch.float64)
    clips = [lm.clip(make_clip(5, seconds)) for seconds in (0.5, 3.0, 0.03, 1.02, 0.5, 2.0, 0.99)]
    together = lm.audio_embeddings(clips)
    for clip, found in zip(clips, together, strict=True):
        torch.testing.assert_close(found, lm.audio_embeddings([clip])[0], atol=1e-12, rtol=1e-12)
    # What stands behind a clip's true frames is of no account.
    (span,) = clips[0].spans
    loud = torch.nn.functional.pad(span.mel_MF, (0, 250), value=3.0)[None].double()
    states = lm.project(lm.audio_states(loud, torch.tensor([span.frames])))[0]
    torch.testing.assert_close(states, together[0], atol=1e-12, rtol=1e-12)
    # One true frame fewer is.
    states = lm.project(lm.audio_states(loud, torch.tensor([span.frames - 1])))[0]
    assert (states[: len(together[0])] - together[0][: len(states)]).abs().max() > 1e-6


def test_prompts_are_the_processors(kind: str, processor: OmniProcessor) -> None:
    lm = omni_lm(kind, processor)
    for at, (seed, seconds, text) in enumerate(CLIPS):
        expected = inputs_of(kind, processor, at)["input_ids"][0].tolist()
        assert list(encode_example(lm, Example(make_clip(seed, seconds), text)).prompt) == expected
    assert expected.count(lm.audio_token_id) > 10


def test_positions_are_ordinary_ones(kind: str, processor: OmniProcessor) -> None:
    """Over text and audio the three axes count alike, also where a row is padded."""
    model, batch = thinker(kind, processor), [inputs_of(kind, processor, at) for at in range(3)]
    for one in batch:
        ids = one["input_ids"]
        lengths = one["feature_attention_mask"].sum(-1)
        found, deltas = model.get_rope_index(ids, attention_mask=torch.ones_like(ids), audio_seqlens=lengths)
        torch.testing.assert_close(found.long(), torch.arange(ids.shape[1]).expand(3, 1, -1))
        assert deltas.abs().sum() == 0


def reference(kind: str, processor: OmniProcessor, dtype: torch.dtype, **planted: Any) -> tuple[Tensor, dict[str, Any]]:
    """Log-probabilities of all completion tokens, row by row, and their weighted sum's gradients."""
    model, logps = in_type(thinker(kind, processor), dtype), []
    banned = omni_lm(kind, processor).banned_ids
    for at, (owner, word) in enumerate(zip(OWNERS, WORDS, strict=True)):
        other = planted.get("clips", {}).get(at)
        one = inputs_of(kind, processor, owner, f"<answer>{word}</answer>", clip=other)
        one["input_features"] = one["input_features"].to(dtype)
        ids = one["input_ids"]
        if "shift" in planted:
            far = (torch.arange(ids.shape[1]) > ids.shape[1] - 8).long() * planted["shift"]
            one["position_ids"] = torch.arange(ids.shape[1])[None].expand(3, 1, -1) + far
        count = len(processor.tokenizer(f"<answer>{word}</answer>")["input_ids"])
        logits = model(**one).logits[0, -count - 1 : -1].to(torch.float64) / TEMPERATURE
        table = logits.index_fill(-1, torch.tensor(banned), float("-inf")).log_softmax(-1)
        logps.append(table.gather(-1, ids[0, -count:, None])[:, 0])
    found = torch.cat(logps)
    (found * torch.linspace(-1, 1.3, len(found), dtype=torch.float64)).sum().backward()
    return found.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def ours(lm: AudioLM) -> tuple[Tensor, dict[str, Any]]:
    batch = collate(lm, rows(lm))
    logps, _ = completion_logprobs(lm, batch, TEMPERATURE, banned=lm.banned_ids)
    found = logps[batch.completion_mask_BC].double()
    (found * torch.linspace(-1, 1.3, len(found), dtype=torch.float64)).sum().backward()
    return found.detach(), {n: p.grad for n, p in lm.model.named_parameters() if p.grad is not None}


def error(found: tuple[Tensor, dict[str, Any]], expected: tuple[Tensor, dict[str, Any]]) -> tuple[float, float]:
    """Relative errors of log-probabilities and gradients."""
    assert found[1].keys() == expected[1].keys()
    a, b = (torch.cat([grads[n].double().flatten() for n in found[1]]) for _, grads in (found, expected))
    logps = (found[0] - expected[0]).norm() / expected[0].norm()
    return logps.item(), ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)])
def test_equal_to_transformers_in_float64(
    kind: str,
    processor: OmniProcessor,
    dtype: torch.dtype,
    bound: float,
    checkpointing: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stay_in_float64(monkeypatch)
    lm = omni_lm(kind, processor, dtype=dtype)
    lm.checkpointing = checkpointing
    found, expected = ours(lm), reference(kind, processor, torch.float64)
    assert max(error(found, expected)) < bound
    if dtype == torch.float64 and not checkpointing:
        for planted in ({"shift": 1}, {"clips": {1: 2}}, {"clips": {3: 1}}):
            assert min(error(reference(kind, processor, dtype, **planted), expected)) > 10 * FLOAT32, planted


@pytest.mark.parametrize("mixed", [False, True], ids=["bfloat16 weights", "autocast"])
def test_bfloat16_is_near(kind: str, processor: OmniProcessor, mixed: bool) -> None:
    exact, _ = reference(kind, processor, torch.float64)
    lm = omni_lm(kind, processor, dtype=torch.float32 if mixed else torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        clip = lm.clip(make_clip(*CLIPS[0][:2]))  # features are those of full precision
        batch = collate(lm, rows(lm))
        logps, _ = completion_logprobs(lm, batch, TEMPERATURE, banned=lm.banned_ids)
    logps.sum().backward()
    assert (logps[batch.completion_mask_BC].detach() - exact).abs().mean() < 0.01 * exact.abs().mean()
    assert torch.equal(clip.mel_MF, omni_lm(kind, processor).clip(make_clip(*CLIPS[0][:2])).mel_MF)


def test_rows_padded_on_the_right_give_the_same(kind: str, processor: OmniProcessor) -> None:
    lm = omni_lm(kind, processor, dtype=torch.float64)
    batch = collate(lm, rows(lm))
    hidden_BTH = lm.backbone(embed(lm, batch), positions(batch))
    for row, (owner, word) in enumerate(zip(OWNERS, WORDS, strict=True)):
        one = inputs_of(kind, processor, owner, f"<answer>{word}</answer>")
        one["input_features"] = one["input_features"].double()
        expected = in_type(thinker(kind, processor), torch.float64)(**one).logits[0]
        torch.testing.assert_close(lm.head(hidden_BTH[row, : len(expected)]), expected, atol=1e-5, rtol=1e-5)


def test_greedy_equals_generate(kind: str, processor: OmniProcessor) -> None:
    lm, model = omni_lm(kind, processor), thinker(kind, processor)
    engine = Rollout(lm, Sampling(temperature=0.0, max_new_tokens=24))
    prompts = [
        RolloutPrompt(str(at), encode_example(lm, Example(make_clip(seed, seconds), text)))
        for at, (seed, seconds, text) in enumerate(CLIPS)
    ]
    found = engine.generate(prompts)
    for at, completion in enumerate(found):
        one = inputs_of(kind, processor, at)
        out = model.generate(
            **one,
            do_sample=False,
            max_new_tokens=24,
            eos_token_id=list(lm.stop_ids),
            suppress_tokens=list(lm.banned_ids),
        )
        assert list(completion.ids) == out[0, one["input_ids"].shape[1] :].tolist()
    assert len({c.ids for c in found}) == 3
    batch = collate(lm, [Encoded(p.encoded.clip, p.encoded.prompt, c.ids) for p, c in zip(prompts, found, strict=True)])
    logps, _ = completion_logprobs(lm, batch, banned=lm.banned_ids)
    for row, completion in enumerate(found):
        expected = torch.from_numpy(completion.logps)
        torch.testing.assert_close(logps[row, : len(expected)], expected, atol=1e-4, rtol=1e-4)


def test_what_learns(kind: str, processor: OmniProcessor) -> None:
    lm = omni_lm(kind, processor)
    batch = collate(lm, rows(lm))
    completion_logprobs(lm, batch)[0].sum().backward()
    grown = {n for n, p in lm.model.named_parameters() if p.grad is not None}
    wanted = {n for n, p in lm.model.named_parameters() if p.requires_grad}
    assert grown == wanted, grown ^ wanted
    assert not [n for n in wanted if "visual" in n]
    lm.freeze_audio()
    left = {n for n, p in lm.model.named_parameters() if p.requires_grad and "audio_tower" in n}
    names = {"qwen2.5-omni": {"proj"}, "qwen3-omni": {"proj1", "proj2"}}[kind]
    assert {n.split("audio_tower.")[1].split(".")[0] for n in left} == names
    frozen = lm.audio_embeddings(batch.clips)
    assert all(x.requires_grad for x in frozen)
    for a, b in zip(frozen, omni_lm(kind, processor).audio_embeddings(batch.clips), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_audio_split_into_spans_is_several_audios_of_one_turn(processors: dict[str, OmniProcessor]) -> None:
    kind, processor = "qwen2.5-omni", processors["qwen2.5-omni"]
    lm, audio = omni_lm(kind, processor, dtype=torch.float64), make_clip(7, 4.3)
    lm.long_audio = "split"
    batch = collate(lm, [Example(audio, "How many?", "<answer>four</answer>")])
    logps, _ = completion_logprobs(lm, batch)
    whole, samples = whole_processor(kind, processor), waveform(audio)
    content = [{"type": "audio", "audio_url": "x"}] * 2 + [{"type": "text", "text": "How many?"}]
    text = whole.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
    one = whole(
        text=f"{text}<answer>four</answer><|im_end|>",
        audio=[samples[:48_000], samples[48_000:]],
        sampling_rate=16_000,
        return_tensors="pt",
    )
    assert torch.equal(batch.ids_BT, one["input_ids"])
    one["input_features"] = one["input_features"].double()
    count = int(batch.completion_lengths_B[0])
    logits = in_type(thinker(kind, processor), torch.float64)(**one).logits[0, -count - 1 : -1]
    expected = logits.log_softmax(-1).gather(-1, one["input_ids"][0, -count:, None])[:, 0]
    torch.testing.assert_close(logps[0], expected, atol=1e-6, rtol=1e-6)


def test_limits(kind: str, processor: OmniProcessor) -> None:
    """Qwen2.5-Omni's processor cuts at its window, here 3 s; Qwen3-Omni's cuts nothing: the context is the bound."""
    lm = omni_lm(kind, processor)
    assert lm.max_seconds == {"qwen2.5-omni": 3.0, "qwen3-omni": 512 // 13}[kind]
    assert lm.context_length == 512
    # Keys and values of 2 layers with 2 heads of 8 numbers in 4 bytes.
    assert lm.cache_bytes == 2 * 2 * 2 * 8 * 4
    with pytest.raises(InputError, match="hears at most"):
        lm.clip(make_clip(6, lm.max_seconds + 0.1))
    with pytest.raises(InputError, match="too short for one audio token"):
        lm.clip(make_clip(6, 0.01))
    if kind == "qwen3-omni":
        audio = make_clip(6, 10.3)
        whole = whole_processor(kind, processor)
        out = whole(text="<|audio_pad|>", audio=[waveform(audio)], sampling_rate=16_000, return_tensors="pt")
        expected = thinker(kind, processor).get_audio_features(out["input_features"], out["feature_attention_mask"])
        found = lm.audio_embeddings([lm.clip(audio)])[0]
        torch.testing.assert_close(found, expected.last_hidden_state, atol=1e-6, rtol=1e-5)
        assert len(found) == 134  # 10 whole seconds and 0.3


def test_control_tokens(kind: str, processor: OmniProcessor) -> None:
    lm = omni_lm(kind, processor)
    assert {lm.tokenizer.convert_ids_to_tokens(i) for i in lm.banned_ids} == {"<|im_start|>", *TOKENS[kind].values()}
    assert [lm.tokenizer.convert_ids_to_tokens(i) for i in lm.stop_ids] == ["<|im_end|>", "<|endoftext|>"]
    for token in (TOKENS[kind]["audio_token"], TOKENS[kind]["video_token"], "<|im_end|>"):
        with pytest.raises(InputError, match="must not hold the control token"):
            encode_example(lm, Example(make_clip(1, 0.4), f"a {token} b"))


def test_a_processor_of_another_model(kind: str, processors: dict[str, OmniProcessor]) -> None:
    from transformers import WhisperFeatureExtractor

    processor, model = processors[kind], thinker(kind, processors[kind])
    model.config.audio_token_id += 1
    with pytest.raises(CheckpointError, match="expects audio at token"):
        wrap_model(model, processor)
    if kind == "qwen3-omni":
        with pytest.raises(CheckpointError, match=r"tokenizer of model 'x' lacks <\|audio_pad\|>"):
            wrap_model(model, processors["qwen2.5-omni"], name="x")
    deaf = OmniProcessor(processor.tokenizer, WhisperFeatureExtractor(feature_size=80), processor.chat_template)
    with pytest.raises(CheckpointError, match="expects 16 mel bands, but its processor makes 80"):
        wrap_model(thinker(kind, processor), deaf)
    if kind == "qwen3-omni":
        model = thinker(kind, processor)
        model.config.audio_config.n_window = 40
        with pytest.raises(CheckpointError, match="n_window 40"):
            wrap_model(model, processor)


def test_adapters_go_into_linear_layers_and_not_into_experts(kind: str, processor: OmniProcessor) -> None:
    lm = omni_lm(kind, processor, dtype=torch.float64)
    if kind == "qwen3-omni":
        with pytest.raises(InputError, match=r"gate_proj.*it has \['k_proj.*fused tensors.*leave these names out"):
            add_lora(lm, Lora(rank=2), seed=0)
    modules = tuple(Lora().target_modules) if kind == "qwen2.5-omni" else ("q_proj", "k_proj", "v_proj", "o_proj")
    before, _ = completion_logprobs(lm, collate(lm, rows(lm)))
    add_lora(lm, Lora(rank=2, target_modules=modules), seed=0)
    trained = [n for n, p in lm.model.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * 2 * len(modules)
    assert all("language_model" in n for n in trained)
    with torch.no_grad():
        for name, weight in lm.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.linspace(-0.2, 0.2, weight.numel()).view_as(weight))
    lm.model.double()
    batch = collate(lm, rows(lm))
    adapted, _ = completion_logprobs(lm, batch)
    assert (adapted - before).abs().max() > 1e-3
    with lm.adapter.disable_adapter():
        torch.testing.assert_close(completion_logprobs(lm, batch)[0], before, atol=1e-12, rtol=1e-12)
    # The decoder has the adapters too.
    prompt = encode_example(lm, Example(make_clip(1, 0.4), "What do you hear?"))
    engine = Rollout(lm, Sampling(temperature=0.0, max_new_tokens=8))
    (sampled,) = engine.generate([RolloutPrompt("0", prompt)])
    one = collate(lm, [Encoded(prompt.clip, prompt.prompt, sampled.ids)])
    again, _ = completion_logprobs(lm, one, banned=lm.banned_ids)
    torch.testing.assert_close(again[0].float(), torch.from_numpy(sampled.logps), atol=1e-5, rtol=1e-5)
    lm.adapter.merge_adapter()
    merged, _ = completion_logprobs(lm, batch)
    torch.testing.assert_close(merged, adapted, atol=1e-9, rtol=1e-9)
