"""Requests that say what their answer begins with: servers, recorded answers, the rehearsal and the cache."""

import hashlib
import json
from dataclasses import replace

import pytest
from chat_server import ChatServer, Reply
from hypothesis import given
from hypothesis import strategies as st

from sari_data.answer_cache import CachedResponder, answer_key
from sari_data.answer_store import VERSION
from sari_data.errors import InputError, ResponderError
from sari_data.responder import Request, Sampling
from sari_data.responders.chat import Form, WithheldAnswer, begins_anew, end_at_stop, read_reply, write_body
from sari_data.responders.rehearsal import RehearsalResponder
from sari_data.responders.scripted import ScriptedResponder
from sari_data.responders.server import ServerResponder

STOP = ("</answer>",)
FAST = {"tries": 2, "backoff": 0.01, "longest_backoff": 0.02}
BEGUN = Request("q", None, "What?", prefix="<think>a dog</think><answer>")


def _reply(text, reason="stop", **choice):
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"message": message, "finish_reason": reason, **choice}]}).encode()


def _body(request, **form):
    return json.loads(write_body(request, [0], Sampling(), Form(model="toy", **form), []))


def test_the_body_ends_with_the_assistants_open_message():
    sent, plain = _body(BEGUN), _body(replace(BEGUN, prefix=""))
    assert sent["messages"] == [*plain["messages"], {"role": "assistant", "content": BEGUN.prefix}]
    assert (sent.pop("continue_final_message"), sent.pop("add_generation_prompt")) == (True, False)
    assert {**sent, "messages": plain["messages"]} == plain, "without a prefix nothing is sent that was not before"
    # A server that goes on of its own accord, such as llama.cpp's, is asked without the fields.
    omitted = _body(BEGUN, omit=("continue_final_message", "add_generation_prompt"))
    assert not {"continue_final_message", "add_generation_prompt"} & set(omitted)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (_reply("dog", stop_reason="</answer>"), "dog</answer>"),
        (_reply("dog"), "dog</answer>"),  # the tag that the prefix opened
        (_reply("dog", stop_reason=None), "dog"),
        (_reply("dog</answer> and more", "length"), "dog</answer>"),
    ],
)
def test_the_text_is_the_whole_and_stop_strings_come_back(reply, text):
    assert read_reply(reply, STOP, BEGUN.prefix).choices[0].text == BEGUN.prefix + text


def test_a_stop_string_inside_the_prefix_does_not_end_the_answer():
    prefix = "<answer>cat</answer> no: <ans"
    found = read_reply(_reply("wer>dog</answer>x", "length"), STOP, prefix).choices[0]
    assert (found.text, found.finish_reason) == (prefix + "wer>dog</answer>", "stop")
    assert end_at_stop("a</answer>", STOP, after=2) == ("a</answer>", True), "one that only begins in it does"
    assert end_at_stop("a</answer>", STOP, after=10) == ("a</answer>", False)


@given(st.text("ab<>", max_size=12), st.text("ab<>", max_size=12), st.lists(st.text("ab<>", min_size=1, max_size=3)))
def test_the_end_is_the_first_stop_string_that_ends_after_the_prefix(prefix, said, stops):
    text = prefix + said
    ends = [end for end in range(len(prefix) + 1, len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)]
    assert end_at_stop(text, stops, len(prefix)) == ((text[: ends[0]], True) if ends else (text, False))


@pytest.mark.parametrize(
    ("prefix", "text", "anew"),
    [
        (BEGUN.prefix, BEGUN.prefix + "dog", True),
        (BEGUN.prefix, "\n<think>a dog</think><answer>cat", True),
        (BEGUN.prefix, "<think>a bell", False),
        ("<think>", "<think>so", True),
        ("<think>", "so <think>", False),
        ("The", "The dog", False),  # too short to say
        ("", "anything", False),
    ],
)
def test_a_server_that_begins_anew_is_seen_where_it_repeats_the_beginning(prefix, text, anew):
    assert begins_anew(prefix, text) is anew
    if anew:
        with pytest.raises(WithheldAnswer, match="began the answer anew"):
            read_reply(_reply(text), STOP, prefix)


def test_a_server_goes_on_from_it_and_one_that_does_not_is_told_of():
    asked = [replace(BEGUN, id="on"), replace(BEGUN, id="anew", prompt="anew"), replace(BEGUN, id="plain", prefix="")]

    def reply(ask):
        begun = [m["content"] for m in ask.body["messages"] if m["role"] == "assistant"]
        assert begun == ([BEGUN.prefix] if ask.body.get("continue_final_message") else [])
        return (BEGUN.prefix if ask.prompt == "anew" else "") + "dog</answer>"

    with ChatServer(reply) as server:
        responder = ServerResponder("toy", server.url, **FAST)
        found = {r.request_id: r for r in responder.respond(asked, Sampling())}
    assert {name: r.text for name, r in found.items()} == {
        "on": BEGUN.prefix + "dog</answer>",
        "plain": "dog</answer>",
    }
    assert list(responder.failed) == ["anew"]
    assert "began the answer anew" in responder.failed["anew"]
    assert all(r.seconds is not None and 0 < r.seconds < 30 for r in found.values())


def test_a_host_that_knows_no_such_field_refuses_the_request_and_the_reason_names_the_prefix():
    def reply(ask):
        known = "continue_final_message" not in ask.body
        return Reply("ok") if known else Reply("Unrecognized request argument: continue_final_message", status=400)

    with ChatServer(reply) as server:
        responder = ServerResponder("toy", server.url, **FAST)
        assert not list(responder.respond([BEGUN], Sampling()))
        assert "Unrecognized request argument" in responder.failed["q"]
        assert "the request has a prefix" in responder.failed["q"]
        refusing = ServerResponder("toy", server.url, prefix="refuse", **FAST)
        before = server.asked.total()
        with pytest.raises(InputError, match=r"'q' says what its answer begins with.*prefix = .refuse"):
            list(refusing.respond([BEGUN], Sampling()))
        assert server.asked.total() == before
        assert [r.text for r in refusing.respond([replace(BEGUN, prefix="")], Sampling())] == ["ok"]
    assert refusing.name == responder.name, "the option changes no answer"
    with pytest.raises(InputError, match="prefix must be one of"):
        ServerResponder("toy", prefix="maybe")


def test_the_key_of_an_answer_is_as_before_without_a_prefix_and_another_with_one():
    plain, sampling = replace(BEGUN, prefix=""), Sampling()
    how = {"max_new_tokens": 256, "stop": ["</answer>"]}
    before = json.dumps([VERSION, "toy", "What?", None, how], sort_keys=True)
    assert answer_key("toy", plain, 0, sampling, None) == hashlib.sha256(before.encode()).digest()
    keys = {answer_key("toy", replace(plain, prefix=p), 0, sampling, None) for p in ("", "a", "b", " a")}
    assert len(keys) == 4


def test_cached_answers_are_found_by_their_prefix(tmp_path):
    asked = []

    def reply(request, sample):
        asked.append(request.prefix)
        return f" after {len(request.prefix)}"

    requests = [replace(BEGUN, id=f"q{n}", prefix="x" * n) for n in (0, 1, 2, 1)]
    for _ in range(2):
        cached = CachedResponder(ScriptedResponder(reply), tmp_path / "answers.sqlite")
        found = [
            r.text for r in cached.respond([replace(r, id=f"{r.id}.{i}") for i, r in enumerate(requests)], Sampling())
        ]
        assert sorted(found) == [" after 0", "x after 1", "x after 1", "xx after 2"]
        cached.cache.close()
    assert sorted(asked) == ["", "x", "xx"]


def test_recorded_answers_are_found_by_their_prefix(tmp_path):
    path = tmp_path / "said.jsonl"
    rows = [{"id": "q", "text": "a cat"}, {"id": "q", "text": "so: a dog", "prefix": "so:"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    responder = ScriptedResponder(path=path)
    asked = [Request("q", None, "?"), Request("q", None, "?", prefix="so:")]
    assert [r.text for r in responder.respond(asked, Sampling())] == ["a cat", "so: a dog"]
    with pytest.raises(ResponderError, match="that begins with 'thus:'"):
        list(responder.respond([replace(asked[0], prefix="thus:")], Sampling()))
    with pytest.raises(ResponderError, match="that begins with 'so:'"):
        list(ScriptedResponder({"q": "a cat"}).respond(asked[1:], Sampling()))
    path.write_text(json.dumps({"id": "q", "text": "a cat", "prefix": "so:"}))
    with pytest.raises(InputError, match="line 1: the text must begin with the prefix"):
        ScriptedResponder(path=path)


def test_the_rehearsal_refuses_a_prefix():
    with pytest.raises(InputError, match="the rehearsal cannot go on"):
        list(RehearsalResponder().respond([BEGUN], Sampling()))
