"""Rewards of packages that pip has really installed, found through their entry points."""

from __future__ import annotations

import sys

import pytest

from sari_data.errors import InputError, PluginError
from sari_data.types import AudioQuestion
from sari_train.rewards import Sample, Settings, check_rewards, list_rewards, load_rewards, score

SETTINGS = Settings("structured", thought_words=10)


def test_without_the_package_its_reward_is_unknown() -> None:
    assert "brief" not in list_rewards()
    with pytest.raises(
        InputError, match=r"'brief' is not registered; found .*'accuracy'.*: correct the name, or install"
    ):
        check_rewards(["brief"])


@pytest.mark.usefixtures("plugin")
def test_listing_and_checking_import_nothing() -> None:
    assert {"accuracy", "brief", "fragile", "picky"} <= set(list_rewards())
    check_rewards(["accuracy", "brief", "fragile"])
    assert "sari_example_plugin" not in sys.modules


@pytest.mark.usefixtures("plugin")
def test_a_reward_of_a_package_is_scored_with_the_others_and_knows_the_settings(
    scene_questions: list[AudioQuestion],
) -> None:
    rewards = load_rewards(["accuracy", "brief"], SETTINGS)
    question = scene_questions[0]
    sample = Sample(question, "structured", f"one two <answer>{question.answer}</answer>", "stop")
    total, parts = score(sample, {"accuracy": 2.0, "brief": 1.0}, rewards)
    assert parts == {"accuracy": 1.0, "brief": pytest.approx(1 - len(sample.text.split()) / 10)}
    assert total == pytest.approx(2 + parts["brief"])


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fragile", "reward 'fragile' (sari_example_plugin.broken:BrokenReward) fails to load: ModuleNotFoundError"),
        ("unmade", "reward 'unmade' (sari_example_plugin.rewards:unmade) must be a function of the settings"),
        (
            "format",
            "'format' is registered 2 times, by sari_example_plugin.rewards:brief, sari_train.rewards: keep one",
        ),
    ],
)
def test_a_package_that_fails_is_named_and_the_others_go_on(name: str, expected: str) -> None:
    with pytest.raises(PluginError) as error:
        load_rewards([name, "accuracy"], SETTINGS)
    assert expected in str(error.value)
    assert set(load_rewards(["brief", "accuracy"], SETTINGS)) == {"brief", "accuracy"}


@pytest.mark.usefixtures("plugin")
def test_a_reward_of_a_package_may_refuse_the_settings_in_its_own_words() -> None:
    with pytest.raises(InputError, match=r"^reward 'picky' is for mode 'direct'; found 'structured': choose another"):
        load_rewards(["picky"], SETTINGS)
    assert set(load_rewards(["picky"], Settings("direct"))) == {"picky"}
