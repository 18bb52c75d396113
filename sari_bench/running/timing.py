"""How long a run took, from what stands beside each of its answers.

``seconds`` of a row is the wall time since the answer before, so the rows of a run add up to the time that it was
answering, over all its sittings. ``took`` is the time of one request alone; it is there only where requests run
individually, as on a server: of a batch that is decoded together no such figure would mean anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Timing:
    """Throughput and latency of a run, or of one sitting.

    Args:
        answers: Answers.
        tokens: Their tokens, 0 where unknown.
        seconds: Wall time of all of them together.
        took: Seconds of each request that ran individually, ascending.
    """

    answers: int
    tokens: int
    seconds: float
    took: tuple[float, ...] = ()

    def quantile(self, share: float) -> float | None:
        """Return the seconds within which ``share`` of the requests was answered (nearest rank); ``None``: unknown."""
        return nearest_rank(self.took, share) if self.took else None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a JSON object; what is not known is ``null``."""
        return {
            "answers": self.answers,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 3),
            "answers_per_second": round(self.answers / self.seconds, 3) if self.seconds else None,
            "tokens_per_second": round(self.tokens / self.seconds, 1) if self.seconds and self.tokens else None,
            "request_seconds_p50": self.quantile(0.5),
            "request_seconds_p95": self.quantile(0.95),
        }

    def __str__(self) -> str:
        if not self.answers or self.seconds <= 0:
            return "no answers"
        speed = self.answers / self.seconds
        parts = [f"{self.answers:,} answers in {_duration(self.seconds)}", f"{speed:,.1f} a second"]
        if self.tokens:
            parts.append(f"{self.tokens / self.seconds:,.0f} tokens/s")
        if self.took:
            parts.append(f"a request took {self.quantile(0.5):.2f} s (median), {self.quantile(0.95):.2f} s (95 %)")
        return ", ".join(parts)


def timing_of(rows: Iterable[Mapping[str, Any]]) -> Timing:
    """Return the timing of rows of ``responses.jsonl``; rows of earlier versions lack some figures."""
    answers = tokens = 0
    seconds = 0.0
    took = []
    for row in rows:
        answers += 1
        tokens += row.get("tokens", 0)
        seconds += row.get("seconds", 0.0)
        if row.get("took") is not None:
            took.append(float(row["took"]))
    return Timing(answers, tokens, seconds, tuple(sorted(took)))


def nearest_rank(ascending: Sequence[float], share: float) -> float:
    """Return the least value that at least ``share`` of the values do not exceed."""
    return ascending[max(math.ceil(share * len(ascending)), 1) - 1]


def _duration(seconds: float) -> str:
    if seconds < 59.95:  # what rounds to 60.0 is a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest} s"
