"""What is known of one server: where it is, how it is asked, how much it takes, and what it has cost."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

from sari_data.errors import ResponderError
from sari_data.responder import Request, Sampling, Usage
from sari_data.responders.chat import Completion, Form
from sari_data.responders.limits import Concurrency, Rate
from sari_data.responders.retry import Backoff


@dataclass(slots=True)
class Line:
    """The line to a server: where it is, how it is asked, and what was learnt about it; shared by its sessions.

    Args:
        url: Base URL, with its ``/v1``.
        place: The server's name in messages.
        headers: Of every request; the key is among them.
        form: What decides a request's body.
        concurrency: How many requests may be under way.
        requests: Requests a minute.
        tokens: Tokens a minute.
        backoff: Waits between tries.
        tries: Tries of one request.
        timeout: Seconds for one try.
        longest_wait: Most seconds that the server may ask us to wait.
        on_error: Whether a request that cannot be answered ends the run.
        stop_after_failures: So many in a row end it all the same; 0: never.
        price_in: Price of a million tokens read.
        price_out: Price of a million tokens written.
        prefix: Whether the server goes on from what an answer begins with.
    """

    url: str
    place: str
    headers: dict[str, str]
    form: Form
    concurrency: Concurrency
    requests: Rate
    tokens: Rate
    backoff: Backoff
    tries: int
    timeout: float
    longest_wait: float
    on_error: Literal["skip", "stop"]
    stop_after_failures: int
    price_in: float | None
    price_out: float | None
    prefix: Literal["continue", "refuse"] = "continue"
    usage: Usage = field(default_factory=Usage)
    failed: dict[str, str] = field(default_factory=dict)
    answers: int = 0
    failures_in_row: int = 0
    tokens_each: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def expected_tokens(self, request: Request, samples: int, sampling: Sampling) -> float:
        """What a request is expected to use: a running mean; before there is one, about four letters a token."""
        if self.tokens_each is not None:
            return self.tokens_each
        return len(request.prompt) / 4 + samples * sampling.max_new_tokens

    def count(self, reply: Completion) -> None:
        """Record an answered request."""
        with self.lock:
            total = reply.prompt_tokens + reply.completion_tokens
            self.tokens_each = total if self.tokens_each is None else 0.9 * self.tokens_each + 0.1 * total
            self.answers += 1
            self.failures_in_row = 0
            self.usage.requests += 1
            self.usage.prompt_tokens += reply.prompt_tokens
            self.usage.completion_tokens += reply.completion_tokens
            if self.usage.cost is not None:
                self.usage.cost += reply.prompt_tokens * (self.price_in or 0.0) / 1e6
                self.usage.cost += reply.completion_tokens * (self.price_out or 0.0) / 1e6

    def give_up(self, request: Request, why: str) -> None:
        """Record a request that cannot be answered.

        Raises:
            ResponderError: That ends the run: one is too many, or there were too many in a row.
        """
        if self.on_error == "stop":
            raise ResponderError(f"request {request.id!r} to {self.place}: {why}: correct it, or set on_error to skip")
        with self.lock:
            self.failed[request.id] = why
            self.failures_in_row += 1
            many = 0 < self.stop_after_failures <= self.failures_in_row
        if many:
            raise ResponderError(
                f"{self.place} failed {self.failures_in_row} requests in a row, the last with: {why}: correct the "
                "options, or raise stop_after_failures"
            )
