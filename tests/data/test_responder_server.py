"""The server responder against a chat server on this machine that behaves."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from chat_server import ChatServer, Reply, hashed

from sari_data.audio import encode_wav
from sari_data.errors import InputError
from sari_data.responder import Request, Responder, Sampling
from sari_data.responders.server import ServerResponder
from sari_data.responders.transport import Client
from sari_data.types import AudioRef

DRAWN = Sampling(temperature=1.0, stop=())


def asks(count: int, samples: int = 1) -> list[Request]:
    return [Request(f"q{n}", None, f"prompt {n}", samples) for n in range(count)]


def test_every_sample_of_every_request_is_answered_once_with_a_seed_of_its_own():
    with ChatServer() as server:
        responder = ServerResponder("toy", server.url, price_in=1.0, price_out=10.0)
        assert isinstance(responder, Responder)
        found = list(responder.respond(asks(20, samples=3), DRAWN))
        again = list(responder.respond([Request("q7", None, "prompt 7", 2, first_sample=1)], DRAWN))
    assert sorted((r.request_id, r.sample) for r in found) == sorted((f"q{n}", s) for n in range(20) for s in range(3))
    assert len({r.text for r in found}) == 60
    # Later samples are the same whether the earlier ones are asked for or not.
    assert {(r.sample, r.text) for r in again} == {
        (r.sample, r.text) for r in found if r.request_id == "q7" and r.sample
    }
    assert server.answered.total() == 62
    usage = responder.usage
    assert (usage.requests, usage.retries, usage.prompt_tokens, usage.completion_tokens) == (62, 0, 124, 62)
    assert usage.cost == pytest.approx((124 * 1 + 62 * 10) / 1e6)
    assert {(r.tokens, r.prompt_tokens) for r in found} == {(1, 2)}


def test_at_temperature_zero_one_answer_stands_for_all_samples():
    with ChatServer() as server:
        responder = ServerResponder("toy", server.url)
        found = list(responder.respond(asks(2, samples=5), Sampling()))
    assert sorted((r.request_id, r.sample) for r in found) == [(f"q{n}", s) for n in range(2) for s in range(5)]
    assert len({r.text for r in found}) == 2
    assert server.answered.total() == 2
    assert responder.usage.cost is None


@pytest.mark.parametrize("given", [4, 2, 1])
def test_several_samples_in_one_request_also_from_a_server_that_gives_fewer(given, monkeypatch):
    with ChatServer(lambda ask, index: f"{ask.seed} {index}") as server:
        monkeypatch.setattr("chat_server._completion", _fewer(given))
        responder = ServerResponder("toy", server.url, samples_per_request=4)
        found = list(responder.respond(asks(3, samples=10), DRAWN))
    assert sorted({(r.request_id, r.sample) for r in found}) == [(f"q{n}", s) for n in range(3) for s in range(10)]
    assert len(found) == 30
    assert len({(r.request_id, r.text) for r in found}) == 30
    assert server.answered.total() == 3 * {4: 3, 2: 5, 1: 10}[given]


def _fewer(most):
    from chat_server import _completion as whole

    return lambda body, replies, ask: whole(body, replies[:most], ask)


@pytest.mark.parametrize("slow", [False, True])
def test_requests_are_taken_as_there_is_room_however_many_there_are(slow, monkeypatch):
    """5,000 requests: what is waiting, under way or not yet fetched stays within twice the concurrency."""

    async def chat(self, body):
        return json.dumps({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}).encode()

    monkeypatch.setattr(Client, "chat", chat)
    taken, most = itertools.count(), 0
    requests = (Request(f"q{next(taken)}", None, "x" * 1000) for _ in range(5000))
    responder = ServerResponder("toy", concurrency=8)
    got = 0
    for _ in responder.respond(requests, Sampling()):
        got += 1
        so_far = next(taken)
        taken = itertools.count(so_far)
        most = max(most, so_far - got)
        if slow and got <= 20:
            time.sleep(0.002)  # time enough to run ahead
    assert got == 5000
    assert 8 <= most <= 16


def test_no_more_than_the_concurrency_is_under_way_and_it_is_used():
    with ChatServer(delay=0.01) as server:
        found = list(ServerResponder("toy", server.url, concurrency=6).respond(asks(60), Sampling()))
    assert len(found) == 60
    assert server.peak == 6


def test_a_rate_a_minute_is_kept():
    with ChatServer() as server:
        responder = ServerResponder("toy", server.url, requests_per_minute=60 * 100)
        list(responder.respond(asks(21), Sampling()))
        tokens = ServerResponder("toy", server.url, tokens_per_minute=60 * 3 * 100)  # three tokens an answer
        list(tokens.respond(asks(5), Sampling(max_new_tokens=3)))  # they learn how many an answer takes
        before = len(server.times)
        list(tokens.respond([Request(f"r{n}", None, f"other {n}") for n in range(21)], Sampling()))
    first = [when for when, *_ in server.times[:21]]
    assert first[-1] - first[0] >= 0.19
    second = [when for when, *_ in server.times[before:]]
    assert second[-1] - second[0] >= 0.19


def test_audio_arrives_and_audio_that_does_not_decode_is_named(tmp_path):
    tone = encode_wav(np.full(1600, 0.25, np.float32), 16_000)
    heard = {}

    def listen(ask):
        heard[ask.prompt] = ask.audio
        return hashed(ask)

    requests = [
        Request("good", AudioRef(data=tone), "one"),
        Request("gone", AudioRef(path=str(tmp_path / "gone.wav")), "two"),
        Request("bad", AudioRef(data=b"no audio"), "three"),
    ]
    with ChatServer(listen) as server:
        responder = ServerResponder("toy", server.url)
        found = list(responder.respond(requests, Sampling()))
    assert [r.request_id for r in found] == ["good"]
    assert heard == {"one": tone}
    assert set(responder.failed) == {"gone", "bad"}
    assert responder.failed["gone"].startswith("its audio cannot be read: ")
    assert "gone.wav" in responder.failed["gone"]


def test_the_key_comes_from_the_environment_and_goes_to_the_server_alone(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-123")
    monkeypatch.setenv("HF_TOKEN", "hf_never_to_be_sent")
    with ChatServer(key="secret-123") as server:
        responder = ServerResponder("toy", server.url, api_key_env="MY_KEY")
        assert len(list(responder.respond(asks(1), Sampling()))) == 1
        assert server.headers[0]["authorization"] == "Bearer secret-123"
    assert "secret" not in responder.name
    with ChatServer() as server:
        assert len(list(ServerResponder("toy", server.url).respond(asks(1), Sampling()))) == 1
        assert "authorization" not in server.headers[0]
    with pytest.raises(InputError, match="not the key") as error:
        ServerResponder("toy", api_key_env="sk-secret-123")
    assert "secret" not in str(error.value)
    with pytest.raises(InputError, match=r"NOT_SET \(api_key_env\) is not set"):
        ServerResponder("toy", api_key_env="NOT_SET")


def test_the_name_tells_model_host_and_settings_apart():
    plain = ServerResponder("toy", "http://gpu7:8000/v1").name
    assert plain.startswith("toy@gpu7:8000#")
    assert ServerResponder("toy", "http://gpu7:8000/v1/chat/completions/").name == plain
    assert ServerResponder("toy", "http://gpu7:8000").name == plain
    assert ServerResponder("toy", "http://gpu8:8000/v1").name != plain
    assert ServerResponder("toy", "http://gpu7:8000/v1", system="x").name != plain
    assert ServerResponder("toy", "http://gpu7:8000/v1", concurrency=1, tries=3, price_in=1.0).name == plain
    assert ServerResponder("toy", "http://gpu7:8000/tuned/v1?version=3").name != plain, "another deployment"
    moved = [ServerResponder("toy", url, label="cluster").name for url in ("http://a:1/v1", "http://b:2/v1")]
    assert moved[0] == moved[1]
    assert moved[0].startswith("toy@cluster#")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"base_url": "localhost:8000"}, "base_url must be a URL"),
        ({"base_url": "http://host:port/v1"}, "base_url must be a URL"),
        ({"base_url": "http://me:secret@host/v1"}, "must not hold a user"),
        ({"concurrency": 0}, "concurrency must be 1 or more"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"tries": 0}, "tries must be more than 0"),
        ({"max_seconds": -1.0}, "max_seconds must be more than 0"),
        ({"audio_format": "ogg"}, "audio_format must be one of"),
        ({"on_error": "ignore"}, "on_error must be one of"),
        ({"extra_body": {"n": 2}}, r"found \['n'\]"),
        ({"extra_body": {"a": object()}}, "what JSON can hold"),
        ({"tokens_per_minute": 0}, "must be more than 0 a minute"),
    ],
)
def test_an_option_that_does_not_fit_is_one_sentence(options, found):
    with pytest.raises(InputError, match=found) as error:
        ServerResponder("toy", **options)
    assert "secret" not in str(error.value)


def test_closing_the_iterator_cancels_what_is_under_way_at_once():
    with ChatServer() as server:
        responder = ServerResponder("toy", server.url, concurrency=4)
        answers = responder.respond((Request(f"q{n}", None, f"{n}") for n in itertools.count()), Sampling())
        next(answers)
        server.delay = 30
        time.sleep(0.05)
        began = time.monotonic()
        answers.close()
        assert time.monotonic() - began < 2
        deadline = time.monotonic() + 5
        while server.now and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.now == 0
        assert server.given_up >= 2
        asked = server.asked.total()
        time.sleep(0.05)
        assert server.asked.total() == asked


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit none
from sari_data.responder import Request, Sampling
from sari_data.responders.server import ServerResponder
responder = ServerResponder("toy", sys.argv[1])
try:
    for response in responder.respond((Request(f"q{n}", None, f"{n}") for n in range(100)), Sampling()):
        print(response.text, flush=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_ends_a_run_that_waits_for_a_server(repository: Path):
    with ChatServer(delay=60) as server:
        environment = dict(os.environ) | {"PYTHONPATH": str(repository)}
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, server.url], env=environment)
        deadline = time.monotonic() + 20
        while server.asked.total() < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.asked.total() >= 8
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 130


def test_an_answer_without_text_is_an_empty_text():
    with ChatServer(lambda ask: Reply(None, finish_reason="length")) as server:
        (found,) = ServerResponder("toy", server.url).respond([Request("q", None, "x")], Sampling())
    assert (found.text, found.finish_reason) == ("", "length")


def test_it_is_registered(repository: Path):
    lines = (repository / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    entry = next(line.split(" = ")[1].strip('"') for line in lines if line.startswith("server = "))
    assert EntryPoint("server", entry, "sari.responders").load() is ServerResponder
