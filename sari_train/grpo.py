"""Group relative policy optimisation with a curriculum, top to bottom.

What is left out, and why:

- A value network: the group's mean is the baseline (Shao et al. 2024, arXiv 2402.03300).
- The reference model where ``beta`` is 0 (the default): nothing would read it.
- A separate pass for the old log-probabilities: on the first update they are the current ones,
  detached, and later updates are given those of the first (``policy.py``).
- Groups whose samples all earned the same: their advantage, and without a KL penalty their gradient,
  is 0, so they are not run; the loss's denominator still counts them. With ``dynamic_sampling`` fresh
  prompts take their place.

Shapes: P prompts, G samples of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from functools import partial

import torch

from sari_data.answers import grade
from sari_data.console import note
from sari_data.prompting import load_mode, render_prompt
from sari_data.store import read_split
from sari_data.thoughts import count_words, thought_sections
from sari_data.types import AudioQuestion
from sari_train.advantages import decomposed_advantages, group_advantages
from sari_train.batch import Encoded, Example, collate, encode_example
from sari_train.config import Grpo
from sari_train.curriculum import PromptStream
from sari_train.distributed import ALONE, World
from sari_train.losses import LOSSES
from sari_train.losses.kl import sequence_kl
from sari_train.models.base import AudioLM
from sari_train.policy import Experience, Phase, learn, unmeasured
from sari_train.reference import Reference
from sari_train.rewards import Reward, Sample, Settings, load_rewards, score
from sari_train.rollout import Completion, RolloutPrompt
from sari_train.rollouts.engine import RolloutEngine, make_engine
from sari_train.run import Outcome, Run
from sari_train.samples import Group, Result, StepSamples, kept_groups, summarise


def train_grpo(table: Grpo, *, overwrite: bool = False, world: World = ALONE) -> Outcome:
    """Run (or go on with) GRPO as ``[grpo]`` describes it.

    Raises:
        SariError: The model, the corpus or the output folder does not fit; nothing is half written.
    """
    load_mode(table.mode)  # a misspelt mode is told before anything is loaded or written
    questions = read_split(table.corpus, table.split)
    rewards = load_rewards(table.rewards, Settings(table.mode, table.thought_words))
    stream = PromptStream(
        questions,
        table.steps * table.prompts_per_step,
        curriculum=table.curriculum,
        mode=table.mode,
        seed=table.seed,
        stages=table.stages,
        span=table.curriculum_span,
        group_size=table.group_size,
        calibration=table.calibration,
    )
    run = Run(table, "grpo", questions, {"curriculum": stream}, overwrite=overwrite, world=world, rewards=rewards)
    lm = run.lm
    for advice in doubts(table, len(questions)):
        note(advice)
    reference = Reference(lm, table, world) if table.beta > 0 else None
    engine = make_engine(lm, table, world)
    note(
        f"GRPO: {lm.name}, {len(questions)} prompts in mode {table.mode}, curriculum {table.curriculum}, "
        f"{table.steps} steps of {table.prompts_per_step} x {table.group_size}, loss {table.loss}"
    )
    with closing(engine), run.going():
        while run.more:
            with run.phase("rollout"):
                engine.update_weights(lm, run.step)
                rollout = collect(lm, engine, questions, stream, run.step, table, rewards, world, run.phase)
            with run.phase("reference") if reference is not None and table.kl_in == "reward" else nullcontext():
                experience, metrics = compare(lm, rollout, reference, table, world)
            metrics |= learn(lm, run.optimizer, experience, reference, run.step, table, world, run.phase)
            kept = partial(kept_groups, rollout, experience, table, world)
            run.finish_step(metrics, tokens=rollout.tokens, kept=kept)
    return run.outcome


def doubts(table: Grpo, questions: int) -> list[str]:
    """Return what a recipe says that can be run, but hardly be meant."""
    found = []
    if table.prompts_per_step > questions:
        found.append(
            f"prompts_per_step is {table.prompts_per_step} of {questions} prompts: a step has some of them twice"
        )
    if table.beta > 0 and table.kl_in == "loss" and table.kl == "k1":
        found.append(
            "kl k1 in the loss has a gradient whose mean is 0, nothing but noise: take k2 or k3, or kl_in reward"
        )
    if table.beta > 0 and table.kl_in == "reward" and (table.scale or LOSSES[table.loss].scale) == "group":
        found.append(
            "kl_in reward with scale group: where all samples of a group earn the same, differences of their "
            "divergence alone are scaled up to full advantages; scale batch or none leaves them small"
        )
    return found


def collect(
    lm: AudioLM,
    engine: RolloutEngine,
    questions: Sequence[AudioQuestion],
    stream: PromptStream,
    step: int,
    table: Grpo,
    rewards: Mapping[str, Reward],
    world: World = ALONE,
    phase: Phase = unmeasured,
) -> StepSamples:
    """Sample the step's prompts; with dynamic sampling, draw fresh ones for groups without a lesson.

    Where the rounds run out before the batch is full, flat groups fill it (DAPO, arXiv 2503.14476, section 3.2).
    """
    wanted = table.prompts_per_step
    groups: list[Group] = []
    drawn: list[Result] = []
    with world.whole_weights(lm) if engine.exact else nullcontext():
        for _ in range(1 + table.dynamic_sampling):
            missing = wanted - sum(not r.flat for r in drawn)
            if missing == 0:
                break
            places = list(enumerate(stream.take(missing), start=len(drawn)))
            mine = roll_out(lm, engine, questions, world.share(places), step, table, rewards, phase)
            groups += mine
            fresh = sorted(world.gather(group.result for group in mine), key=lambda r: r.place)
            for result in fresh:
                stream.record(result.index, sum(result.right), len(result.right))
            drawn += fresh
    chosen = sorted(sorted(drawn, key=lambda r: r.flat)[:wanted], key=lambda r: r.place)
    kept = {r.place for r in chosen}
    return StepSamples(tuple(g for g in groups if g.result.place in kept), tuple(chosen), tuple(drawn), questions)


def roll_out(
    lm: AudioLM,
    engine: RolloutEngine,
    questions: Sequence[AudioQuestion],
    places: Iterable[tuple[int, int]],
    step: int,
    table: Grpo,
    rewards: Mapping[str, Reward],
    phase: Phase = unmeasured,
) -> list[Group]:
    """Sample a group for each (place in the step, index into ``questions``), and reward every sample."""
    g = table.group_size
    asked = [(place, index, questions[index]) for place, index in places]
    prompts = [
        # The place in the step is part of the id: a question that is drawn twice gets two groups.
        RolloutPrompt(f"{at}:{q.id}", encode_example(lm, Example(q.audio, render_prompt(q, table.mode))), range(g))
        for at, _, q in asked
    ]
    completions = engine.sample(prompts, [q for _, _, q in asked], seed=table.seed * 1_000_003 + step)
    groups = []
    with phase("reward"):
        for number, ((place, index, question), prompt) in enumerate(zip(asked, prompts, strict=True)):
            done = tuple(completions[number * g : (number + 1) * g])
            groups.append(Group(rate(place, index, question, done, table, rewards), question, prompt.encoded, done))
    return groups


def rate(
    place: int,
    index: int,
    question: AudioQuestion,
    done: Sequence[Completion],
    table: Grpo,
    rewards: Mapping[str, Reward],
) -> Result:
    """Return what a prompt's samples earned."""
    thoughts = thought_sections(table.mode)
    scored = [score(Sample(question, table.mode, d.text, d.finish_reason), table.rewards, rewards) for d in done]
    grades = [grade(d.text, question, finish_reason=d.finish_reason) for d in done]
    return Result(
        place,
        index,
        rewards=tuple(total for total, _ in scored),
        parts=tuple(each for _, each in scored),
        right=tuple(found.correct for found in grades),
        lengths=tuple(len(d.ids) for d in done),
        words=tuple(count_words(found.reading.sections, thoughts) for found in grades),
        cut=sum(d.finish_reason == "length" for d in done),
    )


def compare(
    lm: AudioLM, rollout: StepSamples, reference: Reference | None, table: Grpo, world: World = ALONE
) -> tuple[list[Experience], dict[str, float]]:
    """Compare every sample with its group; with ``kl_in = "reward"`` its distance to the reference is taken off first.

    Returns:
        This process's experience, group after group, and the metrics of the step's rollout.
    """
    rewards = {r.place: r.rewards for r in rollout.chosen}
    metrics: dict[str, float] = {}
    if reference is not None and table.kl_in == "reward":
        with reference.ready():
            penalised = [(g.result.place, penalise(lm, g, reference, table)) for g in rollout.groups]
        told = dict(world.gather(penalised))
        rewards = {place: found[0] for place, found in told.items()}
        metrics["kl"] = sum(found[1] for found in told.values()) / sum(sum(r.lengths) for r in rollout.chosen)
    order = sorted(rewards)
    scale = table.scale or LOSSES[table.loss].scale
    if scale == "beta":
        advantages_PG = each_by_itself(rollout, table)
    else:
        rewards_PG = torch.tensor([rewards[place] for place in order], dtype=torch.float64)
        advantages_PG, _ = group_advantages(rewards_PG, baseline=table.baseline, scale=scale)
    advantages = dict(zip(order, advantages_PG.tolist(), strict=True))
    experience = [
        Experience(
            Encoded(group.prompt.clip, group.prompt.prompt, done.ids),
            advantage,
            done,
            counted=not (table.mask_truncated and done.finish_reason == "length"),
        )
        for group in rollout.groups
        for done, advantage in zip(group.completions, advantages[group.result.place], strict=True)
    ]
    return experience, metrics | summarise(rollout, table)


def each_by_itself(rollout: StepSamples, table: Grpo) -> torch.Tensor:
    """Return the advantages [P, G] of BNPO: each reward is compared and scaled by itself, before weighting."""
    parts = {
        name: torch.tensor([[part[name] for part in r.parts] for r in rollout.chosen], dtype=torch.float64)
        for name in table.rewards
    }
    return decomposed_advantages(parts, table.rewards, baseline=table.baseline, scale="beta")[0]


def penalise(lm: AudioLM, group: Group, reference: Reference, table: Grpo) -> tuple[tuple[float, ...], float]:
    """Return a group's rewards less ``beta`` times each sample's divergence, and the divergence of the whole group.

    The divergence is measured on the sampled tokens, from the log-probabilities that the sampler gave them.
    """
    found: list[float] = []
    for at in range(0, len(group.completions), table.micro_batch):
        some = group.completions[at : at + table.micro_batch]
        batch = collate(lm, [Encoded(group.prompt.clip, group.prompt.prompt, done.ids) for done in some])
        mask_BC = batch.completion_mask_BC
        ref_BC = reference.logprobs(batch)
        logps_BC = torch.zeros_like(ref_BC)
        logps_BC[mask_BC] = torch.cat([torch.from_numpy(done.logps) for done in some]).to(ref_BC)
        found += sequence_kl(logps_BC.double(), ref_BC.double(), mask_BC, table.kl).tolist()
    rewards = tuple(r - table.beta * d for r, d in zip(group.result.rewards, found, strict=True))
    return rewards, sum(found)
