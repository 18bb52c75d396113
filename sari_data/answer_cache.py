"""Answers that were paid for are not asked again: a responder that looks among the stored ones first.

An answer is found again by everything that decides it, hashed: the responder's name, the prompt, what the answer is to
begin with, the audio's content, the sampling, and the sample's index.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from sari_data.answer_store import VERSION, AnswerCache
from sari_data.errors import ResponderError
from sari_data.resources import cache_folder
from sari_data.responder import Request, Responder, Response, Sampling, Usage, hears_several, stretches
from sari_data.types import hash_audio

FILE = "answers.sqlite"
# Requests that a responder without `converse` is given at once, and answers that may wait for another's.
_WINDOW = 1024
_MOST_WAITING = 4096


def default_cache() -> Path:
    """Return where answers are kept: ``answers.sqlite`` in ``$SARI_CACHE``, else in ``~/.cache/sari``."""
    return cache_folder() / FILE


def answer_key(
    name: str, request: Request, sample: int, sampling: Sampling, audio: str | Sequence[str] | None
) -> bytes:
    """Return the hash of everything that decides an answer.

    A drawn sample's random numbers derive from the request's id, so the id is part of the key; a greedy answer is the
    same for every id, seed and sample.

    Args:
        name: The responder's name.
        request: What is asked.
        sample: The sample's index.
        sampling: How it is sampled.
        audio: The audio's content key; of several recordings all keys in order; ``None`` where there is none.
    """
    how: dict[str, Any] = {"max_new_tokens": sampling.max_new_tokens, "stop": sampling.stop}
    if sampling.temperature > 0:
        how |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        how |= {"min_p": sampling.min_p, "seed": sampling.seed, "id": request.id, "sample": sample}
    if request.prefix:  # without one the key is that of the time before there were any
        how["prefix"] = request.prefix
    text = json.dumps([VERSION, name, request.prompt, audio, how], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _audio_keys(request: Request) -> str | list[str] | None:
    """What stands for a request's audio; for one recording or none it is what it was before there were several."""
    keys = [hash_audio(audio).key for audio in request.recordings]
    return keys if len(keys) > 1 else keys[0] if keys else None


class Conversation(Protocol):
    """Requests that go in one by one and answers that come out as they arrive, until it is closed.

    ``room`` is how many more calls may be submitted now, ``outstanding`` how many have not been taken yet.
    """

    outstanding: int

    @property
    def room(self) -> int:
        """How many more calls may be submitted now."""
        ...

    def split(self, request: Request) -> Iterable[Request]:
        """Return the calls that a request takes."""
        ...

    def submit(self, call: Request) -> None:
        """Send a call as soon as there is a place for it."""
        ...

    def take(self) -> tuple[Request, Sequence[Response]]:
        """Wait for the next call that is done."""
        ...


Converse = Callable[[Sampling, Callable[[Response], Response]], AbstractContextManager[Conversation]]


class CachedResponder:
    """A responder whose answers are kept: what was answered once, under the same name, is not asked again.

    An answer is stored as soon as it arrives, before it is handed on. With a responder that has ``converse``, such as
    ``server``, hits and misses mix freely and the server never runs dry; another one is given the misses in windows.
    Two greedy requests with the same content are asked once, also where both are under way.

    Args:
        responder: Who is asked for what is not there.
        path: The file; see :class:`AnswerCache`.
    """

    def __init__(self, responder: Responder, path: str | Path) -> None:
        self.responder = responder
        self.cache = AnswerCache(path)
        self.failed: dict[str, str] = {}
        self._own_usage = Usage()

    @property
    def name(self) -> str:
        """The responder's own name."""
        return self.responder.name

    @property
    def hears_several(self) -> bool:
        """Whether the responder hears all recordings of a request about several."""
        return hears_several(self.responder)

    @property
    def usage(self) -> Usage:
        """The responder's usage with the answers that were there already; one of its own where it has none."""
        found = getattr(self.responder, "usage", None)
        return found if isinstance(found, Usage) else self._own_usage

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield every sample of every request, in any order.

        Raises:
            StorageError: An answer cannot be stored.
            ResponderError: As the responder.
        """
        self.failed.clear()
        converse: Converse | None = getattr(self.responder, "converse", None)
        if converse is not None:
            yield from _Conversation(self, sampling).run(requests, converse)
        else:
            yield from _Windows(self, sampling).run(requests)


class _Pending:
    """What both ways of asking share: which answers are under way, and who waits for them."""

    def __init__(self, owner: CachedResponder, sampling: Sampling) -> None:
        self.owner, self.sampling, self.cache = owner, sampling, owner.cache
        self.name = owner.name
        self.greedy = sampling.temperature <= 0
        self.keys: dict[tuple[str, int], bytes] = {}  # of the samples under way
        self.waiters: dict[bytes, list[tuple[str, int]]] = {}
        self.waiting = 0
        self.missing: deque[Request] = deque()

    def look_up(self, request: Request) -> Iterator[Response]:
        """Yield the samples of a request that are there; what is not is put on ``missing``, or waits for another."""
        audio = _audio_keys(request)
        samples = []
        for sample in request.wanted:
            key = answer_key(self.name, request, sample, self.sampling, audio)
            if key in self.waiters:
                self.waiters[key].append((request.id, sample))
                self.waiting += 1
                continue
            found = self.cache.get(key)
            if found is None:
                self.waiters[key] = []
                self.keys[request.id, sample] = key
                samples.append(sample)
            else:
                self.owner.usage.cached += 1
                yield replace(found, request_id=request.id, sample=sample)
        for first, count in stretches(samples):
            self.missing.append(replace(request, first_sample=first, samples=count))

    def keep(self, response: Response) -> Response:
        """Store a response that has just arrived."""
        key = self.keys.get((response.request_id, response.sample))
        if key is None:
            raise ResponderError(
                f"responder {self.name!r} answered sample {response.sample} of request {response.request_id!r}, which "
                "was not asked for or was answered before: it must give each sample of each request once"
            )
        return self.cache.put(key, self.name, response)

    def settle(self, response: Response) -> Iterator[Response]:
        """Yield a stored response and its copies for those who waited."""
        yield response
        key = self.keys.pop((response.request_id, response.sample))
        for request_id, sample in self.waiters.pop(key):
            self.waiting -= 1
            self.owner.usage.cached += 1
            yield replace(response, request_id=request_id, sample=sample, seconds=None)

    def give_up(self, call: Request) -> None:
        """Forget those samples of a call that were not answered; who waited for them fails with it."""
        failed = getattr(self.owner.responder, "failed", {})
        for sample in call.wanted:
            key = self.keys.pop((call.id, sample), None)
            if key is None:
                continue
            others = self.waiters.pop(key)
            self.waiting -= len(others)
            for request_id in {call.id, *(other for other, _ in others)} if call.id in failed else ():
                self.owner.failed[request_id] = failed[call.id]


class _Conversation(_Pending):
    """Asks a responder that takes requests one by one."""

    def run(self, requests: Iterable[Request], converse: Converse) -> Iterator[Response]:
        source = iter(requests)
        more = True
        with converse(self.sampling, self.keep) as session:
            calls: deque[Request] = deque()
            while more or calls or session.outstanding:
                while session.room and (calls or (more and self.waiting < _MOST_WAITING)):
                    if calls:
                        session.submit(calls.popleft())
                        continue
                    request = next(source, None)
                    if request is None:
                        more = False
                        continue
                    yield from self.look_up(request)
                    calls.extend(call for run in self.missing for call in session.split(run))
                    self.missing.clear()
                if session.outstanding:
                    call, responses = session.take()
                    for response in responses:
                        yield from self.settle(response)
                    self.give_up(call)


class _Windows(_Pending):
    """Asks any responder, for a window of misses at a time."""

    def run(self, requests: Iterable[Request]) -> Iterator[Response]:
        for request in requests:
            yield from self.look_up(request)
            if len(self.missing) >= _WINDOW or self.waiting >= _MOST_WAITING:
                yield from self._ask()
        yield from self._ask()

    def _ask(self) -> Iterator[Response]:
        window = list(self.missing)
        self.missing.clear()
        if not window:
            return
        for response in self.owner.responder.respond(window, self.sampling):
            yield from self.settle(self.keep(response))
        for request in window:
            self.give_up(request)
