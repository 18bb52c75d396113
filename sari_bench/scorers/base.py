"""What scorers share: an answer, its gold, the one reading of it, and what a scorer says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sari_bench.benchmarks.base import Gold
from sari_bench.statistics.metrics import UNGRADABLE
from sari_data.answers import CUT_OFF, Reading, read_response
from sari_data.clauses import REFUSED
from sari_data.conclusions import HALFWAY
from sari_data.prompting import ANSWER
from sari_data.responder import FinishReason

# Reasons that stand whatever the scorer.
NO_PREDICTION = "no prediction"
GOLD_OUTSIDE = "the right answer is not among the options"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one question; ``text`` is ``None`` where it said nothing.

    Args:
        id: The question's id.
        text: Raw response, or a prediction made elsewhere.
        sample: Index among the samples of this question.
        finish_reason: Why the text ended.
        raw: Whether ``text`` is a model's whole response, sections included, and not a prediction
            that was taken out of one already.
        tokens: Length in tokens, 0 where unknown.
    """

    id: str
    text: str | None
    sample: int = 0
    finish_reason: FinishReason = "stop"
    raw: bool = True
    tokens: int = 0


class Verdict(NamedTuple):
    """What a scorer says of one answer.

    Args:
        outcome: One of :data:`sari_bench.statistics.metrics.OUTCOMES`, or ``ungradable``.
        choice: Index of the option that was read (the first of those with the same text), if one was.
        reason: Why none was, in a few fixed words.
    """

    outcome: str
    choice: int | None = None
    reason: str | None = None


class Said:
    """An answer to a question; however many scorers look at it, it is read once, and only if one needs it.

    Args:
        gold: The question.
        answer: What was said to it.
    """

    __slots__ = ("_reading", "answer", "gold")

    def __init__(self, gold: Gold, answer: Answer) -> None:
        self.gold, self.answer = gold, answer
        self._reading: Reading | None = None

    @property
    def reading(self) -> Reading:
        """What the reader makes of the answer, which must have a text."""
        if self._reading is None:
            assert self.answer.text is not None, f"question {self.gold.id!r} has no answer to read"
            self._reading = read_response(self.answer.text, self.gold.choices, finish_reason=self.answer.finish_reason)
        return self._reading

    @property
    def answer_section(self) -> str | None:
        """The text of the answer section, or ``None`` where the response has none."""
        return self.reading.answer_text if ANSWER in self.reading.sections else None


def choice_of(gold: Gold, answer: Answer) -> int | None:
    """Return the option that the reader reads out of an answer, whatever a scorer makes of it."""
    return None if answer.text is None else Said(gold, answer).reading.choice


class Scorer(Protocol):
    """Says of each answer how it ended.

    ``drops_missing``: whether questions without a prediction are left out of its total, as MMAU's code does.
    ``notes``: sentences that must be known of the score.
    """

    @property
    def name(self) -> str:
        """The scorer's name."""
        ...

    @property
    def drops_missing(self) -> bool:
        """Whether its total leaves unanswered questions out."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that go with the score."""
        ...

    def verdict(self, said: Said) -> Verdict:
        """Return what it says of one answer; arbitrary text never raises."""
        ...


def unscorable(said: Said) -> Verdict | None:
    """Return the verdict where no option that is read could decide it, else ``None``."""
    if not said.gold.gradable:
        return Verdict(UNGRADABLE, None, GOLD_OUTSIDE)
    if said.answer.text is None:
        return Verdict("missing", None, NO_PREDICTION)
    return None


def chosen(gold: Gold, choice: int) -> Verdict:
    """Return the verdict on an option that was read; options with one text are one option."""
    return Verdict("correct" if gold.choices[choice] == gold.answer else "wrong", choice)


def unread(said: Said, reason: str | None) -> Verdict:
    """Return the verdict where no option was read: ``truncated``, ``refused`` or ``unparsed``.

    The reader's own reason decides, as in :func:`sari_data.answers.grade`, so that every scorer calls the same response
    cut or refused.
    """
    why = said.reading.reason
    if said.answer.finish_reason == "length" or why in (CUT_OFF, HALFWAY):
        return Verdict("truncated", None, why if why in (CUT_OFF, HALFWAY) else reason)
    return Verdict("refused", None, why) if why == REFUSED else Verdict("unparsed", None, reason)
