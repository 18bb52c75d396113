"""The server responder against a chat server on this machine that misbehaves on purpose."""

import json
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from chat_server import FAULTS, ChatServer, Faults, Reply, hashed

from sari_data.errors import ResponderError
from sari_data.responder import Request, Sampling
from sari_data.responders.server import ServerResponder

DRAWN = Sampling(temperature=1.0, stop=())
FAST = {"backoff": 0.002, "longest_backoff": 0.01, "timeout": 5.0}


def asks(count: int, samples: int = 1) -> list[Request]:
    return [Request(f"q{n}", None, f"prompt {n}", samples) for n in range(count)]


def test_with_every_fault_at_once_nothing_is_lost_and_nothing_answered_is_asked_again():
    calm = {}
    with ChatServer() as server:
        for found in ServerResponder("toy", server.url, **FAST).respond(asks(100, 3), DRAWN):
            calm[found.request_id, found.sample] = found.text
    rates = {fault: 0.05 for fault in FAULTS if fault not in ("fence", "stall")} | {"stall": 0.01}
    with ChatServer(faults=Faults(3, rates)) as server:
        responder = ServerResponder("toy", server.url, tries=20, **(FAST | {"timeout": 1.0}))
        found = list(responder.respond(asks(100, 3), DRAWN))
    assert {(r.request_id, r.sample): r.text for r in found} == calm
    assert len(found) == 300
    assert set(server.faulty) == set(rates)  # all of them struck
    assert set(server.answered.values()) == {1}
    assert responder.usage.requests == 300
    assert responder.usage.retries == server.faulty.total() == server.asked.total() - 300
    assert responder.failed == {}


def test_concurrency_finds_what_the_server_has_room_for():
    with ChatServer(most=6, delay=0.03) as server:
        responder = ServerResponder("toy", server.url, concurrency=64, tries=4, **FAST)
        found = list(responder.respond(asks(250), Sampling()))
    assert len(found) == 250
    assert responder.failed == {}
    late = [load for _, load, _ in server.times[len(server.times) // 2 :]]
    assert max(late) <= 10  # 64 would have been allowed
    assert sum(late) / len(late) > 2.5  # and it does not crawl either
    assert server.faulty["too_many"] < 150


def test_concurrency_falls_in_a_storm_and_recovers():
    def storm(ask):
        return "unavailable" if 40 <= ask.number < 70 else None

    with ChatServer(faults=storm, delay=0.08) as server:
        responder = ServerResponder("toy", server.url, concurrency=16, **FAST)
        limits = [responder.concurrency.limit for _ in responder.respond(asks(260), Sampling())]
    assert len(limits) == 260
    assert max(limits[:40]) >= 12
    assert responder.concurrency.lowest <= 2
    assert limits[-1] >= 4 * responder.concurrency.lowest
    loads = [load for _, load, _ in server.times]
    assert sum(loads[64:72]) < sum(loads[32:40])


def test_refusals_for_lack_of_room_are_no_tries_while_others_are_answered():
    def faults(ask):
        return "too_many" if ask.prompt == "prompt 2" and ask.times < 6 else None

    with ChatServer(faults=faults, delay=0.002) as server:
        responder = ServerResponder("toy", server.url, concurrency=4, tries=3, **FAST)
        assert len(list(responder.respond(asks(200), Sampling()))) == 200
    assert server.faulty["too_many"] == 6


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_holds_everybody_back(form):
    wait = 0.4 if form == "seconds" else 2
    value = "0.4" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=wait), usegmt=True)
    faults = lambda ask: "too_many_after" if ask.number == 20 else None  # noqa: E731
    with ChatServer(faults=faults, delay=0.002, retry_after=value) as server:
        found = list(ServerResponder("toy", server.url, concurrency=4, **FAST).respond(asks(60), Sampling()))
    assert len(found) == 60
    refused = server.times[20][0]
    until = refused + (0.39 if form == "seconds" else 0.9)  # a date has whole seconds
    # At most the three that were under way when the refusal came were sent all the same.
    assert len([when for when, *_ in server.times if refused < when < until]) <= 3
    assert max(when for when, *_ in server.times) < until + 3


def test_a_server_that_wants_a_long_rest_is_told():
    with ChatServer(faults=lambda ask: "too_many_after", retry_after="86400") as server:
        responder = ServerResponder("toy", server.url)
        with pytest.raises(ResponderError, match=r"wants 86400 s of rest \(429: Rate limit reached for requests\)"):
            list(responder.respond(asks(3), Sampling()))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("too_many", "took no request in 3 tries of 'q[0-2]'; it said: 429: Rate limit reached for requests"),
        ("unavailable", "503: the engine fell over"),
        ("stall", "nothing within 0.05 s"),
        ("closed", "disconnected"),
    ],
)
def test_a_server_that_never_answers_ends_the_run_with_what_it_said(fault, said, monkeypatch):
    monkeypatch.setattr("sari_data.responders.transport.Client.alive", _no)
    with ChatServer(faults=lambda ask: fault) as server:
        responder = ServerResponder("toy", server.url, tries=3, concurrency=1, backoff=0.001, timeout=0.05)
        with pytest.raises(ResponderError, match=said):
            list(responder.respond(asks(3), Sampling()))
        assert server.asked.total() <= 6


async def _no(self) -> bool:
    return False


def test_nobody_listening_is_told():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    responder = ServerResponder("toy", url, tries=3, **FAST)
    with pytest.raises(
        ResponderError, match=r"the server at 127\.0\.0\.1:\d+ took no request in 3 tries .*ConnectError"
    ):
        list(responder.respond(asks(1), Sampling()))


def test_wrong_key_and_wrong_model_say_what_to_do(monkeypatch):
    with ChatServer(key="right", model="real-one") as server:
        responder = ServerResponder("toy", server.url)
        with pytest.raises(ResponderError, match=r"\(401: Incorrect API key provided\): set one .*in api_key_env"):
            list(responder.respond(asks(40), Sampling()))
        monkeypatch.setenv("MY_KEY", "right")
        responder = ServerResponder("toy", server.url, api_key_env="MY_KEY")
        with pytest.raises(ResponderError, match=r"does not exist\.\): model is 'toy', the server has real-one"):
            list(responder.respond(asks(40), Sampling()))
    assert responder.usage.retries == 0


def _poisoned(ask):
    if ask.prompt in ("prompt 3", "prompt 70"):
        return Reply("maximum context length is 8192 tokens", status=400)
    return hashed(ask)


def test_a_request_that_is_refused_is_named_and_the_others_are_answered():
    with ChatServer(_poisoned) as server:
        responder = ServerResponder("toy", server.url, **FAST)
        found = {r.request_id for r in responder.respond(asks(100), Sampling())}
        why = "the server refused it (400): maximum context length is 8192 tokens"
        assert responder.failed == {"q3": why, "q70": why}
        assert found == {f"q{n}" for n in range(100)} - {"q3", "q70"}
        assert responder.usage.retries == 0
        list(responder.respond(asks(3), Sampling()))
        assert responder.failed == {}  # it is about the latest conversation
        strict = ServerResponder("toy", server.url, on_error="stop", **FAST)
        with pytest.raises(ResponderError, match=r"request 'q3' to the server at .*context length is 8192 tokens"):
            list(strict.respond(asks(100), Sampling()))


def test_a_request_that_fells_the_server_each_time_fails_alone_also_when_it_is_the_last():
    def faults(ask):
        return "error" if ask.prompt == "prompt 5" else None

    with ChatServer(faults=faults) as server:
        responder = ServerResponder("toy", server.url, tries=4, **FAST)
        assert len(list(responder.respond(asks(30), Sampling()))) == 29
        assert responder.failed == {"q5": "no usable answer after 4 tries: 500: the engine fell over"}
        again = ServerResponder("toy", server.url, tries=4, **FAST)
        assert list(again.respond([asks(6)[5]], Sampling())) == []
        assert set(again.failed) == {"q5"}


def test_filtered_answers_are_named():
    with ChatServer(lambda ask: Reply("I", finish_reason="content_filter" if "1" in ask.prompt else "stop")) as server:
        responder = ServerResponder("toy", server.url, **FAST)
        assert {r.request_id for r in responder.respond(asks(3), Sampling())} == {"q0", "q2"}
    assert responder.failed == {"q1": "the server withheld its answer: content filter"}


def test_options_that_the_server_refuses_end_the_run_before_the_corpus_is_through():
    with ChatServer(lambda ask: Reply("Unknown field: top_k", status=400)) as server:
        responder = ServerResponder("toy", server.url, concurrency=4, stop_after_failures=10)
        with pytest.raises(ResponderError, match=r"failed 10 requests in a row.*Unknown field: top_k"):
            list(responder.respond(asks(500), Sampling()))
        assert server.asked.total() < 40
        patient = ServerResponder("toy", server.url, concurrency=4, stop_after_failures=0)
        assert list(patient.respond(asks(60), Sampling())) == []
        assert len(patient.failed) == 60


def test_a_stall_costs_no_more_than_the_timeout():
    faults = lambda ask: "stall" if ask.number == 0 else None  # noqa: E731
    with ChatServer(faults=faults, stall=60) as server:
        began = time.monotonic()
        responder = ServerResponder("toy", server.url, **(FAST | {"timeout": 0.5}))
        assert len(list(responder.respond(asks(5), Sampling()))) == 5
        assert 0.5 <= time.monotonic() - began < 10
    assert responder.usage.retries >= 1


def test_the_server_of_these_tests_runs_as_a_process_too(repository, tmp_path):
    script = repository / "tests" / "data" / "chat_server.py"
    options = [
        "--port-file",
        str(tmp_path / "port"),
        "--log",
        str(tmp_path / "log"),
        "--fault",
        "error=0.5",
        "--seed",
        "1",
    ]
    process = subprocess.Popen([sys.executable, str(script), *options, "--reply", "chat_script:hashed"], cwd=tmp_path)
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "port").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        url = f"http://127.0.0.1:{(tmp_path / 'port').read_text()}/v1"
        assert len(list(ServerResponder("toy", url, **FAST).respond(asks(20), Sampling()))) == 20
    finally:
        process.kill()
        process.wait()
    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    answered = [entry["prompt"] for entry in entries if entry["event"] == "answered"]
    assert sorted(answered) == sorted(f"prompt {n}" for n in range(20))
    assert {entry["fault"] for entry in entries if entry["event"] == "asked"} == {None, "error"}
