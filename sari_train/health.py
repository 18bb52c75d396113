"""Trouble told at once, in words: what was seen, what usually causes it, what to do.

Each kind is told once an episode, not every step: it is told again only after :data:`EPISODE_END`
steps without it. All that is remembered is in :meth:`Health.state_dict`, so that a run that was killed
and goes on tells what an undisturbed one tells.

Names of the metrics that are read: ``loss``, ``grad_norm``, ``reward`` and ``reward_std`` (mean and standard
deviation over all samples of the step), ``reward_<name>``, ``truncated``, ``flat_groups`` (shares in [0, 1])
and ``entropy`` (nats a token). A step that lacks one says nothing about it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

# A kind of trouble is over when so many steps were without it.
EPISODE_END = 10
# Gradient norms: how many of the latest are compared with, and how many are needed before anything is said.
NORM_WINDOW = 50
NORM_LEAST = 20
# A spike lies this many robust standard deviations above the median of the norms' logarithms. A standard deviation is
# 1.4826 times the median absolute deviation (Rousseeuw and Croux 1993) and is taken as at least SPREAD_LEAST, so a
# spike is at least e^2 = 7.4 times the median however quiet the run was.
SPIKE_DEVIATIONS = 8.0
SPREAD_LEAST = 0.25
# How many steps in a row, and how many samples in all, must look the same.
CONSTANT_STEPS, CONSTANT_SAMPLES = 5, 200
TRUNCATED_STEPS, TRUNCATED_SAMPLES = 3, 64
FLAT_STEPS, FLAT_GROUPS = 10, 240
# Entropy has collapsed where it stays below this share of what it was at first, and below so many nats a token.
ENTROPY_FIRST = 10
ENTROPY_STEPS = 10
ENTROPY_SHARE, ENTROPY_NATS = 0.05, 0.02


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong with a run: its kind, and sentences that say what was seen and what to do."""

    kind: str
    message: str


class Health:
    """Watches the metrics of a run, step by step.

    Args:
        groups: Prompts in a step; 0 where nothing is sampled (SFT).
        group_size: Samples of each.
        full_reward: The reward of a sample that earns all of every reward: the sum of the weights.
        max_new_tokens: The length bound, for the message.
    """

    def __init__(
        self,
        *,
        groups: int = 0,
        group_size: int = 1,
        full_reward: float | None = None,
        max_new_tokens: int | None = None,
    ) -> None:
        self.full_reward, self.max_new_tokens = full_reward, max_new_tokens
        samples = max(1, groups * group_size)
        self._constant_steps = max(CONSTANT_STEPS, math.ceil(CONSTANT_SAMPLES / samples))
        self._truncated_steps = max(TRUNCATED_STEPS, math.ceil(TRUNCATED_SAMPLES / samples))
        self._flat_steps = max(FLAT_STEPS, math.ceil(FLAT_GROUPS / max(1, groups)))
        self._norms: list[float] = []
        self._first_entropies: list[float] = []
        self._reward: float | None = None
        self._streaks = dict.fromkeys(("constant", "truncated", "flat", "entropy"), 0)
        self._last_seen: dict[str, int] = {}

    def check(self, step: int, metrics: Mapping[str, float]) -> list[Trouble]:
        """Return what is wrong at ``step`` (counted from 1) and was not told yet; steps are checked in order, once."""
        found = [
            *self._not_finite(step, metrics),
            *self._spike(step, metrics),
            *self._constant_reward(step, metrics),
            *self._truncation(step, metrics),
            *self._no_lesson(step, metrics),
            *self._entropy(step, metrics),
        ]
        new = [t for t in found if step - self._last_seen.get(t.kind, -math.inf) > EPISODE_END]
        self._last_seen |= {t.kind: step for t in found}
        return new

    def state_dict(self) -> dict[str, Any]:
        """Return all that is remembered, as JSON."""
        return {
            "norms": list(self._norms),
            "first_entropies": list(self._first_entropies),
            "reward": self._reward,
            "streaks": dict(self._streaks),
            "last_seen": dict(self._last_seen),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state_dict` returned."""
        self._norms = [float(v) for v in state["norms"]]
        self._first_entropies = [float(v) for v in state["first_entropies"]]
        self._reward = state["reward"]
        self._streaks = {name: int(state["streaks"][name]) for name in self._streaks}
        self._last_seen = {str(kind): int(at) for kind, at in state["last_seen"].items()}

    def _not_finite(self, step: int, metrics: Mapping[str, float]) -> list[Trouble]:
        bad = {name: value for name, value in metrics.items() if not math.isfinite(value)}
        found = []
        if "loss" in bad:
            found.append(
                Trouble(
                    "loss_not_finite",
                    f"the loss of step {step} is {bad['loss']}: usually numbers that overflow in float16, or a "
                    "learning rate that is too high; lower learning_rate, or use bfloat16 or float32",
                )
            )
        if "grad_norm" in bad:
            found.append(
                Trouble(
                    "gradient_not_finite",
                    f"the gradient of step {step} has norm {bad['grad_norm']}: usually numbers that overflow in "
                    "float16, or one sample with an extreme ratio; lower learning_rate or grad_clip, or use float32",
                )
            )
        others = sorted(set(bad) - {"loss", "grad_norm"})
        if others:
            named = ", ".join(f"{name} ({bad[name]})" for name in others)
            found.append(
                Trouble(
                    "metric_not_finite",
                    f"step {step} has numbers that are not finite: {named}; usually the model's weights or logits are "
                    "no longer finite: go back to an earlier checkpoint and lower learning_rate",
                )
            )
        return found

    def _spike(self, step: int, metrics: Mapping[str, float]) -> list[Trouble]:
        norm = metrics.get("grad_norm", math.nan)
        if not math.isfinite(norm) or norm <= 0:
            return []
        before = self._norms
        self._norms = [*before, norm][-NORM_WINDOW:]
        if len(before) < NORM_LEAST:
            return []
        logs = [math.log(v) for v in before]
        middle = median(logs)
        spread = max(1.4826 * median(abs(v - middle) for v in logs), SPREAD_LEAST)
        if math.log(norm) - middle <= SPIKE_DEVIATIONS * spread:
            return []
        usual = math.exp(middle)
        return [
            Trouble(
                "gradient_spike",
                f"the gradient of step {step} has norm {norm:.3g}, {norm / usual:,.0f} times the {usual:.3g} of the "
                f"latest {len(before)} steps: usually a damaged or mislabelled batch, or a learning rate that is "
                "too high; look at this step's completions, and lower learning_rate or grad_clip if it happens again",
            )
        ]

    def _constant_reward(self, step: int, metrics: Mapping[str, float]) -> list[Trouble]:
        if "reward" not in metrics or "reward_std" not in metrics:
            return []
        reward = metrics["reward"]
        same = math.isfinite(reward) and metrics["reward_std"] <= 1e-6  # the mean of equal numbers is rounded too
        if same and self._reward is not None and math.isclose(reward, self._reward, rel_tol=1e-6, abs_tol=1e-9):
            self._streaks["constant"] += 1
        else:
            self._streaks["constant"] = int(same)
        self._reward = reward if same else None
        steps = self._streaks["constant"]
        if steps < self._constant_steps:
            return []
        each = {n.removeprefix("reward_"): v for n, v in metrics.items() if n.startswith("reward_") and "/" not in n}
        parts = [f"{name} {value:g}" for name, value in each.items() if name != "std"]
        seen = f"all samples of the last {steps} steps, up to step {step}, earned exactly {reward:g}"
        if parts:
            seen += f" ({', '.join(parts)})"
        if abs(reward) <= 1e-9:
            return [
                Trouble(
                    "reward_always_zero",
                    f"{seen}: the reward never fires, so nothing is learned; usually the responses do not follow the "
                    "mode's template, are cut before the answer, or the answer key does not fit the choices: read some "
                    "completions and run `sari-train preflight`",
                )
            ]
        if self.full_reward is not None and math.isclose(reward, self.full_reward, rel_tol=1e-6):
            return [
                Trouble(
                    "reward_always_full",
                    f"{seen}, all there is to earn: nothing is left to learn from these prompts; stop here, or take "
                    "harder questions (curriculum hard_to_easy or adaptive, dynamic_sampling)",
                )
            ]
        return [
            Trouble(
                "reward_constant",
                f"{seen}: every group is flat, so nothing is learned; usually one reward is always full while another "
                "never fires, or all responses have become the same: read some completions and see which one it is",
            )
        ]

    def _truncation(self, step: int, metrics: Mapping[str, float]) -> list[Trouble]:
        steps = self._streak("truncated", None if "truncated" not in metrics else metrics["truncated"] >= 1)
        if steps < self._truncated_steps:
            return []
        bound = "" if self.max_new_tokens is None else f" of {self.max_new_tokens} tokens"
        return [
            Trouble(
                "all_truncated",
                f"every response of the last {steps} steps, up to step {step}, was cut at the limit{bound}, so none "
                "reached its answer: usually max_new_tokens is too small for the mode, or the model no longer ends its "
                "turn; raise max_new_tokens, or warm up with SFT on chains that end",
            )
        ]

    def _no_lesson(self, step: int, metrics: Mapping[str, float]) -> list[Trouble]:
        flat = None if "flat_groups" not in metrics else metrics["flat_groups"] >= 1
        steps = self._streak("flat", flat)
        # A constant reward makes every group flat, and its message says more.
        if steps < self._flat_steps or self._streaks["constant"] >= self._constant_steps:
            return []
        return [
            Trouble(
                "no_useful_groups",
                f"no group of the last {steps} steps, up to step {step}, had samples with different rewards, so "
                "nothing was learned: usually the questions are all too easy or too hard, or the samples of a group "
                "are all alike; set dynamic_sampling, another curriculum, a larger group_size or a higher temperature",
            )
        ]

    def _entropy(self, step: int, metrics: Mapping[str, float]) -> list[Trouble]:
        entropy = metrics.get("entropy", math.nan)
        if not math.isfinite(entropy):
            return []
        if len(self._first_entropies) < ENTROPY_FIRST:
            self._first_entropies = [*self._first_entropies, entropy]
            return []
        first = median(self._first_entropies)
        steps = self._streak("entropy", entropy < ENTROPY_SHARE * first and entropy < ENTROPY_NATS)
        if steps < ENTROPY_STEPS:
            return []
        return [
            Trouble(
                "entropy_collapse",
                f"the entropy has been below {ENTROPY_SHARE:.0%} of its first value for {steps} steps and is "
                f"{entropy:.2g} nats a token at step {step} (it was {first:.2g}): the samples of a group are nearly "
                "all alike, so little is left to learn from; lower learning_rate, raise clip_epsilon_high or beta, or "
                "go back to an earlier checkpoint",
            )
        ]

    def _streak(self, name: str, holds: bool | None) -> int:
        """Count steps in a row; a step that does not say (None) neither counts nor breaks, and tells nothing."""
        if holds is None:
            return 0
        self._streaks[name] = self._streaks[name] + 1 if holds else 0
        return self._streaks[name]
