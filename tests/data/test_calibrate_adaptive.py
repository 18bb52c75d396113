"""Adaptive sampling: where answers go, when it stops, and that nothing but the answers decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from calibration_examples import WORDS, Chances, make
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sari_data.calibrate import Calibrate, calibrated, measure, progress_total, side_split
from sari_data.calibration.features import SOUND_SIZE, collect, measure_sound
from sari_data.calibration.predictor import FOLDS, fold_of, predict
from sari_data.calibration.report import reliability
from sari_data.errors import InputError
from sari_data.types import AudioQuestion, AudioRef, PassRate


def table(**adaptive: object) -> Calibrate:
    return Calibrate.model_validate({"method": "adaptive", "adaptive": adaptive, "seed": 3})


def by_word(questions: Sequence[AudioQuestion], chances: Sequence[float]) -> dict[str, float]:
    return {q.id: chances[i % len(WORDS) % len(chances)] for i, q in enumerate(questions)}


def test_with_full_confidence_and_no_budget_every_count_is_that_of_the_fixed_method() -> None:
    questions = make(24)
    chances = by_word(questions, (0.0, 0.3, 0.7, 1.0))
    fixed = measure(questions, Chances(chances), Calibrate(samples=6, seed=3))
    found = measure(questions, Chances(chances), table(most=6, confidence=1.0, budget=None, step=2))
    assert {i: (r[0].passes, r[0].samples) for i, r in found.rates.items()} == {
        i: (r[0].passes, r[0].samples) for i, r in fixed.rates.items()
    }
    assert all(r[0].estimate is None and r[0].band is None for r in fixed.rates.values())
    assert fixed.summary["asked"] == found.summary["asked"] == 24 * 6


@settings(max_examples=8)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(3, 12), st.floats(3.0, 8.0), st.lists(st.floats(0, 1), min_size=4)
)
def test_no_answer_is_asked_twice_and_the_limits_hold(
    first: int, step: int, most: int, budget: float, chances: list[float]
) -> None:
    questions = make(20)
    responder = Chances(by_word(questions, chances))
    found = measure(questions, responder, table(first=first, step=step, most=most, budget=budget))
    for id_, rates in found.rates.items():
        (rate,) = rates
        assert sorted(responder.asked[id_]) == list(range(rate.samples)), "each sample once, from the first on"
        assert first <= rate.samples <= most
        assert rate.estimate is not None
        assert 0 < rate.estimate < 1
    assert found.summary["asked"] == sum(r[0].samples for r in found.rates.values()) <= max(budget, first) * 20


def test_nothing_depends_on_the_order_of_the_questions() -> None:
    questions = make(40, per_clip=2)
    chances = by_word(questions, (0.05, 0.9, 0.5))
    one = measure(questions, Chances(chances), table(budget=4.0))
    other = measure(questions[::-1], Chances(chances), table(budget=4.0))
    assert dict(one.rates) == dict(other.rates)
    assert one.summary == other.summary


def test_answers_go_where_the_band_is_open() -> None:
    questions = make(120)
    chances = {q.id: (1.0 if i % 2 else 0.5) for i, q in enumerate(questions)}
    found = measure(questions, Chances(chances), table(budget=5.0))
    spent = {
        chance: np.mean([found.rates[i][0].samples for i, c in chances.items() if c == chance]) for chance in (1, 0.5)
    }
    assert spent[0.5] > 1.2 * spent[1]
    bands = [found.rates[i][0].band for i, c in chances.items() if c == 1.0]
    assert bands.count("always") > 0.9 * len(bands)
    assert found.summary["bands"] == found.summary["histogram"]
    assert sum(found.summary["bands"].values()) == 120


def test_sampling_ends_once_all_are_sure_or_the_budget_is_used_up() -> None:
    questions = make(60)
    sure = measure(questions, Chances({q.id: 1.0 for q in questions}), table(budget=None, confidence=0.9, most=30))
    assert sure.summary["settled"] == 60
    assert sure.summary["samples"] < 8
    open_ = measure(questions, Chances({q.id: 0.66 for q in questions}), table(budget=3.0, confidence=0.99))
    assert open_.summary["asked"] == 180


def test_every_question_is_told_of_once() -> None:
    questions, told = make(30), []
    how = Calibrate.model_validate({"method": "adaptive", "adaptive": {"budget": 3.0}, "listening": True})
    measure(questions, Chances({q.id: 0.5 for q in questions}), how, told.append)
    assert sum(told) == progress_total(how, 30) == 90


def test_a_corpus_of_none_or_one_question_is_calibrated_too() -> None:
    assert measure([], Chances({}), table()).summary["questions"] == 0
    found = measure(make(1), Chances({"q0000": 1.0}), table(budget=None, most=5))
    assert found.rates["q0000"][0].samples <= 5


def test_never_passed_takes_more_than_a_few_wrong_answers() -> None:
    (question,) = make(1)
    few = question.replace(pass_rates=(PassRate(0, 2, "m", "direct", 0, estimate=0.2, band="hard"),))
    none = question.replace(pass_rates=(PassRate(0, 9, "m", "direct", 0, estimate=0.02, band="never"),))
    fixed = question.replace(pass_rates=(PassRate(0, 8, "m", "direct", 0), PassRate(3, 8, "m", "direct", 0, "none")))
    assert [side_split(q, Calibrate()) for q in (few, none, fixed)] == [None, "never_passed", "never_passed"]
    assert side_split(none, Calibrate(drop_never_passed=False)) is None


def test_a_second_calibration_replaces_its_like_and_leaves_others() -> None:
    (question,) = make(1)
    other = PassRate(1, 4, "somebody", "direct", 3)
    question = question.replace(pass_rates=(other,), flags=("contaminated",))
    found = measure([question], Chances({question.id: 1.0}), table(budget=3.0))
    twice = calibrated(calibrated(question, found), found)
    assert twice.pass_rates == (other, *found.rates[question.id])
    assert twice.flags == ("contaminated",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "lucky"}, "adaptive"),
        ({"adaptive": {"first": 5, "most": 4}}, "most must be at least first"),
        ({"adaptive": {"budget": 1.5}}, "budget must be at least first"),
        ({"adaptive": {"confidence": 0.2}}, "greater than 0.5"),
        ({"drop_passed_unheard": True}, "set listening to true"),
    ],
)
def test_wrong_tables_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Calibrate.model_validate(given)


def test_an_answer_that_is_withheld_is_told_before_anything_is_asked() -> None:
    responder = Chances({})
    with pytest.raises(InputError, match="its answer is withheld"):
        measure([make(1)[0].replace(answer=None)], responder, table())
    assert responder.requests == []


def test_a_question_is_predicted_from_other_clips_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sari_data.calibration.predictor.FREEDOMS", (1.0,))
    questions = make(200, per_clip=2)
    rows = {q.id: i for i, q in enumerate(questions)}
    features = collect(questions, rows)
    assert features.unread == 100
    folds = fold_of([bytes.fromhex(q.audio.key) for q in questions], 0)
    assert set(folds) == set(range(FOLDS))
    assert np.array_equal(folds[::2], folds[1::2]), "questions about one clip stay together"
    passes = np.array([4 * (i % len(WORDS) < 4) for i in range(200)])
    found = predict(features, passes, 4 - passes, folds)
    assert np.mean((found > 0.5) == (passes > 2)) > 0.95
    # Whatever a question's own fold answered changes nothing for it: a predictor that saw it would move.
    changed = np.where(folds == folds[0], 4 - passes, passes)
    again = predict(features, changed, 4 - changed, folds)
    assert again[0] == found[0]
    assert abs(predict(features, changed, 4 - changed, (folds + np.arange(200)) % FOLDS)[0] - found[0]) > 0.05


def test_sound_is_measured_whatever_the_clip(scene_wav: bytes) -> None:
    found = measure_sound(AudioRef(path="a.wav", data=scene_wav))
    assert found is not None
    assert found.shape == (SOUND_SIZE,)
    assert np.isfinite(found).all()
    assert measure_sound(AudioRef(path="b.wav", data=b"no audio")) is None


@pytest.fixture
def scene_wav() -> bytes:
    from sari_data.audio import encode_wav

    return encode_wav(np.sin(np.arange(4000) / 5), 16_000)


def test_the_brier_score_and_the_curve_are_counted_answer_by_answer() -> None:
    right, wrong = np.array([0.95, 0.2, 0.5]), np.array([0.9, 0.3, np.nan])
    passes, failures = np.array([3, 1, 2]), np.array([1, 4, 0])
    found = reliability(right, wrong, passes, failures)
    each = [(0.95, 1)] * 3 + [(0.9, 0)] + [(0.2, 1)] + [(0.3, 0)] * 4 + [(0.5, 1)] * 2
    assert found["answers"] == len(each)
    assert found["brier"] == pytest.approx(sum((p - y) ** 2 for p, y in each) / len(each), abs=1e-4)
    top = found["bins"][-1]
    assert (top["answers"], top["observed"]) == (4, 0.75)
    assert reliability(right[:0], wrong[:0], passes[:0], failures[:0])["brier"] is None


def test_estimates_are_scored_by_answers_that_came_after_them() -> None:
    questions = make(600)
    chances = {q.id: (at % 20 + 0.5) / 20 for at, q in enumerate(questions)}
    found = measure(questions, Chances(chances), table(budget=4.0, sound=False)).summary
    scored = found["estimates"]
    assert scored["answers"] == found["asked"] - 600 * 2, "all but the first two answers to each"
    assert scored["brier"] < scored["brier_of_mean"]
    # Where answers are left out of beliefs that they had a part in, these are wrong by 0.2 and more.
    off = [abs(b["predicted"] - b["observed"]) for b in scored["bins"] if b["answers"] >= 100]
    assert len(off) >= 4
    assert max(off) < 0.12
