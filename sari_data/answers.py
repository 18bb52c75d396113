"""Read a response and grade it: the one reader and grader that calibration, rewards and benchmarks share.

The reader accepts what published models write (tags in any case, close tags left out at the end, a
letter or the option's text, prose that concludes with one of them) and never guesses: it returns the
choice, or a fixed reason why there is none. ``follows_grammar`` is the strict check that the format
reward uses. All three take time linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from sari_data.clauses import REFUSED
from sari_data.conclusions import DISAGREE, HALFWAY, LOOPS, conclude
from sari_data.errors import InputError
from sari_data.markup import renamed, unmarked
from sari_data.options import AMBIGUOUS, EMPTY, NOT_AN_OPTION, options_of
from sari_data.prompting import ANSWER, Mode, load_mode, tag_parents, tag_pattern
from sari_data.types import AudioQuestion

NO_ANSWER = "no answer section"
CUT_OFF = "answer cut off by the length limit"
REASONS = (NO_ANSWER, CUT_OFF, DISAGREE, EMPTY, AMBIGUOUS, NOT_AN_OPTION, REFUSED, LOOPS, HALFWAY)

# A text before a stray close tag that is no thought: one sentence or two, of so many characters.
_STRAY_CHARACTERS = 160
_SENTENCE_END = re.compile(r"[.!?]\s|\n")

How = Literal["section", "whole", "conclusion"]
Outcome = Literal["correct", "wrong", "unparsed", "truncated", "refused"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a response says.

    Args:
        choice: Index of the option that it gives (the first of those with the same text), or ``None``.
        reason: Why there is no choice, one of a few fixed strings; ``None`` where there is one.
        answer_text: The text that was read as the answer; ``None`` where there is none.
        sections: Dotted path of every section found to its text, without tags and outer white space;
            a section that holds others (``think``) has the text of all of them.
        how: Where the choice was read: ``section`` (an answer section that is the option), ``whole`` (the text
            outside all sections is the option), ``conclusion`` (prose, in either place, that concludes with it), or
            ``None`` where there is no choice.
    """

    choice: int | None
    reason: str | None
    answer_text: str | None
    sections: dict[str, str] = field(default_factory=dict)
    how: How | None = None


@dataclass(frozen=True, slots=True)
class Grade:
    """The verdict on one response; the outcomes exclude each other and cover every response."""

    outcome: Outcome
    reading: Reading

    @property
    def correct(self) -> bool:
        """Whether the response gives the right option."""
        return self.outcome == "correct"


@dataclass(slots=True)
class _Parse:
    sections: dict[str, str]
    answers: list[str]
    outside: str
    open_at_end: bool
    open_thought: bool


def read_response(text: str, choices: Sequence[str], *, finish_reason: str = "stop") -> Reading:
    """Read which of ``choices`` a response gives.

    An answer section, or else the text outside all sections, is the option itself (its text, its letter, both) or
    prose that concludes with it (:mod:`sari_data.conclusions`). A thought is never read for an answer.

    Args:
        text: The raw response.
        choices: The options as they were shown.
        finish_reason: ``length`` where the response was cut at its length limit; an answer that was
            being written then is not read, since "hot" may have become "hot dog", nor is a conclusion outside
            an answer section, since the text went on after it.

    Returns:
        The reading; arbitrary text never raises.
    """
    parse = _parse(renamed(text))
    cut = finish_reason == "length"
    if cut and (parse.open_at_end or not parse.answers):
        return Reading(None, CUT_OFF, parse.answers[-1] if parse.answers else None, parse.sections)
    shown = tuple(choices)
    options = options_of(shown)
    found = list(dict.fromkeys(a for a in parse.answers if a))
    if not found:
        if parse.answers:
            return Reading(None, EMPTY, "", parse.sections)
        return _read_outside(parse, shown)
    first, reason = options.match(found[0])
    if len(found) == 1 and reason == NOT_AN_OPTION:
        choice, why = conclude(found[0], shown)
        if choice is not None:
            return Reading(choice, None, found[0], parse.sections, "conclusion")
        return Reading(None, why or reason, found[0], parse.sections)
    if any(options.match(other)[0] != first for other in found[1:]) or (first is None and len(found) > 1):
        return Reading(None, DISAGREE, found[-1], parse.sections)
    return Reading(first, reason, found[-1], parse.sections, None if first is None else "section")


def sections_of(text: str) -> dict[str, str]:
    """Return the sections of a response as :func:`read_response` does, without reading which option it gives."""
    return _parse(renamed(text)).sections


def _read_outside(parse: _Parse, choices: tuple[str, ...]) -> Reading:
    if not parse.outside:
        return Reading(None, HALFWAY if parse.open_thought else NO_ANSWER, None, parse.sections)
    choice, reason = options_of(choices).match(unmarked(parse.outside))
    if choice is not None:
        return Reading(choice, None, parse.outside, parse.sections, "whole")
    if reason == AMBIGUOUS:
        return Reading(None, reason, parse.outside, parse.sections)
    choice, reason = conclude(parse.outside, choices)
    if choice is not None and not parse.open_thought:
        return Reading(choice, None, parse.outside, parse.sections, "conclusion")
    if choice is not None or (reason is None and parse.open_thought):
        reason = HALFWAY
    return Reading(None, reason or NO_ANSWER, None if reason is None else parse.outside, parse.sections)


def grade(text: str, question: AudioQuestion, *, finish_reason: str = "stop") -> Grade:
    """Grade one response to a question.

    Returns:
        ``correct`` or ``wrong`` where it gives an option, else ``truncated`` where it was cut at its
        length limit or visibly stops halfway, ``refused`` where it says that it gives none, else ``unparsed``.

    Raises:
        InputError: The question's answer is withheld.
    """
    if question.answer is None:
        raise InputError(f"question {question.id!r}: its answer is withheld, so a response to it cannot be graded")
    reading = read_response(text, question.choices, finish_reason=finish_reason)
    if reading.choice is not None:
        right = question.choices[reading.choice] == question.answer
        return Grade("correct" if right else "wrong", reading)
    if finish_reason == "length" or reading.reason in (CUT_OFF, HALFWAY):
        return Grade("truncated", reading)
    return Grade("refused" if reading.reason == REFUSED else "unparsed", reading)


def follows_grammar(text: str, mode: str | Mode) -> bool:
    """Return whether a response has exactly its mode's form.

    Every section once, in order, opened and closed, none empty, and nothing but white space outside
    them. The case of the tags and white space between sections are free; white space inside a tag is not.

    Args:
        text: The raw response.
        mode: A mode, or its name.

    Raises:
        TemplateError: The mode does not exist.
    """
    spec = mode if isinstance(mode, Mode) else load_mode(mode)
    expected, position, inner = spec.marks, 0, False
    count = 0
    for match in _strict_pattern(spec.tags).finditer(text):
        opens, name = match[1] == "", match[2].lower()
        if count == len(expected) or expected[count] != (opens, name):
            return False
        between = text[position : match.start()].strip()
        # Right after an open tag and before its own close tag lies a section's text; elsewhere nothing may.
        leaf = inner and not opens
        if leaf != bool(between):
            return False
        position, inner, count = match.end(), opens, count + 1
    return count == len(expected) and not text[position:].strip()


@lru_cache(maxsize=64)
def _strict_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"<(/?)({'|'.join(names)})>", re.IGNORECASE | re.ASCII)


def _parse(text: str) -> _Parse:
    """Split a response into sections in one pass; tags may be left open, stand alone, or repeat."""
    if "<" not in text:
        return _Parse({}, [], text.strip(), False, False)
    parents = tag_parents()
    names = tuple(parents)
    tags = [(m[1] == "", m[2].lower(), m.start(), m.end()) for m in tag_pattern(names).finditer(text)]
    pieces: dict[str, list[str]] = {}
    answers: list[str] = []
    outside: list[str] = []
    stack = [] if _stray(text, tags) else _implied_open(tags, parents)

    def keep(piece: str) -> None:
        if stack == [ANSWER]:
            answers[-1] = piece
        elif piece and not stack:
            outside.append(piece)
        for depth in range(1, len(stack) + 1):
            texts = pieces.setdefault(".".join(stack[:depth]), [])
            if piece:
                texts.append(piece)

    position = 0
    for (opens, name, start, end), closing in zip(tags, _closing(tags), strict=True):
        keep(text[position:start].strip())
        position = end
        if name == ANSWER and any(outer != ANSWER and outer in closing for outer in stack):
            continue  # A thought that mentions an answer and goes on is still the thought.
        if opens:
            # What may not hold this section was left open, and ends here; an answer holds nothing.
            while stack and stack[-1] not in parents[name]:
                stack.pop()
            stack.append(name)
            if name == ANSWER:
                answers.append("")
        elif name in stack:
            del stack[stack.index(name) :]
        elif stack == [ANSWER]:
            stack.clear()
    keep(text[position:].strip())
    sections = {path: "\n".join(texts) for path, texts in pieces.items()}
    return _Parse(sections, answers, "\n".join(outside), stack == [ANSWER], bool(stack) and stack != [ANSWER])


def _closing(tags: Sequence[tuple[bool, str, int, int]]) -> list[frozenset[str]]:
    # For each tag: the names whose next tag after it closes. Sets are shared, so that this stays linear.
    current, result = frozenset[str](), []
    for opens, name, _, _ in reversed(tags):
        result.append(current)
        if (name in current) is opens:
            current = current - {name} if opens else current | {name}
    return result[::-1]


def _stray(text: str, tags: Sequence[tuple[bool, str, int, int]]) -> bool:
    # "It is a bell.</think>": the only tag closes a thought after a text too short to be one, and ends the response.
    if len(tags) != 1 or tags[0][0] or text[tags[0][3] :].strip():
        return False
    said = text[: tags[0][2]].strip()
    return len(said) <= _STRAY_CHARACTERS and len(_SENTENCE_END.findall(said)) < 2


def _implied_open(tags: Sequence[tuple[bool, str, int, int]], parents: Mapping[str, frozenset[str]]) -> list[str]:
    # Some chat templates put "<think>" into the prompt; the response then begins inside it.
    for opens, name, _, _ in tags:
        if "" in parents[name]:
            return [] if opens or name == ANSWER else [name]
    return []
