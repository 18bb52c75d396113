"""A responder that takes its time and writes down every request that it takes, so that its runs can be killed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from sari_data.responder import Request, Response, Sampling

AHEAD = 5  # requests that it takes before it answers the first


class SlowResponder:
    """Answers a few requests at once, in an order of its own.

    Args:
        log: File to which ``id sample`` of everything that was asked is appended.
        seconds: What one answer takes.
        most: After so many answers it gives none for a minute, so that a run is not over before it is killed, however
            late that comes.
    """

    name = "slow"

    def __init__(self, log: str | Path, seconds: float, most: int | None = None) -> None:
        self.log, self.seconds, self.most = Path(log), seconds, most
        self._given = 0

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield every sample of every request."""
        taken: list[tuple[str, int]] = []
        with self.log.open("a", encoding="utf-8") as log:
            for request in requests:
                for sample in request.wanted:
                    log.write(f"{request.id} {sample}\n")
                    taken.append((request.id, sample))
                log.flush()
                while len(taken) > AHEAD:
                    yield self._answer(*taken.pop(len(taken) // 2))
            while taken:
                yield self._answer(*taken.pop())

    def _answer(self, identifier: str, sample: int) -> Response:
        time.sleep(60 if self._given == self.most else self.seconds)
        self._given += 1
        return Response(identifier, sample, text_of(identifier, sample), "stop", tokens=3)


def text_of(identifier: str, sample: int) -> str:
    """What is answered: the same for the same question and sample."""
    word = ("dog", "cat", "rain", "bell")[hashlib.sha256(f"{identifier}/{sample}".encode()).digest()[0] % 4]
    return f"<answer>{word}</answer> {sample}"
