"""Short runs of everything that a recipe can name: each loss, each curriculum, and what a run does in trouble."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_helpers import make_lm, sampled, set_reward

from sari_data.errors import InputError
from sari_data.types import AudioQuestion
from sari_train import policy, sft
from sari_train.batch import Example, collate, encode_example
from sari_train.config import Grpo, Lora, Sft
from sari_train.evaluate import evaluate_loss, with_chains
from sari_train.grpo import train_grpo
from sari_train.logprobs import completion_loss
from sari_train.optim import make_optimizer
from sari_train.policy import learn
from sari_train.progress import read_metrics
from sari_train.reference import Reference
from sari_train.run_files import read_lines
from sari_train.sft import train_sft


@pytest.fixture
def table(small_folder: Path, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grpo:
    # An untrained model is never right; a reward that it can earn makes there be something to learn.
    set_reward(monkeypatch, "accuracy", lambda sample: min(1.0, sample.text.count("e") / 20))
    return Grpo(
        model=str(small_folder), corpus=str(small_corpus), out=str(tmp_path / "out"), mode="direct", steps=3,
        prompts_per_step=3, group_size=4, save_every=3, warmup_steps=0, max_new_tokens=10, learning_rate=1e-2,
        preflight=False, on_trouble="go_on",
    )  # fmt: skip


LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "gspo", "cispo")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_runs_and_learns(table: Grpo, loss: str) -> None:
    outcome = train_grpo(table.model_copy(update={"loss": loss, "updates_per_rollout": 2, "beta": 0.01}))
    rows = read_metrics(outcome.out)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(row["grad_norm"] > 0 and row["kl"] >= 0 for row in rows)
    before, after = load_file(Path(table.model) / "model.safetensors"), load_file(outcome.out / "model.safetensors")
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("curriculum", ["easy_to_hard", "hard_to_easy", "random", "staged", "adaptive"])
def test_every_curriculum_runs_in_its_order(table: Grpo, curriculum: str) -> None:
    train_grpo(table.model_copy(update={"curriculum": curriculum}))
    rates = [row["pass_rate"] for row in read_metrics(table.out)]
    assert len(rates) == 3
    if curriculum in ("easy_to_hard", "staged"):
        assert rates[0] > rates[2]
    if curriculum == "hard_to_easy":
        assert rates[0] < rates[2]


def test_what_a_step_tells(table: Grpo) -> None:
    train_grpo(table.model_copy(update={"log_completions": 3, "dynamic_sampling": 1, "mask_truncated": True}))
    row = read_metrics(table.out)[-1]
    assert {"reward", "reward_std", "reward_accuracy", "reward_std/accuracy", "reward_format", "length", "truncated",
            "flat_groups", "resampled", "pass_rate", "pass_rate/sound"} <= row.keys()  # fmt: skip
    assert "thought_words" not in row  # mode direct has no thought
    assert not [name for name in row if "second" in name or "memory" in name]
    timing = list(read_lines(Path(table.out) / "timings.jsonl"))[-1]
    assert {"step_seconds", "seconds/rollout", "tokens_per_second", "memory_mib"} <= timing.keys()
    kept = list(read_lines(Path(table.out) / "completions" / "step-000003.jsonl"))
    assert [len(group["samples"]) for group in kept] == [4, 4, 4]
    assert all((Path(table.out) / "completions" / "audio" / Path(group["audio"]).name).is_file() for group in kept)


def test_a_mode_with_a_thought_tells_its_words(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion]
) -> None:
    from sari_data.prompting import render_target
    from sari_data.responder import Sampling
    from sari_train.rollouts.engine import LocalEngine

    lm = make_lm(processor)
    engine = LocalEngine(lm, Sampling(max_new_tokens=4))
    question = scene_questions[0]
    text = render_target(question, "structured")
    original = engine.sample
    engine.sample = lambda *given, **options: [  # type: ignore[method-assign]
        replace(done, text=text if done.sample % 2 else "<answer>x</answer>") for done in original(*given, **options)
    ]
    asked = table.model_copy(update={"mode": "structured", "rewards": {"format": 1.0}})
    metrics = sampled(lm, [question], asked, engine=engine)[1]
    thought = re.sub(r"<[^>]*>", " ", text.partition("<answer>")[0])
    assert metrics["thought_words"] == pytest.approx(len(thought.split()) / 2)
    assert metrics["thought_words"] > 5


@pytest.mark.parametrize("kl_in", ["loss", "reward"])
def test_time_is_told_of_the_reference_where_there_is_one(table: Grpo, kl_in: str) -> None:
    for beta in (0.0, 0.1):
        asked = table.model_copy(update={"steps": 1, "beta": beta, "kl_in": kl_in, "out": f"{table.out}-{beta}"})
        train_grpo(asked)
        (timing,) = read_lines(Path(asked.out) / "timings.jsonl")
        assert ("seconds/reference" in timing) == (beta > 0)


def test_a_loss_that_is_not_finite_leaves_the_weights_and_says_so(
    small_folder: Path, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = sft.completion_loss, []

    def broken(*given: Any) -> torch.Tensor:
        calls.append(1)
        return original(*given) * (float("nan") if len(calls) == 2 else 1.0)

    monkeypatch.setattr(sft, "completion_loss", broken)
    monkeypatch.setattr(sft, "workers", lambda lm: 1)
    table = Sft(
        model=str(small_folder), corpus=str(small_corpus), out=str(tmp_path / "out"), mode="direct", steps=4,
        batch_size=2, micro_batch=2, save_every=1, keep=9, preflight=False,
    )  # fmt: skip
    outcome = train_sft(table)
    assert (outcome.step, outcome.stopped) == (2, False)
    assert outcome.trouble is not None
    assert "nan" in outcome.trouble
    first, second = (load_file(outcome.out / f"checkpoints/step-0000000{n}/model.safetensors") for n in (1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    told = list(read_lines(outcome.out / "troubles.jsonl"))
    assert {row["step"] for row in told} == {2}
    row = json.loads((outcome.out / "metrics.jsonl").read_text().splitlines()[1])
    assert (row["loss"], row["skipped_update"]) == (None, 1.0)
    for manifest in ("manifest.json", "checkpoints/step-00000002/manifest.json"):
        body = json.loads((outcome.out / manifest).read_text(), parse_constant=pytest.fail)  # NaN is no JSON
        assert body["metrics"]["skipped_update"] == 1.0
    # The same command says so again: what was told once would else never stop it. Nor does it lose the step before.
    again = train_sft(table.model_copy(update={"keep": 1}))
    assert (again.step, again.trouble) == (2, outcome.trouble)
    assert (outcome.out / "checkpoints/step-00000001/manifest.json").is_file()
    # The same command with the other setting goes on; this setting is no other run.
    assert train_sft(table.model_copy(update={"on_trouble": "go_on"})).step == 4


@pytest.mark.parametrize(
    ("at", "kept"), [(3, ["step-00000002", "step-00000003"]), (4, ["step-00000003", "step-00000004"])]
)
def test_trouble_leaves_the_checkpoint_before_and_ends_no_run_that_is_at_its_end(
    small_folder: Path, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, kept: list[str]
) -> None:
    original, calls = sft.take_step, []

    def broken(*given: Any) -> dict[str, float]:
        calls.append(1)
        return original(*given) | ({"grad_norm": float("inf")} if len(calls) == at else {})

    monkeypatch.setattr(sft, "take_step", broken)
    table = Sft(
        model=str(small_folder), corpus=str(small_corpus), out=str(tmp_path / "out"), mode="direct", steps=4,
        batch_size=2, save_every=1, preflight=False,
    )  # fmt: skip
    outcome = train_sft(table)
    assert (outcome.step, outcome.stopped, outcome.trouble is None) == (at, False, at == 4)
    assert [row["step"] for row in read_lines(outcome.out / "troubles.jsonl")] == [at]
    assert sorted(path.name for path in (outcome.out / "checkpoints").glob("step-*")) == kept
    assert train_sft(table.model_copy(update={"on_trouble": "go_on"})).step == 4
    assert [path.name for path in (outcome.out / "checkpoints").glob("step-*")] == ["step-00000004"]


def test_trouble_that_is_only_told_lets_the_run_go_on(table: Grpo, monkeypatch: pytest.MonkeyPatch) -> None:
    set_reward(monkeypatch, "accuracy", lambda sample: 0.0)
    quiet = table.model_copy(update={"steps": 20, "save_every": 20, "prompts_per_step": 3, "group_size": 4})
    assert train_grpo(quiet).step == 20
    assert {p.name for p in Path(table.out).glob("checkpoints/step-*")} == {"step-00000020"}
    stopped = train_grpo(quiet.model_copy(update={"out": table.out + "-2", "on_trouble": "stop"}))
    assert stopped.step < 20
    assert stopped.trouble is not None
    told = list(read_lines(Path(table.out) / "troubles.jsonl"))
    assert told
    assert stopped.step == told[0]["step"]


@pytest.mark.parametrize(("kind", "reward", "low"), [("reward_always_zero", 0.0, 0), ("reward_always_full", 1.0, 0)])
def test_rewards_that_collapse_are_named(
    table: Grpo, monkeypatch: pytest.MonkeyPatch, kind: str, reward: float, low: int
) -> None:
    set_reward(monkeypatch, "accuracy", lambda sample: reward)
    change = {"steps": 20, "rewards": {"accuracy": 1.0}, "on_trouble": "go_on", "keep": 9, "save_every": 50}
    train_grpo(table.model_copy(update=change))
    told = [row for row in read_lines(Path(table.out) / "troubles.jsonl") if row["kind"] == kind]
    assert len(told) == 1
    # What it went on from is kept: the step of the trouble was saved.
    assert (Path(table.out) / f"checkpoints/step-{told[0]['step']:08d}").is_dir()


def test_scale_beta_compares_each_reward_by_itself(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sari_train.advantages import group_advantages

    set_reward(monkeypatch, "accuracy", lambda sample: float("e" in sample.text))
    set_reward(monkeypatch, "format", lambda sample: float(len(sample.text) > 25))
    asked = table.model_copy(update={"scale": "beta", "group_size": 8})
    lm = make_lm(processor)
    rows, _ = sampled(lm, scene_questions[:4], asked)
    texts = [e.completion.text for e in rows]
    expected = torch.zeros(4, 8, dtype=torch.float64)
    for weight, reward in ((2.0, ["e" in t for t in texts]), (1.0, [len(t) > 25 for t in texts])):
        expected += weight * group_advantages(torch.tensor(reward).double().view(4, 8), scale="beta")[0]
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(torch.tensor([e.advantage for e in rows]).double().view(4, 8), expected)
    with pytest.raises(ValueError, match="kl_in"):
        Grpo(scale="beta", beta=0.1, kl_in="reward")


def test_nothing_is_held_or_run_that_nobody_reads(table: Grpo, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reference where beta is 0, and one pass a micro-batch where there is one update."""
    from sari_train import reference

    loads, passes = [], []
    for module, name, seen in ((reference, "load_model", loads), (policy, "completion_hidden", passes)):
        original = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *given, o=original, seen=seen, **options: seen.append(1) or o(*given, **options)
        )
    monkeypatch.setattr(policy, "workers", lambda lm: 1)
    train_grpo(table.model_copy(update={"micro_batch": 64}))
    assert (len(loads), len(passes)) == (0, 3)
    train_grpo(table.model_copy(update={"out": table.out + "-2", "micro_batch": 64, "updates_per_rollout": 2}))
    assert (len(loads), len(passes)) == (0, 3 + 6)
    train_grpo(table.model_copy(update={"out": table.out + "-3", "micro_batch": 64, "beta": 0.1}))
    assert len(loads) == 1


def test_a_run_evaluates_for_real(small_folder: Path, scene_questions: list[AudioQuestion], tmp_path: Path) -> None:
    from sari_data.store import write_corpus
    from sari_train.evaluate import evaluate
    from sari_train.models.load import load_model

    splits = {"sft": scene_questions[:6], "rl": [], "dev": scene_questions[6:9]}
    write_corpus(tmp_path / "corpus", splits, {}, card="x")
    table = Sft(
        model=str(small_folder), corpus=str(tmp_path / "corpus"), out=str(tmp_path / "out"), mode="direct", steps=2,
        batch_size=2, eval_every=2, max_new_tokens=12, preflight=False,
    )  # fmt: skip
    train_sft(table)
    row = read_metrics(table.out)[-1]
    lm = load_model(table.out)
    assert row["eval_accuracy"] == evaluate(lm, scene_questions[6:9], mode="direct", max_new_tokens=12)["eval_accuracy"]
    assert row["eval_loss"] == pytest.approx(evaluate_loss(lm, scene_questions[6:9], table)["eval_loss"], rel=1e-5)


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32_weights(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for precision in ("no", "bf16"):
        asked = table.model_copy(update={"mixed_precision": precision, "beta": 0.1})
        lm = make_lm(processor)
        experience, _ = sampled(lm, scene_questions[:3], asked)
        grads: dict[str, torch.Tensor] = {}

        def keep(lm: Any, *given: Any, grads: dict[str, torch.Tensor] = grads) -> dict[str, float]:
            grads.update({n: p.grad.clone() for n, p in lm.model.named_parameters() if p.grad is not None})
            return {}

        monkeypatch.setattr(policy, "take_step", keep)
        metrics = learn(lm, make_optimizer(lm, asked), experience, Reference(lm, asked), 0, asked)
        assert {p.dtype for p in lm.model.parameters()} == {g.dtype for g in grads.values()} == {torch.float32}
        found[precision] = (torch.cat([g.flatten() for g in grads.values()]), metrics)
    exact, rounded = found["no"][0], found["bf16"][0]
    error = ((exact - rounded).norm() / exact.norm()).item()
    # Rounded to eight bits somewhere on the way, and not by more.
    assert 1e-4 < error < 0.1
    assert found["bf16"][1]["sampler_gap"] > 10 * found["no"][1]["sampler_gap"]
    assert found["bf16"][1]["kl"] < 1e-3  # the reference is rounded alike


def test_the_dev_loss_is_the_mean_over_tokens(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion], capsys: pytest.CaptureFixture[str]
) -> None:
    from sari_data.prompting import render_prompt, render_target

    lm = make_lm(processor)
    asked = Sft(mode="structured", micro_batch=2)
    rows = [
        encode_example(lm, Example(q.audio, render_prompt(q, "structured"), render_target(q, "structured")))
        for q in scene_questions[:5]
    ]
    with torch.no_grad():
        losses = [completion_loss(lm, collate(lm, [row])).item() for row in rows]
    expected = sum(losses) / sum(len(row.completion) for row in rows)
    assert evaluate_loss(lm, scene_questions[:5], asked)["eval_loss"] == pytest.approx(expected, rel=2e-6)
    means = sum(loss / len(row.completion) for loss, row in zip(losses, rows, strict=True)) / 5
    assert abs(means - expected) > 2e-5 * expected  # a mean of means would show
    bare = [q.replace(reasoning=None) for q in scene_questions[:2]]
    assert with_chains([*scene_questions[:3], *bare], "structured") == scene_questions[:3]
    assert "3 of 5 dev questions" in " ".join(capsys.readouterr().err.split())
    assert evaluate_loss(lm, [], asked) == {}


def test_an_optimizer_in_8_bits_needs_its_package(table: Grpo, processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes.optim", None)
    with pytest.raises(InputError, match="needs bitsandbytes"):
        make_optimizer(make_lm(processor), table.model_copy(update={"optimizer": "adamw_8bit"}))


def test_the_best_checkpoint_by_dev_accuracy_is_kept(
    small_folder: Path, scene_questions: list[AudioQuestion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sari_data.store import write_corpus
    from sari_train import run

    write_corpus(tmp_path / "corpus", {"sft": scene_questions[:6], "rl": [], "dev": scene_questions[6:9]}, {}, card="x")
    accuracies = iter([0.2, 0.9, 0.5, 0.9])
    monkeypatch.setattr(run, "evaluate", lambda *given, **options: {"eval_accuracy": next(accuracies)})
    table = Sft(
        model=str(small_folder), corpus=str(tmp_path / "corpus"), out=str(tmp_path / "out"), mode="direct", steps=4,
        batch_size=2, save_every=100, eval_every=1, preflight=False,
    )  # fmt: skip
    train_sft(table)
    kept = sorted(path.name for path in (tmp_path / "out/checkpoints").glob("step-*"))
    assert kept == ["step-00000002", "step-00000004"]
    assert json.loads((tmp_path / "out/best.json").read_text())["step"] == 2


def test_an_evaluation_keeps_to_the_recipes_memory_and_reads_no_weights_for_a_name(
    table: Grpo, scene_questions: list[AudioQuestion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sari_data.store import write_corpus
    from sari_train import responder

    corpus = tmp_path / "with-dev"
    write_corpus(corpus, {"sft": [], "rl": scene_questions[:6], "dev": scene_questions[6:9]}, {}, card="x")
    original, rooms, hashed = responder.Room.of, [], []
    monkeypatch.setattr(responder, "weights_hash", lambda lm: hashed.append(lm) or "00000000")
    monkeypatch.setattr(
        responder.Room, "of", lambda lm, mib, new_tokens: rooms.append(mib) or original(lm, mib, new_tokens)
    )
    asked = {"corpus": str(corpus), "eval_every": 1, "steps": 1, "cache_mib": 64, "curriculum": "random"}
    train_grpo(table.model_copy(update=asked))
    assert set(rooms) == {64 // torch.get_num_threads()}
    assert len(rooms) >= 2
    assert hashed == []


def test_the_reference_off_the_device_gives_the_same_numbers(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = make_lm(processor)
    rows = sampled(lm, scene_questions[:2], table)[0]
    batch = collate(lm, [e.row for e in rows])
    plain, off = (Reference(lm, table.model_copy(update={"reference_offload": away})) for away in (False, True))
    with off.ready():
        assert torch.equal(plain.logprobs(batch), off.logprobs(batch))
    # On another device it goes there for the moment, and comes back; what it has heard is forgotten.
    moves: list[str] = []
    assert off._copy is not None
    monkeypatch.setattr(off._copy.model, "to", lambda place: moves.append(str(place)))
    off._device = torch.device("cuda")
    with off.ready():
        assert moves == ["cuda"]
    assert moves == ["cuda", "cpu"]


def test_adapters_of_a_run_that_goes_on(table: Grpo) -> None:
    adapted = table.model_copy(update={"lora": Lora(rank=2), "beta": 0.1, "steps": 2, "save_every": 1})
    train_grpo(adapted)
    assert (Path(table.out) / "adapter_model.safetensors").is_file()
    assert json.loads((Path(table.out) / "adapter_config.json").read_text())["base_model_name_or_path"]
