"""One conversation with a chat server: requests go in, answers come out, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType

from sari_data.errors import AudioError, InputError, MissingFileError, ResponderError
from sari_data.responder import Request, Response, Sampling
from sari_data.responders.chat import Completion, MalformedReply, WithheldAnswer, encode_audio, read_reply, write_body
from sari_data.responders.limits import Gate
from sari_data.responders.line import Line
from sari_data.responders.transport import Client, RequestFailed, Trouble
from sari_data.types import AudioRef

# Letters of encoded audio that are kept, so that the samples of one question encode its audio once.
_CLIPS = 32 * 2**20
_PREFIX_HINT = " (the request has a prefix, which not every server goes on from)"

Keep = Callable[[Response], Response]


class Session:
    """Requests under way to one server. All methods are for one thread, which is not the session's own.

    Args:
        line: The server.
        sampling: How to sample.
        keep: Called in the session's thread with each response as soon as it has arrived; what it returns is handed on.
    """

    def __init__(self, line: Line, sampling: Sampling, keep: Keep | None = None) -> None:
        self.line, self.sampling, self._keep = line, sampling, keep
        self.outstanding = 0
        # As many again as may be under way: a place that becomes free is taken at once, and memory stays bounded.
        self.look_ahead = 2 * line.concurrency.most
        self._done: queue.SimpleQueue[tuple[Request, list[Response]] | BaseException] = queue.SimpleQueue()
        self._clips: OrderedDict[str, str] = OrderedDict()
        self._clips_size = 0
        self._clips_lock = threading.Lock()
        self._draw = random.Random()  # jitter only: no answer depends on it
        self._started = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="sari-server", daemon=True)
        self._thread.start()
        self._started.wait()
        if not self._thread.is_alive():
            self.take()  # raises what ended the thread

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def room(self) -> int:
        """How many more calls may be submitted now."""
        return max(0, self.look_ahead - self.outstanding)

    def split(self, request: Request) -> Iterator[Request]:
        """Yield the calls that a request takes: each is a request of so many samples as the server is asked at once.

        Raises:
            InputError: The request has a prefix, and the server is said to be none that goes on from one.
        """
        if request.prefix and self.line.prefix == "refuse":
            raise InputError(
                f"request {request.id!r} says what its answer begins with, and {self.line.place} is not to be asked so "
                '(prefix = "refuse"): take a server that goes on from a last message of the assistant\'s, such as vLLM'
            )
        # Greedy samples are all the same: the server writes one.
        each = request.samples if self.sampling.temperature <= 0 else self.line.form.samples_per_request
        for first in range(request.first_sample, request.first_sample + request.samples, max(1, each)):
            left = request.first_sample + request.samples - first
            yield replace(request, first_sample=first, samples=min(each, left))

    def submit(self, call: Request) -> None:
        """Send a call as soon as there is a place for it."""
        self.outstanding += 1
        self._loop.call_soon_threadsafe(self._spawn, call)

    def take(self) -> tuple[Request, list[Response]]:
        """Wait for the next call that is done; one that failed has fewer responses than samples.

        Raises:
            ResponderError: The server cannot answer any more.
        """
        done = self._done.get()
        if isinstance(done, BaseException):
            raise done
        self.outstanding -= 1
        return done

    def close(self) -> None:
        """Cancel what is under way and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # handed to the thread that waits, which raises it
            self._done.put(error)
        finally:
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._gate = Gate(self.line.concurrency, self.line.requests, self.line.tokens)
        self._client = Client(self.line)
        self._started.set()
        try:
            await self._ending.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._client.close()

    def _spawn(self, call: Request) -> None:
        task = asyncio.get_running_loop().create_task(self._call(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, call: Request) -> None:
        responses: list[Response] = []
        try:
            await self._answer(call, responses)
        except RequestFailed as failure:
            try:
                self.line.give_up(call, f"{failure}{_PREFIX_HINT if call.prefix else ''}")
            except ResponderError as error:
                self._done.put(error)
                return
        except Exception as error:  # handed to the thread that waits, which raises it
            self._done.put(error)
            return
        self._done.put((call, responses))

    async def _answer(self, call: Request, responses: list[Response]) -> None:
        """Ask until every sample of the call is answered."""
        greedy = self.sampling.temperature <= 0
        missing = [call.first_sample] if greedy else list(call.wanted)
        while missing:
            reply = await self._ask(call, missing)
            alone = len(reply.choices) == 1
            for choice in reply.choices[: len(missing)]:
                for sample in call.wanted if greedy else [missing.pop(0)]:
                    tokens = reply.completion_tokens if alone else 0
                    found = Response(
                        call.id, sample, choice.text, choice.finish_reason, tokens, reply.prompt_tokens, reply.seconds
                    )
                    responses.append(found if self._keep is None else self._keep(found))
            if greedy:
                return

    async def _ask(self, call: Request, samples: list[int]) -> Completion:
        """Ask until there is an answer to these samples or no hope of one."""
        line = self.line
        failures = refusals = 0
        before = seen = line.answers
        while True:
            try:
                return await self._attempt(call, samples)
            except Trouble as trouble:
                if trouble.overloaded:
                    # While others are answered the server has room now and then: only a standstill counts.
                    refusals = refusals + 1 if line.answers == seen else 1
                    seen = line.answers
                else:
                    failures += 1
                if refusals >= line.tries:
                    raise ResponderError(
                        f"{line.place} took no request in {refusals} tries of {call.id!r}; it said: {trouble}: "
                        "start again later, what was answered is not asked again where it is cached"
                    ) from trouble
                if failures >= line.tries:
                    if line.answers > before or await self._client.alive():
                        raise RequestFailed(f"no usable answer after {failures} tries: {trouble}") from trouble
                    raise ResponderError(
                        f"{line.place} gave no answer in {failures} tries of {call.id!r}; it said: {trouble}: "
                        "see that it runs, then start again"
                    ) from trouble
                wait = line.backoff.wait(failures + refusals, self._draw, trouble.wait)
            with line.lock:
                line.usage.retries += 1
            await asyncio.sleep(wait)

    async def _attempt(self, call: Request, samples: list[int]) -> Completion:
        """Send the call once."""
        line = self.line
        expected = line.expected_tokens(call, len(samples), self.sampling)
        epoch = await self._gate.enter(expected)
        try:
            body = await asyncio.to_thread(self._body, call, samples)
            sent = time.monotonic()
            found = self._read(await self._client.chat(body), call.prefix)
            found = replace(found, seconds=time.monotonic() - sent)
            line.concurrency.answered(self._gate.under_way)
        except Trouble as trouble:
            if trouble.slower:
                line.concurrency.refused(epoch)
            if trouble.overloaded and trouble.wait is not None:
                self._gate.pause(trouble.wait)
            raise
        finally:
            self._gate.leave()
        line.count(found)
        line.tokens.spend(found.prompt_tokens + found.completion_tokens - expected, time.monotonic())
        return found

    def _body(self, call: Request, samples: list[int]) -> bytes:
        recordings = [self._encoded(audio) for audio in call.recordings]
        return write_body(call, samples, self.sampling, self.line.form, recordings)

    def _encoded(self, ref: AudioRef) -> str:
        with self._clips_lock:
            audio = self._clips.get(ref.key)
        if audio is not None:
            return audio
        try:
            audio = encode_audio(ref, self.line.form)
        except (AudioError, MissingFileError) as error:
            raise RequestFailed(f"its audio cannot be read: {error}") from error
        with self._clips_lock:
            self._clips_size += len(audio) - len(self._clips.get(ref.key, ""))
            self._clips[ref.key] = audio
            while self._clips_size > _CLIPS:
                self._clips_size -= len(self._clips.popitem(last=False)[1])
        return audio

    def _read(self, data: bytes, prefix: str) -> Completion:
        try:
            return read_reply(data, self.sampling.stop, prefix)
        except MalformedReply as error:
            raise Trouble(f"a reply that cannot be used: {error}") from error
        except WithheldAnswer as error:
            raise RequestFailed(f"the server withheld its answer: {error}") from error
