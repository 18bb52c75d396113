"""What a step of GRPO sampled: results that every process knows, groups in the process that drew them, and metrics.

Shapes: P prompts, G samples of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from sari_data.prompting import render_prompt
from sari_data.thoughts import thought_sections
from sari_data.types import AudioQuestion
from sari_train.batch import Encoded
from sari_train.completions import KeptGroup, KeptSample
from sari_train.config import Grpo
from sari_train.curriculum import breakdown, pass_rate
from sari_train.distributed import ALONE, World
from sari_train.policy import Experience
from sari_train.rollout import Completion


@dataclass(frozen=True, slots=True)
class Result:
    """What the samples of one prompt earned; small, so that every process can know of every prompt.

    Args:
        place: In the order in which the step's prompts were drawn.
        index: The question's place in the corpus.
        rewards: The weighted sum of each sample.
        parts: Each sample's rewards before weighting.
        right: Whether each sample gave the right option.
        lengths: Tokens of each sample.
        words: Words of each sample's thought.
        cut: Samples that the length bound cut.
    """

    place: int
    index: int
    rewards: tuple[float, ...]
    parts: tuple[Mapping[str, float], ...]
    right: tuple[bool, ...]
    lengths: tuple[int, ...]
    words: tuple[int, ...]
    cut: int

    @property
    def flat(self) -> bool:
        """Whether all samples earned the same: the group teaches nothing."""
        return len(set(self.rewards)) == 1


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt with its samples, in the process that drew them."""

    result: Result
    question: AudioQuestion
    prompt: Encoded
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True)
class StepSamples:
    """A step's samples: this process's groups that are learned from, and of every process all that was drawn."""

    groups: tuple[Group, ...]
    chosen: tuple[Result, ...]
    drawn: tuple[Result, ...]
    questions: Sequence[AudioQuestion]

    @property
    def tokens(self) -> int:
        """Tokens sampled by all processes."""
        return sum(sum(r.lengths) for r in self.drawn)


def summarise(rollout: StepSamples, table: Grpo) -> dict[str, float]:
    """Return the metrics of all that a step drew, the same in every process."""
    drawn, questions = rollout.drawn, rollout.questions
    rewards = [value for r in drawn for value in r.rewards]
    count = len(rewards)
    metrics = {f"reward_{name}": fmean(p[name] for r in drawn for p in r.parts) for name in table.rewards}
    metrics |= {f"reward_std/{name}": pstdev(p[name] for r in drawn for p in r.parts) for name in table.rewards}
    metrics["reward"], metrics["reward_std"] = sum(rewards) / count, pstdev(rewards)
    metrics["length"] = sum(sum(r.lengths) for r in drawn) / count
    if thought_sections(table.mode):
        metrics["thought_words"] = sum(sum(r.words) for r in drawn) / count
    metrics["truncated"] = sum(r.cut for r in drawn) / count
    metrics["flat_groups"] = sum(r.flat for r in drawn) / len(drawn)
    if table.dynamic_sampling:
        metrics["resampled"] = float(len(drawn) - len(rollout.chosen))
    known = (pass_rate(questions[r.index], table.mode, table.calibration) for r in drawn)
    rates = [rate for rate in known if rate is not None]
    if rates:
        metrics["pass_rate"] = sum(rates) / len(rates)
    passed = [fmean(r.right) for r in drawn]
    return metrics | breakdown([questions[r.index] for r in drawn], passed, table.mode, table.calibration)


def kept_groups(
    rollout: StepSamples, experience: Sequence[Experience], table: Grpo, world: World = ALONE
) -> list[KeptGroup]:
    """Return what is kept of a step's completions for people to read, from all processes, in the order of drawing."""
    rows = iter(experience)
    mine = []
    for group in rollout.groups:
        result = group.result
        samples = [
            KeptSample(
                done.text,
                done.finish_reason,
                rewards=parts,
                reward=reward,
                advantage=next(rows).advantage,
                correct=right,
                tokens=len(done.ids),
            )
            for done, parts, reward, right in zip(
                group.completions, result.parts, result.rewards, result.right, strict=True
            )
        ]
        mine.append((result.place, KeptGroup(group.question, render_prompt(group.question, table.mode), samples)))
    return [kept for _, kept in sorted(world.gather(mine), key=lambda item: item[0])]
