"""The ``server`` responder: any chat server that speaks the OpenAI API, such as vLLM, SGLang or a hosted one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from sari_data.errors import InputError
from sari_data.responder import Request, Response, Sampling, Usage
from sari_data.responders.chat import Form
from sari_data.responders.limits import Concurrency, Rate
from sari_data.responders.line import Line
from sari_data.responders.retry import Backoff
from sari_data.responders.session import Keep, Session

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SUFFIX = "/chat/completions"
_OURS = ("messages", "n", "stream")


class ServerResponder:
    """Answers requests through a chat server.

    Samples are deterministic as far as the server is: each has a seed of its own from (seed, request id, sample). At
    temperature 0 one answer stands for all samples of a request.

    A request that cannot be answered (too long for the model, audio that does not decode, a content filter) is left
    out of the responses and named in ``failed``; a server that refuses everybody or does not answer is an error. So is
    one about more recordings than the server takes in a prompt.

    Args:
        model: The model's name on the server.
        base_url: Where the API is, for instance ``http://localhost:8000/v1``.
        api_key_env: Name of the environment variable that holds the API key. The key itself is no option, so it can
            reach no recipe, manifest or cache.
        concurrency: Most requests at once; fewer are sent where the server refuses or falls over.
        timeout: Seconds for one request.
        tries: Tries of one request. Refusals for lack of room count only while nobody is answered.
        requests_per_minute: Limit of the host; ``None``: none.
        tokens_per_minute: Limit of the host on tokens read and written together; ``None``: none.
        price_in: Price of a million tokens read; with ``price_out`` it makes ``usage.cost``.
        price_out: Price of a million tokens written.
        system: System prompt.
        extra_body: Further fields of each request's body; they win over ours.
        omit: Fields of the body that this server does not take, for instance ``["seed"]``.
        audio_format: ``wav`` (exact) or ``mp3`` (about an eighth of the bytes).
        audio_part: ``input_audio`` (OpenAI, vLLM) or ``audio_url`` (vLLM, SGLang).
        sampling_rate: Samples a second of the audio that is sent.
        max_seconds: Only so much of each audio is sent; ``None``: all.
        samples_per_request: Most samples to ask for at once (``n``): the prompt is then paid once for all of them,
            but a sample depends on which others are asked for with it.
        label: What stands for the server in ``name``; default: its host and port, and its path where that is not just
            ``/v1``, since a gateway may have several deployments of a model. Give one where the same model is
            served at changing addresses, so that cached answers stay valid.
        on_error: ``skip``: a request that cannot be answered goes to ``failed``; ``stop``: it is an error.
        stop_after_failures: So many failed requests in a row are an error all the same; 0: never.
        backoff: Bound on the first wait before a retry, in seconds; it doubles.
        longest_backoff: Bound on any such wait, in seconds.
        longest_wait: Most seconds that the server may ask for with ``Retry-After``.
        prefix: What becomes of a request that says what its answer begins with. ``continue``: the server goes on from a
            last message of the assistant's (vLLM, SGLang, TGI with ``continue_final_message``; where a server does so
            without that field, name it and ``add_generation_prompt`` in ``omit``). ``refuse``: it is an error, for
            servers that begin a new answer instead, such as OpenAI's own.

    Raises:
        InputError: An option does not fit, or the environment variable is not set.
    """

    hears_several = True  # each is a part of the turn; whether its model takes so many the server says

    def __init__(
        self,
        model: str,
        base_url: str = "http://localhost:8000/v1",
        *,
        api_key_env: str | None = None,
        concurrency: int = 32,
        timeout: float = 600.0,
        tries: int = 8,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        price_in: float | None = None,
        price_out: float | None = None,
        system: str = "",
        extra_body: Mapping[str, Any] | None = None,
        omit: Iterable[str] = (),
        audio_format: Literal["wav", "mp3"] = "wav",
        audio_part: Literal["input_audio", "audio_url"] = "input_audio",
        sampling_rate: int = 16_000,
        max_seconds: float | None = None,
        samples_per_request: int = 1,
        label: str | None = None,
        on_error: Literal["skip", "stop"] = "skip",
        stop_after_failures: int = 50,
        backoff: float = 1.0,
        longest_backoff: float = 60.0,
        longest_wait: float = 600.0,
        prefix: Literal["continue", "refuse"] = "continue",
    ) -> None:
        _check_words(audio_format=audio_format, audio_part=audio_part, on_error=on_error, prefix=prefix)
        _check_numbers(
            timeout=timeout,
            tries=tries,
            backoff=backoff,
            longest_backoff=longest_backoff,
            longest_wait=longest_wait,
            sampling_rate=sampling_rate,
            max_seconds=max_seconds,
            samples_per_request=samples_per_request,
        )
        url, host = _address(base_url)
        extra = _checked_extra(extra_body or {})
        form = Form(
            model=model,
            system=system,
            extra_body=extra,
            omit=tuple(omit),
            audio_format=audio_format,
            audio_part=audio_part,
            sampling_rate=sampling_rate,
            max_seconds=max_seconds,
            samples_per_request=samples_per_request,
        )
        key = _read_key(api_key_env)
        priced = price_in is not None or price_out is not None
        self.name = f"{model}@{label or host}#{form.digest}"
        self._line = Line(
            url=url,
            place=f"the server at {host}",
            headers={} if key is None else {"authorization": f"Bearer {key}"},
            form=form,
            concurrency=Concurrency(concurrency),
            requests=Rate(requests_per_minute),
            tokens=Rate(tokens_per_minute),
            backoff=Backoff(backoff, longest_backoff),
            tries=tries,
            timeout=timeout,
            longest_wait=longest_wait,
            on_error=on_error,
            stop_after_failures=stop_after_failures,
            price_in=price_in,
            price_out=price_out,
            prefix=prefix,
            usage=Usage(cost=0.0 if priced else None),
        )

    @property
    def usage(self) -> Usage:
        """What was used so far, in all conversations; it changes while answers come in."""
        return self._line.usage

    @property
    def failed(self) -> dict[str, str]:
        """Request id to ``reason: detail``, of what the latest ``respond`` could not answer."""
        return self._line.failed

    @property
    def concurrency(self) -> Concurrency:
        """How many requests may be under way, as learnt so far."""
        return self._line.concurrency

    def probe(self) -> str | None:
        """Return what keeps the server from answering anybody, in one sentence; ``None`` where nothing is known of it.

        It is asked for its list of models once, for at most ten seconds.
        """
        import asyncio

        from sari_data.responders.transport import probe

        return asyncio.run(probe(self._line))

    def converse(self, sampling: Sampling, keep: Keep | None = None) -> Session:
        """Open a conversation: requests go in one by one, answers come out as they arrive.

        Args:
            sampling: How to sample.
            keep: Called with each response as soon as it has arrived, in another thread; what it returns is handed on.
        """
        self._line.failed.clear()
        return Session(self._line, sampling, keep)

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield every sample of every request that can be answered, as they finish.

        Requests are taken as there is room for them: at most twice ``concurrency`` are waiting, under way or not yet
        fetched by the caller. Closing the iterator cancels what is under way.

        Raises:
            ResponderError: The server refuses everybody, or gives no answer.
        """
        with self.converse(sampling) as session:
            calls = (call for request in requests for call in session.split(request))
            more = True
            while more or session.outstanding:
                while more and session.room:
                    call = next(calls, None)
                    if call is None:
                        more = False
                    else:
                        session.submit(call)
                if session.outstanding:
                    yield from session.take()[1]


def _address(base_url: str) -> tuple[str, str]:
    """Return the URL that paths are appended to, and host, port and path without what may be secret."""
    try:
        parts = urlsplit(base_url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        fits = False
    if not fits:
        raise InputError(f"base_url must be a URL such as http://localhost:8000/v1; found {base_url!r}")
    if parts.username or parts.password:
        raise InputError("base_url must not hold a user or password: name the key's variable in api_key_env")
    path = parts.path.rstrip("/").removesuffix(_SUFFIX)
    host = parts.netloc + path.removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", parts.query, "")), host


def _checked_extra(extra_body: Mapping[str, Any]) -> dict[str, Any]:
    extra = dict(extra_body)
    taken = [name for name in _OURS if name in extra]
    if taken:
        raise InputError(f"extra_body must leave {', '.join(_OURS)} to the responder; found {taken}: take it out")
    try:
        json.dumps(extra)
    except (TypeError, ValueError) as error:
        raise InputError(f"extra_body must be what JSON can hold; found a value that is not: {error}") from error
    return extra


def _read_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    if not _VARIABLE.fullmatch(variable):
        raise InputError("api_key_env must be the name of an environment variable, not the key: export the key there")
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(f"the environment variable {variable} (api_key_env) is not set: export the API key there")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"the environment variable {variable} (api_key_env) holds no API key: it has unusual letters")
    return key


def _check_words(**words: str) -> None:
    allowed = {
        "audio_format": ("wav", "mp3"),
        "audio_part": ("input_audio", "audio_url"),
        "on_error": ("skip", "stop"),
        "prefix": ("continue", "refuse"),
    }
    for name, word in words.items():
        if word not in allowed[name]:
            raise InputError(f"{name} must be one of {allowed[name]}; found {word!r}")


def _check_numbers(**numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is not None and not number > 0:
            raise InputError(f"{name} must be more than 0; found {number}")
