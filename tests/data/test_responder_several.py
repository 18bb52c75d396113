"""Requests about several recordings: what a responder is given, what a server is sent, what answers are kept by."""

import base64
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from chat_server import ChatServer

from sari_data.answer_cache import CachedResponder, answer_key
from sari_data.audio import encode_wav
from sari_data.errors import InputError
from sari_data.responder import Request, Response, Sampling, hears_several
from sari_data.responders.chat import Form, encode_audio
from sari_data.responders.rehearsal import RehearsalResponder
from sari_data.responders.scripted import ScriptedResponder
from sari_data.responders.server import ServerResponder
from sari_data.schema import to_row
from sari_data.types import AudioQuestion, AudioRef

FIRST, SECOND, THIRD = (
    AudioRef(path=f"{level}.wav", data=encode_wav(np.full(160, level, np.float32), 16_000)) for level in (0.1, 0.2, 0.3)
)
THREE = Request("q", FIRST, "Which is the loudest?", more_audio=(SECOND, THIRD))


class Plain:
    """A responder as a plugin had it before there were requests about several recordings."""

    name = "plain"

    def __init__(self):
        self.asked = []

    def respond(self, requests, sampling):
        for request in requests:
            self.asked.append(request)
            for sample in request.wanted:
                yield Response(request.id, sample, f"answer {len(self.asked)}", "stop")


class Hearing(Plain):
    hears_several = True


def test_recordings_are_in_order_and_the_first_is_the_audio():
    assert THREE.recordings == (FIRST, SECOND, THIRD)
    assert Request("q", FIRST, "x").recordings == (FIRST,)
    assert Request("q", None, "x").recordings == ()
    with pytest.raises(InputError, match=r"request 'q' has 1 further recordings and no first one: give the first"):
        Request("q", None, "x", more_audio=(SECOND,))


def test_only_a_responder_that_says_so_is_given_several(tmp_path):
    assert not hears_several(Plain())
    says_yes = Plain()
    says_yes.hears_several = "yes"
    assert not hears_several(says_yes)
    for responder in (Hearing(), ScriptedResponder({}), RehearsalResponder(), ServerResponder("toy")):
        assert hears_several(responder)
    assert hears_several(CachedResponder(Hearing(), tmp_path / "a.sqlite"))
    assert not hears_several(CachedResponder(Plain(), tmp_path / "b.sqlite"))


@pytest.mark.parametrize("kind", ["input_audio", "audio_url"])
def test_a_server_gets_a_part_for_each_in_order_before_the_text(kind):
    form = Form(model="toy", audio_part=kind)
    with ChatServer() as server:
        responder = ServerResponder("toy", server.url, audio_part=kind)
        (found,) = responder.respond([THREE], Sampling())
        (body,) = server.bodies
    assert found.request_id == "q"
    (message,) = body["messages"]
    *parts, text = message["content"]
    assert text == {"type": "text", "text": THREE.prompt}
    sent = [
        part[kind]["data"] if kind == "input_audio" else part[kind]["url"].removeprefix("data:audio/wav;base64,")
        for part in parts
    ]
    assert sent == [encode_audio(ref, form) for ref in (FIRST, SECOND, THIRD)]
    assert len({base64.b64decode(one) for one in sent}) == 3


def test_one_recording_that_is_not_there_fails_the_request_and_is_named(tmp_path):
    absent = AudioRef(path=str(tmp_path / "absent.wav"))
    with ChatServer() as server:
        responder = ServerResponder("toy", server.url)
        requests = [replace(THREE, id="bad", more_audio=(SECOND, absent)), THREE]
        found = list(responder.respond(requests, Sampling()))
    assert [response.request_id for response in found] == ["q"]
    assert list(responder.failed) == ["bad"]
    assert "absent.wav" in responder.failed["bad"]
    assert server.answered.total() == 1


def test_an_answer_about_one_recording_keeps_its_key_and_one_about_several_has_its_own():
    sampling, alone = Sampling(), replace(THREE, more_audio=())
    how = {"max_new_tokens": 256, "stop": ["</answer>"]}
    before = json.dumps([1, "toy", THREE.prompt, FIRST.key, how], sort_keys=True)
    assert answer_key("toy", alone, 0, sampling, FIRST.key) == hashlib.sha256(before.encode()).digest()
    orders = ([FIRST.key], [FIRST.key, SECOND.key], [SECOND.key, FIRST.key], [FIRST.key, SECOND.key, THIRD.key])
    keys = {answer_key("toy", THREE, 0, sampling, order) for order in orders}
    assert len(keys | {answer_key("toy", alone, 0, sampling, FIRST.key)}) == 5


def test_the_cache_tells_requests_apart_by_every_recording(tmp_path):
    (tmp_path / "second.wav").write_bytes(SECOND.data)
    inner = Hearing()
    cached = CachedResponder(inner, tmp_path / "a.sqlite")

    def asks(*recordings):
        before = len(inner.asked)
        list(cached.respond([Request("q", recordings[0], "x", more_audio=recordings[1:])], Sampling()))
        return len(inner.asked) > before

    assert asks(FIRST, SECOND)
    assert not asks(FIRST, SECOND)
    assert not asks(FIRST, AudioRef(path=str(tmp_path / "second.wav")))  # the same content
    assert asks(SECOND, FIRST)
    assert asks(FIRST)
    assert asks(FIRST, SECOND, THIRD)
    (tmp_path / "second.wav").write_bytes(THIRD.data)
    assert asks(FIRST, AudioRef(path=str(tmp_path / "second.wav")))


def test_a_corpus_has_no_room_for_a_question_about_several():
    question = AudioQuestion(
        id="q", audio=FIRST, question="Which?", choices=("a", "b"), answer="a", domain="sound", more_audio=(SECOND,)
    )
    assert question.recordings == (FIRST, SECOND)
    with pytest.raises(InputError, match=r"question 'q': expected one recording, found 2: a corpus holds"):
        to_row(question, embed=True)
    assert to_row(question.replace(more_audio=()), embed=True)["id"] == "q"
