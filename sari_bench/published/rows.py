"""One published result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A result as somebody else published it. It was scored by its authors, mostly with the benchmark's own script.

    Args:
        model: Name of the model.
        method: How it was trained or asked; empty where the source does not say.
        benchmark: Name of the benchmark as in ``sari-bench list``.
        version: The benchmark's version, or words for it where the source names none ("before v05.15.25").
        split: Split of the benchmark.
        figures: Accuracy of each task in percent, as printed; ``None`` where the source prints none.
        average: The printed average in percent.
        source: Where it is printed.
        url: Address of the source; may be empty.
        counts: Questions of each task; empty where unknown.
        exact: Whether the row was scored on exactly ``counts`` questions.
        problem: Why the average cannot be that of the figures, in one sentence; ``None`` where it can be.
        remark: Which figures no whole number of right answers gives, in one sentence.
    """

    model: str
    method: str
    benchmark: str
    version: str
    split: str
    figures: Mapping[str, float | None]
    average: float | None
    source: str
    url: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    exact: bool = False
    problem: str | None = None
    remark: str | None = None

    @property
    def label(self) -> str:
        """The model, with its method where one is named."""
        return f"{self.model}, {self.method}" if self.method else self.model

    def to_json(self) -> dict[str, Any]:
        """Return the row as one JSON object; figures are percent as printed."""
        return {
            "model": self.model,
            "method": self.method,
            "benchmark": self.benchmark,
            "version": self.version,
            "split": self.split,
            "task": dict(self.figures),
            "average": self.average,
            "source": self.source,
            "url": self.url,
            "problem": self.problem,
            "remark": self.remark,
        }
