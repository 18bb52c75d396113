"""Requests over HTTP, and what a failure means.

The connection is the Hub client's own (``huggingface_hub.get_async_session``), so a proxy or certificate that was set
up for the Hub serves here too. Its ``AsyncInferenceClient`` is not used, although it speaks the same API: without a
key it sends the user's Hub token to whatever server is asked, it rewrites ``response_format`` into TGI's form, it
refuses a server on this machine where ``HF_HUB_OFFLINE`` is set, and it fails on a reply with a wrong type without
saying what the reply was.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

from sari_data.console import note
from sari_data.errors import ResponderError
from sari_data.hub import transport_errors
from sari_data.responders.line import Line
from sari_data.responders.retry import OVERLOADED, judge, retry_after, server_message

# The Hub's client keeps at most 100 connections; for more requests at once there are several of it.
_CONNECTIONS = 64
_CONNECT_SECONDS = 30.0
_PROBE_SECONDS = 10.0
_SHOWN_MODELS = 20


async def probe(line: Line) -> str | None:
    """Return why a server would answer nobody: it is not there, or does not take the key; ``None`` if it may answer.

    A model that it does not list is only said: some gateways serve more than they list.
    """
    client = Client(line)
    try:
        reply = await client._send("GET", "models", _PROBE_SECONDS)
        if reply.status_code not in (401, 403):
            listed = await client.models() if reply.status_code == 200 else []
            if listed and line.form.model not in listed:
                shown = ", ".join(listed[:_SHOWN_MODELS])
                note(f"{line.place} does not list the model {line.form.model!r}; it has {shown}")
            return None
        return str(await client._refusal(reply.status_code, reply.headers, server_message(reply.content)))
    except Trouble as trouble:
        return f"{line.place} does not answer ({trouble}): start it, or correct base_url"
    finally:
        await client.close()


class RequestFailed(Exception):
    """One request cannot be answered; the message is ``reason: detail``."""


class Trouble(Exception):
    """One attempt failed and can be made again.

    Args:
        said: What the server said, or what happened.
        overloaded: The server had no room or is not there, whatever the request was.
        slower: It should be asked less at once.
        wait: Seconds that it asked for.
    """

    def __init__(self, said: str, *, overloaded: bool = False, slower: bool = False, wait: float | None = None) -> None:
        super().__init__(said)
        self.overloaded, self.slower, self.wait = overloaded, slower, wait


class Client:
    """Sends requests to one server; made and used in one event loop.

    Args:
        line: The server.
    """

    def __init__(self, line: Line) -> None:
        from huggingface_hub import get_async_session

        self.line = line
        self._sessions: list[Any] = [
            get_async_session() for _ in range(math.ceil(line.concurrency.most / _CONNECTIONS))
        ]
        for session in self._sessions:
            session.event_hooks = {}  # they refuse every request where HF_HUB_OFFLINE is set
        self._sent = 0

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions:
            await session.aclose()

    async def chat(self, body: bytes) -> bytes:
        """Send a chat request and return the body of the reply.

        Raises:
            Trouble: It may be sent again.
            RequestFailed: The server refuses this request.
            ResponderError: The server refuses every request.
        """
        reply = await self._send("POST", "chat/completions", self.line.timeout, body)
        if reply.status_code == 200:
            return bytes(reply.content)
        raise await self._refusal(reply.status_code, reply.headers, server_message(reply.content))

    async def alive(self) -> bool:
        """Return whether the server answers anything at all."""
        try:
            reply = await self._send("GET", "models", min(_CONNECT_SECONDS, self.line.timeout))
        except Trouble:
            return False
        return bool(reply.status_code < 500)

    async def models(self) -> list[str]:
        """Return the names of the models that the server lists; empty where it lists none."""
        try:
            reply = await self._send("GET", "models", min(_CONNECT_SECONDS, self.line.timeout))
            return [str(model["id"]) for model in json.loads(reply.content)["data"]]
        except (Trouble, ValueError, KeyError, TypeError):
            return []

    async def _send(self, method: str, path: str, seconds: float, body: bytes | None = None) -> Any:
        """Send a request and return the HTTP client's reply, whatever its status."""
        self._sent += 1
        session = self._sessions[self._sent % len(self._sessions)]
        base, mark, query = self.line.url.partition("?")
        headers = dict(self.line.headers) | ({} if body is None else {"content-type": "application/json"})
        try:
            async with asyncio.timeout(seconds):  # the client bounds each read, which a trickle of bytes never exceeds
                return await session.request(
                    method,
                    f"{base}/{path}{mark}{query}",
                    content=body,
                    headers=headers,
                    timeout=(
                        min(_CONNECT_SECONDS, seconds),
                        None,
                        None,
                        None,
                    ),
                )
        except TimeoutError as error:
            raise Trouble(f"nothing within {seconds:g} s", slower=True) from error
        except transport_errors() as error:
            name = type(error).__name__
            raise Trouble(f"{name}: {error}".rstrip(": "), overloaded=name.startswith("Connect")) from error

    async def _refusal(self, status: int, headers: Any, message: str) -> Exception:
        said = f"{status}: {message}" if message else str(status)
        verdict = judge(status)
        if verdict == "fail":
            return RequestFailed(f"the server refused it ({status}): {message}")
        if verdict == "stop":
            return ResponderError(f"{self.line.place} refuses every request ({said}): {await self._remedy(status)}")
        wait = retry_after(headers)
        if wait is not None and wait > self.line.longest_wait:
            return ResponderError(
                f"{self.line.place} wants {wait:g} s of rest ({said}): start again then, or raise longest_wait"
            )
        slower = status == 429 or status == 408 or status >= 500
        return Trouble(said, overloaded=status in OVERLOADED, slower=slower, wait=wait)

    async def _remedy(self, status: int) -> str:
        if status in (401, 403):
            named = "another one" if "authorization" in self.line.headers else "one"
            return f"set {named} by naming the environment variable that holds the key in api_key_env"
        if status == 402:
            return "pay the bill, then start again: what was answered is not asked again where it is cached"
        models = await self.models()
        if models:
            more = ", ..." if len(models) > _SHOWN_MODELS else ""
            return f"model is {self.line.form.model!r}, the server has {', '.join(models[:_SHOWN_MODELS])}{more}"
        return "see that base_url ends where /chat/completions begins (mostly in /v1), and that the model is served"
