"""Answers are kept as they arrive and never asked for twice; the file survives whatever happens to its users."""

import itertools
import json
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chat_server import ChatServer, Reply, hashed

from sari_data.answer_cache import CachedResponder, answer_key, default_cache
from sari_data.answer_store import AnswerCache
from sari_data.audio import encode_wav
from sari_data.errors import InputError, ResponderError, StorageError
from sari_data.responder import Request, Responder, Response, Sampling, Usage
from sari_data.responders.server import ServerResponder
from sari_data.types import AudioRef

DRAWN = Sampling(temperature=1.0, stop=())
FAST = {"backoff": 0.002, "longest_backoff": 0.01, "timeout": 2.0, "label": "here"}


class Plain:
    """A responder without `start`; it takes all it is given before it answers, as one that sorts by length does."""

    name = "plain"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.windows: list[int] = []
        self.usage = Usage()

    def respond(self, requests, sampling):
        window = list(requests)
        self.windows.append(len(window))
        for request in window:
            for sample in request.wanted:
                self.asked.append((request.id, sample))
                seen = (request.prompt,) if sampling.temperature <= 0 else (request.prompt, request.id, sample)
                yield Response(request.id, sample, str(seen), "stop", 3, 5)


def asks(count: int, samples: int = 1) -> list[Request]:
    return [Request(f"q{n}", None, f"prompt {n}", samples) for n in range(count)]


def texts(responses) -> dict[tuple[str, int], str]:
    found = list(responses)
    made = {(r.request_id, r.sample): r.text for r in found}
    assert len(made) == len(found)
    return made


@pytest.mark.parametrize("kind", ["server", "plain"])
def test_what_was_answered_is_not_asked_again_by_another_run(kind, tmp_path):
    with ChatServer() as server:
        inner = [ServerResponder("toy", server.url, **FAST) if kind == "server" else Plain() for _ in range(3)]
        first, second, third = (CachedResponder(responder, tmp_path / "a.sqlite") for responder in inner)
        assert isinstance(first, Responder)
        assert first.name == inner[0].name
        found = texts(first.respond(asks(30, 2), DRAWN))
        assert texts(second.respond(asks(30, 2), DRAWN)) == found
        assert second.usage.cached == 60
        assert second.usage.requests == 0
        # More samples and more questions: only what is new is asked.
        more = texts(third.respond(asks(40, 3), DRAWN))
        assert {key: text for key, text in more.items() if key in found} == found
        assert set(more) == {(f"q{n}", s) for n in range(40) for s in range(3)}
        assert third.usage.cached == 60
        asked = server.answered.total() if kind == "server" else sum(len(r.asked) for r in inner)
    assert asked == 120


@pytest.mark.parametrize("kind", ["server", "plain"])
def test_greedy_requests_of_the_same_content_are_asked_once_also_side_by_side(kind, tmp_path):
    with ChatServer(delay=0.01) as server:
        inner = ServerResponder("toy", server.url, **FAST) if kind == "server" else Plain()
        cached = CachedResponder(inner, tmp_path / "a.sqlite")
        found = texts(cached.respond([Request(f"q{n}", None, f"p {n % 3}", 4) for n in range(30)], Sampling()))
        asked = server.answered.total() if kind == "server" else len(inner.asked)
    assert len(found) == 120
    assert len(set(found.values())) == 3
    assert asked == 3
    assert cached.usage.cached == 117


def test_the_key_holds_what_decides_an_answer_and_nothing_else():
    request = Request("q", None, "prompt")
    drawn = replace(DRAWN, top_p=0.9)

    def key(name="n", request=request, sample=0, sampling=drawn, audio=None):
        return answer_key(name, request, sample, sampling, audio)

    changes = [
        {"name": "m"},
        {"request": replace(request, prompt="other")},
        {"request": replace(request, id="p")},  # an own draw
        {"sample": 1},
        {"audio": "abc"},
        *({"sampling": replace(drawn, **{field: value})} for field, value in [("temperature", 0.5), ("top_p", 0.8)]),
        *(
            {"sampling": replace(drawn, **{field: value})}
            for field, value in [("top_k", 5), ("min_p", 0.1), ("seed", 1)]
        ),
        *({"sampling": replace(drawn, **{field: value})} for field, value in [("max_new_tokens", 5), ("stop", ("a",))]),
    ]
    assert len({key(), *(key(**change) for change in changes)}) == len(changes) + 1
    assert {f for c in changes if "sampling" in c for f in Sampling.__slots__} == set(Sampling.__slots__)
    assert key(request=replace(request, samples=9, first_sample=3)) == key()
    greedy = [
        key(sampling=replace(Sampling(), seed=seed), request=replace(request, id=id_), sample=sample)
        for seed, id_, sample in itertools.product([0, 1], ["p", "q"], [0, 1])
    ]
    assert len(set(greedy)) == 1
    assert key(sampling=Sampling(), request=replace(request, prompt="other")) not in greedy


def test_audio_counts_by_content_also_where_only_its_path_is_known(tmp_path):
    tone = [encode_wav(np.full(160, level, np.float32), 16_000) for level in (0.1, 0.2)]
    (tmp_path / "a.wav").write_bytes(tone[0])
    (tmp_path / "b.wav").write_bytes(tone[0])
    inner = Plain()
    cached = CachedResponder(inner, tmp_path / "a.sqlite")

    def hear(audio: AudioRef) -> bool:
        before = len(inner.asked)
        list(cached.respond([Request("q", audio, "x")], Sampling()))
        return len(inner.asked) > before

    assert hear(AudioRef(path=str(tmp_path / "a.wav")))
    assert not hear(AudioRef(path=str(tmp_path / "b.wav")))
    assert not hear(AudioRef(data=tone[0]))
    assert hear(AudioRef(data=tone[0], start=0.001))
    (tmp_path / "b.wav").write_bytes(tone[1])
    assert hear(AudioRef(path=str(tmp_path / "b.wav")))
    assert hear(AudioRef(path=str(tmp_path / "gone.wav")))


def test_an_answer_is_stored_as_it_arrives_not_when_it_is_fetched(tmp_path):
    with ChatServer() as server:
        cached = CachedResponder(ServerResponder("toy", server.url, concurrency=4, **FAST), tmp_path / "a.sqlite")
        answers = cached.respond(asks(100), Sampling())
        next(answers)
        deadline = time.monotonic() + 5
        while cached.cache.size().answers < 8 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert cached.cache.size().answers == 8  # all that was sent: one was fetched
        answers.close()
        again = CachedResponder(ServerResponder("toy", server.url, **FAST), tmp_path / "a.sqlite")
        assert len(texts(again.respond(asks(100), Sampling()))) == 100
    assert set(server.answered.values()) == {1}


@pytest.mark.parametrize("stored", [range(0), range(5000), range(0, 5000, 2), range(100, 4900)])
def test_any_mix_of_hits_and_misses_holds_few_requests(stored, tmp_path, monkeypatch):
    async def chat(self, body):
        return json.dumps({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}).encode()

    monkeypatch.setattr("sari_data.responders.transport.Client.chat", chat)
    cached = CachedResponder(ServerResponder("toy", concurrency=8, **FAST), tmp_path / "a.sqlite")
    run = cached.cache._database.execute
    run("BEGIN")
    for n in stored:
        key = answer_key(cached.name, Request(f"q{n}", None, f"{n}"), 0, Sampling(), None)
        run("INSERT INTO answers VALUES (?, 'n', 'ok', 'stop', 0, 0, 0)", (key,))
    run("COMMIT")
    taken = most = got = 0

    def requests():
        nonlocal taken
        for n in range(5000):
            taken += 1
            yield Request(f"q{n}", None, f"{n}")

    for _ in cached.respond(requests(), Sampling()):
        got += 1
        most = max(most, taken - got)
    assert got == 5000
    assert most <= 16
    assert cached.usage.cached == len(stored)


def test_misses_go_to_a_plain_responder_in_windows_and_hits_do_not_wait(tmp_path):
    cached = CachedResponder(Plain(), tmp_path / "a.sqlite")
    assert len(texts(cached.respond(asks(2500), DRAWN))) == 2500
    assert cached.responder.windows == [1024, 1024, 452]
    again = CachedResponder(Plain(), tmp_path / "a.sqlite")
    mixed = again.respond(iter([Request("new", None, "new"), *asks(2500)]), DRAWN)
    assert next(mixed).request_id == "q0"
    assert len(list(mixed)) == 2500
    assert again.responder.windows == [1]


def test_failures_are_not_kept_and_take_those_along_who_waited_for_them(tmp_path):
    refusing = True

    def reply(ask):
        return Reply("too long", status=400) if refusing and "1" in ask.prompt else hashed(ask)

    with ChatServer(reply, delay=0.01) as server:
        cached = CachedResponder(ServerResponder("toy", server.url, **FAST), tmp_path / "a.sqlite")
        requests = [Request(f"q{n}", None, f"p {n % 3}", 2) for n in range(9)]
        assert {id_ for id_, _ in texts(cached.respond(requests, Sampling()))} == {
            f"q{n}" for n in range(9) if n % 3 != 1
        }
        assert cached.failed == dict.fromkeys(["q1", "q4", "q7"], "the server refused it (400): too long")
        refusing = False
        assert len(texts(cached.respond(requests, Sampling()))) == 18
        assert cached.failed == {}


class Confused(Plain):
    """Answers what nobody asked."""

    def respond(self, requests, sampling):
        for response in super().respond(requests, sampling):
            yield replace(response, sample=7)


def test_an_answer_that_nobody_asked_for_is_told(tmp_path):
    with pytest.raises(ResponderError, match="answered sample 7 of request 'q0', which was not asked for"):
        list(CachedResponder(Confused(), tmp_path / "a.sqlite").respond(asks(1), Sampling()))


def test_the_file_is_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SARI_CACHE", str(tmp_path / "deep" / "er"))
    assert default_cache() == tmp_path / "deep" / "er" / "answers.sqlite"
    AnswerCache(default_cache()).close()
    assert default_cache().is_file()
    monkeypatch.delenv("SARI_CACHE")
    assert default_cache() == Path.home() / ".cache" / "sari" / "answers.sqlite"


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE things (name TEXT)")


def _later(path: Path) -> None:
    AnswerCache(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")


def _damaged(path: Path) -> None:
    cache = AnswerCache(path)
    for n in range(200):
        cache.put(str(n).encode(), "n", Response("q", 0, "x" * 500, "stop"))
    cache._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    cache.close()
    data = bytearray(path.read_bytes())
    data[40:] = bytes(len(data) - 40)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda p: p.write_text("id,question\n" * 200), InputError, "no cache of answers, or a damaged one"),
        (_foreign, InputError, "is a database, but no cache of answers"),
        (_later, InputError, "has version 99, this sari reads 1"),
        (_damaged, InputError, "no cache of answers"),
        (lambda p: p.mkdir(), StorageError, "cannot be read or written"),
    ],
)
def test_a_file_that_is_no_cache_is_one_sentence_and_stays_as_it_is(make, error, said, tmp_path):
    path = tmp_path / "a.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(error, match=said) as raised:
        AnswerCache(path).get(b"x")
    assert "\n" not in str(raised.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_size_and_forgetting(tmp_path):
    cache = AnswerCache(tmp_path / "a.sqlite")
    for n in range(10):
        cache.put(bytes([n]), "ab"[n % 2], Response("q", 0, "text", "stop", 1, 2))
    assert cache.size().answers == 10
    assert cache.size().bytes > 1000
    assert cache.clear("a") == 5
    assert cache.get(bytes([1])) == Response("", 0, "text", "stop", 1, 2)
    assert cache.get(bytes([0])) is None
    assert cache.clear() == 5
    assert cache.size().answers == 0


def test_the_command_shows_what_is_kept_and_forgets_it(run_command):
    assert run_command("sari-data", "cache")[1] == f"{default_cache()}: 0 answers, 0.0 MB\n"
    assert not default_cache().exists()
    cache = AnswerCache(default_cache())
    for n in range(5):
        cache.put(bytes([n]), "ab"[n % 2], Response("q", 0, "text", "stop"))
    code, out, _ = run_command("sari-data", "cache")
    assert (code, out.splitlines()[1:]) == (0, ["        3  a", "        2  b"])
    code, _, err = run_command("sari-data", "cache", "--responder", "a")
    assert (code, "needs --clear" in err) == (2, True)
    shown = json.loads(run_command("sari-data", "cache", "--clear", "--responder", "a", "--json")[1])
    assert (shown["answers"], shown["forgotten"], shown["responders"]) == (2, 3, {"b": 2})
