"""Is the thought used? Give a response another clip's caption, let the model go on, and see whether its answer changes.

Three variants of a run, each with the run's own audio, each a run folder in ``swapped/``:

- ``own-caption``: the response up to its caption's end as it was; the model goes on from there. The control: what
  changes here is due to the continuing itself.
- ``other-caption``: the same with the caption of another clip of the same task.
- ``answer-only``: the caption swapped, the rest of the thought kept, only the answer is given anew.

Of several answers to a question the first is taken, or as many as are asked for. Those to one question, and those about
one clip, are no independent evidence, so figures then go by clip. The idea of intervening on a chain of thought to see
whether the answer follows is that of Lanham et al. (arXiv 2307.13702).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Gold
from sari_bench.counting import counted
from sari_bench.running.beside import read_results
from sari_bench.running.runs import Run
from sari_bench.shortcuts.gains import points, read_difference
from sari_bench.statistics.metrics import PairedDifference, percent, percents
from sari_data.pairing import Ring, others
from sari_data.prompting import ANSWER, tag_pattern

FOLDER, RESULTS = "swapped", "swapped.json"
ORIGINAL, OWN, OTHER, ANSWER_ONLY = "original", "own-caption", "other-caption", "answer-only"
VARIANTS = (OWN, OTHER, ANSWER_ONLY)
CAPTION = "caption"


@dataclass(frozen=True, slots=True)
class Captioned:
    """A response with a caption section.

    Args:
        gold: Its question.
        text: The whole response.
        start: Where the caption's text begins.
        end: Where it ends.
        stop: Where its close tag ends.
        answer: Where the answer's open tag ends; ``None`` where there is none after the caption.
        sample: Which of the question's answers it is.
    """

    gold: Gold
    text: str
    start: int
    end: int
    stop: int
    answer: int | None
    sample: int = 0

    @property
    def caption(self) -> str:
        """The caption as it stands there."""
        return self.text[self.start : self.end]

    def prefix(self, variant: str, caption: str) -> str:
        """Return what the model goes on from: this response's beginning with another ``caption``."""
        if variant == OWN:
            return self.text[: self.stop]
        end = self.stop if variant == OTHER else self.answer
        assert end is not None, f"response to {self.gold.id!r} has no answer to give anew"
        return self.text[: self.start] + caption + self.text[self.end : end]


@dataclass(frozen=True, slots=True)
class SwapRow:
    """How one variant was answered.

    Args:
        name: ``original``, ``own-caption``, ``other-caption`` or ``answer-only``.
        n: Answers.
        correct: Right answers.
        changed: Answers with another option than the original's, or with one where only one of the two could be read.
        interval: 95 % of the share of right ones, in [0, 1]: by clip where clips or samples repeat, else Wilson's.
        changed_interval: The same of the changed ones.
    """

    name: str
    n: int
    correct: int
    changed: int
    interval: tuple[float, float]
    changed_interval: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Return counts, and both shares with their intervals in percent."""
        return {
            "n": self.n,
            "correct": self.correct,
            "accuracy": percent(self.correct / self.n),
            "interval": percents(self.interval),
            "changed": self.changed,
            "changed_share": percent(self.changed / self.n),
            "changed_interval": percents(self.changed_interval),
        }

    @classmethod
    def from_json(cls, name: str, body: dict[str, Any]) -> SwapRow:
        """Read what :meth:`to_json` returned; intervals are then rounded as they stand there."""
        ends = [(low / 100, high / 100) for low, high in (body["interval"], body["changed_interval"])]
        return cls(name, body["n"], body["correct"], body["changed"], *ends)


@dataclass(frozen=True, slots=True)
class Swapped:
    """What swapping captions showed.

    Args:
        scorer: What judged the answers.
        rows: The original and each variant that was asked.
        forcing: Accuracy with the own caption minus that of the original: what the continuing itself does.
        swap: Accuracy with another caption minus that with the own one.
        changes: Share of changed answers with another caption minus that with the own one.
        responses: Responses of the run that were looked at.
        left_out: Why some of them were not asked: ``no caption``, ``no other caption``, ``limit``; with how many.
        digest: SHA-256 of the run's responses that all this was made from.
        notes: What must be known.
        samples: Answers to each question that were looked at.
    """

    scorer: str
    rows: tuple[SwapRow, ...]
    forcing: PairedDifference
    swap: PairedDifference
    changes: PairedDifference
    responses: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""
    notes: tuple[str, ...] = ()
    samples: int = 1

    @property
    def used(self) -> bool:
        """Whether more answers change with another caption than with the own one: interval and p both exclude none."""
        return self.changes.verdict == "better"

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        rows = {row.name: row for row in self.rows}
        own, other = rows[OWN], rows[OTHER]
        says = "the thought is used" if self.used else "no sign that the thought is used"
        answers = counted(other.n, "answer")
        return (
            f"{says}: with another clip's caption {other.changed / other.n * 100:.1f} % of {answers} change, "
            f"with their own {own.changed / own.n * 100:.1f} %, a difference of {points(self.changes)}; accuracy "
            f"changes by {points(self.swap)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        return {
            "scorer": self.scorer,
            "rows": {row.name: row.to_json() for row in self.rows},
            "forcing": self.forcing.to_json(),
            "swap": self.swap.to_json(),
            "changes": self.changes.to_json(),
            "used": self.used,
            "sentence": self.sentence,
            "samples": self.samples,
            "responses": self.responses,
            "left_out": dict(self.left_out),
            "digest": self.digest,
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Swapped:
        """Read what :meth:`to_json` returned; shares are then rounded as they stand there."""
        return cls(
            scorer=body["scorer"],
            rows=tuple(SwapRow.from_json(name, row) for name, row in body["rows"].items()),
            forcing=read_difference(body["forcing"]),
            swap=read_difference(body["swap"]),
            changes=read_difference(body["changes"]),
            **{key: body[key] for key in ("responses", "left_out", "digest")},
            notes=tuple(body["notes"]),
            samples=body.get("samples", 1),  # results from before there were several
        )


def read_swapped(folder: Path) -> Swapped | None:
    """Return what ``sari-bench diagnose --swap-captions`` left beside a run, or ``None`` where there is nothing.

    Where the run has got other answers since, a note says so.

    Raises:
        BenchmarkError: The file is not as it was written.
    """
    command = "sari-bench diagnose --swap-captions"
    return read_results(folder, f"{FOLDER}/{RESULTS}", command, Swapped.from_json, lambda body: body["digest"])


def find_captions(run: Run, sample: int = 0) -> list[Captioned]:
    """Return the response of that number to each question, where it has a caption section, in the questions' order."""
    found = []
    for gold in run.benchmark.golds:
        mine = next((answer for answer in run.answers.get(gold.id, ()) if answer.sample == sample), None)
        place = None if mine is None else _find_caption(mine.text or "")
        if mine is not None and place is not None:
            found.append(Captioned(gold, mine.text or "", *place, sample=sample))
    return found


def _find_caption(text: str) -> tuple[int, int, int, int | None] | None:
    """Return where the caption's text begins and ends, where its close tag ends, and where the answer begins.

    The first caption that is opened and closed counts; one in which another caption or an answer begins is not one.
    """
    tags = [(m[1] == "", m[2].lower(), m.start(), m.end()) for m in tag_pattern((CAPTION, ANSWER)).finditer(text)]
    for (opens, name, _, start), (next_opens, next_name, end, stop) in pairwise(tags):
        if opens and name == CAPTION and not next_opens and next_name == CAPTION and text[start:end].strip():
            answers = (at for is_open, tag, where, at in tags if is_open and tag == ANSWER and where >= stop)
            return start, end, stop, next(answers, None)
    return None


def choose_captions(responses: Sequence[Captioned], seed: int = 0) -> dict[str, str]:
    """Return for each response, by question id, the caption of another clip, from another response.

    The clips of a task stand in a ring, as in :mod:`sari_data.pairing`; the donor is the next clip whose caption has
    other words. Where the task has none, the ring is that of all clips; responses for which there is none there either
    are left out.
    """
    captions: dict[bytes, str] = {}
    tasks: dict[str, list[bytes]] = {}
    for response in responses:
        clip = response.gold.cluster.encode()
        captions.setdefault(clip, response.caption)
        tasks.setdefault(response.gold.task, []).append(clip)
    words = {clip: _words(caption) for clip, caption in captions.items()}
    everywhere = Ring(captions, seed)
    rings = {task: Ring(clips, seed) for task, clips in tasks.items()}
    found = {}
    for response in responses:
        clip, own = response.gold.cluster.encode(), _words(response.caption)
        ring = rings[response.gold.task]
        donor = next((other for other in others(clip, ring, everywhere) if words[other] != own), None)
        if donor is not None:
            found[response.gold.id] = captions[donor]
    return found


def _words(caption: str) -> str:
    return " ".join(caption.casefold().split())
