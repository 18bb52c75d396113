"""Which pass rates the curriculum goes by: those of one's own hearing, and of the calibration that is named."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sari_data.errors import InputError
from sari_data.types import AudioQuestion, AudioRef, PassRate
from sari_train.config import CalibrationName, Grpo
from sari_train.curriculum import PromptStream, breakdown, check_curriculum, pass_rate
from sari_train.pass_rates import evidence, lessons


def question(number: int, *rates: PassRate) -> AudioQuestion:
    return AudioQuestion(
        id=f"q{number}",
        audio=AudioRef(path=f"{number}.wav"),
        question="What?",
        choices=("a", "b"),
        answer="a",
        domain="sound",
        pass_rates=rates,
    )


LIVING = (
    PassRate(8, 8, "big@11", "direct", 0),
    PassRate(2, 8, "small@22", "direct", 0),
    PassRate(4, 8, "small@22", "structured", 1),
    PassRate(7, 8, "small@22", "structured", 1, audio="none"),
    PassRate(8, 8, "small@22", "structured", 1, audio="other"),
)


def test_what_was_not_heard_never_counts() -> None:
    assert pass_rate(question(0, *LIVING), "structured") == 0.5
    assert pass_rate(question(0, *LIVING[3:]), "structured") is None
    with pytest.raises(InputError, match="1 of 1 have none"):
        check_curriculum([question(0, *LIVING[3:])], curriculum="easy_to_hard", mode="structured")


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"responder": "big@11"}, 1.0),
        ({"responder": "small", "mode": "direct"}, 0.25),
        ({"responder": "small"}, 6 / 16),
        ({"seed": 1}, 0.5),
    ],
)
def test_the_named_calibration_counts_whatever_the_runs_mode(named: dict[str, object], expected: float) -> None:
    assert pass_rate(question(0, *LIVING), "structured", CalibrationName.model_validate(named)) == expected


def test_an_estimate_counts_in_place_of_the_share() -> None:
    estimated = question(0, PassRate(2, 2, "small@22", "direct", 0, estimate=0.8, band="easy"))
    assert pass_rate(estimated, "direct") == pytest.approx(0.8)
    assert evidence(estimated, "direct") == (1.6, 2)
    assert "pass_rate/easy" in breakdown([estimated], [1.0], "direct")
    # Two right answers do not say that a question is always passed; its band does.
    assert lessons(estimated, "direct") == "some"
    assert lessons(question(0, PassRate(3, 3, "s", "direct", 0, estimate=0.97, band="always")), "direct") == "always"
    assert lessons(question(0, PassRate(0, 8, "s", "direct", 0)), "direct") == "never"
    assert lessons(question(0), "direct") is None


@pytest.mark.parametrize("curriculum", ["easy_to_hard", "random", "adaptive"])
def test_a_calibration_that_is_not_there_is_told_with_those_that_are(curriculum: str) -> None:
    questions = [question(0, *LIVING), question(1, *LIVING[:1])]
    wanted = CalibrationName(responder="small", seed=1)
    with pytest.raises(InputError) as caught:
        PromptStream(questions, 4, curriculum=curriculum, mode="direct", seed=0, calibration=wanted)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "responder 'small', seed 1, but 1 of 2 questions have none such" in text
    assert "'big@11' in mode 'direct' with seed 0 (2 questions)" in text
    assert "'small@22' in mode 'structured' with seed 1 (1 questions)" in text
    with pytest.raises(InputError, match="found no pass rates at all"):
        check_curriculum([question(0)], curriculum="random", mode="direct", calibration=wanted)


def test_the_order_follows_the_named_calibration() -> None:
    a = question(0, PassRate(1, 8, "one", "direct", 0), PassRate(7, 8, "two", "direct", 0))
    b = question(1, PassRate(6, 8, "one", "direct", 0), PassRate(2, 8, "two", "direct", 0))
    orders = {}
    for name in ("one", "two"):
        named = CalibrationName(responder=name)
        stream = PromptStream([a, b], 2, curriculum="easy_to_hard", mode="direct", seed=0, calibration=named)
        orders[name] = stream.take(2)
    assert orders == {"one": [1, 0], "two": [0, 1]}


def test_the_recipe_names_it() -> None:
    table = Grpo.model_validate({"calibration": {"responder": "tiny", "mode": "direct", "seed": 0}})
    assert table.calibration == CalibrationName(responder="tiny", mode="direct", seed=0)
    assert Grpo.model_validate({}).calibration is None
    with pytest.raises(ValidationError, match="expected a responder, a mode or a seed"):
        Grpo.model_validate({"calibration": {}})
