"""Generation: equal to transformers' when greedy, independent of the batch, reproducible sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from train_helpers import chat, make_clip, make_lm, waveform

from sari_data.errors import InputError
from sari_data.responder import Request, Responder, Response, Sampling
from sari_train import responder
from sari_train.batch import Encoded, Example, collate, encode_example, place_audio
from sari_train.config import Lora
from sari_train.kernels import prepacked
from sari_train.logprobs import completion_logprobs
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.cache import SharedCache
from sari_train.responder import LocalResponder, Room, pack
from sari_train.rollout import Completion, Rollout, RolloutPrompt, _uniforms, invert_cdf, prefill

AUDIO = [make_clip(i, 0.5 + 0.35 * i) for i in range(5)]
PROMPTS = ["What?", "What do you hear first? Say one word.", "How many?", "What do you hear?", "Which is longest?"]


def prompts(lm: AudioLM, samples: int = 1) -> list[RolloutPrompt]:
    return [
        RolloutPrompt(f"q{i}", encode_example(lm, Example(audio, text)), range(samples))
        for i, (audio, text) in enumerate(zip(AUDIO, PROMPTS, strict=True))
    ]


def test_greedy_equals_transformers_with_left_padding(small_lm: AudioLM, processor: Any) -> None:
    engine = Rollout(small_lm, Sampling(max_new_tokens=24, stop=()))
    found = engine.generate(prompts(small_lm))
    processor.tokenizer.padding_side = "left"
    inputs = processor(
        text=[chat(processor, text) for text in PROMPTS],
        audio=[waveform(a) for a in AUDIO],
        sampling_rate=16_000,
        return_tensors="pt",
        padding=True,
    )
    expected = small_lm.model.generate(
        **inputs,
        max_new_tokens=24,
        do_sample=False,
        suppress_tokens=list(small_lm.banned_ids),
        eos_token_id=list(small_lm.stop_ids),
    )[:, inputs["input_ids"].shape[1] :].tolist()
    assert len({tuple(c.ids) for c in found}) > 1, "the prompts must lead to different texts for this to mean anything"
    for completion, row in zip(found, expected, strict=True):
        assert list(completion.ids) == row[: len(completion.ids)]
        assert completion.ids[-1] in small_lm.stop_ids or len(completion.ids) == 24


@pytest.mark.parametrize("options", [{}, {"top_k": 12}, {"top_p": 0.6}, {"min_p": 0.2}], ids=str)
def test_sampled_equals_transformers_under_shared_random_numbers(
    small_lm: AudioLM, processor: Any, options: dict[str, Any]
) -> None:
    """``generate`` with left padding, whose next token is drawn from its own logits with the engine's numbers."""
    temperature, seed, samples, steps = 0.9, 11, 3, 20
    asked = prompts(small_lm, samples)
    engine = Rollout(small_lm, Sampling(temperature=temperature, max_new_tokens=steps, seed=seed, stop=(), **options))
    found = engine.generate(asked)
    uniforms = _uniforms([(seed, p.id, s) for p in asked for s in p.samples], temperature, steps)
    step = iter(range(steps))

    def draw(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        now, picked = next(step), torch.full_like(scores, float("-inf"))
        for row, logits in enumerate(scores.double() / temperature):
            probs = logits.softmax(-1)
            order = probs.argsort(descending=True, stable=True) if options else torch.arange(len(probs))
            some = probs[order]
            if "top_k" in options:
                some = some * (torch.arange(len(some)) < options["top_k"])
            if "top_p" in options:
                some = some * (some.cumsum(0) - some < options["top_p"])
            if "min_p" in options:
                some = some * (some >= options["min_p"] * some[0])
            reached = some.cumsum(0) > uniforms[row, now] * some.sum()
            picked[row, order[int(reached.int().argmax())]] = 0.0
        return picked

    processor.tokenizer.padding_side = "left"
    inputs = processor(
        text=[chat(processor, text) for text in PROMPTS for _ in range(samples)],
        audio=[waveform(a) for a in AUDIO for _ in range(samples)],
        sampling_rate=16_000,
        return_tensors="pt",
        padding=True,
    )
    expected = small_lm.model.generate(
        **inputs,
        max_new_tokens=steps,
        do_sample=False,
        suppress_tokens=list(small_lm.banned_ids),
        eos_token_id=list(small_lm.stop_ids),
        logits_processor=[draw],
    )[:, inputs["input_ids"].shape[1] :].tolist()
    assert len({c.ids for c in found}) > 10
    for completion, row in zip(found, expected, strict=True):
        assert list(completion.ids) == row[: len(completion.ids)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_sample_does_not_depend_on_its_batch(small_lm: AudioLM, temperature: float) -> None:
    engine = Rollout(small_lm, Sampling(temperature=temperature, max_new_tokens=20, seed=5))
    together = engine.generate(prompts(small_lm, samples=3))
    assert [(c.prompt_id, c.sample) for c in together] == [(f"q{i}", s) for i in range(5) for s in range(3)]
    for prompt in prompts(small_lm, samples=3):
        for sample in range(3):
            (alone,) = engine.generate([RolloutPrompt(prompt.id, prompt.encoded, range(sample, sample + 1))])
            (same,) = [c for c in together if (c.prompt_id, c.sample) == (prompt.id, sample)]
            assert alone.ids == same.ids
            np.testing.assert_allclose(alone.logps, same.logps, atol=1e-3)


def test_samples_requests_and_seeds_differ_and_repeat(small_lm: AudioLM) -> None:
    def texts(seed: int) -> list[tuple[int, ...]]:
        engine = Rollout(small_lm, Sampling(temperature=1.0, max_new_tokens=20, seed=seed))
        encoded = prompts(small_lm)[0].encoded
        return [c.ids for c in engine.generate([RolloutPrompt(name, encoded, range(3)) for name in ("a", "b")])]

    assert texts(1) == texts(1)
    assert len(set(texts(1) + texts(2))) == 12


def test_logps_are_those_of_training(small_lm: AudioLM) -> None:
    engine = Rollout(small_lm, Sampling(temperature=0.8, max_new_tokens=20, seed=5))
    asked = prompts(small_lm, samples=2)
    found = engine.generate(asked)
    rows = [Encoded(asked[i // 2].encoded.clip, asked[i // 2].encoded.prompt, c.ids) for i, c in enumerate(found)]
    trained, _ = completion_logprobs(small_lm, collate(small_lm, rows), 0.8, banned=small_lm.banned_ids)
    for row, completion in enumerate(found):
        np.testing.assert_allclose(trained[row, : len(completion.ids)].detach(), completion.logps, atol=1e-3)


def test_control_tokens_are_never_sampled(processor: Any) -> None:
    lm = make_lm(processor)
    with torch.no_grad():  # every banned token as likely as can be
        lm.model.lm_head.weight[list(lm.banned_ids)] = lm.model.lm_head.weight.abs().sum(0) * 5
    for temperature in (0.0, 1.5):
        engine = Rollout(lm, Sampling(temperature=temperature, max_new_tokens=30))
        for completion in engine.generate(prompts(lm, samples=2)):
            assert not set(completion.ids) & set(lm.banned_ids)


def ending(lm: AudioLM, ids: list[int], **options: Any) -> Completion:
    """What the engine makes of a model that would say exactly ``ids``."""
    engine = Rollout(lm, Sampling(**options))
    script = iter(ids)

    def pick(logits: torch.Tensor, uniforms: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor([next(script)]), torch.zeros(1)

    engine.pick = pick  # type: ignore[method-assign]
    return engine.generate(prompts(lm)[:1])[0]


def test_what_ends_a_response(small_lm: AudioLM) -> None:
    def ids(text: str) -> list[int]:
        return list(small_lm.tokenizer(text, add_special_tokens=False)["input_ids"])

    tagged = ending(small_lm, ids("<answer>one</answer> and more"))
    assert (tagged.text, tagged.finish_reason) == ("<answer>one</answer>", "stop")
    turn = ending(small_lm, ids("one<|im_end|>two"), stop=())
    assert (turn.text, turn.finish_reason) == ("one", "stop")
    assert turn.ids[-1] == small_lm.stop_ids[0]
    spread = ending(small_lm, ids("say: é.!? no"), stop=("é.!",))
    assert (spread.text, spread.finish_reason) == ("say: é.!", "stop")
    cut = ending(small_lm, ids("one two three four"), max_new_tokens=2)
    assert (len(cut.ids), cut.finish_reason) == (2, "length")


def test_invert_cdf_by_hand() -> None:
    probs = torch.tensor([[0.5, 0.0, 0.3, 0.2]])

    def at(u: float, **options: Any) -> int:
        return int(invert_cdf(probs, torch.tensor([u], dtype=torch.float64), **options))

    assert [at(u) for u in (0.0, 0.49, 0.51, 0.79, 0.81, 0.999999)] == [0, 0, 2, 2, 3, 3]
    assert [at(u, top_k=2) for u in (0.0, 0.62, 0.63, 0.99)] == [0, 0, 2, 2]  # 0.5 and 0.3: the border is 0.625
    assert [at(u, top_p=0.5) for u in (0.0, 0.999)] == [0, 0]
    assert [at(u, top_p=0.51) for u in (0.62, 0.63)] == [0, 2]
    assert [at(u, min_p=0.5) for u in (0.62, 0.63, 0.999)] == [0, 2, 2]  # 0.2 is less than half of 0.5
    assert [at(u, min_p=0.7) for u in (0.0, 0.999)] == [0, 0]
    assert at(0.999, min_p=0.3, top_k=2) == 2


def test_sampled_frequencies_are_the_probabilities(small_lm: AudioLM) -> None:
    prompt = prompts(small_lm)[1].encoded
    engine = Rollout(small_lm, Sampling(temperature=0.2, max_new_tokens=1, stop=()))
    found = engine.generate([RolloutPrompt("q", prompt, range(1500))])
    first = np.array([c.ids[0] for c in found])
    token = int(np.bincount(first).argmax())
    probability = float(np.exp(next(c.logps[0] for c in found if c.ids[0] == token)))
    error = (probability * (1 - probability) / len(first)) ** 0.5
    assert 0.02 < probability < 0.98
    assert abs((first == token).mean() - probability) < 4 * error


def test_the_responder_answers_everything_once(small_lm: AudioLM) -> None:
    requests = [Request(f"r{i}", AUDIO[i % 5], PROMPTS[i % 5], samples=1 + i % 3) for i in range(11)]
    sampling = Sampling(temperature=1.0, max_new_tokens=8, seed=2)

    def answers(batch_size: int) -> dict[tuple[str, int], Response]:
        found = list(LocalResponder(small_lm, batch_size).respond(iter(requests), sampling))
        assert len(found) == sum(r.samples for r in requests)
        return {(r.request_id, r.sample): r for r in found}

    assert answers(4) == answers(64)
    assert isinstance(LocalResponder(small_lm), Responder)


def test_the_responders_name_follows_the_weights(small_lm: AudioLM, processor: Any) -> None:
    assert LocalResponder(small_lm).name == LocalResponder(make_lm(processor)).name
    assert LocalResponder(small_lm).name != LocalResponder(make_lm(processor, seed=1)).name
    halved = make_lm(processor)
    halved.model.to(torch.bfloat16)
    assert LocalResponder(halved).name.rpartition("@")[2].endswith("-bfloat16"), "rounded weights answer otherwise"


def test_pack_splits_samples_and_keeps_the_bound(small_lm: AudioLM) -> None:
    batches = list(pack(prompts(small_lm, samples=7), 10))
    assert [sum(len(p.samples) for p in batch) for batch in batches] == [10, 10, 10, 5]
    seen = sorted((p.id, s) for batch in batches for p in batch for s in p.samples)
    assert seen == [(f"q{i}", s) for i in range(5) for s in range(7)]


def test_pack_keeps_within_the_room(small_lm: AudioLM) -> None:
    asked = prompts(small_lm, samples=7)
    longest = max(len(p.encoded) for p in asked)
    room = Room(tokens=2 * longest + 9 * 20, new_tokens=20)
    batches = list(pack(asked, 1000, room))
    assert len(batches) > 3
    for batch in batches:
        used = len(batch) * len(batch[0].encoded) + 20 * sum(len(p.samples) for p in batch)
        assert used <= room.tokens
    seen = sorted((p.id, s) for batch in batches for p in batch for s in p.samples)
    assert seen == [(f"q{i}", s) for i in range(5) for s in range(7)]
    # Where not even one fits, one at a time is what can be tried.
    assert [sum(len(p.samples) for p in batch) for batch in pack(asked, 1000, Room(1, 20))] == [1] * 35
    # What a token takes is what the cache holds for it.
    cache, _, _ = prefill(small_lm, [asked[0].encoded], [0])
    kept = sum(layer.prompt_keys.nbytes + layer.prompt_values.nbytes for layer in cache.layers)
    assert kept == len(asked[0].encoded) * small_lm.cache_bytes


@torch.no_grad()
def test_samples_of_a_prompt_share_its_keys(small_lm: AudioLM) -> None:
    """What is kept of the prompts does not grow with the samples, and what is kept of a sample doubles at most."""
    asked = [p.encoded for p in prompts(small_lm)]
    few, _, _ = prefill(small_lm, asked, [0, 1, 2, 3, 4])
    many, _, lengths = prefill(small_lm, asked, [0, 0, 0, 1, 2, 2, 3, 4, 4, 4, 4])
    for one, other in zip(few.layers, many.layers, strict=True):
        assert torch.equal(one.prompt_keys, other.prompt_keys)
        assert other.keys.shape[2] == 0
    for step in range(40):
        many_rows = torch.zeros(11, small_lm.model.config.text_config.hidden_size)
        small_lm.decoder().step(many_rows, lengths + step, many)
    assert {layer.keys.shape[2] for layer in many.layers} == {64}
    many.take_rows([3, 9])
    assert many.prompt_of_row == [0, 1]
    assert many.lengths_P.tolist() == [len(asked[1]), len(asked[4])]
    assert {len(layer.prompt_keys) for layer in many.layers} == {2}


@torch.no_grad()
def test_the_longest_prompt_may_leave_first(small_lm: AudioLM) -> None:
    asked = sorted((p.encoded for p in prompts(small_lm)), key=len)[-3:]
    alone, together = ([asked[0]], asked)
    states = torch.randn(6, small_lm.model.config.text_config.hidden_size)
    found = []
    for some in (alone, together):
        cache, _, lengths = prefill(small_lm, some, range(len(some)))
        if len(some) > 1:
            small_lm.decoder().step(states[[0, 2, 3]], lengths, cache)
            cache.take_rows([0])
        else:
            small_lm.decoder().step(states[:1], lengths, cache)
        found.append(small_lm.decoder().step(states[1:2], lengths[:1] + 1, cache))
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("setting", ["joined", "modules as they are", "adapters", "bfloat16"])
@torch.no_grad()
def test_decoding_is_the_forward_pass_of_the_whole_row(
    processor: Any, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    lm = make_lm(processor)
    if setting == "modules as they are":
        monkeypatch.setattr(prepacked, "PREPACKED_BYTES", 0)
    if setting == "adapters":
        add_lora(lm, Lora(), seed=0)
        for name, weight in lm.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(1), std=0.3)
    if setting == "bfloat16":
        lm.model.to(torch.bfloat16)
    encoded = [p.encoded for p in prompts(lm)[:2]]
    completion = torch.randint(5, 300, (3, 12), generator=torch.Generator().manual_seed(0))
    owners = [0, 0, 1]
    cache, last_PH, lengths = prefill(lm, encoded, owners)
    decoder, found, hidden = lm.decoder(), [], last_PH[owners]
    for step in range(12):
        found.append(decoder.logits(hidden))
        hidden = decoder.step(lm.embed_tokens(completion[:, step]), lengths + step, cache)
    found_BNV = torch.stack(found, 1).float()
    for row, owner in enumerate(owners):
        ids = torch.tensor([*encoded[owner].prompt, *completion[row].tolist()])
        embeds = place_audio(lm, ids, lm.audio_embeddings([encoded[owner].clip])[0])
        states = lm.backbone(embeds[None], torch.arange(len(ids))[None])[0, len(encoded[owner].prompt) - 1 : -1]
        expected_NV = lm.head(states).float()
        error = ((found_BNV[row] - expected_NV).norm() / expected_NV.norm()).item()
        assert error < (5e-2 if setting == "bfloat16" else 1e-5)
        # One token later is not the same.
        assert ((found_BNV[row].roll(1, 0) - expected_NV).norm() / expected_NV.norm()).item() > 0.1


def test_a_batch_size_below_one_is_refused(small_lm: AudioLM) -> None:
    with pytest.raises(InputError, match="batch_size"):
        LocalResponder(small_lm, batch_size=0)
    with pytest.raises(InputError, match="cache_mib must be 1 or more; found 0"):
        LocalResponder(small_lm, cache_mib=0)


@pytest.mark.parametrize(
    "change",
    [{"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1}, {"temperature": -1.0}, {"max_new_tokens": 0}, {"min_p": 1.5}],
)
def test_sampling_out_of_range_is_refused(small_lm: AudioLM, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="sampling needs"):
        Rollout(small_lm, Sampling(**change))


def test_a_bound_beyond_the_context_costs_nothing(small_lm: AudioLM) -> None:
    """Random numbers are drawn for what fits the context, and are those of a smaller bound."""
    few, many = (
        Rollout(small_lm, Sampling(temperature=1.0, max_new_tokens=n, seed=3)).generate(prompts(small_lm)[:1])[0]
        for n in (8, 10**12)
    )
    assert many.ids[:8] == few.ids
    assert len(many.ids) <= small_lm.context_length


def test_the_name_of_large_weights_depends_on_what_is_in_the_middle(
    small_lm: AudioLM, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responder, "_HASH_WHOLE", 2**20)
    monkeypatch.setattr(small_lm, "path", str(tmp_path))
    content = np.random.default_rng(0).bytes(5 * 2**20 + 7)
    names = []
    for change in (None, None, 2 * 2**20 + 100):
        changed = bytearray(content)
        if change is not None:
            changed[change] ^= 1
        (tmp_path / "model.safetensors").write_bytes(changed)
        names.append(responder.weights_hash(small_lm))
    assert names[0] == names[1] != names[2]


def test_the_name_of_a_hub_model_is_that_of_its_downloaded_files(
    small_lm: AudioLM, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of its weights in memory: of many gigabytes that would take minutes."""
    import huggingface_hub

    (tmp_path / "model.safetensors").write_bytes(b"weights")
    names = {}
    cached = {"owner/there": str(tmp_path / "config.json")}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repo, file: cached.get(repo))
    for path in (str(tmp_path), "owner/there", "owner/absent", None):
        monkeypatch.setattr(small_lm, "path", path)
        names[path] = responder.weights_hash(small_lm)
    assert names[str(tmp_path)] == names["owner/there"] != names["owner/absent"] == names[None]


def test_rows_that_leave_the_batch_change_nothing_for_the_others(
    small_lm: AudioLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers of very different lengths, so that finished rows are dropped more than once."""
    dropped = []
    original = SharedCache.take_rows

    def take(cache: SharedCache, rows: Sequence[int]) -> None:
        dropped.append(len(cache.prompt_of_row) - len(rows))
        original(cache, rows)

    monkeypatch.setattr(SharedCache, "take_rows", take)
    engine = Rollout(small_lm, Sampling(temperature=1.0, max_new_tokens=24, seed=1, stop=("e", "o")))
    together = engine.generate(prompts(small_lm, samples=4))
    assert len(dropped) > 1
    assert all(dropped)
    assert len({len(c.ids) for c in together}) > 4
    for found, (prompt, index) in zip(together, [(p, s) for p in prompts(small_lm) for s in range(4)], strict=True):
        (alone,) = engine.generate([RolloutPrompt(prompt.id, prompt.encoded, range(index, index + 1))])
        assert found.ids == alone.ids
        np.testing.assert_allclose(found.logps, alone.logps, atol=2e-4)


def test_top_k_and_top_p_reach_the_sampler(small_lm: AudioLM) -> None:
    def tokens(**options: Any) -> set[int]:
        engine = Rollout(small_lm, Sampling(temperature=3.0, max_new_tokens=1, stop=(), **options))
        return {c.ids[0] for c in engine.generate([RolloutPrompt("q", prompts(small_lm)[1].encoded, range(200))])}

    everything = tokens()
    assert len(everything) > 20
    assert len(tokens(top_k=3)) == 3
    assert tokens(top_k=3) <= tokens(top_k=5)
    assert len(tokens(top_p=1e-6)) == 1 == len(tokens(top_k=1))
    assert 1 < len(tokens(top_p=0.3)) < len(everything)


def test_a_nucleus_is_the_fewest_tokens_that_reach_the_mass() -> None:
    probs = torch.tensor([[0.4, 0.3, 0.2, 0.1]])
    high = torch.tensor([0.999999], dtype=torch.float64)
    found = [int(invert_cdf(probs, high, top_p=p)) for p in (0.39, 0.41, 0.69, 0.71, 0.89, 0.91)]
    assert found == [0, 1, 1, 2, 2, 3]
    assert [int(invert_cdf(probs, high, top_k=k)) for k in (1, 2, 3, 4)] == [0, 1, 2, 3]


def test_greedy_logps_are_those_at_temperature_one(small_lm: AudioLM) -> None:
    prompt = prompts(small_lm)[0]
    (found,) = Rollout(small_lm, Sampling(max_new_tokens=10, stop=())).generate([prompt])
    row = Encoded(prompt.encoded.clip, prompt.encoded.prompt, found.ids)
    expected, _ = completion_logprobs(small_lm, collate(small_lm, [row]), banned=small_lm.banned_ids)
    np.testing.assert_allclose(found.logps, expected[0].detach().numpy(), atol=2e-4)
