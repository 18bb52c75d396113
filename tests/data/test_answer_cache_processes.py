"""Several processes on one cache, and processes that are killed."""

import json
import random
import sqlite3
import time
from pathlib import Path

from cached_asker import CONCURRENCY, COUNT, SAMPLES, ask, open_cache, start
from chat_server import ChatServer, Faults

KILLS = 20
WANTED = {(f"q{n}", s) for n in range(COUNT) for s in range(SAMPLES)}


def stored(path: Path) -> list[str]:
    """The texts in a cache, read as a process that comes after would."""
    if not path.exists() or not path.stat().st_size:
        return []
    with sqlite3.connect(path) as database:
        made = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return [text for (text,) in database.execute("SELECT text FROM answers")] if made else []


def test_killed_at_20_random_moments_it_ends_whole_and_asks_for_nothing_that_was_stored(tmp_path):
    draw, path, out = random.Random(5), tmp_path / "a.sqlite", tmp_path / "out.json"
    kept_at: list[tuple[set[str], dict[str, int]]] = []
    lost = []  # answers that the server had sent whole and that were not stored, at each kill
    with ChatServer(faults=Faults(1, {"error": 0.05, "cut": 0.05, "too_many": 0.05}), delay=0.03) as server:
        texts: dict[str, str] = {}  # content to its answer, which no other content has
        reply = server.reply
        server.reply, server.indexed = (lambda a: texts.setdefault(a.key, reply(a))), False
        for kill in range(KILLS):
            process, before = start(ask, server.url, path, out), server.asked.total()
            while kill % 4 and server.asked.total() == before:  # each fourth is killed as it starts
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.09))
            process.kill()
            process.join()
            deadline = time.monotonic() + 5
            while server.now and time.monotonic() < deadline:  # the server notices that nobody is there
                time.sleep(0.005)
            kept = set(stored(path))
            kept_at.append((kept, {key: server.asked[key] for key, text in texts.items() if text in kept}))
            lost.append(server.answered.total() - len(kept) - sum(lost))
        done = start(ask, server.url, path, out)
        done.join(60)
    assert done.exitcode == 0
    found = json.loads(out.read_text())
    assert {(id_, sample) for id_, sample, _ in found} == WANTED
    assert len(found) == len(WANTED)
    assert sorted(stored(path)) == sorted(text for *_, text in found)
    # The kills came in the middle, and what was stored at one was never asked for again.
    assert [len(kept) for kept, _ in kept_at] == sorted(len(kept) for kept, _ in kept_at)
    assert 0 < len(kept_at[KILLS // 2][0]) < len(WANTED)
    for _, asked in kept_at:
        assert {key: server.asked[key] for key in asked} == asked
    # Only answers that were on their way at a kill were paid for twice.
    assert server.answered.total() - len(WANTED) == sum(lost)
    assert min(lost) >= 0
    assert max(lost) <= CONCURRENCY


def test_the_same_without_a_cache_file_between_the_runs_asks_again(tmp_path):
    """Shows that the counts above can tell: a cache that forgets makes the server answer again."""
    with ChatServer() as server:
        for number in range(2):
            done = start(ask, server.url, tmp_path / f"{number}.sqlite", tmp_path / "out.json")
            done.join(60)
            assert done.exitcode == 0
    assert set(server.answered.values()) == {2}


def test_processes_that_open_a_new_cache_at_once_agree_on_it(tmp_path):
    for number in range(3):
        path, outs = tmp_path / f"{number}.sqlite", [tmp_path / f"{number}-{n}" for n in range(6)]
        processes = [start(open_cache, path, out) for out in outs]
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 6
        assert len({out.read_text() for out in outs}) == 1  # whose answer was first is everybody's
        assert len(stored(path)) == 7


def test_two_processes_that_ask_the_same_at_once_end_with_the_same_answers(tmp_path):
    path, outs = tmp_path / "a.sqlite", [tmp_path / "one", tmp_path / "two"]
    number = iter(range(10_000))
    with ChatServer(lambda ask: f"{ask.prompt} {next(number)}", delay=0.005) as server:
        processes = [start(ask, server.url, path, out) for out in outs]
        for process in processes:
            process.join(60)
    one, two = ({(id_, s): text for id_, s, text in json.loads(out.read_text())} for out in outs)
    assert one == two
    assert len(one) == len(WANTED)
    assert server.answered.total() >= len(WANTED)
