"""Pass rates: counted from what was answered, by whom, and never guessed where an answer is lacking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.calibrate import (
    NEVER_PASSED,
    Calibrate,
    calibrated,
    measure,
    open_responder,
    pick_responder,
    side_split,
)
from sari_data.errors import InputError, PluginError, ResponderError, TemplateError
from sari_data.responder import Request, Response, Sampling
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioQuestion, AudioRef, PassRate


def make(number: int) -> list[AudioQuestion]:
    return [
        AudioQuestion(
            id=f"q{i}",
            audio=AudioRef(path=f"clip{i}.wav", data=b"not decoded here"),
            question="What is there to hear?",
            choices=("a dog", "a cat", "a bell"),
            answer="a cat",
            domain="sound",
        )
        for i in range(number)
    ]


def passing(table: dict[str, int]) -> ScriptedResponder:
    """Answers right in the first so many samples of a question."""

    def answer(request: Request, sample: int) -> str:
        return "<answer>a cat</answer>" if sample < table[request.id] else "<answer>a dog</answer>"

    return ScriptedResponder(answer, name="script@1")


def rate(questions: list[AudioQuestion], responder: object, samples: int = 4, seed: int = 3) -> list[AudioQuestion]:
    """The questions with the pass rates of a calibration with a fixed number of samples."""
    found = measure(questions, responder, fixed(samples, seed))  # type: ignore[arg-type]
    return [calibrated(question, found) for question in questions]


def fixed(samples: int, seed: int = 3) -> Calibrate:
    return Calibrate(mode="direct", method="fixed", samples=samples, temperature=1.0, seed=seed, listening=False)


@given(st.lists(st.integers(min_value=0, max_value=4), min_size=1, max_size=12))
def test_a_pass_rate_is_the_number_of_right_answers(passes: list[int]) -> None:
    questions = make(len(passes))
    done = rate(questions, passing({q.id: n for q, n in zip(questions, passes, strict=True)}))
    assert [q.id for q in done] == [q.id for q in questions]
    assert [q.pass_rates for q in done] == [(PassRate(n, 4, "script@1", "direct", 3),) for n in passes]


def test_what_cannot_be_read_or_was_cut_is_not_passed() -> None:
    class Mixed:
        name = "mixed"

        def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
            for request in requests:
                yield Response(request.id, 0, "<answer>a cat</answer>", "stop")
                yield Response(request.id, 1, "<answer>a cat", "length")
                yield Response(request.id, 2, "I hear nothing", "stop")

    assert rate(make(1), Mixed(), samples=3)[0].pass_rates[0].passes == 1


def test_answers_may_come_in_any_order_and_the_seed_reaches_the_responder() -> None:
    seen: list[Sampling] = []

    class Backwards:
        name = "backwards"

        def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
            seen.append(sampling)
            pairs = [(r, s) for r in requests for s in range(r.samples)]
            for request, sample in reversed(pairs):
                yield Response(request.id, sample, "<answer>(B)</answer>" if sample else "<answer>C</answer>", "stop")

    done = rate(make(3), Backwards(), seed=17)
    assert [q.pass_rates[0].passes for q in done] == [3, 3, 3]
    assert seen == [Sampling(temperature=1.0, seed=17)]


def test_the_prompt_is_the_modes_and_shows_the_options() -> None:
    asked: list[Request] = []

    def answer(request: Request, sample: int) -> str:
        asked.append(request)
        return ""

    rate(make(1), ScriptedResponder(answer))
    assert all(option in asked[0].prompt for option in ("What is there to hear?", "a dog", "a cat", "a bell"))


def test_the_same_responder_mode_and_seed_is_replaced_and_others_stay() -> None:
    once = rate(make(1), passing({"q0": 1}), seed=1)
    twice = rate(once, passing({"q0": 2}), seed=2)
    again = rate(twice, passing({"q0": 4}), seed=1)
    assert [(r.seed, r.passes) for r in again[0].pass_rates] == [(2, 2), (1, 4)]


def test_progress_is_told_a_question_at_a_time() -> None:
    steps: list[int] = []
    measure(make(5), passing({f"q{i}": 0 for i in range(5)}), fixed(2), advance=steps.append)
    assert sum(steps) == 5


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([("q0", 0), ("q0", 1)], r"gave 0 of 2 samples of question 'q1'"),
        ([("q0", 0), ("q0", 0)], r"answered sample 0 of question 'q0', which was not asked for or was answered before"),
        ([("q0", 2)], r"answered sample 2 of question 'q0'"),
        ([("other", 0)], r"question 'other', which was not asked for"),
    ],
)
def test_a_responder_that_breaks_its_contract_is_named(answers: list[tuple[str, int]], message: str) -> None:
    class Broken:
        name = "broken@7"

        def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
            list(requests)
            for id_, sample in answers:
                yield Response(id_, sample, "<answer>a cat</answer>", "stop")

    with pytest.raises(ResponderError, match=message) as caught:
        rate(make(2), Broken(), samples=2)
    assert "broken@7" in str(caught.value)


def test_questions_that_cannot_be_calibrated_are_refused_before_anything_is_asked() -> None:
    def never(request: Request, sample: int) -> str:
        raise AssertionError("nothing may be asked")

    responder = ScriptedResponder(never)
    withheld = replace(make(1)[0], answer=None)
    with pytest.raises(InputError, match="'q0': its answer is withheld"):
        rate([withheld], responder)
    with pytest.raises(InputError, match="'q0' comes twice"):
        rate(make(1) * 2, responder)
    with pytest.raises(TemplateError, match="'telepathy' is unknown"):
        measure(make(1), responder, fixed(1).model_copy(update={"mode": "telepathy"}))


def test_never_passed_is_what_the_latest_calibration_says() -> None:
    questions = rate(make(3), passing({"q0": 0, "q1": 4, "q2": 1}), seed=1)
    questions = rate(questions, passing({"q0": 1, "q1": 0, "q2": 1}), seed=2)
    dropping, keeping = Calibrate(drop_never_passed=True), Calibrate(drop_never_passed=False)
    assert [side_split(q, dropping) for q in questions] == [None, NEVER_PASSED, None]
    assert {side_split(q, keeping) for q in questions} == {None}
    assert {side_split(q, dropping) for q in make(2)} == {None}


def test_the_summary_adds_up() -> None:
    summary = measure(make(4), passing({"q0": 0, "q1": 4, "q2": 1, "q3": 1}), fixed(4)).summary
    assert summary["histogram"] == {"0": 1, "1": 2, "2": 0, "3": 0, "4": 1}
    assert summary["mean_pass_rate"] == round(6 / 16, 4)
    assert summary["never_passed"] == 1
    assert summary["questions"] == sum(summary["histogram"].values()) == 4


def test_auto_is_local_only_where_its_packages_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "transformers" else object())
    assert pick_responder(Calibrate(responder="auto")) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert pick_responder(Calibrate(responder="auto")) == "local"
    assert pick_responder(Calibrate(responder="none")) is None
    assert pick_responder(Calibrate(responder="anything")) == "anything"


def test_a_responder_that_is_not_registered_or_does_not_take_the_options_is_named() -> None:
    with pytest.raises(PluginError, match="'nobody' is not registered"):
        open_responder("nobody", Calibrate())
    with pytest.raises(InputError, match=r"'scripted' could not be made with the options \['colour', 'model'\]"):
        open_responder("scripted", Calibrate(model="tiny", options={"colour": "red"}))
