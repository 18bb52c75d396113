"""One GRPO step as the recipe words it: the gradient against a plain float64 computation of the paper's equations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from train_helpers import make_lm, sampled, set_reward

from sari_data.responder import Sampling
from sari_data.types import AudioQuestion
from sari_train import policy
from sari_train.batch import Encoded, collate, embed, positions
from sari_train.config import Grpo, Lora
from sari_train.distributed import ALONE
from sari_train.grpo import StepSamples, collect, compare, doubts, roll_out, train_grpo
from sari_train.logprobs import completion_logprobs
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model, wrap_model
from sari_train.optim import make_optimizer
from sari_train.policy import Experience, learn
from sari_train.reference import Reference
from sari_train.rewards import Settings, load_rewards
from sari_train.rollouts import engine as engines
from sari_train.rollouts.engine import make_engine

TOLERANCE = 2e-3  # of the gradient's norm; float32 against float64


@pytest.fixture
def table(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Grpo:
    # Two lengths of answer and one group that is flat: every normalisation then gives another gradient.
    set_reward(monkeypatch, "accuracy", lambda s: 0.0 if s.question.id.endswith("flat") else len(s.text) / 40)
    return Grpo(
        model=str(small_folder), mode="direct", temperature=0.8, group_size=4, max_new_tokens=8, beta=1.0,
        updates_per_rollout=2, learning_rate=1e-3, warmup_steps=0, grad_clip=1e9, steps=5,
        rewards={"accuracy": 2.0},
    )  # fmt: skip


def sample(lm: AudioLM, questions: list[AudioQuestion], table: Grpo) -> list[Experience]:
    drawn = [questions[0], questions[1], questions[2].replace(id="flat")]
    found = sampled(lm, drawn, table)[0]
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


def divergence(kl: str, new: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    d = new - base
    return {"k1": d, "k2": d * d / 2, "k3": (-d).exp() - 1 + d}[kl]


def paper_gradient(
    lm: AudioLM, old: AudioLM, ref: AudioLM, rows: list[Experience], table: Grpo, **changes: Any
) -> torch.Tensor:
    """Gradient of minus the loss's objective, completion by completion in float64.

    The equations: GRPO 2402.03300 (3), Dr. GRPO 2503.20783 (section 3.2), DAPO 2503.14476 (8), GSPO 2507.18071 (5),
    CISPO 2506.13585 (4), each with its KL term; BNPO as the mean over the tokens of the one micro-batch.
    """
    t, loss, low, high, beta = (
        changes.get(k, getattr(table, k)) for k in ("temperature", "loss", "clip_epsilon", "clip_epsilon_high", "beta")
    )
    objective = torch.zeros((), dtype=torch.float64)
    tokens = sum(len(e.row.completion) for e in rows)
    for e in rows:
        a = e.advantage
        new = row_logps(lm, e, t)
        with torch.no_grad():
            before, base = row_logps(old, e, t), row_logps(ref, e, changes.get("ref_temperature", t))
        ratio = (new - before).exp()
        if loss == "gspo":
            ratio = (new - before).mean().exp().expand(len(new))
        bounded = ratio.clamp(1 - low, 1 + high)
        gain = torch.where(ratio * a <= bounded * a, ratio * a, bounded.detach() * a)
        if loss == "cispo":
            gain = bounded.detach() * a * new
        share = {
            "grpo": 1 / len(new) / len(rows),
            "gspo": 1 / len(new) / len(rows),
            "dr_grpo": 1 / table.max_new_tokens / len(rows),
        }.get(loss, 1 / tokens)
        objective = objective + share * (gain - beta * divergence(changes.get("kl", table.kl), new, base)).sum()
    lm.model.zero_grad()
    (-objective).backward()
    return torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kl", ["k1", "k2", "k3"])
@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo", "bnpo", "gspo", "cispo"])
def test_both_updates_of_a_step_are_the_papers(
    table: Grpo,
    processor: Any,
    scene_questions: list[AudioQuestion],
    loss: str,
    kl: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kl != "k3" and loss != "grpo":
        pytest.skip("the estimators do not depend on the loss")
    monkeypatch.setattr(policy, "workers", lambda lm: 1)  # one micro-batch: BNPO's mean depends on it
    low, high = (2e-3, 3e-3) if loss == "gspo" else (0.05, 0.04)
    change = {"loss": loss, "kl": kl, "clip_epsilon": low, "clip_epsilon_high": high, "micro_batch": 64}
    table = table.model_copy(update=change)
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
    original = policy.take_step

    def take_step(lm: AudioLM, *args: Any) -> Any:
        grads = torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None])
        seen.append((grads.double(), double(lm, processor)))
        return original(lm, *args)

    monkeypatch.setattr(policy, "take_step", take_step)
    metrics = learn(lm, make_optimizer(lm, table), rows, reference, 0, table)
    assert len(seen) == 2
    assert metrics["clip_fraction"] > 0  # or the second update tells nothing of the clipping

    def distance(at: int, **changes: Any) -> float:
        wanted = paper_gradient(seen[at][1], changes.pop("old", old), ref, rows, table, **changes)
        return ((seen[at][0] - wanted).norm() / wanted.norm()).item()

    assert distance(0) < TOLERANCE
    assert distance(1) < TOLERANCE
    # What goes wrong in practice would show.
    assert distance(0, beta=0.0) > 10 * TOLERANCE
    assert distance(0, temperature=1.0) > 10 * TOLERANCE
    # As part of a loss, k1 has a gradient that knows nothing of the reference.
    assert kl == "k1" or distance(0, ref_temperature=1.0) > 10 * TOLERANCE
    assert distance(0, kl="k2" if kl == "k1" else "k1") > 10 * TOLERANCE
    assert distance(1, clip_epsilon=0.9, clip_epsilon_high=0.9) > 10 * TOLERANCE
    assert distance(1, old=seen[1][1]) > 10 * TOLERANCE
    assert distance(0, loss="dapo" if loss in ("grpo", "dr_grpo", "gspo") else "grpo") > 10 * TOLERANCE


def test_a_mean_over_micro_batches_does_not_depend_on_the_machines_threads(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table.model_copy(update={"loss": "bnpo", "beta": 0.0, "micro_batch": 5, "updates_per_rollout": 1})
    lm = make_lm(processor)
    rows = sample(lm, scene_questions, table)
    monkeypatch.setattr(policy, "take_step", lambda *given: {})

    def step(count: int) -> tuple[list[int], float, torch.Tensor]:
        monkeypatch.setattr(policy, "workers", lambda lm: count)
        sizes = [len(m.batch.ids_BT) for m in policy.micro_batches(lm, rows, None, table, ALONE)]
        lm.model.zero_grad()
        loss = learn(lm, make_optimizer(lm, table), rows, None, 0, table)["loss"]
        return sizes, loss, torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None])

    alone, many = step(1), step(6)
    assert alone[0] == many[0] == [5, 5, 2]
    torch.testing.assert_close(alone[1:], many[1:])
    table = table.model_copy(update={"micro_batch": 2})  # the recipe's own division does change it
    assert abs(step(1)[1] - alone[1]) > 1e-3 * abs(alone[1])


def test_who_sets_one_bound_of_the_ratio_means_both_where_the_paper_has_one(table: Grpo) -> None:
    def bounds(loss: str, **keys: float | None) -> tuple[float, float]:
        keys = {"clip_epsilon": None, "clip_epsilon_high": None} | keys
        return policy.chosen_loss(table.model_copy(update={"loss": loss, **keys}))[1:]

    assert bounds("grpo") == (0.2, 0.2)
    assert bounds("grpo", clip_epsilon=0.1) == (0.1, 0.1)
    assert bounds("dapo") == (0.2, 0.28)
    assert bounds("dapo", clip_epsilon=0.1) == (0.1, 0.28)
    assert bounds("grpo", clip_epsilon_high=0.3) == (0.2, 0.3)


def test_completions_that_were_cut_count_nowhere(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their gradient is that of a step without them."""
    table = table.model_copy(update={"beta": 0.0, "updates_per_rollout": 1})
    lm = make_lm(processor)
    rows = sample(lm, scene_questions, table)
    found: list[torch.Tensor] = []

    def take_step(lm: AudioLM, *args: Any) -> dict[str, float]:
        found.append(torch.cat([p.grad.flatten() for p in lm.model.parameters() if p.grad is not None]))
        lm.model.zero_grad()
        return {}

    monkeypatch.setattr(policy, "take_step", take_step)
    masked = [replace(e, counted=i % 3 != 0) for i, e in enumerate(rows)]
    for some in (masked, [e for e in masked if e.counted], rows):
        learn(lm, make_optimizer(lm, table), some, None, 0, table)
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-5)
    assert (found[0] - found[2]).norm() > 0.05 * found[2].norm()


def test_a_divergence_in_the_reward_is_taken_off_before_samples_are_compared(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion]
) -> None:
    change = {"beta": 0.3, "kl": "k1", "kl_in": "reward", "scale": "none", "micro_batch": 3}
    table = table.model_copy(update=change)
    lm, other = make_lm(processor), make_lm(processor, seed=5)
    reference = Reference(lm, table)
    reference._copy = other
    rewards = load_rewards(table.rewards, Settings(table.mode))
    asked = scene_questions[:2]
    groups = tuple(roll_out(lm, make_engine(lm, table), asked, [(0, 0), (1, 1)], 0, table, rewards))
    results = tuple(g.result for g in groups)
    sizes, scored = [], reference.logprobs
    reference.logprobs = lambda batch: sizes.append(len(batch.ids_BT)) or scored(batch)  # type: ignore[method-assign]
    found, metrics = compare(lm, StepSamples(groups, results, results, asked), reference, table)
    expected, total, tokens = [], 0.0, 0
    for group in groups:
        penalised = []
        for done, reward in zip(group.completions, group.result.rewards, strict=True):
            e = Experience(Encoded(group.prompt.clip, group.prompt.prompt, done.ids), 0.0, done)
            with torch.no_grad():
                gap = (row_logps(lm, e, table.temperature) - row_logps(other, e, table.temperature)).sum().item()
            penalised.append(reward - 0.3 * gap)
            total, tokens = total + gap, tokens + len(done.ids)
        expected += [p - sum(penalised) / len(penalised) for p in penalised]
    assert [e.advantage for e in found] == pytest.approx(expected, abs=1e-3)
    assert metrics["kl"] == pytest.approx(total / tokens, abs=1e-4)
    assert max(abs(x) for x in expected) > 0.1
    assert sizes == [3, 1, 3, 1]  # rows in one pass are the recipe's here too


def test_a_divergence_alone_is_no_lesson_of_full_size_without_a_word(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the run says of ``kl_in = "reward"`` with the group's scale is so."""
    set_reward(monkeypatch, "accuracy", lambda sample: 1.0)
    table = table.model_copy(update={"beta": 1e-3, "kl": "k1", "kl_in": "reward"})
    rewards = load_rewards(table.rewards, Settings(table.mode))
    found = {}
    for scale in ("group", "none"):
        asked = table.model_copy(update={"scale": scale})
        lm = make_lm(processor)
        groups = tuple(roll_out(lm, make_engine(lm, asked), scene_questions, [(0, 0)], 0, asked, rewards))
        reference = Reference(lm, asked)
        reference._copy = make_lm(processor, seed=5)
        samples = StepSamples(groups, (groups[0].result,), (groups[0].result,), scene_questions)
        found[scale] = max(abs(e.advantage) for e in compare(lm, samples, reference, asked)[0])
    assert found["none"] < 0.1 < 1 < found["group"]
    said = {scale: doubts(table.model_copy(update={"scale": scale}), 99) for scale in ("group", "none", None)}
    assert [len(said[scale]) for scale in ("group", "none", None)] == [1, 0, 1]
    assert "divergence alone" in said["group"][0]
    assert "a gradient whose mean is 0" in doubts(table.model_copy(update={"kl_in": "loss"}), 99)[0]
    assert "has some of them twice" in doubts(table.model_copy(update={"beta": 0.0, "prompts_per_step": 5}), 4)[0]


def test_dynamic_sampling_draws_fresh_prompts_for_groups_without_a_lesson(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = make_lm(processor)
    questions = [q.replace(id=f"q{i}") for i, q in enumerate(scene_questions[:6])]
    dull = {"q0", "q2", "q3"}
    set_reward(monkeypatch, "accuracy", lambda s: 0.0 if s.question.id in dull else len(s.text) / 40)

    class InOrder:
        def __init__(self) -> None:
            self.at, self.told = 0, []

        def take(self, n: int) -> list[int]:
            self.at += n
            return [i % 6 for i in range(self.at - n, self.at)]

        def record(self, index: int, passes: int, samples: int) -> None:
            self.told.append((index, samples))

    def drawn(rounds: int) -> tuple[list[str], list[int], list[tuple[int, int]]]:
        asked = table.model_copy(update={"prompts_per_step": 3, "dynamic_sampling": rounds})
        stream = InOrder()
        rewards = load_rewards(asked.rewards, Settings(asked.mode))
        found = collect(lm, make_engine(lm, asked), questions, stream, 0, asked, rewards)  # type: ignore[arg-type]
        metrics = compare(lm, found, None, asked)[1]
        assert metrics.get("resampled", 0) == len(found.drawn) - 3
        return [g.question.id for g in found.groups], [r.place for r in found.chosen], stream.told

    # Without: three prompts as they come. One round: q3 and q4 come for q0 and q2; the batch is then filled up.
    assert drawn(0) == (["q0", "q1", "q2"], [0, 1, 2], [(0, 4), (1, 4), (2, 4)])
    assert drawn(1)[0] == ["q0", "q1", "q4"]
    # Two rounds: q5 is the third with a lesson; nothing more is drawn.
    assert drawn(2)[0] == drawn(9)[0] == ["q1", "q4", "q5"]
    assert drawn(9)[2] == [(i, 4) for i in range(6)]


def test_a_rollout_has_its_own_numbers_each_step_and_for_each_draw(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion]
) -> None:
    lm = make_lm(processor)
    twice = [scene_questions[0]] * 2

    def ids(step: int, seed: int = 0) -> list[tuple[int, ...]]:
        return [e.row.completion for e in sampled(lm, twice, table.model_copy(update={"seed": seed}), step)[0]]

    first = ids(0)
    assert first == ids(0)
    assert first[:4] != first[4:]
    assert len({tuple(first), tuple(ids(1)), tuple(ids(0, seed=1))}) == 3


def test_the_runs_temperature_is_the_samplers(
    table: Grpo, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Sampling] = []
    original = engines.Rollout
    monkeypatch.setattr(engines, "Rollout", lambda lm, sampling: made.append(sampling) or original(lm, sampling))
    change = {
        "corpus": str(small_corpus),
        "out": str(tmp_path / "out"),
        "steps": 1,
        "curriculum": "random",
        "preflight": False,
    }
    train_grpo(table.model_copy(update=change))
    assert (made[0].temperature, made[0].max_new_tokens) == (0.8, 8)
    row = (tmp_path / "out" / "metrics.jsonl").read_text()
    assert '"sampler_gap"' in row


def test_advantages_are_scaled_as_the_recipe_says(
    table: Grpo, processor: Any, scene_questions: list[AudioQuestion]
) -> None:
    lm = make_lm(processor)
    found = {}
    for scale in ("group", "batch", "none"):
        rows = sampled(lm, scene_questions[:2], table.model_copy(update={"scale": scale}))[0]
        found[scale] = torch.tensor([e.advantage for e in rows]).view(2, -1)
    spread = found["group"].std(-1, correction=0)
    torch.testing.assert_close(spread, torch.ones(2), atol=1e-3, rtol=0)
    # The batch has one scale, its own; each group has another.
    torch.testing.assert_close(found["batch"] / found["batch"].abs().max(), found["none"] / found["none"].abs().max())
    assert (found["batch"] - found["none"]).abs().max() > 0.1
    assert (found["group"] / found["none"]).std() > 0.1


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
    metrics = policy.take_step(lm, optimizer, table, 4)
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
