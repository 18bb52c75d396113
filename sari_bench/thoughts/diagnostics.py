"""What the thoughts of a run have to do with its answers: length, sections, summary, truncation.

All of it is computed from the stored responses. What a response is not asked for it is not blamed for: answers without
a thought stand in no figure about thoughts, and missing answers in none at all but ``outcomes``.

A thought is the text of all outermost sections but the answer. Its length is in words, which white space separates: a
run stores the tokens of a response as a whole, not those of its parts. Where its responder counted them, the whole
response's tokens, thought and answer, stand beside the words of the thought; no share of them is guessed to be the
thought's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sari_bench.running.runs import Run
from sari_bench.scorers.answer import AnswerScorer
from sari_bench.scoring import Score, Scored
from sari_bench.statistics.metrics import Tally, percent
from sari_bench.thoughts.lengths import TOKENS, WORDS, Lengths, count_answers, lengths_of
from sari_bench.thoughts.swapping import Swapped, read_swapped
from sari_data.answers import Reading, read_response, sections_of
from sari_data.options import options_of
from sari_data.prompting import ANSWER, list_modes, load_mode
from sari_data.thoughts import count_words, last_sentence, named_options


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the mode's grammar: answers in which it has text, and the others."""

    present: Tally
    absent: Tally

    def to_json(self) -> dict[str, Any]:
        """Return counts and both accuracies in percent."""
        return {
            "present": self.present.n,
            "absent": self.absent.n,
            "accuracy_with": percent(self.present.accuracy),
            "accuracy_without": percent(self.absent.accuracy),
        }


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What can be said of a run's thoughts.

    Args:
        run: The run's name.
        scorer: What judged the answers.
        answers: Answers that were given.
        thoughts: Those with a thought.
        words: Length of the thoughts in words against accuracy.
        tokens: Length of the whole responses that have these thoughts, in tokens as the responder counted them;
            ``None`` where it counted none. Of a response that it did not count no length is made up.
        sections: Each section of the mode, and what else was found, by its own name.
        agreement: Answers with a thought, by what its summary (else its last sentence) names: ``agree``: the option
            that was answered and no other; ``disagree``: one other option; ``silent``: none or several; ``unread``: no
            option could be read out of the answer.
        truncated: Answers that ended at the length limit, whatever could be read of them.
        outcomes: As in the run's score, missing answers included.
        reasons: Outcome to why nothing was read, each with how often.
        swapped: What swapping captions showed, where that was tried.
    """

    run: str
    scorer: str
    answers: int
    thoughts: int
    words: Lengths
    tokens: Lengths | None
    sections: Mapping[str, Section]
    agreement: Mapping[str, Tally]
    truncated: int
    outcomes: Mapping[str, int]
    reasons: Mapping[str, Mapping[str, int]]
    swapped: Swapped | None = None

    @property
    def has_thoughts(self) -> bool:
        """Whether there is any thought to say something of."""
        return self.thoughts > 0

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON object; shares are in percent."""
        agrees: dict[str, Any] = {name: part.n for name, part in self.agreement.items()}
        agrees |= {f"accuracy_{name}": percent(part.accuracy) for name, part in self.agreement.items()}
        return {
            "run": self.run,
            "scorer": self.scorer,
            "answers": self.answers,
            "thoughts": self.thoughts,
            "unit": self.words.unit,
            **self.words.to_json(),
            "tokens": None if self.tokens is None else {"n": self.tokens.n, **self.tokens.to_json()},
            "sections": {name: part.to_json() for name, part in self.sections.items()},
            "agrees": agrees,
            "truncated": self.truncated,
            "outcomes": dict(self.outcomes),
            "reasons": {outcome: dict(counts) for outcome, counts in self.reasons.items()},
            "swapped": None if self.swapped is None else self.swapped.to_json(),
        }


def diagnose(run: Run, scorer: str = "answer", score: Score | None = None, read: Score | None = None) -> Diagnostics:
    """Say what the thoughts of a run have to do with its answers, from its stored responses alone.

    Args:
        run: The run.
        scorer: What judges the answers.
        score: What ``run.score(scorer)`` returns, where it is there already.
        read: The same of the scorer ``answer``: what it read is not read again.

    Raises:
        InputError: The scorer is unknown.
        BenchmarkError: What swapping captions left beside the run is not as it was written.
    """
    score = score if score is not None else run.score(scorer)
    if read is None and score.scorer == AnswerScorer.name:
        read = score
    given = [item for item in score.items if item.answer.text is not None]
    readings = (
        [_reading(item) for item in given]
        if read is None
        else [_read(item) for item in read.items if item.answer.text is not None]
    )
    lengths = [count_words(reading.sections, _outermost(reading)) for reading in readings]
    thinking = [(item, words) for item, words in zip(given, lengths, strict=True) if words]
    measured = [(item, item.answer.tokens) for item, _ in thinking if item.answer.tokens]
    reasons: dict[str, Counter[str]] = {}
    for item, reading in zip(given, readings, strict=True):
        if reading.reason is not None:
            reasons.setdefault(item.outcome, Counter())[reading.reason] += 1
    return Diagnostics(
        run=run.name,
        scorer=score.scorer,
        answers=len(given),
        thoughts=len(thinking),
        words=lengths_of(WORDS, thinking, run.samples),
        tokens=lengths_of(TOKENS, measured, run.samples) if measured else None,
        sections=_sections(run.mode, given, readings),
        agreement=_agreement(
            [pair for pair, words in zip(zip(given, readings, strict=True), lengths, strict=True) if words]
        ),
        truncated=sum(item.answer.finish_reason == "length" for item in given),
        outcomes=dict(score.honest.outcomes),
        reasons={outcome: dict(counts.most_common()) for outcome, counts in sorted(reasons.items())},
        swapped=read_swapped(run.folder),
    )


def _reading(item: Scored) -> Reading:
    return read_response(item.answer.text or "", item.gold.choices, finish_reason=item.answer.finish_reason)


def _read(item: Scored) -> Reading:
    """What there is to know of the reading of an answer that ``answer`` scored, its text left out."""
    if not item.gold.gradable:  # then the outcome says nothing of the answer
        return _reading(item)
    return Reading(item.choice, item.reason, None, sections_of(item.answer.text or ""))


def _outermost(reading: Reading) -> list[str]:
    return [path for path in reading.sections if "." not in path and path != ANSWER]


def _sections(mode: str, given: Sequence[Scored], readings: Sequence[Reading]) -> dict[str, Section]:
    """Sections by their own name, those of the mode first: a model may leave the tag around them out."""
    grammar = load_mode(mode).sections if mode in list_modes() else ()  # a mode of the user's own may be gone
    held = [{path.split(".")[-1] for path, text in reading.sections.items() if text} for reading in readings]
    inner = {path for reading in readings for path in reading.sections}
    leaves = sorted(path.split(".")[-1] for path in inner if not any(other.startswith(f"{path}.") for other in inner))
    names = [name for name in dict.fromkeys([*(path.split(".")[-1] for path in grammar), *leaves]) if name != ANSWER]
    return {
        name: Section(
            count_answers([item for item, found in zip(given, held, strict=True) if name in found]),
            count_answers([item for item, found in zip(given, held, strict=True) if name not in found]),
        )
        for name in names
    }


def _agreement(pairs: Sequence[tuple[Scored, Reading]]) -> dict[str, Tally]:
    groups: dict[str, list[Scored]] = {name: [] for name in ("agree", "disagree", "silent", "unread")}
    for item, reading in pairs:
        groups[_agrees(item, reading)].append(item)
    return {name: count_answers(members) for name, members in groups.items()}


def _agrees(item: Scored, reading: Reading) -> str:
    if reading.choice is None:
        return "unread"
    summary = next((text for path, text in reading.sections.items() if path.split(".")[-1] == "summary" and text), "")
    thought = "\n".join(reading.sections[path] for path in _outermost(reading))
    named = named_options(summary or last_sentence(thought), options_of(item.gold.choices))
    if len(named) != 1:
        return "silent"
    return "agree" if named == {reading.choice} else "disagree"
