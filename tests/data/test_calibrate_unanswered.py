"""Questions that a responder cannot answer: told, set beside, and never counted as wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from calibration_examples import Chances, make

from sari_data import stages
from sari_data.answer_cache import CachedResponder
from sari_data.calibrate import Calibrate, calibrated, measure, side_split
from sari_data.errors import ResponderError
from sari_data.funnel import Funnel
from sari_data.responder import Request, Response, Sampling
from sari_data.scratch import Scratch
from sari_data.types import PassRate

FIXED = Calibrate(samples=4, seed=3)
ADAPTIVE = Calibrate.model_validate({"method": "adaptive", "adaptive": {"most": 8, "budget": None}, "seed": 3})


class Choosy:
    """Answers as ``Chances`` does, except the requests whose ids are in ``refused``, from a sample on."""

    name = "choosy@1"

    def __init__(self, chances: dict[str, float], refused: dict[str, int]) -> None:
        self.inner, self.refused, self.failed = Chances(chances), refused, dict[str, str]()

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        self.failed.clear()
        for request in requests:
            given = [s for s in request.wanted if s < self.refused.get(request.id, s + 1)]
            for answer in self.inner.respond([request], sampling):
                if answer.sample in given:
                    yield answer
            if len(given) < request.samples:
                self.failed[request.id] = f"the server refused it (400): prompt of {request.id} is too long"


class _Forgetful(dict[str, str]):
    def __setitem__(self, key: str, value: str) -> None:
        """Keep nothing."""


@pytest.mark.parametrize("how", [FIXED, ADAPTIVE])
def test_a_question_that_cannot_be_answered_has_no_pass_rate_and_changes_no_other(how: Calibrate) -> None:
    questions = make(24)
    chances = {q.id: 0.5 for q in questions}
    refused = {questions[3].id: 0, questions[7].id: 1}  # the second one's first answer does come
    found = measure(questions, Choosy(chances, refused), how)
    assert sorted(found.unanswered) == sorted(refused)
    assert sorted(found.rates) == sorted(q.id for q in questions if q.id not in refused)
    assert len(found.rates) == 22
    summary = found.summary
    assert (summary["questions"], summary["unanswered"]) == (22, 2)
    assert summary["unanswered_because"] == {"the server refused it (400)": 2}
    assert sum(summary["histogram"].values()) == sum(summary["bands"].values()) == 22
    assert summary["asked"] == sum(r[0].samples for r in found.rates.values())
    if how is FIXED:
        others = measure([q for q in questions if q.id not in refused], Choosy(chances, {}), how)
        assert dict(found.rates) == dict(others.rates)
        assert summary["mean_pass_rate"] == others.summary["mean_pass_rate"]
    old = PassRate(1, 2, "other@1", "direct", 0)
    question = questions[3].replace(pass_rates=(old,))
    assert calibrated(question, found) == question
    assert side_split(question, how, found) == "unanswered"
    assert side_split(calibrated(questions[4], found), how, found) in (None, "never_passed")


@pytest.mark.parametrize("how", [FIXED, ADAPTIVE])
def test_a_question_that_only_cannot_be_asked_unheard_keeps_its_pass_rate_and_is_not_marked(how: Calibrate) -> None:
    questions = make(12)
    refused = {f"{questions[2].id}|none": 0, f"{questions[5].id}|other": 2}
    responder = Choosy({q.id: 1.0 for q in questions}, refused)
    found = measure(questions, responder, how.model_copy(update={"listening": True}))
    assert not found.unanswered
    assert [r.audio for r in found.rates[questions[2].id]] == ["own", "other"]
    assert [r.audio for r in found.rates[questions[5].id]] == ["own", "none"]
    assert found.summary["listening"]["none"]["not_asked"] == found.summary["listening"]["other"]["not_asked"] == 1
    assert "passes_without_audio" not in found.flags.get(questions[2].id, ())


def test_a_missing_answer_without_a_reason_is_an_error_and_so_is_nobody_answered() -> None:
    questions = make(4)

    half = {q.id: 0.5 for q in questions}
    silent = Choosy(half, {questions[0].id: 0})
    silent.failed = _Forgetful()
    with pytest.raises(ResponderError, match="gave 0 of 4 samples"):
        measure(questions, silent, FIXED)
    with pytest.raises(ResponderError, match=r"could answer none of 4 questions, the first because of: the server ref"):
        measure(questions, Choosy(half, {q.id: 0 for q in questions}), FIXED)


def test_it_goes_to_a_side_file_and_comes_back_when_it_can_be_answered(tmp_path: Path) -> None:
    questions = make(8)
    responder = Choosy({q.id: 1.0 for q in questions}, {questions[1].id: 0})
    with Scratch(tmp_path / "corpus") as scratch:
        for question in questions:
            scratch.add(question)
        scratch.assign("rl", [q.id for q in questions])
        funnel = Funnel()
        cached = CachedResponder(responder, tmp_path / "answers.sqlite")
        summary = stages.rate(scratch, funnel, cached, FIXED)
        assert summary["unanswered"] == 1
        assert [q.id for q in scratch.questions("unanswered")] == [questions[1].id]
        assert funnel.stages[-1].dropped == {"to the side file unanswered": 1}
        assert funnel.stages[-1].left == 7
        responder.refused.clear()
        asked = sum(map(len, responder.inner.asked.values()))
        assert "unanswered" not in stages.rate(scratch, Funnel(), cached, FIXED)
        assert len(scratch.questions("rl")) == 8
        assert sum(map(len, responder.inner.asked.values())) == asked + 4, "the others are not asked again"
