"""The file that a benchmark's test submission takes: the questions as published, each with the model's answer.

MMAU's README asks for "the original MMAU benchmark file with an additional key named 'model_prediction'", and its
``evaluation.py`` reads ``model_output``; MMAR's programs read ``model_prediction`` (until 2026) or
``answer_prediction``. Both keys of a benchmark are written with the same text: that of the option that was read out of
a response. Where none could be read it is the answer as it was said, and counted: never a guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.counting import counted
from sari_bench.predictions import KEYS
from sari_bench.scoring import Answer, BenchmarkGolds
from sari_data.answers import read_response
from sari_data.console import json_text
from sari_data.errors import BenchmarkError, InputError

# Questions of the published whole, by benchmark: a part of it is no submission. Names as in `sari-bench list`.
COUNTS = {"mmau-test": 9000, "mmau-test-mini": 1000, "mmar": 1000, "mmsu": 5000}
_WRITTEN = {"mmar": ("model_prediction", "answer_prediction")}
_MMAU = ("model_prediction", "model_output")
_SHOWN = 5  # ids in a sentence


@dataclass(frozen=True, slots=True)
class Submission:
    """Rows to submit, and whether they are complete.

    Args:
        benchmark: The benchmark's name.
        version: Its version.
        rows: One for each question, in the questions' order.
        tasks: Task to number of questions.
        missing: Ids of questions without an answer, or with an empty one.
        unread: Ids of questions whose answer names no option; their text is written as it was said.
        ties: Ids of questions on which the samples' votes are level; the first of the level options is written.
        extra: Ids of answers to questions that the benchmark does not have; they are left out.
    """

    benchmark: str
    version: str
    rows: tuple[dict[str, Any], ...]
    tasks: Mapping[str, int]
    missing: tuple[str, ...]
    unread: tuple[str, ...]
    ties: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Why these rows are no complete submission, each a sentence; none where they are one."""
        found = []
        due = COUNTS.get(self.benchmark)
        if due is not None and len(self.rows) != due:
            found.append(f"{self.benchmark} has {due:,} questions, these are {len(self.rows):,}: give the whole file")
        if self.missing:
            found.append(f"{len(self.missing):,} of {len(self.rows):,} questions have no answer: {_ids(self.missing)}")
        if self.extra:
            extra = counted(len(self.extra), "answer")
            found.append(f"{extra} to ids that the benchmark does not have: {_ids(self.extra)}")
        return tuple(found)

    def to_text(self) -> str:
        """Return the rows as the JSON list to submit."""
        return json_text(list(self.rows), indent=1) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Return the summary: what is written, what is unread and what is missing."""
        return {
            "benchmark": self.benchmark,
            "version": self.version,
            "n": len(self.rows),
            "task": dict(self.tasks),
            "unread": list(self.unread),
            "ties": list(self.ties),
            "missing": list(self.missing),
            "extra": list(self.extra),
            "complete": not self.problems,
            "problems": list(self.problems),
        }


def make_submission(
    benchmark: Benchmark | BenchmarkGolds,
    answers: Mapping[str, Sequence[Answer]],
    *,
    published: Mapping[str, Mapping[str, Any]] | None = None,
    raw: bool = False,
    bare: bool = False,
    sample: int | None = None,
) -> Submission:
    """Make the rows of a submission.

    Args:
        benchmark: The questions.
        answers: Answers by question id.
        published: The published row of each question, to be written with the answer added; default: rows made of the
            questions under MMAU's names.
        raw: Write the answers as they were said in place of the option that was read out of them.
        bare: Write only the id and the answer.
        sample: Of several samples take this one; ``None``: the option that most of them name.

    Raises:
        InputError: ``raw`` with several samples and none chosen: texts have no majority.
        BenchmarkError: ``published`` lacks a question.
    """
    if raw and sample is None and any(len(given) > 1 for given in answers.values()):
        raise InputError(
            "raw texts of several samples have no majority: choose one with --sample 0, or leave --raw out"
        )
    keys = _WRITTEN.get(benchmark.name, _MMAU)
    rows, missing, unread, ties = [], [], [], []
    for gold in benchmark.golds:
        text, read, level = _text(gold, answers.get(gold.id, ()), raw, sample)
        if text is None:
            missing.append(gold.id)
        elif not read and not raw:
            unread.append(gold.id)
        if level:
            ties.append(gold.id)
        said = dict.fromkeys(keys, text or "")
        rows.append({"id": gold.id, **said} if bare else {**_row(gold, published), **said})
    return Submission(
        benchmark=benchmark.name,
        version=benchmark.version,
        rows=tuple(rows),
        tasks=Counter(gold.task for gold in benchmark.golds),
        missing=tuple(missing),
        unread=tuple(unread),
        ties=tuple(ties),
        extra=tuple(sorted(set(answers) - {gold.id for gold in benchmark.golds})),
    )


def _text(gold: Gold, given: Sequence[Answer], raw: bool, sample: int | None) -> tuple[str | None, bool, bool]:
    """The text to write for a question, whether an option was read, and whether the vote was level."""
    said = [answer for answer in sorted(given, key=lambda answer: answer.sample) if (answer.text or "").strip()]
    if sample is not None:
        said = [answer for answer in said if answer.sample == sample]
    if not said:
        return None, False, False
    if raw:
        return said[0].text, False, False
    readings = [read_response(one.text or "", gold.choices, finish_reason=one.finish_reason) for one in said]
    votes = Counter(reading.choice for reading in readings if reading.choice is not None)
    if votes:
        # Counter keeps the order in which options were first named, so a level vote has the same winner every time.
        (winner, most), *others = votes.most_common(2)
        return gold.choices[winner], True, bool(others) and others[0][1] == most
    stated = readings[0].answer_text if said[0].raw else None
    return (stated if stated and stated.strip() else said[0].text), False, False


def _row(gold: Gold, published: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    if published is not None:
        if gold.id not in published:
            raise BenchmarkError(f"the question file has no row with id {gold.id!r}: give the file of the same version")
        return {key: value for key, value in published[gold.id].items() if key not in KEYS}
    return {
        "id": gold.id,
        "audio_id": list(gold.recordings) if gold.more_audio else gold.audio,
        "question": gold.question,
        "choices": list(gold.choices),
        "answer": gold.answer or "",
        "task": gold.task,
        "category": gold.category,
        "sub-category": gold.sub_category,
        "difficulty": gold.difficulty,
    }


def _ids(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else "")
