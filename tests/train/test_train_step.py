"""One GRPO step as the recipe words it: the gradient against a plain float64 computation of the paper's equations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from train_helpers import make_lm

from sari_data.responder import Sampling
from sari_data.types import AudioQuestion
from sari_train import grpo
from sari_train.batch import collate, embed, positions
from sari_train.config import Grpo, Lora
from sari_train.grpo import Experience, learn, roll_out
from sari_train.logprobs import completion_logprobs
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model, wrap_model
from sari_train.optim import make_optimizer
from sari_train.reference import Reference
from sari_train.rewards import REWARDS
from sari_train.rollout import Rollout

TOLERANCE = 2e-3  # of the gradient's norm; float32 against float64


@pytest.fixture
def table(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Grpo:
    # Two lengths of answer and one group that is flat: every normalisation then gives another gradient.
    monkeypatch.setitem(REWARDS, "accuracy", lambda s: 0.0 if s.question.id.endswith("flat") else len(s.text) / 40)
    return Grpo(
        model=str(small_folder), mode="direct", temperature=0.8, group_size=4, max_new_tokens=8, beta=1.0,
        clip_epsilon=0.05, updates_per_rollout=2, learning_rate=1e-3, warmup_steps=0, grad_clip=1e9, steps=5,
        rewards={"accuracy": 2.0},
    )  # fmt: skip


def sample(lm: AudioLM, questions: list[AudioQuestion], table: Grpo) -> list[Experience]:
    drawn = [questions[0], questions[1], questions[2].replace(id="flat")]
    engine = Rollout(lm, Sampling(temperature=table.temperature, max_new_tokens=table.max_new_tokens))
    found = roll_out(lm, engine, drawn, 0, table)[0]
    # Half of the rows are cut, so that lengths differ within a group.
    return [
        Experience(type(e.row)(e.row.clip, e.row.prompt, e.row.completion[: 3 + i % 4]), e.advantage,
                   type(e.completion)(e.completion.prompt_id, e.completion.sample, e.completion.ids[: 3 + i % 4],
                                      e.completion.logps[: 3 + i % 4], e.completion.text, "length"))
        for i, e in enumerate(found)
    ]  # fmt: skip


def row_logps(lm: AudioLM, e: Experience, temperature: float) -> torch.Tensor:
    """Log-probabilities of one row, prompt and all, in the model's own precision."""
    batch = collate(lm, [e.row])
    hidden = lm.backbone(embed(lm, batch), positions(batch))[0]
    logits = lm.head(hidden[len(e.row.prompt) - 1 : -1])
    logits[:, list(lm.banned_ids)] = float("-inf")
    return (logits / temperature).log_softmax(-1)[range(len(e.row.completion)), list(e.row.completion)]


def double(lm: AudioLM, processor: Any) -> AudioLM:
    made = make_lm(processor)
    made.model.load_state_dict(lm.model.state_dict())
    return wrap_model(made.model.double(), processor)


def paper_gradient(
    lm: AudioLM, old: AudioLM, ref: AudioLM, rows: list[Experience], table: Grpo, **changes: Any
) -> torch.Tensor:
    """Gradient of minus equation 3 of arXiv 2402.03300 with the KL of equation 4, term by term."""
    t, eps, beta = (changes.get(k, getattr(table, k)) for k in ("temperature", "clip_epsilon", "beta"))
    objective = torch.zeros((), dtype=torch.float64)
    tokens = sum(len(e.row.completion) for e in rows)
    for e in rows:
        new = row_logps(lm, e, t)
        with torch.no_grad():
            before, base = row_logps(old, e, t), row_logps(ref, e, changes.get("ref_temperature", t))
        share = 1 / len(e.row.completion) / len(rows) if table.normalise == "sequence" else 1 / tokens
        for j in range(len(new)):
            ratio = (new[j] - before[j]).exp()
            bounded = min(max(ratio.item(), 1 - eps), 1 + eps)
            gain = ratio * e.advantage if ratio * e.advantage <= bounded * e.advantage else bounded * e.advantage
            quotient = (base[j] - new[j]).exp()
            objective = objective + share * (gain - beta * (quotient - quotient.log() - 1))
    lm.model.zero_grad()
    (-objective).backward()
    return torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None])


@pytest.mark.parametrize("normalise", ["sequence", "token"])
def test_both_updates_of_a_step_are_the_papers(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion], normalise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table.model_copy(update={"normalise": normalise})
    lm, other = make_lm(processor), load_model(table.model)
    with torch.no_grad():  # the reference is some other model, so that the KL has a gradient
        for weight in other.model.parameters():
            weight.mul_(1.04)
    reference = Reference(lm, table)
    reference._copy = other
    rows = sample(lm, scene_questions, table)
    assert len({e.advantage for e in rows}) > 3
    old, ref = double(lm, processor), double(other, processor)
    seen: list[tuple[torch.Tensor, AudioLM]] = []
    original = grpo.take_step

    def take_step(lm: AudioLM, *args: Any) -> Any:
        grads = torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None])
        seen.append((grads.double(), double(lm, processor)))
        return original(lm, *args)

    monkeypatch.setattr(grpo, "take_step", take_step)
    learn(lm, make_optimizer(lm, table), rows, reference, 0, table)
    assert len(seen) == 2

    def distance(at: int, **changes: Any) -> float:
        wanted = paper_gradient(seen[at][1], changes.pop("old", old), ref, rows, table, **changes)
        return ((seen[at][0] - wanted).norm() / wanted.norm()).item()

    assert distance(0) < TOLERANCE
    assert distance(1) < TOLERANCE
    # What goes wrong in practice would show.
    assert distance(0, beta=0.0) > 10 * TOLERANCE
    assert distance(0, temperature=1.0) > 10 * TOLERANCE
    assert distance(0, ref_temperature=1.0) > 10 * TOLERANCE
    assert distance(1, clip_epsilon=0.9) > 10 * TOLERANCE
    assert distance(1, old=seen[1][1]) > 10 * TOLERANCE


def test_a_rollout_has_its_own_numbers_each_step_and_for_each_draw(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion]
) -> None:
    lm = make_lm(processor)
    engine = Rollout(lm, Sampling(temperature=table.temperature, max_new_tokens=8))
    twice = [scene_questions[0]] * 2

    def ids(step: int, seed: int = 0) -> list[tuple[int, ...]]:
        return [e.row.completion for e in roll_out(lm, engine, twice, step, table.model_copy(update={"seed": seed}))[0]]

    first = ids(0)
    assert first == ids(0)
    assert first[:4] != first[4:]
    assert len({tuple(first), tuple(ids(1)), tuple(ids(0, seed=1))}) == 3


def test_the_runs_temperature_is_the_samplers(
    table: Grpo, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Sampling] = []
    original = grpo.Rollout
    monkeypatch.setattr(grpo, "Rollout", lambda lm, sampling: made.append(sampling) or original(lm, sampling))
    change = {"corpus": str(small_corpus), "out": str(tmp_path / "out"), "steps": 1, "curriculum": "random"}
    grpo.train_grpo(table.model_copy(update=change))
    assert (made[0].temperature, made[0].max_new_tokens) == (0.8, 8)
    row = (tmp_path / "out" / "metrics.jsonl").read_text()
    assert '"sampler_gap"' in row


def test_advantages_are_scaled_as_the_recipe_says(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion]
) -> None:
    lm = make_lm(processor)
    engine = Rollout(lm, Sampling(temperature=table.temperature, max_new_tokens=8))
    for scale in (True, False):
        found = roll_out(lm, engine, scene_questions[:1], 0, table.model_copy(update={"scale_std": scale}))[0]
        spread = torch.tensor([e.advantage for e in found]).std(correction=0).item()
        assert (spread == pytest.approx(1, abs=1e-3)) == scale


def test_the_reference_under_adapters_is_the_bare_model(
    table: Grpo, small_folder: Path, processor: Any, scene_questions: list[AudioQuestion]
) -> None:
    lm = load_model(str(small_folder))
    rows = sample(lm, scene_questions, table)
    batch = collate(lm, [e.row for e in rows])
    expected = Reference(lm, table).logprobs(batch)
    add_lora(lm, Lora(rank=2), seed=0)
    with torch.no_grad():
        for name, weight in lm.model.named_parameters():
            if "lora_B" in name:
                weight.add_(0.3)
    adapted = Reference(lm, table)
    assert adapted._copy is None
    torch.testing.assert_close(adapted.logprobs(batch), expected, atol=2e-4, rtol=0)
    changed = completion_logprobs(lm, batch, table.temperature, banned=lm.banned_ids)[0]
    assert (changed - expected).abs().max() > 1e-2


def test_gradients_are_clipped_and_only_matrices_decay(table: Grpo, processor: Any) -> None:
    lm = make_lm(processor)
    table = table.model_copy(update={"grad_clip": 0.5, "weight_decay": 0.1, "learning_rate": 0.01})
    optimizer = make_optimizer(lm, table)
    weights = {name: p for name, p in lm.model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in weights.items()}
    used = {}
    for p in weights.values():
        p.grad = torch.full_like(p, 0.1)
    norm = 0.1 * sum(p.numel() for p in weights.values()) ** 0.5
    optimizer.register_step_pre_hook(lambda *_: used.update({n: p.grad.clone() for n, p in weights.items()}))
    metrics = grpo.take_step(lm, optimizer, table, 4)
    assert metrics["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert torch.cat([g.flatten() for g in used.values()]).norm().item() == pytest.approx(0.5, rel=1e-3)
    rate = metrics["learning_rate"]
    for name, p in weights.items():
        # Adam's first step is the rate times the gradient's sign; decay is the rate times decay times the weight.
        decay = rate * 0.1 * before[name] if p.dim() >= 2 else 0.0
        torch.testing.assert_close(p.detach(), before[name] - rate - decay, atol=rate * 1e-2, rtol=1e-4)
    assert any(rate * 0.1 * before[n].abs().max() > rate * 5e-2 for n, p in weights.items() if p.dim() >= 2)


def test_adapters_begin_alike_whatever_torch_drew_before(small_folder: Path) -> None:
    drawn = []
    for seed, other in ((0, 1), (0, 2), (1, 1)):
        lm = load_model(str(small_folder))
        torch.manual_seed(other)
        add_lora(lm, Lora(rank=2), seed=seed)
        drawn.append(torch.cat([p.flatten() for n, p in lm.model.named_parameters() if "lora_A" in n]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
