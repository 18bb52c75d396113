"""The order of prompts and chains."""

from __future__ import annotations

import pytest

from sari_data.errors import InputError
from sari_data.types import AudioQuestion, PassRate
from sari_train.curriculum import pass_rate, schedule
from sari_train.sft import batch_indices


def rate(passes: int, mode: str = "structured") -> PassRate:
    return PassRate(passes, 8, "test", mode, 0)


@pytest.fixture
def rated(scene_questions: list[AudioQuestion]) -> list[AudioQuestion]:
    return [q.replace(pass_rates=(rate(1 + i % 8),)) for i, q in enumerate(scene_questions)]


def rates(questions: list[AudioQuestion], order: list[int]) -> list[float]:
    return [pass_rate(questions[i], "structured") or 0.0 for i in order]


def test_easy_to_hard_falls_over_the_whole_run(rated: list[AudioQuestion]) -> None:
    for draws in (7, 12, 30):
        order = schedule(rated, draws, curriculum="easy_to_hard", mode="structured", seed=1, span="run")
        found = rates(rated, order)
        assert len(order) == draws
        assert found == sorted(found, reverse=True)
        counts = [order.count(i) for i in range(len(rated))]
        assert max(counts) - min(counts) <= 1


def test_random_is_random_and_both_repeat(rated: list[AudioQuestion]) -> None:
    found = schedule(rated, 24, curriculum="random", mode="structured", seed=1)
    assert rates(rated, found) != sorted(rates(rated, found), reverse=True)
    assert sorted(found[:12]) == sorted(found[12:]) == list(range(12))
    assert found[:12] != found[12:]
    for curriculum in ("random", "easy_to_hard"):
        once, again, other = (
            schedule(rated, 24, curriculum=curriculum, mode="structured", seed=s)  # type: ignore[arg-type]
            for s in (1, 1, 2)
        )
        assert once == again != other


def test_pass_rates_of_the_mode_come_first(scene_questions: list[AudioQuestion]) -> None:
    question = scene_questions[0].replace(pass_rates=(rate(8, "direct"), rate(2), rate(4)))
    assert pass_rate(question, "structured") == 6 / 16
    assert pass_rate(question, "unstructured") == 14 / 24


def test_an_uncalibrated_corpus_says_what_to_run(rated: list[AudioQuestion]) -> None:
    questions = [rated[0], rated[1].replace(pass_rates=())]
    with pytest.raises(InputError, match="1 of 2 have none: run `sari-data calibrate`"):
        schedule(questions, 4, curriculum="easy_to_hard", mode="structured", seed=0)
    assert len(schedule(questions, 4, curriculum="random", mode="structured", seed=0)) == 4


def test_chains_come_pass_after_pass_whatever_the_batch_size() -> None:
    by_five = [i for step in range(8) for i in batch_indices(12, 5, step, seed=3)]
    by_twenty = [i for step in range(2) for i in batch_indices(12, 20, step, seed=3)]
    assert by_five == by_twenty
    assert sorted(by_five[:12]) == sorted(by_five[12:24]) == list(range(12))
    assert by_five[:12] != by_five[12:24]
