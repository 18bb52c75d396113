"""What a stage of a build uses of its responders, and whether it is worth going on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from types import TracebackType
from typing import TypeVar

from sari_data.annotation.asking import Tally
from sari_data.annotation.chains import NO_CAPTION, NO_GOLD
from sari_data.console import Advance, note, progress
from sari_data.errors import ResponderError
from sari_data.funnel import Stage
from sari_data.responder import Responder, Usage
from sari_data.sources.base import SetAside

T = TypeVar("T")

# So many answers are looked at before a stage that gives nothing is stopped, and this share of them must be no good.
LOOK_AT, HOPELESS = 200, 0.95

# Nobody was asked about these, so they cost nothing and say nothing about who answers.
UNASKED = (NO_CAPTION, NO_GOLD)


class Meter:
    """What responders used while the ``with`` blocks of this meter ran; several stages may share a responder.

    Args:
        *responders: Who is asked; one that does not count what it uses is left out.
    """

    def __init__(self, *responders: Responder) -> None:
        self._responders = {id(responder): responder for responder in responders}
        self._before: dict[int, Usage] = {}
        self._total: dict[int, Usage] = {}

    def __enter__(self) -> Meter:
        self._before = {key: replace(usage) for key, usage in self._now().items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._total, self._before = self._used(), {}

    def __str__(self) -> str:
        return "; ".join(describe_usage(usage) for usage in self._used().values())

    def _now(self) -> dict[int, Usage]:
        found = {key: getattr(responder, "usage", None) for key, responder in self._responders.items()}
        return {key: usage for key, usage in found.items() if isinstance(usage, Usage)}

    def _used(self) -> dict[int, Usage]:
        if not self._before:
            return self._total
        now = self._now()
        return {key: _sum(self._total.get(key, Usage()), now[key], before) for key, before in self._before.items()}


def _sum(earlier: Usage, now: Usage, before: Usage) -> Usage:
    """Return what was used earlier and what was used from ``before`` to ``now``, together."""
    numbers = {
        field.name: getattr(earlier, field.name) + getattr(now, field.name) - getattr(before, field.name)
        for field in fields(Usage)
        if field.name != "cost"
    }
    known = now.cost is not None
    return Usage(**numbers, cost=(earlier.cost or 0.0) + (now.cost or 0.0) - (before.cost or 0.0) if known else None)


def describe_usage(usage: Usage) -> str:
    """Return what was used as one phrase: requests, cached answers, tokens, and the cost where it is known."""
    parts = [f"{usage.requests:,} requests"] if usage.requests else []
    if usage.cached:
        parts.append(f"{usage.cached:,} answers from the cache")
    if usage.retries:
        parts.append(f"{usage.retries:,} sent again")
    if usage.prompt_tokens or usage.completion_tokens:
        parts.append(f"{usage.prompt_tokens:,} tokens read, {usage.completion_tokens:,} written")
    if usage.cost is not None:
        parts.append(f"cost {usage.cost:,.4f}")
    return ", ".join(parts)


class Watch:
    """Stops a stage whose first answers are nearly all no good: the rest would cost as much for nothing.

    Args:
        stage: The stage's name, for the message.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._seen = 0
        self._refused: Counter[str] = Counter()

    def see(self, result: object) -> None:
        """Look at what became of one item.

        Raises:
            ResponderError: Nearly all of the first ones were set aside.
        """
        if self._seen >= LOOK_AT or (isinstance(result, SetAside) and result.reason in UNASKED):
            return
        self._seen += 1
        if isinstance(result, SetAside):
            self._refused[result.reason] += 1
        bad = self._refused.total()
        if self._seen == LOOK_AT and bad >= HOPELESS * LOOK_AT:
            raise ResponderError(
                f"{self._stage}: {bad} of the first {LOOK_AT} answers had to be set aside "
                f"({list_reasons(self._refused)}): see to the model, its options and the templates before the rest is "
                "paid for; what was answered is not asked again where it is cached"
            )


def list_reasons(reasons: Counter[str], most: int = 3) -> str:
    """Return the most frequent reasons with their numbers, as one phrase."""
    told = ", ".join(f"{number:,} {reason}" for reason, number in reasons.most_common(most))
    return told + (", ..." if len(reasons) > most else "")


@contextmanager
def asking(
    name: str, total: int, tally: Tally, meter: Meter, watch: Watch | None = None
) -> Iterator[Callable[[Iterable[T]], Iterator[T]]]:
    """Show how a stage's results come in, with what it costs so far; yields what lets them through."""
    watch = watch or Watch(name)
    with meter, progress(name, total=total) as advance:

        def told(results: Iterable[T]) -> Iterator[T]:
            for result in results:
                watch.see(result[1] if isinstance(result, tuple) else result)
                yield result
                again = f"{tally.asked_again:,} asked again, " if tally.asked_again else ""
                advance(1, text=f"{again}{meter}")

        yield told


def with_usage(advance: Advance, meter: Meter) -> Callable[[int], None]:
    """Return what advances a progress display and shows what was used so far."""

    def told(count: int) -> None:
        advance(count, text=str(meter))

    return told


def tell(stage: Stage, tally: Tally, meter: Meter) -> None:
    """Note what a stage took and say its count."""
    again = f"{tally.asked_again:,} asked again" if tally.asked_again else ""
    stage.note = "; ".join(filter(None, [again, str(meter)]))
    note(f"{stage.name}: {stage.line()}")
