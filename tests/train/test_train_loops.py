"""Whole runs on a model of a few thousand weights: they learn, they resume, and micro-batches change nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_helpers import make_lm, sampled, set_reward

from sari_data.answers import grade
from sari_data.errors import CheckpointError, InputError, SariError
from sari_data.prompting import render_prompt, render_target
from sari_data.responder import Sampling
from sari_data.store import read_split
from sari_data.types import AudioQuestion
from sari_train import policy, sft
from sari_train.batch import Example, encode_example
from sari_train.config import Grpo, Lora, Sft
from sari_train.evaluate import evaluate
from sari_train.grpo import train_grpo
from sari_train.lora import merge
from sari_train.models.load import load_model
from sari_train.optim import learning_rate, make_optimizer
from sari_train.policy import learn
from sari_train.progress import read_metrics
from sari_train.reference import Reference
from sari_train.rewards import Sample
from sari_train.rollout import Rollout, RolloutPrompt
from sari_train.sft import accumulate, train_sft


@pytest.fixture
def sft_table(small_folder: Path, small_corpus: Path, tmp_path: Path) -> Sft:
    return Sft(
        model=str(small_folder), corpus=str(small_corpus), out=str(tmp_path / "sft"), mode="direct", steps=6,
        batch_size=4, save_every=3, warmup_steps=2, learning_rate=3e-3,
    )  # fmt: skip


@pytest.fixture
def grpo_table(small_folder: Path, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grpo:
    # An untrained model is never right; a reward that it can earn makes there be something to learn.
    set_reward(monkeypatch, "accuracy", lambda sample: min(1.0, sample.text.count("e") / 20))
    return Grpo(
        model=str(small_folder), corpus=str(small_corpus), out=str(tmp_path / "grpo"), mode="direct", steps=4,
        prompts_per_step=3, group_size=4, save_every=2, warmup_steps=0, max_new_tokens=10, curriculum="random",
        preflight=False, on_trouble="go_on",  # a reward that wrong answers earn too is what preflight refuses
    )  # fmt: skip


def weights(folder: str | Path, name: str = "model.safetensors") -> dict[str, torch.Tensor]:
    return load_file(Path(folder) / name)


def assert_same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def stop_after(monkeypatch: pytest.MonkeyPatch, module: Any, steps: int) -> None:
    """Press Ctrl-C during the step with this number."""
    original, taken = module.take_step, []

    def take_step(*args: Any) -> Any:
        taken.append(1)
        if len(taken) == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*args)

    monkeypatch.setattr(module, "take_step", take_step)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_sft_resumed_equals_never_stopped(sft_table: Sft, monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    sft_table = sft_table.model_copy(update={"optimizer": optimizer})
    whole = train_sft(sft_table)
    broken = sft_table.model_copy(update={"out": sft_table.out + "-2"})
    with monkeypatch.context() as patch:
        stop_after(patch, sft, 4)
        stopped = train_sft(broken)
    assert stopped.stopped
    assert stopped.step == 4
    assert not all(
        torch.equal(a, b) for a, b in zip(weights(broken.out).values(), weights(whole.out).values(), strict=True)
    )
    assert train_sft(broken).step == 6
    assert_same_weights(weights(whole.out), weights(broken.out))
    keys = ("step", "loss", "grad_norm", "learning_rate")
    logged = [[{k: row[k] for k in keys} for row in read_metrics(t.out)] for t in (sft_table, broken)]
    assert logged[0] == logged[1]
    assert [row["step"] for row in logged[0]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_grpo_resumed_equals_never_stopped(
    grpo_table: Grpo, monkeypatch: pytest.MonkeyPatch, lora: Lora | None
) -> None:
    table = grpo_table.model_copy(update={"lora": lora, "beta": 0.05, "updates_per_rollout": 2})
    whole = train_grpo(table)
    broken = table.model_copy(update={"out": table.out + "-2"})
    with monkeypatch.context() as patch:
        stop_after(patch, policy, 5)  # in the third step, at two updates a step
        assert train_grpo(broken).step == 3
    assert train_grpo(broken).step == 4
    file = "model.safetensors" if lora is None else "adapter_model.safetensors"
    assert_same_weights(weights(whole.out, file), weights(broken.out, file))
    assert any(row["loss"] != 0 for row in read_metrics(whole.out)), "nothing was learnt, so nothing was compared"


def test_a_killed_run_goes_on_from_its_last_checkpoint(sft_table: Sft, monkeypatch: pytest.MonkeyPatch) -> None:
    original, taken = sft.take_step, []

    def crash(*args: Any) -> Any:
        taken.append(1)
        if len(taken) == 5:
            raise MemoryError("killed")
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(sft, "take_step", crash)
        with pytest.raises(MemoryError):
            train_sft(sft_table)
    assert [row["step"] for row in read_metrics(sft_table.out)] == [1, 2, 3, 4]
    train_sft(sft_table)
    assert [row["step"] for row in read_metrics(sft_table.out)] == [1, 2, 3, 4, 5, 6]
    fresh = sft_table.model_copy(update={"out": sft_table.out + "-2"})
    train_sft(fresh)
    assert_same_weights(weights(sft_table.out), weights(fresh.out))


def test_another_recipe_needs_overwrite(sft_table: Sft) -> None:
    train_sft(sft_table)
    with pytest.raises(CheckpointError, match="--overwrite"):
        train_sft(sft_table.model_copy(update={"learning_rate": 1e-4}))
    before = weights(sft_table.out)
    assert train_sft(sft_table.model_copy(update={"save_every": 1})).step == 6  # does not change the result
    assert_same_weights(before, weights(sft_table.out))
    assert train_sft(sft_table.model_copy(update={"steps": 2}), overwrite=True).step == 2
    assert len(read_metrics(sft_table.out)) == 2


def test_a_folder_of_somebody_else_is_left_alone(sft_table: Sft) -> None:
    out = Path(sft_table.out)
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="left alone"):
        train_sft(sft_table, overwrite=True)
    (out / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="without training state"):
        train_sft(sft_table)
    assert (out / "thesis.tex").read_text() == "years of work"


def test_sft_learns_a_few_examples_by_heart(sft_table: Sft) -> None:
    table = sft_table.model_copy(update={"chains": 2, "steps": 60, "save_every": 60, "learning_rate": 1e-2})
    train_sft(table)
    losses = [row["loss"] for row in read_metrics(table.out)]
    assert losses[-1] < 0.05 < 2 < losses[0]
    lm = load_model(table.out)
    questions = read_split(table.corpus, "sft")[:2]
    assert evaluate(lm, questions, mode="direct", max_new_tokens=40) == {"eval_accuracy": 1.0}
    untrained = load_model(table.model)
    assert evaluate(untrained, questions, mode="direct", max_new_tokens=40) == {"eval_accuracy": 0.0}
    for question in questions:
        encoded = encode_example(lm, Example(question.audio, render_prompt(question, "direct")))
        (found,) = Rollout(lm, Sampling(max_new_tokens=40)).generate([RolloutPrompt("q", encoded)])
        assert found.text == render_target(question, "direct")
        assert grade(found.text, question).correct


def test_plain_transformers_opens_a_checkpoint(sft_table: Sft) -> None:
    from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

    train_sft(sft_table)
    model, info = Qwen2AudioForConditionalGeneration.from_pretrained(sft_table.out, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.dtype == torch.float32
    assert AutoProcessor.from_pretrained(sft_table.out).feature_extractor.sampling_rate == 16_000
    assert json.loads((Path(sft_table.out) / "recipe.json").read_text())["sft"]["steps"] == 6
    assert (Path(sft_table.out) / "curves.png").read_bytes().startswith(b"\x89PNG")


def gradients(lm: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in lm.model.named_parameters() if p.grad is not None}


def test_sft_accumulation_changes_nothing(sft_table: Sft, processor: Any, scene_questions: list[AudioQuestion]) -> None:
    found = []
    for micro_batch in (8, 1):
        lm = make_lm(processor)
        rows = [
            encode_example(lm, Example(q.audio, render_prompt(q, "direct"), render_target(q, m)))
            for q, m in zip(scene_questions[:8], ["direct", "structured"] * 4, strict=True)
        ]
        metrics = accumulate(lm, rows, sft_table.model_copy(update={"micro_batch": micro_batch}))
        found.append((metrics["loss"], gradients(lm)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert_close_gradients(found[0][1], found[1][1])


def assert_close_gradients(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=2e-5, rtol=2e-3)


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo", "gspo", "cispo"])
def test_grpo_accumulation_changes_nothing(
    grpo_table: Grpo, processor: Any, scene_questions: list[AudioQuestion], loss: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    found = []
    for micro_batch in (12, 1):
        table = grpo_table.model_copy(update={"micro_batch": micro_batch, "loss": loss})
        lm = make_lm(processor)
        experience, _ = sampled(lm, scene_questions[:3], table)
        assert any(e.advantage for e in experience)
        kept: dict[str, torch.Tensor] = {}

        def keep(lm: Any, *args: Any, kept: dict[str, torch.Tensor] = kept) -> dict[str, float]:
            kept.update(gradients(lm))
            return {}

        monkeypatch.setattr(policy, "take_step", keep)
        metrics = learn(lm, make_optimizer(lm, table), experience, None, 0, table)
        found.append((metrics, kept))
    assert_close_gradients(found[0][1], found[1][1])
    for name in found[0][0]:
        assert found[0][0][name] == pytest.approx(found[1][0][name], abs=1e-4)


def test_rows_without_advantage_may_be_left_out(
    grpo_table: Grpo, processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A KL weight so small that it adds nothing keeps all rows: the gradients are the same."""
    set_reward(monkeypatch, "accuracy", lambda s: float(s.question.id != scene_questions[0].id and "e" in s.text))
    found = []
    for beta in (0.0, 1e-12):
        table = grpo_table.model_copy(update={"beta": beta})
        lm = make_lm(processor)
        experience, _ = sampled(lm, scene_questions[:3], table)
        assert not any(e.advantage for e in experience[:4])
        kept: dict[str, torch.Tensor] = {}
        monkeypatch.setattr(policy, "take_step", lambda lm, *args, kept=kept: kept.update(gradients(lm)) or {})
        learn(lm, make_optimizer(lm, table), experience, Reference(lm, table) if beta else None, 0, table)
        found.append(kept)
    assert_close_gradients(found[0], found[1])


def test_grpo_raises_the_reward(grpo_table: Grpo, monkeypatch: pytest.MonkeyPatch) -> None:
    set_reward(monkeypatch, "accuracy", lambda sample: min(1.0, sample.text.count("e") / 20))
    train_grpo(grpo_table.model_copy(update={"steps": 25, "learning_rate": 1e-2, "save_every": 25}))
    rewards = [row["reward"] for row in read_metrics(grpo_table.out)]
    assert sum(rewards[-5:]) > 1.5 * sum(rewards[:5])
    assert all(row["sampler_gap"] < 1e-3 for row in read_metrics(grpo_table.out))


def test_a_reward_that_fails_stops_the_run(grpo_table: Grpo, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(sample: Sample) -> float:
        raise KeyError("gold")

    set_reward(monkeypatch, "accuracy", broken)
    with pytest.raises(InputError, match="failed with KeyError: 'gold' on question"):
        train_grpo(grpo_table)
    assert not (Path(grpo_table.out) / "model.safetensors").exists()


def test_lora_merged_equals_unmerged(sft_table: Sft, tmp_path: Path) -> None:
    table = sft_table.model_copy(update={"lora": Lora(rank=4)})
    train_sft(table)
    assert not (Path(table.out) / "model.safetensors").exists()
    merge(table.out, tmp_path / "merged")
    merged, on_the_fly, base = (load_model(str(p)) for p in (tmp_path / "merged", table.out, table.model))
    assert_same_weights(dict(merged.model.state_dict()), dict(on_the_fly.model.state_dict()))
    changed = {
        name for name, p in merged.model.state_dict().items() if not torch.equal(p, base.model.state_dict()[name])
    }
    assert changed
    assert all("language_model" in name and "_proj" in name for name in changed)
    with pytest.raises(CheckpointError, match="exists"):
        merge(table.out, tmp_path / "merged")
    with pytest.raises(CheckpointError, match="adapter_config"):
        merge(table.model, tmp_path / "other")


def test_a_frozen_tower_stays_and_its_states_are_kept(sft_table: Sft) -> None:
    train_sft(sft_table.model_copy(update={"freeze_audio": True}))
    before, after = weights(sft_table.model), weights(sft_table.out)
    for name in before:
        assert torch.equal(before[name], after[name]) == ("audio_tower" in name), name


def test_learning_rate_rises_and_falls() -> None:
    table = Sft(steps=110, warmup_steps=10, learning_rate=1.0)
    assert [learning_rate(table, s) for s in (0, 9, 10)] == pytest.approx([0.1, 1.0, 1.0])
    assert learning_rate(table, 60) == pytest.approx(0.55)
    assert learning_rate(table, 110) == pytest.approx(0.1)
    assert learning_rate(table.model_copy(update={"schedule": "constant"}), 100) == 1.0


def test_a_full_disk_leaves_the_last_checkpoint(sft_table: Sft, monkeypatch: pytest.MonkeyPatch) -> None:
    train_sft(sft_table.model_copy(update={"steps": 6}))
    before = weights(sft_table.out)
    table = sft_table.model_copy(update={"steps": 2, "learning_rate": 1e-4, "out": sft_table.out})

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sari_train.state_io.save_file", full)
    from sari_train.checkpoint import save_run

    lm = load_model(table.out)
    with pytest.raises(SariError, match="No space left"):
        save_run(lm, make_optimizer(lm, table), table.out, step=1, fingerprint="x")
    assert_same_weights(before, weights(sft_table.out))
    assert sorted(p.name for p in Path(sft_table.out).parent.iterdir()) == ["sft"]


def test_a_step_without_a_lesson_measures_nothing_and_changes_nothing(
    grpo_table: Grpo, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_reward(monkeypatch, "accuracy", lambda sample: 1.0)
    train_grpo(grpo_table.model_copy(update={"rewards": {"accuracy": 1.0}}))
    for row in read_metrics(grpo_table.out):
        assert (row["flat_groups"], row["loss"]) == (1, 0)
        assert not {"entropy", "kl", "grad_norm", "sampler_gap"} & row.keys()
    assert_same_weights(weights(grpo_table.model), weights(grpo_table.out))
