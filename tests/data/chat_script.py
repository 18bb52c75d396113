"""What a chat server on this machine is asked, what it answers, and what it does wrong."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ask:
    """One request: its body as sent, and what matters of it.

    ``key`` is a hash of the body alone, ``times`` how often the same body was asked before, ``number`` how many
    requests came before this one.
    """

    body: Mapping[str, Any]
    key: str
    times: int
    number: int
    prompt: str = ""
    system: str = ""
    audio: bytes | None = None
    seed: int | None = None
    n: int = 1


@dataclass(frozen=True)
class Reply:
    """An answer that is more than its text; with ``status`` 400 or more, ``text`` is the error's message."""

    text: Any = ""
    status: int = 200
    finish_reason: Any = "stop"
    headers: Mapping[str, str] = field(default_factory=dict)
    choice: Mapping[str, Any] = field(default_factory=dict)  # further fields of the choice, such as stop_reason
    message: Mapping[str, Any] = field(default_factory=dict)  # further fields of the message


def hashed(ask: Ask, index: int = 0) -> str:
    """The default answer: a word that depends on system prompt, prompt, audio, seed and the choice's index."""
    parts = (ask.system, ask.prompt, str(ask.audio), str(ask.seed), str(index))
    return f"<answer>{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}</answer>"


FAULTS = (
    "too_many",  # 429
    "too_many_after",  # 429 with Retry-After
    "error",  # 500
    "unavailable",  # 503
    "stall",  # no answer for `stall` seconds, then the connection is closed
    "cut",  # the connection is closed in the middle of the body
    "closed",  # the connection is closed before the first byte
    "bad_json",  # 200 with a body that is no JSON
    "missing",  # 200 without choices
    "wrong_type",  # 200 with a number where the text should be
    "fence",  # a good answer whose text stands in a code fence
)


@dataclass(frozen=True)
class Faults:
    """Draws what goes wrong from (seed, content, how often it was asked): never from the order of the requests.

    Args:
        seed: Of the draws.
        rates: Fault to probability.
        most: Most faults that one request's content meets; from then on all is well.
    """

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    most: int = 4

    def __call__(self, ask: Ask) -> str | None:
        """Return the fault of this request, or ``None``."""
        if ask.times >= self.most:
            return None
        draw = random.Random(f"{self.seed}/{ask.key}/{ask.times}").random()
        for fault in FAULTS:
            draw -= self.rates.get(fault, 0.0)
            if draw < 0:
                return fault
        return None


CALM = Faults()
