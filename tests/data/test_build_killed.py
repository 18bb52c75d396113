"""A build that is killed at 20 moments while its server misbehaves, and that ends as if nobody had disturbed it."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chat_server import ChatServer, Faults
from forked_build import Forks
from paper_corpus import arguments, files, make_world, overrides, serve

KILLS = 20
CONCURRENCY = 8
DELAY = 0.01  # seconds before each answer
# No code fences here: they change what is answered, so no two runs could be compared. The answers of the question
# stage are in fences anyhow.
STORM = {
    "too_many": 0.06,
    "too_many_after": 0.02,
    "error": 0.05,
    "unavailable": 0.03,
    "stall": 0.01,
    "cut": 0.04,
    "closed": 0.02,
    "bad_json": 0.03,
    "missing": 0.02,
    "wrong_type": 0.02,
}


class Marked:
    """Answers with a mark that no other content's answer has, in white space that the readers do not mind."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}  # text to the content that it answers

    def __call__(self, ask) -> str:  # type: ignore[no-untyped-def]
        text = "".join(" \n"[int(bit)] for bit in f"{int(ask.key[:12], 16):048b}") + serve(ask)
        self.keys[text] = ask.key
        return text


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """What builds are forked off."""
    with Forks() as found:
        yield found


def stored(cache: Path) -> list[str]:
    """The texts in the cache of answers, read as a build that comes after would."""
    path = cache / "answers.sqlite"
    if not path.exists() or not path.stat().st_size:
        return []
    with sqlite3.connect(path) as database:
        made = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return [text for (text,) in database.execute("SELECT text FROM answers")] if made else []


def quiet(server: ChatServer) -> None:
    """Wait until the server has noticed that nobody is there any more."""
    until = time.monotonic() + 5
    while server.now and time.monotonic() < until:
        time.sleep(0.005)
    assert server.now == 0


def moments(total: int, took: float) -> list[Callable[[ChatServer, Path, float], bool]]:
    """When to kill: at some time after the start, after some answers, and while the corpus is being written.

    Args:
        total: Answers that an undisturbed build takes.
        took: Seconds that it takes.
    """
    draw = random.Random(7)
    early = [draw.uniform(0, took / 3) for _ in range(4)]
    answers = sorted(draw.randrange(1, total) for _ in range(KILLS - 6))
    by_time = [lambda server, world, since, at=at: time.monotonic() - since > at for at in early]
    by_count = [lambda server, world, since, at=at: len(server.answered) >= at for at in answers]
    whole = [lambda server, world, since: any(world.glob(".corpus.*.partial"))] * 2
    found = [*by_time[:2], *by_count, *by_time[2:], *whole]
    assert len(found) == KILLS
    return found


def test_killed_at_20_moments_it_ends_as_if_undisturbed_and_repeats_no_request_that_was_answered(
    forks: Forks, tmp_path: Path, shared_data: Path
) -> None:
    draw = random.Random(11)
    calm, stormy = (make_world(tmp_path / name, shared_data) for name in ("calm", "stormy"))
    marked = Marked()
    with ChatServer(marked, delay=DELAY, stall=0.3) as server:
        sets = overrides(server.url, shared_data, concurrency=CONCURRENCY, tries=12, timeout=20)
        # One benchmark in place of two: each of the builds reads it again.
        sets.append(f"dedup.against={json.dumps(str(shared_data / 'mmar' / 'MMAR-meta.jsonl'))}")

        def start(world: Path) -> int:
            return forks.start(arguments(sets), world, world / "log", SARI_CACHE=str(world / "cache"))

        begun = time.monotonic()
        start(calm)
        assert forks.wait() == 0, (calm / "log").read_text()
        took = time.monotonic() - begun
        assert set(server.answered.values()) == {1}
        wanted = set(server.answered)
        assert len(stored(calm / "cache")) == len(wanted) > 150

        server.asked.clear()
        server.answered.clear()
        server.faults = Faults(3, STORM)
        kept_at: list[dict[str, int]] = []  # at each kill: content whose answer was stored, and how often it was asked
        lost: list[int] = []  # answers that were sent whole and not stored, at each kill
        for until in moments(len(wanted), took):
            begun = time.monotonic()
            process = start(stormy)
            while not until(server, stormy, begun):
                assert time.monotonic() - begun < 30
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.02))
            os.kill(process, signal.SIGKILL)
            assert forks.wait() == -9, (stormy / "log").read_text()
            quiet(server)
            texts = stored(stormy / "cache")
            kept_at.append({marked.keys[text]: server.asked[marked.keys[text]] for text in texts})
            assert len(kept_at[-1]) == len(texts)
            lost.append(server.answered.total() - len(texts) - sum(lost))
            assert not (stormy / "corpus").exists()
        start(stormy)
        assert forks.wait() == 0, (stormy / "log").read_text()

    # The same corpus, byte for byte, and nothing beside it.
    assert files(stormy / "corpus") == files(calm / "corpus")
    assert sorted(path.name for path in stormy.iterdir()) == ["cache", "corpus", "data", "log"]
    # The kills came all along, and what was stored at one was never asked for again.
    counts = [len(kept) for kept in kept_at]
    assert counts == sorted(counts)
    assert len({count for count in counts if 0 < count < len(wanted)}) >= 10
    assert counts[-1] == len(wanted)
    for kept in kept_at:
        assert {key: server.asked[key] for key in kept} == kept
    # Nothing else was asked, and only answers that were on their way at a kill were paid for twice.
    assert set(server.answered) == wanted
    assert server.answered.total() - len(wanted) == sum(lost)
    assert 0 <= min(lost) <= max(lost) <= CONCURRENCY
    assert len(server.faulty) >= 8
    assert server.faulty.total() > 30


# What a build has said last when Ctrl-C is pressed.
@pytest.mark.parametrize("said", ["collect:", "question:", "calibrate: mean"])
def test_stopped_with_ctrl_c_it_says_so_and_leaves_nothing(
    forks: Forks, tmp_path: Path, shared_data: Path, said: str
) -> None:
    world, log = make_world(tmp_path / "world", shared_data), tmp_path / "log"
    log.touch()
    with ChatServer(serve, delay=DELAY) as server:
        process = forks.start(arguments(overrides(server.url, shared_data)), world, log, SARI_CACHE=str(tmp_path / "c"))
        begun = time.monotonic()
        while f"\n{said}" not in f"\n{log.read_text('utf-8')}":
            assert time.monotonic() - begun < 30
            time.sleep(0.001)
        os.kill(process, signal.SIGINT)
        assert forks.wait() == 130
    assert log.read_text("utf-8").endswith("\nstopped\n")
    assert [path.name for path in world.iterdir()] == ["data"]
