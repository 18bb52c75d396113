"""JSON over HTTP to one server: bounded in time, patient with a busy server, and plain about what went wrong.

Left out: connections that are kept (an answer takes seconds, a connection less than a millisecond), proxies and
redirects (the server is named by whoever runs it).
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from sari_data.errors import InputError, ResponderError

# A request that met a cut connection, a full queue (429) or a failing server (5xx) is sent again so many times,
RETRIES = 4
# first after so many seconds, then after twice as many, and so on; a Retry-After header is heeded up to a bound.
FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
# Bytes read at once; between two reads the time limit is looked at.
_PIECE = 2**20
# An answer is text about a few thousand tokens; anything near this is not one.
_LARGEST_ANSWER = 2**30


class HttpError(ResponderError):
    """The server answered with a status other than 200.

    Args:
        status: HTTP status.
        detail: What the server said, shortened.
    """

    def __init__(self, message: str, status: int, detail: str) -> None:
        super().__init__(message)
        self.status, self.detail = status, detail


def split_url(url: str) -> SplitResult:
    """Return the parts of a server's address.

    Raises:
        InputError: Not an address such as http://host:8000.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        fits = fits and parts.port != 0  # asking for the port raises where it is no number
    except ValueError:
        fits = False
    if not fits:
        raise InputError(f"rollout.url must look like http://host:8000; found {url!r}: correct it")
    return parts


class Client:
    """Asks one server.

    Args:
        url: ``http://host:port`` or ``https://...``, with a path where the server has one.
        timeout: Seconds that one request may take, from the connection to the last byte of the answer.
        key: Sent as a bearer token; default: the environment's ``VLLM_API_KEY``, which vLLM reads too.

    Raises:
        InputError: Not such an address.
    """

    def __init__(self, url: str, *, timeout: float, key: str | None = None) -> None:
        parts = split_url(url)
        self.url, self.timeout = url.rstrip("/"), timeout
        self._host, self._port = str(parts.hostname), parts.port
        self._secure, self._base = parts.scheme == "https", parts.path.rstrip("/")
        key = os.environ.get("VLLM_API_KEY") if key is None else key
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._open: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def get(self, path: str) -> Any:
        """Return the JSON that the server answers to GET ``path`` with; see :meth:`post`."""
        return self._ask("GET", path, None, retries=RETRIES)

    def post(self, path: str, body: object = None, *, retries: int = RETRIES) -> Any:
        """Return the JSON that the server answers to POST ``path`` with; ``None`` for an empty answer.

        Args:
            path: With its leading slash.
            body: Sent as JSON, where given.
            retries: How often it is sent again; 0 for what must not happen twice.

        Raises:
            HttpError: A status other than 200, after the retries.
            ResponderError: No server, no answer in time, or one that is not JSON.
        """
        return self._ask("POST", path, body, retries=retries)

    def stop(self) -> None:
        """End every request that is under way in another thread; each raises, and so does any that comes after."""
        self._stopped.set()
        with self._lock:
            for connection in self._open:
                sock = getattr(connection, "sock", None)
                if sock is not None:
                    try:
                        sock.shutdown(2)
                    except OSError:
                        continue  # closed in the meantime, which is what was wanted

    def _ask(self, method: str, path: str, body: object, *, retries: int) -> Any:
        where = f"{method} {self.url}{path}"
        data = None if body is None else json.dumps(body).encode()
        for turn in range(retries + 1):
            last = turn == retries
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2**turn)
            try:
                status, asked_wait, answer = self._send(method, path, data, where)
            except TimeoutError as error:
                raise ResponderError(
                    f"{where} had no whole answer after {self.timeout:g} s: raise rollout.timeout, or look at the "
                    "server's log"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                if self._stopped.is_set():
                    raise ResponderError(f"{where} was called off") from error
                if last:
                    raise ResponderError(
                        f"no server answers at {self.url} ({method} {path}: {type(error).__name__}: {error}): start "
                        "`vllm serve` as docs/rollout-server.md says, or correct rollout.url"
                    ) from error
            else:
                if status == 200:
                    return _parse(answer, where)
                if last or not (status == 429 or status >= 500):
                    detail = _detail(answer)
                    raise HttpError(f"{where} was answered with status {status}: {detail}", status, detail)
                wait = wait if asked_wait is None else min(LONGEST_WAIT, asked_wait)
            if self._stopped.wait(wait):
                raise ResponderError(f"{where} was called off")
        raise AssertionError("the last turn returns or raises")

    def _connection(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=self.timeout)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(self._host, self._port, timeout=self.timeout, context=context)

    def _send(self, method: str, path: str, data: bytes | None, where: str) -> tuple[int, float | None, bytes]:
        """One exchange: (status, seconds that Retry-After asks for, body)."""
        until = time.monotonic() + self.timeout
        connection = self._connection()
        with self._lock:
            self._open.add(connection)
        try:
            connection.connect()
            with self._lock:  # stop() reaches a connection from here on, but not one that is being made
                if self._stopped.is_set():
                    raise ConnectionAbortedError("called off")
            connection.request(method, self._base + path, body=data, headers=self._headers)
            response = connection.getresponse()
            pieces: list[bytes] = []
            size = 0
            while piece := response.read1(_PIECE):
                pieces.append(piece)
                size += len(piece)
                if size > _LARGEST_ANSWER:
                    raise ResponderError(
                        f"{where} was answered with more than {_LARGEST_ANSWER} bytes: look at the server"
                    )
                if time.monotonic() > until:
                    raise TimeoutError
            if response.length:  # fewer bytes than the header promised
                raise http.client.IncompleteRead(b"", response.length)
            return response.status, _retry_after(response.getheader("Retry-After")), b"".join(pieces)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


def _parse(answer: bytes, where: str) -> Any:
    if not answer.strip():
        return None
    try:
        return json.loads(answer)
    except ValueError as error:
        raise ResponderError(
            f"{where} was answered with something that is not JSON ({answer[:80]!r}): rollout.url must name a vLLM "
            "server"
        ) from error


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _detail(answer: bytes) -> str:
    """The message inside an error answer of vLLM or FastAPI, else the start of the answer."""
    try:
        body = json.loads(answer)
    except ValueError:
        body = None
    found: object = body
    if isinstance(body, dict):
        inner = body.get("error")
        found = inner.get("message") if isinstance(inner, dict) else inner or body.get("detail") or body.get("message")
    text = found if isinstance(found, str) and found else answer.decode("utf-8", "replace")
    return " ".join(text.split())[:300] or "an empty answer"
