"""Asking again: every item comes out once, whatever is answered and in whatever order."""

import random
from collections import Counter

import annotator
import pytest
from annotator import Annotator, asker
from hypothesis import given
from hypothesis import strategies as st

from sari_data.annotate import Tally
from sari_data.annotation import asking
from sari_data.annotation.asking import CUT_OFF, REFUSED, Stage, ask_window, task_windows
from sari_data.annotation.reading import Rejected
from sari_data.errors import InputError, ResponderError
from sari_data.responder import Response
from sari_data.responders.scripted import ScriptedResponder
from sari_data.sources.base import SetAside
from sari_data.types import Provenance


class Echo(Stage[str, str]):
    """Accepts an answer that begins with ``good``."""

    name = "echo"
    items = "word"

    def key(self, item):
        return item

    def provenance(self, item):
        return Provenance("words", item)

    def audio(self, item):
        return None

    def prompt(self, item, kept):
        return f"say good to {item}"

    def read(self, item, kept, text):
        if not text.startswith("good"):
            raise Rejected("not good", f"You said {text!r}.")
        return f"{item}: {text}"


def ask_all(items, stage, asker, tally):
    """Ask window by window, as the stages do."""
    for window in task_windows(items, stage.key, stage.items):
        yield from ask_window(window, stage, asker, tally)


def scripts(answers):
    """A responder that gives each id its answers in turn."""
    return lambda request: answers[request.id.partition("#")[0]][int(request.id.partition("#")[2] or 1) - 1]


SCRIPT = st.dictionaries(
    st.integers(0, 30).map(lambda n: f"w{n}"),
    st.lists(st.sampled_from(["good", "bad", ("good", "length")]), min_size=3, max_size=3),
    max_size=20,
)


@given(answers=SCRIPT, seed=st.integers(0, 3), most=st.sampled_from([1, 3, 50]), window=st.sampled_from([1, 4, 4096]))
def test_every_item_comes_out_once_and_nothing_is_asked_twice(answers, seed, most, window) -> None:
    responder, tally = Annotator(scripts(answers), seed=seed, most=most), Tally()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "WINDOW", window)
        found = list(ask_all(answers, Echo(), asker(responder), tally))
    assert Counter(id_ for id_, _ in found) == dict.fromkeys(answers, 1)
    expected = {}
    for word, texts in answers.items():
        first = texts.index("good") if "good" in texts else None
        expected[word] = first
    for word, result in found:
        if expected[word] is None:
            assert isinstance(result, SetAside)
            assert result.reason == ("not good" if answers[word][2] == "bad" else CUT_OFF)
            assert (result.stage, result.id, result.provenance.source_id) == ("echo", word, word)
        else:
            assert result == f"{word}: good"
    tries = {word: 3 if first is None else first + 1 for word, first in expected.items()}
    assert len({r.prompt for r in responder.asked}) == len(responder.asked) == sum(tries.values())
    assert len({r.id for r in responder.asked}) == len(responder.asked)
    assert tally.asked == len(answers) == tally.accepted + tally.set_aside
    assert tally.asked_again == sum(tries.values()) - len(answers)
    assert sum(tally.rejected.values()) == tally.asked_again + tally.set_aside


def test_what_an_item_becomes_does_not_depend_on_the_order_of_answers() -> None:
    rng = random.Random(0)
    answers = {f"w{n}": [rng.choice(["good", "bad"]) for _ in range(3)] for n in range(40)}
    runs = [
        dict(ask_all(answers, Echo(), asker(Annotator(scripts(answers), seed=s, most=m)), Tally()))
        for s, m in ((0, 1), (1, 7), (2, 100))
    ]
    assert runs[0] == runs[1] == runs[2]


def test_the_next_prompt_has_the_last_answer_and_what_was_wrong_in_bounded_space() -> None:
    responder = Annotator(lambda request: "bad " * 5000)
    [(_, result)] = ask_all(["w"], Echo(), asker(responder), Tally())
    first, second, third = [request.prompt for request in responder.asked]
    assert first == "say good to w"
    assert second.startswith(first)
    assert "bad bad" in second
    assert "You said" in second
    assert "try 2 of 3" in second
    assert "try 3 of 3" in third
    assert len(third) < 4000
    assert len(result.detail) < 1500
    assert result.detail.startswith("You said")
    assert "The answer began: bad bad" in result.detail


def test_an_answer_that_was_cut_off_is_told_so() -> None:
    responder = Annotator(lambda request: ("good", "length") if "cut off" not in request.prompt else "good now")
    assert list(ask_all(["w"], Echo(), asker(responder), Tally())) == [("w", "w: good now")]


def test_failed_answers_are_asked_again_before_new_items_are_taken() -> None:
    """So what is under way stays as little as the responder takes at once."""
    responder = Annotator(lambda request: "good" if annotator.is_again(request.prompt) else "bad", most=4)
    list(ask_all([f"w{n}" for n in range(100)], Echo(), asker(responder), Tally()))
    position = {request.id: place for place, request in enumerate(responder.asked)}
    late = max(position[f"w{n}#2"] - position[f"w{n}"] for n in range(90))
    assert late < 30


def test_no_more_items_are_held_than_a_window(monkeypatch) -> None:
    monkeypatch.setattr(asking, "WINDOW", 10)
    taken = 0

    def items():
        nonlocal taken
        for number in range(100):
            taken += 1
            yield f"w{number}"

    for done, _ in enumerate(ask_all(items(), Echo(), asker(Annotator(lambda _: "good", most=1000)), Tally())):
        assert taken <= done + 10


def test_an_id_that_comes_twice_is_an_error() -> None:
    with pytest.raises(InputError, match="word 'w' comes twice"):
        list(ask_all(["w", "v", "w"], Echo(), asker(Annotator(lambda _: "good")), Tally()))


class Refusing(Annotator):
    """Leaves out what ``failed`` names, or what nobody names."""

    failed: dict[str, str]

    def respond(self, requests, sampling):
        self.failed = {}
        for response in super().respond(requests, sampling):
            if response.request_id.startswith("refused"):
                self.failed[response.request_id] = "too_long: 9000 tokens"
            elif not response.request_id.startswith("lost"):
                yield response


def test_what_the_server_refuses_is_set_aside_with_its_reason() -> None:
    responder, tally = Refusing(lambda _: "good"), Tally()
    found = dict(ask_all(["a", "refused", "b"], Echo(), asker(responder), tally))
    assert found["a"] == "a: good"
    assert found["refused"].reason == REFUSED
    assert found["refused"].detail == "too_long: 9000 tokens"
    assert (tally.accepted, tally.set_aside) == (2, 1)


def test_a_request_that_is_refused_when_asked_again_is_set_aside_too() -> None:
    responder = Refusing(lambda _: "bad")
    responder_failed = {"w#2"}

    def respond(requests, sampling):
        responder.failed = {}
        for response in Annotator.respond(responder, requests, sampling):
            if response.request_id in responder_failed:
                responder.failed[response.request_id] = "filtered"
            else:
                yield response

    responder.respond = respond
    [(_, result)] = ask_all(["w"], Echo(), asker(responder), Tally())
    assert (result.reason, result.detail) == (REFUSED, "filtered")


def test_a_responder_that_leaves_something_out_in_silence_is_an_error() -> None:
    with pytest.raises(ResponderError, match="no answer to request 'lost'"):
        list(ask_all(["a", "lost"], Echo(), asker(Refusing(lambda _: "good")), Tally()))


@pytest.mark.parametrize(("id_", "sample"), [("other", 0), ("w", 1)])
def test_a_responder_that_answers_what_it_was_not_asked_is_an_error(id_, sample) -> None:
    class Wrong:
        name = "wrong"

        def respond(self, requests, sampling):
            for _ in requests:
                yield Response(id_, sample, "good", "stop")

    with pytest.raises(ResponderError, match="was not asked for"):
        list(ask_all(["w"], Echo(), asker(Wrong()), Tally()))


def test_a_responder_that_gives_one_answer_twice_is_an_error() -> None:
    class Twice(ScriptedResponder):
        def respond(self, requests, sampling):
            for response in super().respond(requests, sampling):
                yield response
                yield response

    with pytest.raises(ResponderError, match="answered before"):
        list(ask_all(["w"], Echo(), asker(Twice(lambda *_: "good")), Tally()))


def test_made_by_names_who_and_the_hash_of_the_prompts_text(tmp_path, monkeypatch) -> None:
    before = asker().made_by("clip_questions")
    assert before.startswith("annotator/clip_questions@")
    assert asker().made_by("chain_judge").rpartition("@")[2] != before.rpartition("@")[2]
    (tmp_path / "annotate").mkdir()
    (tmp_path / "annotate" / "again.jinja").write_text("{{ prompt }} no: {{ complaint }}")
    monkeypatch.setenv("SARI_TEMPLATES", str(tmp_path))
    assert asker().made_by("clip_questions") != before


def test_the_hash_of_a_template_covers_what_it_includes(tmp_path) -> None:
    from sari_data.prompting import template_hash

    (tmp_path / "a.jinja").write_text('{% include "b.jinja" %}')
    (tmp_path / "b.jinja").write_text("one")
    first = template_hash("a.jinja", templates=tmp_path)
    assert len(first) == 8
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.jinja").write_text('{% include "b.jinja" %}')
    (other / "b.jinja").write_text("two")
    assert template_hash("a.jinja", templates=other) != first
