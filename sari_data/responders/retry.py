"""What a server's refusal means, and how long to wait before asking again."""

from __future__ import annotations

import email.utils
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

# Of the client errors only these say "later": the others say that the request is wrong.
RETRIED = frozenset({408, 409, 425, 429})
# Refusals that concern every request: no key, no money, no such model or address.
FOR_ALL = frozenset({401, 402, 403, 404, 405})
# The server, or something before it, has no room now.
OVERLOADED = frozenset({429, 502, 503, 529})

# What to do about a reply: ask again later, give this request up, or give up altogether.
Verdict = Literal["retry", "fail", "stop"]


def judge(status: int) -> Verdict:
    """Return what an HTTP status of 300 or more means for the request and the run."""
    if status >= 500 or status in RETRIED:
        return "retry"
    return "stop" if status in FOR_ALL or status < 400 else "fail"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting times that double, with full jitter: uniform between nothing and the bound (Brooker, 2015).

    Args:
        first: Bound on the first wait, in seconds.
        longest: Bound on any wait, in seconds.
    """

    first: float = 1.0
    longest: float = 60.0

    def wait(self, failures: int, draw: random.Random, asked_for: float | None = None) -> float:
        """Return how many seconds to wait after the ``failures``-th failure in a row.

        Args:
            failures: 1 after the first.
            draw: Where the jitter comes from.
            asked_for: What the server asked for; then the wait is that and a little jitter on top.
        """
        if asked_for is not None:
            return asked_for + draw.uniform(0, self.first)
        return draw.uniform(0, min(self.longest, self.first * 2.0 ** min(failures - 1, 60)))


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that ``Retry-After`` asks for (RFC 9110: seconds or an HTTP date), or ``None`` without one.

    ``retry-after-ms``, which some hosts send, is preferred. A value that is neither is as none.

    Args:
        headers: The reply's, with lower-case names or a mapping that does not mind.
        now: The time; default: this machine's. The reply's own ``Date`` is preferred, so that clocks may differ.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if value is None or seconds is not None:
        return seconds
    until = _date(value)
    if until is None:
        return None
    here = _date(headers.get("date") or "") or now or datetime.now(UTC)
    return max(0.0, (until - here).total_seconds())


def _seconds(value: str | None) -> float | None:
    try:
        found = float(value or "")
    except ValueError:
        return None
    return found if 0 <= found < float("inf") else None


def _date(value: str) -> datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def server_message(body: bytes) -> str:
    """Return what an error's body says, in one line of at most 300 characters; empty where it says nothing."""
    text = body.decode("utf-8", errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(name):
            found = found[name]
    line = " ".join((found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)).split())
    return line if len(line) <= 300 else line[:297] + "..."
