"""What a benchmark is: questions to ask, golds to score against, and a version that names both.

The golds are kept apart from the questions because a score needs no audio: a run folder stores its
golds, so every score can be recomputed from that folder alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sari_data.errors import BenchmarkError, InputError
from sari_data.types import AudioQuestion, AudioRef

# How a group is called in output, and the field of Gold that holds it.
DIMENSIONS = {"task": "task", "category": "category", "sub-category": "sub_category", "difficulty": "difficulty"}


@dataclass(frozen=True, slots=True)
class Gold:
    """One question as a scorer sees it: everything but the audio.

    Args:
        id: The question's id, unique in its benchmark.
        question: Its text.
        choices: The options as shown; published benchmarks repeat some.
        answer: The published right answer. It may be missing from ``choices`` (published revisions
            had such rows); then no reader of a choice can be right. ``None`` where it is withheld.
        task: ``sound``, ``music``, ``speech`` or a mix such as ``sound+speech``.
        category: First level of the benchmark's own grouping.
        sub_category: Second level (the skill).
        difficulty: ``easy``, ``medium``, ``hard``, or empty where unknown.
        audio: Name of the audio, for people; of several recordings the first one's.
        clip: What is the same for questions about the same audio, where ``audio`` does not say it: a content key, or a
            name that stands for all recordings which questions about several tie together.
        more_audio: Names of the further recordings, in order, where the question is about several.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: str | None
    task: str
    category: str = ""
    sub_category: str = ""
    difficulty: str = ""
    audio: str = ""
    clip: str = ""
    more_audio: tuple[str, ...] = ()

    @property
    def recordings(self) -> tuple[str, ...]:
        """The names of all recordings, in order."""
        return self.audio, *self.more_audio

    @property
    def gradable(self) -> bool:
        """Whether the answer is one of the choices."""
        return self.answer in self.choices

    @property
    def cluster(self) -> str:
        """What the questions about one clip have in common; intervals rest on as many clips as there are."""
        return self.clip or self.audio or self.id

    def to_question(self, recordings: Sequence[AudioRef] = ()) -> AudioQuestion:
        """Return the question; its answer is withheld where it is not among the choices.

        Args:
            recordings: What it is about, in order; empty: its recordings are names and no files.

        Raises:
            InputError: The row does not make a valid question.
        """
        audio, *more_audio = recordings or [AudioRef(path=name or self.id) for name in self.recordings]
        return AudioQuestion(
            id=self.id,
            audio=audio,
            more_audio=tuple(more_audio),
            question=self.question,
            choices=self.choices,
            answer=self.answer if self.gradable else None,
            domain=self.task,
            category=self.category,
            sub_category=self.sub_category,
            difficulty=self.difficulty or None,
        )

    @classmethod
    def from_question(cls, question: AudioQuestion) -> Gold:
        """Return the gold of a question.

        Raises:
            BenchmarkError: The question has no answer, so it cannot be scored.
        """
        if question.answer is None:
            raise BenchmarkError(
                f"question {question.id!r} has no answer: a benchmark needs one for each, so take a split with answers"
            )
        return cls(
            id=question.id,
            question=question.question,
            choices=question.choices,
            answer=question.answer,
            task=question.domain,
            category=question.category,
            sub_category=question.sub_category,
            difficulty=question.difficulty or "",
            audio=question.audio.path or "",
            clip=question.audio.key,
            more_audio=tuple(audio.path or "" for audio in question.more_audio),
        )

    def to_row(self) -> dict[str, Any]:
        """Return the gold as a JSON object; it names further recordings only where there are some."""
        row = {**dataclasses.asdict(self), "choices": list(self.choices), "more_audio": list(self.more_audio)}
        if not self.more_audio:
            del row["more_audio"]
        return row

    @classmethod
    def from_row(cls, row: dict[str, Any], where: str) -> Gold:
        """Read a gold that :meth:`to_row` wrote.

        Raises:
            BenchmarkError: A key is missing, unknown or of the wrong type.
        """
        try:
            texts = {"choices": tuple(row["choices"]), "more_audio": tuple(row.get("more_audio", ()))}
            return cls(**{**row, **texts})
        except (KeyError, TypeError) as error:
            raise BenchmarkError(f"{where} is not a stored question ({error}): restore the file as it was") from error


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Questions with audio, their golds, and the version that both belong to.

    Args:
        name: The benchmark's name, for instance ``mmau-test-mini``.
        version: A registered revision's name, or the first 12 digits of ``digest``.
        digest: Content hash of the questions asked (SHA-256, hexadecimal).
        questions: What to ask, in order.
        golds: What to score against, in the same order.
        notes: Sentences that a user must hear about this revision.
    """

    name: str
    version: str
    digest: str
    questions: tuple[AudioQuestion, ...]
    golds: tuple[Gold, ...]
    notes: tuple[str, ...] = ()

    def one_recording(self) -> Benchmark:
        """Return the benchmark without its questions about several recordings; itself where it has none.

        The part has a digest of its own, so its scores are never mixed with those of the whole.

        Raises:
            BenchmarkError: Nothing is left.
        """
        kept = [at for at, question in enumerate(self.questions) if not question.more_audio]
        return self.part(kept, "about one recording")

    def part(self, kept: Sequence[int], what: str) -> Benchmark:
        """Return the questions at some places, with a digest and a version of their own; itself where that is all.

        Raises:
            BenchmarkError: No question is left.
        """
        if len(kept) == len(self.questions):
            return self
        golds = tuple(self.golds[at] for at in kept)
        check_golds(golds, f"the part of benchmark {self.name!r} {what}")
        version = f"{self.version}, {len(golds)} of {len(self.golds)}{what and f' {what}'}"
        questions = tuple(self.questions[at] for at in kept)
        return Benchmark(self.name, version, digest_of(golds), questions, golds, self.notes)

    def limit(self, count: int | None) -> Benchmark:
        """Return the benchmark with at most ``count`` questions: the same ones for every model.

        The questions are drawn by a hash of their ids, so a small part holds every kind of
        question; it has a digest of its own, so its scores are never mixed with those of the whole.
        """
        if count is None or count >= len(self.questions):
            return self
        if count < 1:
            raise InputError(f"a limit must be 1 question or more; found {count}")
        ranked = sorted(range(len(self.golds)), key=lambda i: hashlib.sha256(self.golds[i].id.encode()).digest())
        return self.part(sorted(ranked[:count]), "")


_DIGESTED = ("id", "question", "choices", "answer", "task", "category", "sub_category", "difficulty", "audio")
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=True)


def digest_row(gold: Gold) -> str:
    """Return what of a gold counts for the version of its benchmark, as one line of JSON.

    Names of further recordings are part of it where there are some, so versions of other benchmarks are as they were.
    """
    counted = {key: getattr(gold, key) for key in _DIGESTED}
    named = list(filter(None, gold.more_audio))
    return _ENCODER.encode({**counted, "more_audio": named} if named else counted)


def digest_of(golds: Iterable[Gold]) -> str:
    """Return the content hash of a set of golds, whatever order or file format they came in."""
    return hashlib.sha256("\n".join(sorted(map(digest_row, golds))).encode()).hexdigest()


def check_golds(golds: Sequence[Gold], where: str) -> None:
    """Raise BenchmarkError where there are no golds or an id stands twice."""
    if not golds:
        raise BenchmarkError(f"{where} holds no questions: give a file or options that do")
    seen: set[str] = set()
    for gold in golds:
        if gold.id in seen:
            raise BenchmarkError(f"{where} holds id {gold.id!r} twice: ids must be unique, so correct the file")
        seen.add(gold.id)


def from_questions(name: str, questions: Iterable[AudioQuestion], *, notes: tuple[str, ...] = ()) -> Benchmark:
    """Make a benchmark of questions that all have answers; its version is its content hash.

    Raises:
        BenchmarkError: No questions, a question without an answer, or an id that stands twice.
    """
    asked = tuple(questions)
    golds = tuple(Gold.from_question(question) for question in asked)
    check_golds(golds, f"benchmark {name!r}")
    digest = digest_of(golds)
    return Benchmark(name, digest[:12], digest, asked, golds, notes)
