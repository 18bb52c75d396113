"""The stages against a real chat server that misbehaves: nothing lost, nothing asked twice, the same corpus."""

import hashlib
import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import annotator
import pytest
from annotator import clip, table
from chat_server import ChatServer, Faults, Reply
from corpus_examples import tone

from sari_data.annotate import caption_clips, open_askers, write_chains, write_questions
from sari_data.annotation.asking import CUT_OFF, REFUSED
from sari_data.responders.server import ServerResponder
from sari_data.sources.base import SetAside
from sari_data.types import hash_path

CLIPS = 10
STORM = {"too_many": 0.1, "error": 0.1, "cut": 0.05, "bad_json": 0.05, "wrong_type": 0.05, "fence": 0.3}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips with real audio."""
    folder = tmp_path_factory.mktemp("audio")
    for number in range(CLIPS):
        (folder / f"{number}.wav").write_bytes(tone(100 + 20 * number))
    return [clip(n, audio=hash_path(folder / f"{n}.wav")) for n in range(CLIPS)]


def careless(ask) -> str:
    """Every second answer to something that was not asked for before is wrong, in one way or another."""
    heard = hashlib.sha256(ask.audio or b"").hexdigest()
    kind = sum(ask.prompt.encode()) + len(ask.audio or b"")
    if kind % 2 and not annotator.is_again(ask.prompt):
        return annotator.spoil(ask.prompt, kind // 2, heard)
    return annotator.serve(ask)


def opened(url: str, cache: Path | None, concurrency: int = 8):
    """The recipe's table and its askers."""

    def load(name, /, **options):
        assert name == "scripted"
        return ServerResponder(base_url=url, concurrency=concurrency, backoff=0.005, longest_backoff=0.02, **options)

    stage = {"responder": "scripted", "model": "toy", "options": {"label": "made"}}
    recipe = table(
        caption=stage, question=stage, reasoning=stage, judge=stage, questions_per_clip=2, cache=str(cache or "")
    )
    return recipe, open_askers(recipe, load=load)


def annotate(clips, url, cache=None, concurrency=8):
    """All that becomes of the clips, by id; what was set aside too."""
    recipe, askers = opened(url, cache, concurrency)
    captioned = dict(caption_clips(clips, askers.caption, recipe))
    assert set(captioned) == {c.id for c in clips}
    written = dict(
        write_questions([c for c in captioned.values() if not isinstance(c, SetAside)], askers.question, recipe)
    )
    questions = [q for found in written.values() if not isinstance(found, SetAside) for q in found]
    done = dict(write_chains(questions, askers.reasoning, askers.judge, recipe))
    assert set(done) == {q.id for q in questions}
    everything = {**captioned, **{f"questions of {id_}": found for id_, found in written.items()}, **done}
    return everything, askers


def test_the_same_corpus_comes_out_whatever_the_server_does_and_in_whatever_order(clips) -> None:
    with ChatServer(reply=careless) as server:
        calm, _ = annotate(clips, server.url, concurrency=1)
        assert set(server.answered.values()) == {1}
    with ChatServer(reply=careless, faults=Faults(seed=3, rates=STORM), delay=0.002) as server:
        stormy, askers = annotate(clips, server.url, concurrency=8)
        assert server.faulty.total() > 20
        # What was answered in full was asked no more; retries follow only faults.
        assert set(server.answered.values()) == {1}
    assert stormy == calm
    assert not [x for x in calm.values() if isinstance(x, SetAside)]
    assert len(calm) == CLIPS + CLIPS + 2 * CLIPS
    [responder] = askers.responders
    assert responder.usage.retries > 0


def test_a_run_that_is_stopped_goes_on_where_it_was_and_asks_nothing_twice(clips, tmp_path) -> None:
    cache = tmp_path / "answers.sqlite"
    with ChatServer(reply=careless) as server:
        whole, _ = annotate(clips, server.url)
        asked = server.answered.total()
    with ChatServer(reply=careless) as server:
        recipe, askers = opened(server.url, cache)
        list(itertools.islice(caption_clips(clips, askers.caption, recipe), 4))
        assert 4 <= server.answered.total() < asked
        resumed, _ = annotate(clips, server.url, cache)
        again, _ = annotate(clips[::-1], server.url, cache)
        # A request that was under way when the run stopped was not answered to us, and may be asked once more.
        assert Counter(server.answered.values())[1] >= asked - 8
        assert server.answered.total() <= asked + 8
    assert resumed == whole == again


@pytest.mark.parametrize("cache", [None, "answers.sqlite"])
def test_what_the_server_refuses_is_set_aside_and_the_rest_goes_on(clips, cache, tmp_path) -> None:
    refused = replace(clips[3], domain="music")

    def reply(ask):
        return Reply("input too long", status=400) if "instruments" in ask.prompt else annotator.serve(ask)

    with ChatServer(reply=reply) as server:
        recipe, askers = opened(server.url, cache and tmp_path / cache)
        found = dict(caption_clips([*clips[:3], refused, *clips[4:]], askers.caption, recipe))
    assert len(found) == CLIPS
    assert found[refused.id].reason == REFUSED
    assert "input too long" in found[refused.id].detail
    assert sum(isinstance(result, SetAside) for result in found.values()) == 1


def test_an_answer_that_the_server_cut_off_is_asked_again(clips) -> None:
    def reply(ask):
        whole = annotator.serve(ask)
        return whole if annotator.is_again(ask.prompt) else Reply(whole[:40], finish_reason="length")

    with ChatServer(reply=reply) as server:
        recipe, askers = opened(server.url, None)
        found = dict(write_questions(clips, askers.question, recipe))
        assert all(len(questions) == 2 for questions in found.values())
        assert all("cut off" in prompt for prompt in server.prompts.values() if annotator.is_again(prompt))
    with ChatServer(reply=lambda ask: Reply("[{", finish_reason="length")) as server:
        recipe, askers = opened(server.url, None)
        found = dict(write_questions(clips, askers.question, recipe))
        assert {aside.reason for aside in found.values()} == {CUT_OFF}
