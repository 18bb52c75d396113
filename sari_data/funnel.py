"""How many went into each stage of a build, how many came out, and why the others did not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Stage:
    """One stage's count.

    Args:
        name: The stage, for instance ``caption``.
        unit: What is counted on the way in.
        entered: How many went in.
        left: How many came out; of another unit where the stage makes one from the other.
        made: What came out, where that is another unit.
        dropped: Reason to number.
        note: What else there is to say, for instance what the stage cost.
    """

    name: str
    unit: str
    entered: int = 0
    left: int = 0
    made: str | None = None
    dropped: Counter[str] = field(default_factory=Counter)
    note: str = ""

    def line(self) -> str:
        """Return the stage's count as one line of text."""
        came = f"{self.left:,} {self.made}" if self.made else f"{self.left:,}"
        why = ", ".join(f"{number:,} {reason}" for reason, number in sorted(self.dropped.items()))
        parts = [f"{self.entered:,} {self.unit} in, {came} out", f"left out: {why}" if why else "", self.note]
        return "; ".join(filter(None, parts))


class Funnel:
    """The stages of one build, in their order."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def stage(self, name: str, unit: str = "questions", *, entered: int = 0, made: str | None = None) -> Stage:
        """Begin a stage."""
        self.stages.append(Stage(name, unit, entered, made=made))
        return self.stages[-1]

    def to_manifest(self) -> list[dict[str, Any]]:
        """Return the funnel as it is recorded."""
        return [
            {
                "stage": stage.name,
                "unit": stage.unit,
                "in": stage.entered,
                "out": stage.left,
                "made": stage.made or stage.unit,
                "dropped": dict(sorted(stage.dropped.items())),
            }
            for stage in self.stages
        ]
