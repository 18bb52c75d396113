"""The stream of prompts: orders, coverage, adaptation, and going on from a saved state."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.errors import CheckpointError, InputError
from sari_data.types import AudioQuestion, AudioRef, PassRate
from sari_train.config import Grpo
from sari_train.curriculum import (
    RATED,
    Curriculum,
    PromptStream,
    breakdown,
    check_curriculum,
    difficulty,
    pass_rate,
    schedule,
)
from sari_train.disagreement import Beliefs, expected_disagreement

CURRICULA = get_args(Curriculum)
FIXED = [name for name in CURRICULA if name != "adaptive"]


def question(at: int, passes: int | None, **changes: Any) -> AudioQuestion:
    """A question with ``passes`` of 8, or without a pass rate."""
    rates = () if passes is None else (PassRate(passes, 8, "test", "structured", 0),)
    return AudioQuestion(
        id=f"q{at}",
        audio=AudioRef(path="a.wav"),
        question="?",
        choices=("a", "b"),
        answer="a",
        **{"domain": "sound", "pass_rates": rates} | changes,
    )


def rated(passes: Sequence[int | None]) -> list[AudioQuestion]:
    return [question(at, p) for at, p in enumerate(passes)]


def stream(passes: Sequence[int | None], draws: int, curriculum: str, seed: int = 0, **options: Any) -> PromptStream:
    return PromptStream(
        rated(passes),
        draws,
        curriculum=curriculum,  # type: ignore[arg-type]
        mode="structured",
        seed=seed,
        **options,
    )


PASSES = st.lists(st.integers(0, 8), min_size=1, max_size=15)
TAKES = st.lists(st.integers(0, 20), max_size=8)


def test_the_recipe_and_the_stream_know_the_same_curricula() -> None:
    assert set(get_args(Grpo.model_fields["curriculum"].annotation)) == set(CURRICULA)


def test_recorded_orders_stay_as_they_were() -> None:
    """Draw for draw what runs recorded before had: their results depend on it."""
    questions = rated([0, 5, 1, 6, 2, 7])
    for curriculum, order in {
        "easy_to_hard": [5, 5, 3, 3, 1, 1, 4, 4, 4, 2, 2, 2, 0, 0],
        "random": [4, 5, 0, 2, 1, 3, 3, 1, 0, 2, 4, 5, 2, 4],
    }.items():
        found = schedule(questions, 14, curriculum=curriculum, mode="structured", seed=5, span="run")  # type: ignore[arg-type]
        assert found == order


@given(passes=PASSES, draws=st.integers(0, 60), takes=TAKES, seed=st.integers(0, 5), curriculum=st.sampled_from(FIXED))
def test_a_stream_is_its_schedule_however_it_is_taken(
    passes: list[int], draws: int, takes: list[int], seed: int, curriculum: Any
) -> None:
    expected = schedule(rated(passes), draws, curriculum=curriculum, mode="structured", seed=seed)
    one = stream(passes, draws, curriculum, seed)
    found = [i for n in takes for i in one.take(n)]
    assert len(found) == sum(takes)
    assert found[:draws] == expected[: len(found)]
    assert stream(passes, draws, curriculum, seed).take(sum(takes)) == found


@given(passes=PASSES, draws=st.integers(0, 60), more=st.integers(0, 60), curriculum=st.sampled_from(FIXED))
def test_every_question_is_drawn_equally_often_give_or_take_once(
    passes: list[int], draws: int, more: int, curriculum: Any
) -> None:
    one = stream(passes, draws, curriculum)
    counts = Counter(dict.fromkeys(range(len(passes)), 0))
    counts.update(one.take(draws))
    assert max(counts.values()) - min(counts.values()) <= 1
    for i in one.take(more):
        counts[i] += 1
        assert max(counts.values()) - min(counts.values()) <= 1


@given(passes=PASSES, draws=st.integers(0, 60), more=st.integers(0, 40), curriculum=st.sampled_from(FIXED))
def test_every_epoch_covers_every_question(passes: list[int], draws: int, more: int, curriculum: Any) -> None:
    count = len(passes)
    order = stream(passes, draws, curriculum).take(draws + more)
    for at in range(0, len(order) - count + 1, count):
        epoch = order[at : at + count]
        assert sorted(epoch) == list(range(count))
        if at + count <= draws or at >= draws:  # the plan's end may cut an epoch in two, each in its order
            found = [passes[i] for i in epoch]
            if curriculum == "easy_to_hard":
                assert found == sorted(found, reverse=True)
            if curriculum == "hard_to_easy":
                assert found == sorted(found)


@given(passes=PASSES, draws=st.integers(1, 60), curriculum=st.sampled_from(["random", "easy_to_hard", "hard_to_easy"]))
def test_no_question_returns_before_all_its_equals_were_drawn(passes: list[int], draws: int, curriculum: Any) -> None:
    kind = [0] * len(passes) if curriculum == "random" else passes
    order = stream(passes, draws, curriculum, span="run").take(draws)
    for value in set(kind):
        equals = {i for i, k in enumerate(kind) if k == value}
        drawn = [i for i in order if i in equals]
        counts = dict.fromkeys(equals, 0)
        for at, i in enumerate(drawn):
            counts[i] += 1
            if at < len(equals) * (draws // len(passes)):  # the last pass may be cut
                assert max(counts.values()) - min(counts.values()) <= 1
    if curriculum == "easy_to_hard":
        assert [passes[i] for i in order] == sorted((passes[i] for i in order), reverse=True)
    if curriculum == "hard_to_easy":
        assert [passes[i] for i in order] == sorted(passes[i] for i in order)


@given(passes=PASSES, turns=st.integers(1, 4), stages=st.integers(2, 5), seed=st.integers(0, 3))
def test_stages_follow_one_another_and_their_passes_too(passes: list[int], turns: int, stages: int, seed: int) -> None:
    count = len(passes)
    order = stream(passes, turns * count, "staged", seed, stages=stages, span="run").take(turns * count)
    sizes = [len(part) for part in np.array_split(np.arange(count), stages)]
    assert max(sizes) - min(sizes) <= 1
    easiest_first = sorted(passes, reverse=True)
    seen: list[int] = []
    for size in sizes:
        block = order[len(seen) * turns : (len(seen) + size) * turns]
        each_pass = [block[t * size : (t + 1) * size] for t in range(turns)]
        assert all(set(one) == set(each_pass[0]) and len(set(one)) == size for one in each_pass)
        assert sorted((passes[i] for i in each_pass[0]), reverse=True) == easiest_first[len(seen) : len(seen) + size]
        seen += each_pass[0] if each_pass else []
    assert sorted(seen) == list(range(count))


def test_within_a_stage_the_order_is_shuffled() -> None:
    order = stream(list(range(9)), 27, "staged", seed=1, span="run").take(27)
    first = [order[:3], order[3:6], order[6:9]]
    assert all(sorted(one) == [6, 7, 8] for one in first)
    assert len({tuple(one) for one in first}) > 1
    assert order != stream(list(range(9)), 27, "staged", seed=2, span="run").take(27)


def test_draws_beyond_the_plan_first_end_the_pass_and_then_go_on_pass_by_pass() -> None:
    passes = [8, 6, 4, 2]
    one = stream(passes, 6, "easy_to_hard", span="run")
    planned = one.take(6)
    assert [passes[i] for i in planned] == sorted((passes[i] for i in planned), reverse=True)
    rest, again, once_more = one.take(2), one.take(4), one.take(4)
    assert sorted(planned + rest) == sorted([0, 1, 2, 3] * 2)
    assert again == once_more == [0, 1, 2, 3]
    # At random there is nothing to sort, and the plan makes no difference at all.
    assert stream(passes, 6, "random").take(40) == stream(passes, 40, "random").take(40)


@pytest.mark.parametrize("curriculum", RATED)
def test_questions_without_a_pass_rate_are_told(curriculum: Any) -> None:
    questions = rated([3, None, None])
    expected = f"curriculum {curriculum} needs a pass rate for every question, but 2 of 3 have none: run `sari-data cal"
    for make in (
        lambda: PromptStream(questions, 4, curriculum=curriculum, mode="structured", seed=0),
        lambda: schedule(questions, 4, curriculum=curriculum, mode="structured", seed=0),
        lambda: check_curriculum(questions, curriculum=curriculum, mode="structured"),
    ):
        with pytest.raises(InputError, match=expected):
            make()


@pytest.mark.parametrize("curriculum", CURRICULA)
def test_no_questions_are_told_and_others_need_no_pass_rate(curriculum: Any) -> None:
    with pytest.raises(InputError, match="no questions to train on"):
        PromptStream([], 4, curriculum=curriculum, mode="structured", seed=0)
    if curriculum not in RATED:
        assert len(stream([3, None], 4, curriculum).take(5)) == 5


# --- adaptive -------------------------------------------------------------------------------------------------


def test_the_expected_disagreement_by_hand() -> None:
    # Nothing known, G = 2: E[2 p (1 - p)] under Beta(1/2, 1/2) is 2 * 1/8; one pass of one: Beta(3/2, 1/2),
    # E p = 3/4, E p^2 = 3/4 * (5/2) / 3 = 5/8, so 2 (3/4 - 5/8).
    found = expected_disagreement(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 2)
    assert found.tolist() == pytest.approx([0.25, 0.25, 0.25])
    # Exact fractions for G = 8 and Beta(1/2 + 3, 1/2 + 5): products of (1/2 + a + k) / (1 + a + b + k).
    half = Fraction(1, 2)
    all_pass = math.prod((half + 3 + k) / (1 + 8 + k) for k in range(8))
    all_fail = math.prod((half + 5 + k) / (1 + 8 + k) for k in range(8))
    assert expected_disagreement(np.array([[3.0, 5.0]]), 8).tolist() == pytest.approx([float(1 - all_pass - all_fail)])


def test_it_is_the_mean_over_the_belief() -> None:
    """Against the integral over p, by the midpoint rule."""
    p = (np.arange(200_000) + 0.5) / 200_000
    for a, b in ((4.0, 4.0), (12.0, 1.0), (2.0, 9.5)):
        density = p ** (a - 0.5) * (1 - p) ** (b - 0.5)
        expected = (density * (1 - p**8 - (1 - p) ** 8)).sum() / density.sum()
        assert expected_disagreement(np.array([[a, b]]), 8)[0] == pytest.approx(expected, abs=1e-6)


def test_draws_go_where_groups_are_expected_to_disagree() -> None:
    one = stream([None] * 30, 1000, "adaptive", group_size=8)
    for _ in range(4):
        for i in range(30):
            one.record(i, (0, 4, 8)[i % 3], 8)
    # One at a time, so that the shares are the weights: u for each kind, mixed with a tenth that goes to all alike.
    counts = Counter(i % 3 for _ in range(5000) for i in one.take(1))
    believed = np.array([[0, 15], [7.5, 7.5], [15, 0]])
    weights = expected_disagreement(believed, 8)
    share = 0.9 * weights / weights.sum() + 0.1 / 3
    assert [counts[kind] / 5000 for kind in range(3)] == pytest.approx(share.tolist(), abs=0.015)
    assert share[1] > 4 * share[0]
    assert weights[1] / weights.sum() > share[1] + 0.03, "the tenth must be more than the tolerance"


def test_what_was_recorded_long_ago_counts_less() -> None:
    beliefs = Beliefs([(0, 0)], group_size=8, seed=0)
    for _ in range(6):
        beliefs.record(0, 0, 8)
    stuck = beliefs.chances()[0]
    beliefs.record(0, 4, 8)
    beliefs.record(0, 4, 8)
    assert stuck < 0.2
    assert beliefs.chances()[0] > 0.9


def test_the_calibration_is_the_first_belief_and_no_more_than_a_groups_worth() -> None:
    many = question(0, None, pass_rates=(PassRate(500, 1000, "test", "structured", 0),))
    few = question(1, None, pass_rates=(PassRate(1, 2, "test", "structured", 0),))
    one = PromptStream([many, few, question(2, None)], 9, curriculum="adaptive", mode="structured", seed=0)
    assert one._beliefs is not None
    expected = expected_disagreement(np.array([[4.0, 4.0], [1.0, 1.0], [0.0, 0.0]]), 8)
    assert one._beliefs.chances().tolist() == pytest.approx(expected.tolist())


@given(count=st.integers(1, 12), n=st.integers(0, 40), seed=st.integers(0, 3))
def test_a_take_repeats_nothing_while_there_are_others(count: int, n: int, seed: int) -> None:
    taken = stream([None] * count, 10, "adaptive", seed).take(n)
    assert len(taken) == n
    for first in range(0, n, count):
        part = taken[first : first + count]
        assert len(set(part)) == len(part)


def test_adaptive_draws_depend_on_the_seed_and_on_what_was_recorded() -> None:
    def draws(seed: int, recorded: int | None) -> list[int]:
        one = stream([None] * 20, 10, "adaptive", seed)
        one.take(5)
        if recorded is not None:
            for i in range(10):
                one.record(i, recorded, 8)
        return [i for _ in range(200) for i in one.take(5)]

    assert draws(0, None) == draws(0, None) != draws(1, None)
    # Ten questions that are passed half the time against ten of which nothing is known; ten that always are.
    assert sum(i < 10 for i in draws(0, 4)) > 550 > 450 > sum(i < 10 for i in draws(0, 8))


# --- going on -------------------------------------------------------------------------------------------------


def play(one: PromptStream, takes: Sequence[int], first: int = 0) -> list[list[int]]:
    """Take, and record made-up results that depend on the question and the step alone."""
    found = []
    for step, n in enumerate(takes, first):
        found.append(one.take(n))
        for i in found[-1]:
            one.record(i, (i * 5 + step * 3) % 9, 8)
    return found


@given(
    passes=PASSES,
    draws=st.integers(0, 40),
    takes=TAKES,
    at=st.integers(0, 8),
    seed=st.integers(0, 3),
    curriculum=st.sampled_from(CURRICULA),
)
def test_a_stream_that_was_saved_and_restored_goes_on_as_if_nothing_had_happened(
    passes: list[int], draws: int, takes: list[int], at: int, seed: int, curriculum: str
) -> None:
    at = min(at, len(takes))
    undisturbed = play(stream(passes, draws, curriculum, seed), takes)
    one = stream(passes, draws, curriculum, seed)
    play(one, takes[:at])
    saved = json.dumps(one.state_dict())
    play(one, [3, 3], at)  # what a killed run did after its last checkpoint is forgotten
    for fresh in (stream(passes, draws, curriculum, seed), one):
        fresh.load_state_dict(json.loads(saved))
        assert json.dumps(fresh.state_dict()) == saved
        assert play(fresh, takes[at:], at) == undisturbed[at:]


def test_another_curriculum_or_corpus_is_refused() -> None:
    state = stream([1, 2, 3], 9, "random").state_dict()
    with pytest.raises(
        CheckpointError, match="expected the state of curriculum staged over 3 questions, found random ov"
    ):
        stream([1, 2, 3], 9, "staged").load_state_dict(state)
    with pytest.raises(CheckpointError, match="random over 2 questions, found random over 3: go on with the run's own"):
        stream([1, 2], 9, "random").load_state_dict(state)


# --- reports --------------------------------------------------------------------------------------------------


def test_difficulty_is_calibrated_or_else_what_the_corpus_states() -> None:
    bands = [difficulty(q, "structured") for q in rated([8, 6, 5, 3, 2, 0])]
    assert bands == ["easy", "easy", "medium", "medium", "hard", "hard"]
    thirds = question(0, None, pass_rates=(PassRate(2, 3, "test", "direct", 0),))
    assert difficulty(thirds, "structured") == "easy"
    assert difficulty(question(0, 8, difficulty="hard"), "structured") == "easy"
    assert difficulty(question(0, None, difficulty="hard"), "structured") == "hard"
    assert difficulty(question(0, None), "structured") is None
    assert pass_rate(question(0, None), "structured") is None


def test_breakdown_by_difficulty_and_domain() -> None:
    questions = [
        question(0, 8),
        question(1, 7, domain="music"),
        question(2, 0, domain="sound+speech"),
        question(3, None),
    ]
    found = breakdown(questions, [1, 0.5, 0, 0], "structured")
    assert found == {
        "pass_rate/easy": 0.75,
        "pass_rate/hard": 0.0,
        "pass_rate/music": 0.5,
        "pass_rate/sound": 0.5,
        "pass_rate/sound+speech": 0.0,
    }
    assert list(found) == sorted(found, key=lambda name: (name.split("/")[1] not in ("easy", "medium", "hard"), name))
    assert breakdown([], []) == {}
    with pytest.raises(ValueError, match="zip"):
        breakdown(questions, [1, 0])
