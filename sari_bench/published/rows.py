"""One published result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOT_STATED = "not stated"  # the version of a row whose source does not say on which questions it was scored


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A result as somebody else published it. It was scored by its authors, mostly with the benchmark's own script.

    Args:
        model: Name of the model.
        method: How it was trained or asked; empty where the source does not say.
        benchmark: Name of the benchmark as in ``sari-bench list``.
        version: The benchmark's version; words for several ("before v05.15.25"), or ``NOT_STATED``, where the source
            does not say which.
        split: Split of the benchmark, or the part of it that was scored.
        figures: Accuracy of each task in percent, as printed; ``None`` where the source prints none.
        average: The printed average in percent.
        source: Where it is printed.
        url: Address of the source; may be empty.
        counts: Questions of each of the parts; empty where unknown, or where they differ from row to row.
        exact: Whether the row was scored on exactly ``counts`` questions.
        parts: The figures that the average is of; empty: all of them.
        note: What a reader should know of the row that its figures do not show; may be empty.
        problem: Why the average cannot be that of the figures, in one sentence; ``None`` where it can be.
        remark: The note, which figures no whole number of right answers gives, and whether the average is one of
            columns and not of questions; ``None`` where there is nothing to say.
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
    parts: tuple[str, ...] = ()
    note: str = ""
    problem: str | None = None
    remark: str | None = None

    @property
    def label(self) -> str:
        """The model, with its method where one is named."""
        return f"{self.model}, {self.method}" if self.method else self.model

    @property
    def stated(self) -> bool:
        """Whether the source says on which version of the questions the row was scored."""
        return self.version != NOT_STATED

    @property
    def on(self) -> str:
        """On what it was scored: the version, or that it is not stated, and the split."""
        if self.stated:
            return f"{self.version} {self.split}".strip()
        return ", ".join(filter(None, ("version not stated", self.split)))

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
