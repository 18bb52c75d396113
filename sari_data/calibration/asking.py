"""Asking the questions and counting right answers, while only those that are being answered are held.

Rows are questions sorted by id, so that no result depends on the order in which they come.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sari_data.answers import grade
from sari_data.errors import InputError, ResponderError
from sari_data.prompting import render_prompt
from sari_data.responder import Request, Responder, Sampling
from sari_data.types import HEARD, AudioQuestion, AudioRef

Counts = NDArray[np.int64]
Asked = tuple[Request, AudioQuestion]

_NO_AUDIO = AudioRef(path="left out")


@dataclass(frozen=True, slots=True)
class Survey:
    """What is remembered of each question: no text, no audio.

    Args:
        rows: Question id to its row; the rows follow the ids.
        clips: SHA-256 of the content key of each row's clip.
        domains: Each row's domain.
        guesses: Each row's chance of guessing right: one over the number of options.
    """

    rows: Mapping[str, int]
    clips: tuple[bytes, ...]
    domains: tuple[str, ...]
    guesses: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


def survey(questions: Iterable[AudioQuestion]) -> Survey:
    """Go through the questions once, before anything is asked.

    Raises:
        InputError: A question without an answer, or an id that comes twice.
    """
    found: dict[str, tuple[bytes, str, float]] = {}
    for question in questions:
        if question.id in found:
            raise InputError(f"question {question.id!r} comes twice among those to calibrate: drop one of the two")
        if question.answer is None:
            raise InputError(
                f"question {question.id!r}: its answer is withheld, so it cannot be calibrated: leave it out"
            )
        found[question.id] = (bytes.fromhex(question.audio.key), question.domain, 1 / len(set(question.choices)))
    ids = sorted(found)
    return Survey(
        {id_: row for row, id_ in enumerate(ids)},
        tuple(found[id_][0] for id_ in ids),
        tuple(found[id_][1] for id_ in ids),
        np.array([found[id_][2] for id_ in ids], dtype=np.float64),
    )


@dataclass(frozen=True, slots=True)
class Questioner:
    """Asks one responder about one collection of questions in one mode.

    Args:
        questions: What is asked; gone through once for every call of :meth:`ask`.
        known: What :func:`survey` found of them.
        responder: Who answers.
        mode: Response mode.
        sampling: How to sample.
        failed: What was heard (as in :attr:`PassRate.audio`) to the rows that the responder could not answer so, each
            with why. They are not asked so again, and all their answers count for nothing: those that did come may be
            the easy ones.
    """

    questions: Collection[AudioQuestion]
    known: Survey
    responder: Responder
    mode: str
    sampling: Sampling
    failed: Mapping[str, dict[int, str]] = field(default_factory=lambda: {heard: {} for heard in HEARD})

    def ask(
        self, wanted_N: Counts, first_N: Counts, *, heard: str = "own", done: Callable[[int], None] | None = None
    ) -> Counts:
        """Return how many of the wanted answers to each row were right.

        Args:
            wanted_N: Further answers wanted; 0: the question is not asked.
            first_N: Index of the first of them.
            heard: ``own``, or ``none``: without any audio. The ids of such requests end in ``|none``.
            done: Called with 1 whenever a question has all its answers.

        Raises:
            ResponderError: The responder did not give each question exactly the samples asked for, and does not say of
                it that it failed.
        """
        assert heard in ("own", "none"), f"expected own or none, got {heard}"

        def requests() -> Iterator[Asked]:
            for question in self.questions:
                row = self.known.rows[question.id]
                if wanted_N[row] and row not in self.failed[heard]:
                    audio = question.audio if heard == "own" else None
                    yield self._request(question, audio, heard, wanted_N[row], first_N[row])

        return self.count(requests(), heard, done)

    def ask_with(self, wanted_N: Counts, first_N: Counts, donors: Mapping[int, bytes], *, chunk: int = 8192) -> Counts:
        """Return how many answers to each row were right when another clip was heard; request ids end in ``|other``.

        The questions are gone through twice for every ``chunk`` of them: for what is asked, and for the clips.

        Args:
            wanted_N: Further answers wanted of each row.
            first_N: Index of the first of them.
            donors: Row to the clip (as in :attr:`Survey.clips`) that it is heard with.
            chunk: How many questions' texts are held at once.
        """
        passes_N = np.zeros(len(self.known), dtype=np.int64)
        left = [row for row in sorted(donors) if wanted_N[row] and row not in self.failed["other"]]
        for at in range(0, len(left), chunk):
            rows = frozenset(left[at : at + chunk])
            passes_N += self.count(self._exchanged(rows, wanted_N, first_N, donors), "other", None)
        return passes_N

    def count(self, requests: Iterator[Asked], heard: str, done: Callable[[int], None] | None) -> Counts:
        """Send the requests, and count each row's right answers; a row that failed has none."""
        passes_N = np.zeros(len(self.known), dtype=np.int64)
        waiting: dict[str, tuple[AudioQuestion, set[int], int]] = {}

        def sent() -> Iterator[Request]:
            for request, question in requests:
                waiting[request.id] = (question.replace(audio=_NO_AUDIO), set(request.wanted), request.samples)
                yield request

        source = sent()
        for response in self.responder.respond(source, self.sampling):
            id_, sample = response.request_id, response.sample
            question, open_, _ = waiting.get(id_, (None, set(), 0))
            if question is None or sample not in open_:
                raise ResponderError(
                    f"responder {self.responder.name!r} answered sample {sample} of question {id_!r}, which was not "
                    "asked for or was answered before: it must give each sample of each request once"
                )
            open_.remove(sample)
            right = grade(response.text, question, finish_reason=response.finish_reason).correct
            passes_N[self.known.rows[question.id]] += right
            if not open_:
                del waiting[id_]
                if done is not None:
                    done(1)
        for _ in source:  # what it did not even take
            break
        reasons: Mapping[str, str] = getattr(self.responder, "failed", {})
        for id_, (question, open_, samples) in waiting.items():
            if id_ in reasons:
                row = self.known.rows[question.id]
                self.failed[heard][row] = reasons[id_]
                passes_N[row] = 0
                if done is not None:
                    done(1)
                continue
            raise ResponderError(
                f"responder {self.responder.name!r} gave {samples - len(open_)} of {samples} samples of question "
                f"{id_!r}: it must answer every sample; start it again"
            )
        return passes_N

    def _request(self, question: AudioQuestion, audio: AudioRef | None, heard: str, samples: int, first: int) -> Asked:
        id_ = question.id if heard == "own" else f"{question.id}|{heard}"
        return Request(id_, audio, render_prompt(question, self.mode), int(samples), int(first)), question

    def _exchanged(
        self, rows: frozenset[int], wanted_N: Counts, first_N: Counts, donors: Mapping[int, bytes]
    ) -> Iterator[Asked]:
        texts: dict[bytes, list[AudioQuestion]] = {}
        for question in self.questions:
            row = self.known.rows[question.id]
            if row in rows:
                texts.setdefault(donors[row], []).append(question.replace(audio=_NO_AUDIO))
        for donor in self.questions:
            clip = self.known.clips[self.known.rows[donor.id]]
            for question in texts.pop(clip, ()):
                row = self.known.rows[question.id]
                yield self._request(question, donor.audio, "other", wanted_N[row], first_N[row])
