"""Preflight on the model: what it passes, and each planted fault caught by the check that is named after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from model_builders import OMNI, omni_lm, omni_processor
from model_builders_more import flamingo_model, flamingo_processor, voxtral_model, voxtral_processor
from train_helpers import make_clip, make_lm

from sari_data.prompting import render_prompt, render_target
from sari_data.types import AudioQuestion
from sari_train import batch as batching
from sari_train.checks import learning, model, texts
from sari_train.checks.setting import Verdict
from sari_train.config import Grpo, Lora, Sft, Training
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import wrap_model
from sari_train.preflight import CHECKS, Report, examine
from sari_train.rollout import Rollout

MODEL_CHECKS = ("placeholders", "batch", "clips", "sampler", "gradients", "step")


@pytest.fixture
def lm(processor: Any) -> AudioLM:
    """One that a test may spoil."""
    return make_lm(processor)


@pytest.fixture(scope="session")
def even_questions(scene_questions: list[AudioQuestion]) -> list[AudioQuestion]:
    """Questions whose clips are all equally long: audio in the wrong place then raises nothing."""
    return [q.replace(audio=dataclasses.replace(q.audio, duration=0.9)) for q in scene_questions[:6]]


def grpo(corpus: Path | str = "none", **changes: Any) -> Grpo:
    return Grpo(corpus=str(corpus), mode="direct", max_new_tokens=24, **changes)


def sft(corpus: Path | str = "none", **changes: Any) -> Sft:
    return Sft(corpus=str(corpus), mode="direct", max_new_tokens=24, **changes)


def verdict(lm: AudioLM, table: Training, questions: Sequence[AudioQuestion], name: str) -> Verdict:
    return examine(lm, table, questions, only=[name])[name]


def failing(report: Report) -> list[str]:
    return [line.name for line in report.failed]


# -- what passes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [Sft, Grpo])
@pytest.mark.parametrize("mode", ["structured", "direct"])
def test_a_sound_run_passes_every_check(
    small_lm: AudioLM, scene_questions: list[AudioQuestion], small_corpus: Path, table: Any, mode: str
) -> None:
    # As in the corpus, where SFT and GRPO have ids of their own.
    prefix = "rl-" if table is Grpo else ""
    questions = [q.replace(id=prefix + q.id) for q in scene_questions]
    report = examine(small_lm, table(corpus=str(small_corpus), mode=mode), questions)
    levels = {line.name: line.verdict.level for line in report.lines}
    assert list(levels) == [name for name, _, _ in CHECKS]
    expected = dict.fromkeys(levels, "ok") | {"lessons": "warning" if table is Grpo else "skipped"}
    assert levels == expected, report.to_json()
    assert all(line.verdict.measured for line in report.lines)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_passes(processor: Any, scene_questions: list[AudioQuestion], dtype: torch.dtype) -> None:
    lm = make_lm(processor)
    lm.model.to(dtype)
    # A learning rate that is seen beside weights of a few bits.
    report = examine(lm, sft(learning_rate=1e-2), scene_questions, only=MODEL_CHECKS)
    assert [line.verdict.level for line in report.lines] == ["ok"] * len(MODEL_CHECKS), report.to_json()


def test_adapters_checkpointing_and_muon_pass(lm: AudioLM, scene_questions: list[AudioQuestion]) -> None:
    lm.checkpointing = True
    table = grpo(lora=Lora(rank=2), optimizer="muon", freeze_audio=True)
    lm.freeze_audio()
    add_lora(lm, Lora(rank=2), seed=0)
    report = examine(lm, table, scene_questions, only=MODEL_CHECKS)
    assert [line.verdict.level for line in report.lines] == ["ok"] * len(MODEL_CHECKS), report.to_json()


@pytest.mark.parametrize("kind", [*OMNI, "flamingo", "voxtral"])
def test_other_architectures_pass(scene_questions: list[AudioQuestion], kind: str) -> None:
    if kind in OMNI:
        render = (render_prompt, render_target)
        lm = omni_lm(kind, omni_processor(kind, [r(q, "direct") for q in scene_questions for r in render]))
    else:
        make, model = {"flamingo": (flamingo_processor, flamingo_model), "voxtral": (voxtral_processor, voxtral_model)}[
            kind
        ]
        processor = make()
        lm = wrap_model(model(processor), processor, name=kind)
    report = examine(lm, grpo(), scene_questions[:4], only=["prompts", "tokens", "memory", *MODEL_CHECKS])
    levels = {line.name: line.verdict.level for line in report.lines}
    assert levels == dict.fromkeys(levels, "ok"), report.to_json()


def test_audio_in_several_spans_passes(lm: AudioLM, scene_questions: list[AudioQuestion]) -> None:
    lm.long_audio = "split"
    long = [q.replace(audio=make_clip(i, 3.5 + i)) for i, q in enumerate(scene_questions[:2])]
    report = examine(lm, grpo(long_audio="split"), [*scene_questions[2:4], *long])
    assert failing(report) == [], report.to_json()
    assert "2 of 4 clips are longer and are split" in report["audio"].measured


# -- audio ----------------------------------------------------------------------------------------------------------


def test_audio_repeated_in_the_wrong_order(
    lm: AudioLM, even_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``repeat(G)`` beside ``repeat_interleave(G)``: rows p0 p0 p1 p1 p2 p2 get the clips 0 1 2 0 1 2."""

    def interleaved(lm: AudioLM, rows: Any) -> Any:
        batch = batching.collate(lm, rows)
        return dataclasses.replace(
            batch,
            clip_of_row_B=torch.arange(len(batch.clip_of_row_B)) % len(batch.clips),
            prompt_of_row_B=batch.prompt_of_row_B,
        )

    monkeypatch.setattr(model, "collate", interleaved)
    report = examine(lm, grpo(), even_questions, only=MODEL_CHECKS)
    assert "clips" in failing(report)
    assert "its own clip" in report["clips"].expected
    assert "nearest to those with clip" in report["clips"].found
    assert "placeholders" not in failing(report)  # the counts are right: nothing else would have told


def test_audio_in_the_wrong_order_where_lengths_differ(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = batching.audio_vectors

    def reversed_order(lm: AudioLM, batch: Any, rows: torch.Tensor) -> torch.Tensor:
        return original(lm, batch, rows.flip(0))

    monkeypatch.setattr("sari_train.logprobs.audio_vectors", reversed_order)
    assert verdict(lm, grpo(), scene_questions, "clips").level == "fail"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_wrong_clip_is_noticed_in_every_type(
    processor: Any, even_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """In bfloat16 rounding is larger than some tolerance, but the nearest clip is still the one that was heard."""
    lm = make_lm(processor)
    lm.model.to(dtype)
    assert verdict(lm, grpo(), even_questions, "clips").level == "ok"
    original = batching.audio_vectors
    monkeypatch.setattr("sari_train.logprobs.audio_vectors", lambda lm, batch, rows: original(lm, batch, rows.roll(1)))
    assert verdict(lm, grpo(), even_questions, "clips").level == "fail"


def test_a_model_that_does_not_hear(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = type(lm).project
    monkeypatch.setattr(type(lm), "project", lambda self, states: original(self, states) * 0)
    even = [q.replace(audio=make_clip(i, 0.6)) for i, q in enumerate(scene_questions)]
    found = verdict(lm, grpo(), even, "clips")
    assert found.level == "fail"
    assert "no such change for 3 of 3 questions" in found.found


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_wrong_count_of_audio_tokens(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    original = type(lm).extract

    def extract(self: AudioLM, samples: Any) -> Any:
        mel_MF, frames, tokens = original(self, samples)
        return mel_MF, frames, tokens + wrong

    monkeypatch.setattr(type(lm), "extract", extract)
    found = verdict(lm, grpo(), scene_questions, "placeholders")
    assert found.level == "fail"
    assert "made by the tower" in found.found


# -- batches and the sampler ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "leak"), [("float32", 2e-3), ("float16", 0.5), ("bfloat16", 0.5)])
def test_rows_that_see_their_neighbours(
    processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch, dtype: str, leak: float
) -> None:
    """A little of the whole batch's mean in every hidden state: each tolerance is tight enough to notice its leak."""
    lm = make_lm(processor)
    lm.model.to(getattr(torch, dtype))
    assert verdict(lm, grpo(), scene_questions, "batch").level == "ok"
    original = type(lm).packed_backbone

    def leaking(self: AudioLM, embeds: Any, packing: Any, **kwargs: Any) -> Any:
        hidden = original(self, embeds, packing, **kwargs)
        return hidden + leak * hidden.mean(0) * hidden.shape[0] ** 0.5

    monkeypatch.setattr(type(lm), "packed_backbone", leaking)
    found = verdict(lm, grpo(), scene_questions, "batch")
    assert found.level == "fail"
    assert dtype in found.expected


def test_a_sampler_that_differs_from_the_trainer(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Rollout.pick
    monkeypatch.setattr(Rollout, "pick", lambda self, logits, uniforms: original(self, logits * 1.01, uniforms))
    found = verdict(lm, grpo(), scene_questions, "sampler")
    assert found.level == "fail"
    assert "apart at a token" in found.found


# -- gradients and the step -----------------------------------------------------------------------------------------


def test_nothing_trains(lm: AudioLM, scene_questions: list[AudioQuestion]) -> None:
    lm.model.requires_grad_(False)
    report = examine(lm, sft(), scene_questions, only=["gradients", "step"])
    assert [line.verdict.level for line in report.lines] == ["fail", "skipped"]
    assert "0 of" in report["gradients"].measured


def test_a_module_that_the_pass_leaves_out(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = type(lm).audio_embeddings
    detached = lambda self, clips: [vectors.detach() for vectors in original(self, clips)]  # noqa: E731
    monkeypatch.setattr(type(lm), "audio_embeddings", detached)
    found = verdict(lm, sft(), scene_questions, "gradients")
    assert found.level == "fail"
    assert "get no gradient: model.audio_tower" in found.found


@pytest.mark.parametrize("table", [sft(), grpo()])
def test_a_head_that_is_detached(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch, table: Training
) -> None:
    original = type(lm).head_weights.fget
    monkeypatch.setattr(type(lm), "head_weights", property(lambda self: (original(self)[0].detach(), None)))
    found = verdict(lm, table, scene_questions, "gradients")
    assert (found.level, found.found) == ("fail", "1 tensors get no gradient: lm_head.weight")


def test_a_gradient_of_the_wrong_sign(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = learning._loss
    monkeypatch.setattr(learning, "_loss", lambda *given: 2 * original(*given).detach() - original(*given))
    assert verdict(lm, sft(), scene_questions, "step").level == "fail"


def test_a_first_step_that_is_too_large_or_moves_nothing(
    processor: Any, lm: AudioLM, scene_questions: list[AudioQuestion]
) -> None:
    found = verdict(lm, sft(learning_rate=3.0, warmup_steps=0), scene_questions, "step")
    assert (found.level, "it rises by" in found.found) == ("warning", True)
    half = make_lm(processor)
    half.model.to(torch.bfloat16)
    found = verdict(half, sft(learning_rate=1e-9), scene_questions, "step")
    assert (found.level, "move in torch.bfloat16" in found.found) == ("warning", True)


def test_a_large_model_moves_in_part(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "STEP_BYTES", 20_000)
    before = {name: p.detach().clone() for name, p in lm.model.named_parameters()}
    wanted = {name: p.requires_grad for name, p in lm.model.named_parameters()}
    found = verdict(lm, sft(), scene_questions, "step")
    assert found.level == "ok"
    assert "of 50 tensors)" in found.measured
    assert all(torch.equal(p, before[name]) for name, p in lm.model.named_parameters())
    assert {name: p.requires_grad for name, p in lm.model.named_parameters()} == wanted


# -- memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [sft(batch_size=8), grpo()])
def test_memory_that_does_not_suffice(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch, table: Training
) -> None:
    assert verdict(lm, table, scene_questions, "memory").level == "ok"
    monkeypatch.setattr("sari_train.plan_inputs.find_memory", lambda place, given: (0, "free"))
    found = verdict(lm, table, scene_questions, "memory")
    assert found.level == "fail"
    assert "micro_batch" in found.remedy


def test_more_rows_take_more_memory(lm: AudioLM, scene_questions: list[AudioQuestion]) -> None:
    def most(table: Training) -> float:
        return float(verdict(lm, table, scene_questions, "memory").measured.split()[1])

    assert most(sft(batch_size=512, micro_batch=512)) > most(sft(batch_size=512, micro_batch=4)) + 0.01


# -- prompts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [slice(None, -1), slice(None, -20), slice(1, None), slice(0, 60)])
def test_a_prompt_that_is_cut(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch, cut: slice
) -> None:
    def encode(lm: AudioLM, example: batching.Example) -> batching.Encoded:
        row = batching.encode_example(lm, example)
        return dataclasses.replace(row, prompt=row.prompt[cut])

    assert verdict(lm, grpo(), scene_questions, "prompts").level == "ok"
    monkeypatch.setattr(texts, "encode_example", encode)
    found = verdict(lm, grpo(), scene_questions, "prompts")
    assert (found.level, found.expected) == ("fail", "the whole chat")


def test_a_target_that_is_cut(
    lm: AudioLM, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(lm: AudioLM, example: batching.Example) -> batching.Encoded:
        row = batching.encode_example(lm, example)
        return dataclasses.replace(row, completion=row.completion[:2])

    monkeypatch.setattr(texts, "encode_example", encode)
    assert "the target is not whole" in verdict(lm, sft(), scene_questions, "prompts").found
    assert "the last token is" in verdict(lm, sft(), scene_questions, "tokens").found


def test_a_context_that_is_too_short(lm: AudioLM, scene_questions: list[AudioQuestion]) -> None:
    lm.context_length = 120
    report = examine(lm, sft(), scene_questions)
    assert failing(report) == ["prompts"]
    assert "context of 120" in report["prompts"].found
    assert report["batch"].level == "skipped"
    lm.context_length = 170
    assert "tokens" in verdict(lm, grpo(), scene_questions, "prompts").found  # room for the prompt, not for an answer
