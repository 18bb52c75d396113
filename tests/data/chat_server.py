"""A chat server on this machine that speaks the OpenAI API and misbehaves on purpose.

What it answers is a function of what it is asked, so two runs against it can be compared; what it does wrong is drawn
from a seed, the request's content and how often that was asked. It counts by content what it was asked and what it
answered in full, and can write both to a file, one JSON object a line.

In a test::

    with ChatServer(reply=lambda ask: ask.prompt.upper(), faults=Faults(seed=1, rates={"error": 0.2})) as server:
        ...  # server.url, server.asked, server.answered

As a process::

    python tests/data/chat_server.py --port-file PORT --log LOG --fault error=0.2 --reply some_module:function
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import importlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from chat_script import CALM, FAULTS, Ask, Faults, Reply, hashed

__all__ = ["FAULTS", "Ask", "ChatServer", "Faults", "Reply", "hashed"]

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


class ChatServer:
    """The server, in a thread of its own while the ``with`` block runs.

    Args:
        reply: What is answered: a text or a Reply, from an Ask and (where it takes two) the choice's index.
        faults: What goes wrong: from an Ask to one of FAULTS or ``None``.
        delay: Seconds before each answer.
        stall: Seconds that a stall lasts.
        retry_after: The header's text with ``too_many_after``.
        model: The only model that it knows.
        key: The API key that it wants; ``None``: any or none.
        log: A file that is appended to.
        most: Requests at once; more get a 429. 0: any number.
    """

    def __init__(
        self,
        reply: Callable[..., Any] = hashed,
        *,
        faults: Callable[[Ask], str | None] = CALM,
        delay: float = 0.0,
        stall: float = 30.0,
        retry_after: str = "0",
        model: str = "toy",
        key: str | None = None,
        log: str | Path | None = None,
        most: int = 0,
        port: int = 0,
    ) -> None:
        self.reply, self.faults, self.delay, self.stall = reply, faults, delay, stall
        self.retry_after, self.model, self.key, self.most, self.port = retry_after, model, key, most, port
        self.indexed = _takes_index(reply)
        self.guarded = False  # whether the list of models wants the key too
        self.log: TextIO | None = open(log, "a", encoding="utf-8") if log else None  # noqa: SIM115
        self.asked: Counter[str] = Counter()  # content to how often it was asked
        self.answered: Counter[str] = Counter()  # content to how often an answer was sent whole
        self.prompts: dict[str, str] = {}  # content to the prompt's text
        self.faulty: Counter[str] = Counter()  # fault to how often it struck
        self.headers: list[dict[str, str]] = []  # of the latest request
        self.bodies: list[Mapping[str, Any]] = []  # the latest ten
        self.times: list[tuple[float, int, str]] = []  # when a request came, how many were under way, what became of it
        self.now = self.peak = self.given_up = 0  # under way; most at once; connections that the client closed
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        if self.log:
            self.log.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.given_up += 1
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return whether the connection may serve another."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return False
        line, *rest = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in rest if text)}
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        self.headers[:] = [headers]
        method, path, _ = line.split(" ")
        refused = self.key is not None and headers.get("authorization") != f"Bearer {self.key}"
        if method == "GET" and path == "/v1/models" and not (refused and self.guarded):
            return await self._send(writer, 200, {"object": "list", "data": [{"id": self.model, "object": "model"}]})
        if refused:
            return await self._send(writer, 401, _error("Incorrect API key provided"))
        if method != "POST" or path != "/v1/chat/completions":
            return await self._send(writer, 404, _error("Not Found"))
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            return await self._chat(json.loads(data), reader, writer)
        finally:
            self.now -= 1

    async def _chat(self, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:24]
        ask = _ask(body, key, self.asked[key], self.asked.total())
        self.asked[key] += 1
        self.prompts.setdefault(key, ask.prompt)
        self.bodies[:] = [*self.bodies[-9:], body]
        if body.get("model") != self.model:
            return await self._send(writer, 404, _error(f"The model `{body.get('model')}` does not exist."))
        fault = "too_many" if 0 < self.most < self.now else self.faults(ask)
        self.times.append((time.monotonic(), self.now, fault or "answered"))
        self._note(event="asked", key=key, prompt=ask.prompt, fault=fault)
        if fault is not None and fault != "fence":
            self.faulty[fault] += 1
            return await self._misbehave(fault, ask, reader, writer)
        await _linger(self.delay, reader)
        replies = [self._reply(ask, index) for index in range(ask.n)]
        if replies[0].status >= 400:
            return await self._send(writer, replies[0].status, _error(replies[0].text), replies[0].headers)
        if fault == "fence":
            self.faulty[fault] += 1
            replies = [Reply(f"```json\n{reply.text}\n```") for reply in replies]
        await self._send(writer, 200, _completion(body, replies, ask), replies[0].headers)
        self.answered[key] += 1
        self._note(event="answered", key=key, prompt=ask.prompt)
        return True

    def _reply(self, ask: Ask, index: int) -> Reply:
        found = self.reply(ask, index) if self.indexed else self.reply(ask)
        return found if isinstance(found, Reply) else Reply(found)

    async def _misbehave(
        self, fault: str, ask: Ask, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if fault in ("too_many", "too_many_after"):
            headers = {"Retry-After": self.retry_after} if fault == "too_many_after" else {}
            return await self._send(writer, 429, _error("Rate limit reached for requests"), headers)
        if fault in ("error", "unavailable"):
            return await self._send(writer, 500 if fault == "error" else 503, _error("the engine fell over"))
        if fault == "stall":
            await _linger(self.stall, reader)
        good = _completion(ask.body, [Reply("never mind")], ask)
        if fault == "cut":
            data = json.dumps(good).encode()
            writer.write(_head(200, len(data), {}) + data[: len(data) // 2])
            await writer.drain()
        elif fault == "bad_json":
            return await self._send(writer, 200, b'{"choices": [{"message": ')
        elif fault == "missing":
            del good["choices"]
            return await self._send(writer, 200, good)
        elif fault == "wrong_type":
            good["choices"][0]["message"]["content"] = 7
            return await self._send(writer, 200, good)
        return False

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, body: Any, headers: Mapping[str, str] | None = None
    ) -> bool:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        writer.write(_head(status, len(data), headers or {}) + data)
        await writer.drain()
        return True

    def _note(self, **entry: Any) -> None:
        if self.log:
            self.log.write(json.dumps(entry) + "\n")
            self.log.flush()


async def _linger(seconds: float, reader: asyncio.StreamReader) -> None:
    """Wait, but no longer than the client does."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if reader.at_eof():
            raise ConnectionError("the client has gone")
        await asyncio.sleep(min(left, 0.02))


def _takes_index(reply: Callable[..., Any]) -> bool:
    code = getattr(reply, "__code__", None)
    return code is not None and code.co_argcount == 2


def _ask(body: Mapping[str, Any], key: str, times: int, number: int) -> Ask:
    texts = {"system": "", "user": ""}
    audio = None
    for message in body.get("messages", ()):
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "text":
                texts[message["role"]] = part["text"]
            elif part["type"] == "input_audio":
                audio = base64.b64decode(part["input_audio"]["data"], validate=True)
            else:
                audio = base64.b64decode(part["audio_url"]["url"].partition(",")[2], validate=True)
    return Ask(
        body, key, times, number, texts["user"], texts["system"], audio, body.get("seed"), int(body.get("n") or 1)
    )


def _completion(body: Mapping[str, Any], replies: list[Reply], ask: Ask) -> dict[str, Any]:
    words = sum(len(str(reply.text).split()) for reply in replies)
    prompt = len(ask.prompt.split())
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": body.get("model"),
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": reply.text, **reply.message},
                "finish_reason": reply.finish_reason,
                **reply.choice,
            }
            for index, reply in enumerate(replies)
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words},
    }


def _error(message: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "code": None}}


def _head(status: int, length: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}", "Content-Type: application/json"]
    lines += [f"Content-Length: {length}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", help="where the port is written once the server listens")
    parser.add_argument("--log", help="file that every request and every answer is appended to")
    parser.add_argument("--reply", default="", help="module:function; the module is looked for beside this file too")
    parser.add_argument("--fault", action="append", default=[], help="NAME=RATE, several times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--stall", type=float, default=30.0)
    parser.add_argument("--retry-after", default="0")
    options = parser.parse_args()
    reply: Callable[..., Any] = hashed
    if options.reply:
        sys.path.insert(0, os.getcwd())
        module, _, name = options.reply.partition(":")
        reply = getattr(importlib.import_module(module), name)
    rates = {name: float(rate) for name, _, rate in (text.partition("=") for text in options.fault)}
    assert not set(rates) - set(FAULTS), f"faults are {FAULTS}; found {sorted(rates)}"
    server = ChatServer(
        reply,
        faults=Faults(options.seed, rates),
        delay=options.delay,
        stall=options.stall,
        retry_after=options.retry_after,
        log=options.log,
        port=options.port,
    )
    with server:
        if options.port_file:
            waiting = Path(options.port_file + ".new")
            waiting.write_text(str(server.port))
            waiting.replace(options.port_file)
        threading.Event().wait()


if __name__ == "__main__":
    main()
