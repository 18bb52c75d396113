"""The results of trying shortcuts: a table of rules and variants, as it is kept in ``shortcuts.json`` and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sari_bench.running.beside import read_results
from sari_bench.shortcuts.circular import Circular
from sari_bench.shortcuts.gains import points, read_difference
from sari_bench.shortcuts.variants import NO_AUDIO, OTHER_AUDIO, SILENCE
from sari_bench.statistics.metrics import PairedDifference, percent

FOLDER, RESULTS = "shortcuts", "shortcuts.json"
WITHOUT = {
    NO_AUDIO: "answering without audio",
    OTHER_AUDIO: "answering with another question's audio",
    SILENCE: "answering with silence",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of shortcuts.

    Args:
        name: The rule or variant.
        kind: ``chance``, ``rule``, ``own`` (the run itself) or ``variant``.
        about: What exactly is done.
        n: Answers that count.
        accuracy: In [0, 1]; for chance its expectation.
        interval: 95 %, by clip where clips repeat, else Wilson's; for chance the middle 95 % of guessers.
        correct: Right answers; ``None`` for chance.
        gain: Own audio minus this, paired by question; ``None`` where there is no run, and for chance and the run
        itself.
        by: The same for each task, of a variant.
        right: Ids of the questions that a variant gets right in every sample.
    """

    name: str
    kind: str
    about: str
    n: int
    accuracy: float
    interval: tuple[float, float]
    correct: int | None = None
    gain: PairedDifference | None = None
    by: Mapping[str, PairedDifference] = field(default_factory=dict)
    right: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``listens``, ``worse`` or ``undecided``: whether the gain's interval and p exclude 0, and on which side."""
        assert self.gain is not None, f"row {self.name!r} is compared with nothing"
        return {"better": "listens", "worse": "worse", "undecided": "undecided"}[self.gain.verdict]

    @property
    def sentence(self) -> str:
        """The audio gain over this variant in one sentence."""
        assert self.gain is not None, f"row {self.name!r} is compared with nothing"
        without = WITHOUT[self.name]
        says = {
            "listens": "the model listens",
            "worse": f"the model does worse with its own audio than {without}",
            "undecided": f"cannot be told from {without}",
        }[self.verdict]
        return f"audio gain over {self.name}: {points(self.gain)}: {says}"

    def to_json(self) -> dict[str, Any]:
        """Return the row; figures are in percent, gains in points, ``shares`` accuracy and interval unrounded."""
        return {
            "name": self.name,
            "kind": self.kind,
            "about": self.about,
            "n": self.n,
            "correct": self.correct,
            "accuracy": percent(self.accuracy),
            "interval": [percent(self.interval[0]), percent(self.interval[1])],
            "shares": [self.accuracy, *self.interval],
            "gain": None if self.gain is None else self.gain.to_json(),
            "by": {"task": {task: part.to_json() for task, part in self.by.items()}},
            "right": list(self.right),
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Row:
        """Read what :meth:`to_json` returned; gains are then rounded as they stand there."""
        accuracy, low, high = body["shares"]  # not what is rounded to two decimals: it would be rounded again
        return cls(
            **{key: body[key] for key in ("name", "kind", "about", "n", "correct")},
            accuracy=accuracy,
            interval=(low, high),
            gain=None if body["gain"] is None else read_difference(body["gain"]),
            by={task: read_difference(part) for task, part in body["by"]["task"].items()},
            right=tuple(body["right"]),
        )


@dataclass(frozen=True, slots=True)
class Shortcuts:
    """What shortcuts score on a benchmark, and how much better a model does that hears its audio.

    Args:
        benchmark: Name, version and digest of the questions.
        model: The model's name; empty where only rules were tried.
        mode: Its response mode.
        samples: Answers to each question.
        scorer: What judged them.
        rows: Chance, rules, the run itself, variants; in this order.
        circular: What the rotated options showed, where they were asked.
        digests: SHA-256 of each responses file that the figures come from: ``own`` and the variants' names.
        notes: What must be known.
    """

    benchmark: Mapping[str, str]
    model: str
    mode: str
    samples: int
    scorer: str
    rows: tuple[Row, ...]
    circular: Circular | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """The audio gains and the circular evaluation, a sentence each."""
        gains = [row.sentence for row in self.rows if row.kind == "variant" and row.name in WITHOUT]
        return (*gains, *([] if self.circular is None else [self.circular.sentence]))

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        return {
            "benchmark": dict(self.benchmark),
            "model": self.model,
            "mode": self.mode,
            "samples": self.samples,
            "scorer": self.scorer,
            "rows": [row.to_json() for row in self.rows],
            "circular": None if self.circular is None else self.circular.to_json(),
            "sentences": list(self.sentences),
            "digests": dict(self.digests),
            "notes": list(self.notes),
            "code_version": version("sari-audio"),
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Shortcuts:
        """Read what :meth:`to_json` returned."""
        return cls(
            **{key: body[key] for key in ("benchmark", "model", "mode", "samples", "scorer", "digests")},
            rows=tuple(map(Row.from_json, body["rows"])),
            circular=None if body["circular"] is None else Circular.from_json(body["circular"]),
            notes=tuple(body["notes"]),
        )


def read_shortcuts(folder: Path) -> Shortcuts | None:
    """Return what ``sari-bench shortcuts`` left beside a run, or ``None`` where there is nothing.

    Where the run has got other answers since, a note says so.

    Raises:
        BenchmarkError: The file is not as it was written.
    """
    place, read = f"{FOLDER}/{RESULTS}", Shortcuts.from_json
    return read_results(folder, place, "sari-bench shortcuts", read, lambda body: body["digests"].get("own"))
