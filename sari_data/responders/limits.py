"""How fast a server may be asked: concurrency that adapts, and rates in requests and tokens a minute.

The classes here are plain arithmetic on times that they are given, so that a test can play an hour in no time.
Additive increase and multiplicative decrease is the rule by which TCP finds its share of a link (Chiu and Jain,
1989); doubling before the first loss is TCP's slow start (RFC 5681).
"""

from __future__ import annotations

import asyncio
import time

from sari_data.errors import InputError

# Requests at once with which a server is first asked.
FIRST = 8
DECREASE = 0.5


class Concurrency:
    """How many requests may be under way: more after answers, half after a refusal.

    Every request carries the ``epoch`` in which it was sent. The requests of one epoch were sent under one limit, so
    the first refusal among them halves it and the others say nothing new.

    Args:
        most: Upper bound.
        first: Where to begin; never more than ``most``.

    Raises:
        InputError: ``most`` is below 1.
    """

    def __init__(self, most: int, first: int = FIRST) -> None:
        if most < 1:
            raise InputError(f"concurrency must be 1 or more; found {most}")
        self.most = most
        self.limit = float(min(first, most))
        self.epoch = 0
        self.lowest = self.highest = self.limit
        self._slow_start = True

    def answered(self, under_way: int) -> None:
        """One request was answered: the limit rises by one for each limit's worth of answers, at first by one each.

        Args:
            under_way: Requests under way, this one included. A limit that is hardly used has not been tried, so it
                stays as it is (RFC 7661 has the same rule).
        """
        if 2 * under_way < int(self.limit):
            return
        self.limit = min(self.most, self.limit + (1.0 if self._slow_start else 1.0 / self.limit))
        self.highest = max(self.highest, self.limit)

    def refused(self, epoch: int) -> None:
        """A request sent in ``epoch`` was refused, failed in the server, or timed out."""
        if epoch != self.epoch:
            return
        self.epoch += 1
        self._slow_start = False
        self.limit = max(1.0, self.limit * DECREASE)
        self.lowest = min(self.lowest, self.limit)


class Rate:
    """A token bucket that saves nothing up: in any minute at most ``per_minute`` plus one amount is spent.

    An amount may be more than is there: then the next one waits until it is paid off.

    Args:
        per_minute: Amount a minute; ``None``: no limit.

    Raises:
        InputError: ``per_minute`` is not positive.
    """

    def __init__(self, per_minute: float | None) -> None:
        if per_minute is not None and per_minute <= 0:
            raise InputError(f"a rate must be more than 0 a minute, or absent; found {per_minute}")
        self.per_second = None if per_minute is None else per_minute / 60
        self._free_at = float("-inf")  # when all that was spent is paid off

    def wait(self, now: float) -> float:
        """Return for how many seconds nothing may be spent."""
        return max(0.0, self._free_at - now)

    def spend(self, amount: float, now: float) -> None:
        """Spend ``amount``; a negative one gives back what was spent too much."""
        if self.per_second is not None:
            self._free_at = max(self._free_at, now) + amount / self.per_second


class Gate:
    """Lets requests through one after the other, as concurrency, rates and pauses allow; for one event loop.

    Args:
        concurrency: How many may be under way.
        requests: Requests a minute.
        tokens: Tokens a minute.
    """

    def __init__(self, concurrency: Concurrency, requests: Rate, tokens: Rate) -> None:
        self.concurrency, self.requests, self.tokens = concurrency, requests, tokens
        self.under_way = 0
        self._paused_until = float("-inf")
        self._left = asyncio.Event()
        self._door = asyncio.Lock()

    async def enter(self, tokens: float) -> int:
        """Wait for a place and take it; ``tokens`` is what the request is expected to use.

        Returns:
            The epoch to hand to :meth:`Concurrency.refused`.
        """
        async with self._door:  # first come, first served
            while True:
                if self.under_way >= int(self.concurrency.limit):
                    self._left.clear()
                    await self._left.wait()
                elif (wait := self._closed()) > 0:
                    await asyncio.sleep(wait)
                else:
                    break
            self.under_way += 1
            now = time.monotonic()
            self.requests.spend(1, now)
            self.tokens.spend(tokens, now)
            return self.concurrency.epoch

    def leave(self) -> None:
        """Give the place back."""
        self.under_way -= 1
        self._left.set()

    def pause(self, seconds: float) -> None:
        """Let nobody in for so long: the server asked for it."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _closed(self) -> float:
        now = time.monotonic()
        return max(self.requests.wait(now), self.tokens.wait(now), self._paused_until - now, 0.0)
