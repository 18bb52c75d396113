"""The listening check: what is asked without its audio, and what is marked for it."""

from __future__ import annotations

import numpy as np
import pytest
from calibration_examples import Chances, make

from sari_data.calibrate import Calibrate, calibrated, measure, side_split
from sari_data.calibration.asking import Questioner, survey
from sari_data.calibration.listening import chance_as_often, flat_beliefs, pair_clips, verdicts
from sari_data.calibration.posterior import RIGHT_K, WRONG_K, Beliefs
from sari_data.responder import Sampling

HOW = Calibrate.model_validate({"samples": 8, "seed": 2, "listening": True, "drop_passed_unheard": True})


def test_what_is_asked_unheard_is_the_same_question_and_its_clip_another() -> None:
    questions = make(24, per_clip=2)
    responder = Chances({q.id: 1.0 for q in questions})
    found = measure(questions, responder, HOW)
    asked = {r.id: r for r in responder.requests}
    clips = {q.audio.key: q.domain for q in questions}
    for question in questions:
        own, none, other = (asked[question.id + end] for end in ("", "|none", "|other"))
        assert own.prompt == none.prompt == other.prompt
        assert none.audio is None
        assert other.audio is not None
        assert other.audio.key != question.audio.key
        assert clips[other.audio.key] == question.domain
        assert [rate.audio for rate in found.rates[question.id]] == ["own", "none", "other"]
    assert found.summary["listening"]["none"]["asked"] == 24 * 8


def test_the_other_clip_depends_on_the_seed_and_not_on_the_order() -> None:
    questions = make(60)
    known, back = survey(questions), survey(questions[::-1])
    assert pair_clips(known, 1) == pair_clips(back, 1) != pair_clips(known, 2)
    assert all(known.clips[row] != clip for row, clip in pair_clips(known, 1).items())
    alone = survey(make(3))  # one clip in each domain: then it is one of another domain
    assert len(pair_clips(alone, 1)) == 3
    assert pair_clips(survey(make(2, per_clip=2)), 1) == {}


def test_chunks_of_questions_give_the_same_counts() -> None:
    questions = make(20)
    known = survey(questions)
    wanted, none = np.full(20, 4), np.zeros(20, dtype=np.int64)
    counts = []
    for chunk in (3, 8192):
        asker = Questioner(questions, known, Chances({}), "direct", Sampling(seed=1))
        counts.append(asker.ask_with(wanted, none, pair_clips(known, 1), chunk=chunk).tolist())
    assert counts[0] == counts[1]
    assert sum(counts[0]) > 0


def test_one_clip_has_no_other_and_that_is_told() -> None:
    questions = make(2, per_clip=2)
    found = measure(questions, Chances({q.id: 1.0 for q in questions}), HOW)
    assert [rate.audio for rate in found.rates["q0000"]] == ["own", "none"]
    assert found.summary["listening"]["other"]["not_asked"] == 2


def test_the_chance_is_that_of_drawing_from_both_beliefs() -> None:
    rng = np.random.default_rng(0)
    for passes, samples, own_passes, own_samples, margin in ((8, 8, 8, 8, 0.2), (3, 8, 7, 8, 0.2), (5, 6, 1, 4, 0.0)):
        own = flat_beliefs(np.array([own_passes]), np.array([own_samples]))
        found = chance_as_often(own, np.array([passes]), np.array([samples]), margin)[0]
        heard = rng.beta(1 + own_passes, 1 + own_samples - own_passes, 400_000)
        unheard = rng.beta(1 + passes, 1 + samples - passes, 400_000)
        assert found == pytest.approx(np.mean(heard - unheard <= margin), abs=3e-3)
        assert abs(found - np.mean(heard - unheard <= margin + 0.05)) > 3e-3, "the tolerance notices another margin"


def test_the_chance_follows_a_mixed_belief_too() -> None:
    rng = np.random.default_rng(1)
    prior = rng.dirichlet(np.ones(len(RIGHT_K)))[None]
    own = Beliefs(prior, np.array([3]), np.array([1]))
    which = rng.choice(len(RIGHT_K), 400_000, p=own.weights_NK[0])
    heard = rng.beta(RIGHT_K[which] + 3, WRONG_K[which] + 1)
    expected = np.mean(heard - rng.beta(1 + 6, 1 + 2, 400_000) <= 0.2)
    assert chance_as_often(own, np.array([6]), np.array([8]), 0.2)[0] == pytest.approx(expected, abs=3e-3)


def test_what_eight_answers_can_and_cannot_say() -> None:
    guesses = np.full(5, 0.25)
    own = flat_beliefs(np.array([8, 6, 2, 8, 4]), np.full(5, 8))
    as_often, beats = verdicts(own, np.array([8, 6, 2, 4, 8]), np.full(5, 8), guesses, 0.2)
    marked = np.minimum(as_often, beats) >= 0.9
    # Equal shares of 6 are no evidence of equal chances, and equal shares of 2 are guesses.
    assert marked.tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("method", ["fixed", "adaptive"])
def test_questions_that_need_no_hearing_are_marked_and_moved(method: str) -> None:
    questions = make(60)
    deaf = {q.id for q in questions[::3]}
    own = {q.id: 1.0 for q in questions}
    responder = Chances(own, {q.id: 1.0 if q.id in deaf else 0.2 for q in questions})
    how = HOW.model_copy(update={"method": method})
    found = measure(questions, responder, how)
    flags = ("passes_without_audio", "passes_with_other_audio")
    assert dict(found.flags) == dict.fromkeys(deaf, flags)
    assert found.summary["listening"]["marked"] == len(deaf)
    moved = {q.id for q in questions if side_split(calibrated(q, found), how) == "passed_unheard"}
    assert moved == deaf
    assert side_split(calibrated(questions[0], found), how.model_copy(update={"drop_passed_unheard": False})) is None
    if method == "adaptive":
        assert found.summary["listening"]["none"]["asked"] < 60 * 16 * 0.6, "the clear ones are not asked to the end"


def test_a_check_that_finds_nothing_takes_old_marks_away() -> None:
    (question, *_) = questions = make(6)
    marked = question.replace(flags=("near_duplicate", "passes_without_audio"))
    found = measure(questions, Chances({q.id: 1.0 for q in questions}, {q.id: 0.0 for q in questions}), HOW)
    assert calibrated(marked, found).flags == ("near_duplicate",)
