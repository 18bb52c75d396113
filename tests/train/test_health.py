"""Trouble is told at once and in words, and an ordinary noisy run has none."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sari_train import health
from sari_train.health import Health, Trouble

GROUPS, GROUP_SIZE = 24, 8


def watcher() -> Health:
    return Health(groups=GROUPS, group_size=GROUP_SIZE, full_reward=3.0, max_new_tokens=160)


def ordinary(step: int, noise: random.Random, spread: float = 0.5) -> dict[str, float]:
    """A step of a run that goes well: everything is noisy, the entropy falls, the reward rises."""
    rising = 1 - math.exp(-step / 80)
    return {
        "loss": noise.gauss(0, 0.05),
        "grad_norm": math.exp(noise.gauss(-0.5 - rising, spread)),
        "reward": 1.2 + 1.6 * rising + noise.gauss(0, 0.1),
        "reward_std": max(0.05, 0.9 - 0.6 * rising),
        "reward_accuracy": 0.3 + 0.6 * rising,
        "reward_format": 1.0,
        "truncated": noise.choice([0.0, 0.02, 0.1, 1.0 if step == 7 else 0.3]),
        "flat_groups": min(1.0, max(0.0, 0.3 + 0.5 * rising + noise.gauss(0, 0.1))),
        "entropy": 0.1 + 0.7 * math.exp(-step / 60) + noise.gauss(0, 0.01),
    }


def told(rows: list[dict[str, float]], watch: Health | None = None) -> list[tuple[int, Trouble]]:
    watch = watch or watcher()
    return [(step, trouble) for step, row in enumerate(rows, start=1) for trouble in watch.check(step, row)]


def kinds(rows: list[dict[str, float]], watch: Health | None = None) -> list[tuple[int, str]]:
    return [(step, trouble.kind) for step, trouble in told(rows, watch)]


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.05, 0.8), st.floats(-6, 6))
def test_an_ordinary_noisy_run_has_no_trouble(seed: int, spread: float, scale: float) -> None:
    noise = random.Random(seed)
    rows = [ordinary(step, noise, spread) for step in range(1, 301)]
    for row in rows:
        row["grad_norm"] *= 10**scale  # the unit of the gradient does not matter
    assert told(rows) == []


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.05, 0.5), st.integers(21, 200))
def test_a_spike_of_the_gradient_is_told_at_its_step(seed: int, spread: float, at: int) -> None:
    noise = random.Random(seed)
    rows = [ordinary(step, noise, spread) for step in range(1, 211)]
    rows[at - 1]["grad_norm"] = 1000 * max(row["grad_norm"] for row in rows)
    assert kinds(rows) == [(at, "gradient_spike")]


def test_the_threshold_of_a_spike_is_the_documented_one() -> None:
    """Quiet norms of 1: the bound is e^(8 * 0.25) = 7.389."""
    quiet = [{"grad_norm": 1.0}] * 30
    assert kinds([*quiet, {"grad_norm": 7.38}]) == []
    assert kinds([*quiet, {"grad_norm": 7.40}]) == [(31, "gradient_spike")]
    # Norms that alternate between 1 and e: the median absolute deviation of the logarithms is 0.5 around 0.5.
    wide = [{"grad_norm": math.exp(i % 2)} for i in range(30)]
    bound = math.exp(0.5 + 8 * 1.4826 * 0.5)
    assert kinds([*wide, {"grad_norm": bound * 0.999}]) == []
    assert kinds([*wide, {"grad_norm": bound * 1.001}]) == [(31, "gradient_spike")]


def test_the_first_steps_raise_no_alarm() -> None:
    assert kinds([{"grad_norm": 1.0}] * 19 + [{"grad_norm": 1e6}]) == []
    assert kinds([{"grad_norm": 1.0}] * 20 + [{"grad_norm": 1e6}]) == [(21, "gradient_spike")]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("loss", "loss_not_finite"), ("grad_norm", "gradient_not_finite"), ("kl", "metric_not_finite")],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_told_in_the_first_step_too(name: str, kind: str, value: float) -> None:
    ((step, trouble),) = told([{"loss": 0.1} | {name: value}])
    assert (step, trouble.kind) == (1, kind)
    assert "step 1" in trouble.message
    assert str(value) in trouble.message


@pytest.mark.parametrize(
    ("reward", "kind", "words"),
    [
        (0.0, "reward_always_zero", "never fires"),
        (3.0, "reward_always_full", "nothing is left to learn"),
        (1.0, "reward_constant", "accuracy 0, format 1"),
    ],
)
def test_a_constant_reward_is_told_apart(reward: float, kind: str, words: str) -> None:
    noise = random.Random(0)
    rows = [ordinary(step, noise) for step in range(1, 41)]
    for row in rows[30:]:
        row |= {"reward": reward, "reward_std": 0.0, "reward_accuracy": 0.0, "reward_format": 1.0, "flat_groups": 1.0}
    ((step, trouble),) = told(rows)
    assert (step, trouble.kind) == (35, kind), "at the fifth step of 192 samples, and once"
    assert words in trouble.message
    assert "up to step 35" in trouble.message


def test_equal_means_of_unequal_samples_are_no_constant() -> None:
    assert told([{"reward": 1.5, "reward_std": 0.5}] * 50) == []
    changing = [{"reward": float(i % 2), "reward_std": 0.0} for i in range(50)]
    assert told(changing) == []


def test_few_samples_a_step_need_more_steps() -> None:
    watch = Health(groups=2, group_size=2, full_reward=3.0)
    row = {"reward": 0.0, "reward_std": 0.0, "flat_groups": 1.0, "truncated": 1.0}
    assert kinds([row] * 200, watch) == [(16, "all_truncated"), (50, "reward_always_zero")]


def test_all_responses_cut() -> None:
    rows = [{"truncated": 0.9}] * 5 + [{"truncated": 1.0}] * 2 + [{"truncated": 0.99}] + [{"truncated": 1.0}] * 20
    ((step, trouble),) = told(rows)
    assert (step, trouble.kind) == (11, "all_truncated")
    assert "160 tokens" in trouble.message


def test_no_useful_groups_although_rewards_differ() -> None:
    row = {"reward": 1.5, "reward_std": 0.7, "flat_groups": 1.0}
    assert kinds([row | {"flat_groups": 0.99}] * 30 + [row] * 30) == [(40, "no_useful_groups")]


def test_entropy_collapse_needs_a_fall_and_to_last() -> None:
    high, low = {"entropy": 0.8}, {"entropy": 0.01}
    assert kinds([high] * 20 + [low] * 9 + [high] * 20) == []
    assert kinds([high] * 20 + [low] * 30) == [(30, "entropy_collapse")]
    assert kinds([low] * 100) == [], "a model that begins so has not fallen"
    assert kinds([{"entropy": 8.0}] * 20 + [{"entropy": 0.3}] * 30) == [], "0.3 nats are no collapse"


def test_each_kind_is_told_once_an_episode() -> None:
    bad, good = {"loss": math.nan}, {"loss": 0.1}
    assert kinds([bad] * 40) == [(1, "loss_not_finite")]
    flapping = [bad, good] * 20
    assert kinds(flapping) == [(1, "loss_not_finite")]
    again = [bad] + [good] * health.EPISODE_END + [bad]
    assert kinds(again) == [(1, "loss_not_finite"), (len(again), "loss_not_finite")]
    sooner = [bad] + [good] * (health.EPISODE_END - 1) + [bad]
    assert kinds(sooner) == [(1, "loss_not_finite")]


def test_a_step_without_a_number_neither_counts_nor_breaks() -> None:
    rows = [{"truncated": 1.0}, {"loss": 0.0}, {"truncated": 1.0}, {"loss": 0.0}, {"truncated": 1.0}]
    assert kinds(rows) == [(5, "all_truncated")]


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(0, 119))
def test_a_run_that_goes_on_tells_what_an_undisturbed_one_tells(seed: int, cut: int) -> None:
    noise = random.Random(seed)
    rows = [ordinary(step, noise) for step in range(1, 121)]
    for step in noise.sample(range(120), 6):
        rows[step] |= noise.choice(
            [{"loss": math.nan}, {"grad_norm": 1e9}, {"grad_norm": math.inf}, {"reward": math.nan, "reward_std": 0.0}]
        )
    for row in rows[60:]:
        row |= {"reward": 3.0, "reward_std": 0.0, "flat_groups": 1.0, "truncated": 1.0, "entropy": 0.001}
    whole = told(rows)
    first = watcher()
    before = [(step, t) for step, row in enumerate(rows[:cut], start=1) for t in first.check(step, row)]
    state = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    second = watcher()
    second.load_state_dict(state)
    after = [(step, t) for step, row in enumerate(rows[cut:], start=cut + 1) for t in second.check(step, row)]
    assert before + after == whole
    assert len(whole) >= 4
