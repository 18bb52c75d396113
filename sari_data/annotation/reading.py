"""Read what a model wrote: JSON or tags, with whatever it put around them; what does not fit is told, never guessed.

Models put answers in code fences, say something before and after, and some think aloud first. All of
that is passed over. What remains must have exactly the form that was asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from sari_data.answers import follows_grammar
from sari_data.prompting import Mode, tag_parents, tag_pattern

NOT_JSON = "no JSON in the answer"
WRONG_SHAPE = "the answer has another shape than asked for"
WRONG_TYPE = "a value has the wrong type"
BAD_TEXT = "a text cannot be stored"
HAS_TAGS = "a text contains tags"
WRONG_FORM = "the sections are not as asked for"

# An answer is read up to here; what stands further on is no answer to a request for a few hundred words.
_MOST_CHARACTERS = 100_000
_MOST_STARTS = 256
_START = re.compile(r"[\[{]")
_THOUGHT_ENDS = "</think>"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Rejected(Exception):
    """An answer that does not validate.

    Args:
        reason: A short phrase under which it is counted, the same for all of its kind.
        complaint: What was wrong, in a sentence for the model that is asked again.
        kept: What of the answer was good, for the stage that asks on.
    """

    def __init__(self, reason: str, complaint: str, kept: Any = None) -> None:
        super().__init__(complaint)
        self.reason, self.complaint, self.kept = reason, complaint, kept


def reject_all(problems: Iterable[tuple[str, str]], kept: Any = None) -> None:
    """Raise Rejected with all complaints together, counted under the first; do nothing where there is none."""
    found = list(problems)
    if found:
        raise Rejected(found[0][0], " ".join(dict.fromkeys(complaint for _, complaint in found)), kept)


def find_objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in an answer: those of an array, of several lines, or a single one.

    Raises:
        Rejected: There is none.
    """
    found: list[dict[str, Any]] = []
    for value in _json_values(text):
        objects = value if isinstance(value, list) else [value]
        if objects and all(isinstance(item, dict) for item in objects):
            found += objects
    if not found:
        raise Rejected(NOT_JSON, "No JSON object could be read in your answer: give valid JSON of the form asked for.")
    return found


def find_object(text: str) -> dict[str, Any]:
    """Return the one JSON object in an answer.

    Raises:
        Rejected: There is none, or there are several that differ.
    """
    found = find_objects(text)
    if any(item != found[0] for item in found[1:]):
        raise Rejected(WRONG_SHAPE, f"Expected one JSON object, found {len(found)} different ones: give one.")
    return found[0]


def take_text(values: dict[str, Any], key: str, where: str = "", *, most: int) -> str:
    """Return the text under ``key`` with its white space made plain.

    Args:
        values: A JSON object.
        key: Which of its values.
        where: Of what, for the complaint, for instance ``question 1: ``.
        most: Characters that it may have.

    Raises:
        Rejected: It is not there, no text, empty, too long, or holds what cannot be stored or shown.
    """
    if key not in values:
        raise Rejected(WRONG_SHAPE, f'{where}the key "{key}" is missing; found the keys {sorted(map(str, values))}.')
    return plain_text(values[key], f'{where}"{key}"', most=most)


def plain_text(value: Any, what: str, *, most: int) -> str:
    """Return ``value`` as one line of plain text; the arguments and errors are those of :func:`take_text`."""
    if not isinstance(value, str):
        raise Rejected(WRONG_TYPE, f"{what} must be a text; found {describe_type(value)}.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Rejected(BAD_TEXT, f"{what} holds half a character (a lone surrogate).") from error
    if _CONTROL.search(value):
        raise Rejected(BAD_TEXT, f"{what} holds control characters.")
    text = " ".join(value.split())
    if not text:
        raise Rejected(WRONG_SHAPE, f"{what} is empty.")
    if len(text) > most:
        raise Rejected(WRONG_SHAPE, f"{what} has {len(text)} characters; at most {most} are wanted.")
    if has_tags(text):
        raise Rejected(HAS_TAGS, f"{what} must be plain text without tags such as <answer>.")
    return text


def has_tags(text: str) -> bool:
    """Return whether a text has one of the tags that responses are read by; it could not be part of one then."""
    return _any_tag().search(text) is not None


def _any_tag() -> re.Pattern[str]:
    return tag_pattern(tuple(sorted(tag_parents())))


def describe_type(value: Any) -> str:
    """Return what a JSON value is, in words for the model."""
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), "a text")


def find_element(text: str, name: str) -> str | None:
    """Return the text inside the only element ``<name>…</name>`` of an answer; ``None`` where there is none.

    Raises:
        Rejected: There are several that differ, or one is left open.
    """
    clean = without_thought(text)
    marks = [(m[1] == "", m.start(), m.end()) for m in tag_pattern((name,)).finditer(clean)]
    if not marks:
        return None
    if [opens for opens, _, _ in marks] != [True, False] * (len(marks) // 2):
        raise Rejected(WRONG_FORM, f"Expected <{name}> and </{name}> once around the text; found them otherwise.")
    inside = {clean[a[2] : b[1]].strip() for a, b in zip(marks[::2], marks[1::2], strict=True)}
    if len(inside) > 1:
        raise Rejected(WRONG_FORM, f"Expected one <{name}>; found {len(inside)} different ones.")
    return inside.pop()


def find_block(text: str, mode: Mode) -> str:
    """Return the response in the form of ``mode`` that an answer ends with; prose around it is passed over.

    A model that thinks aloud before it answers has tags of its own: only the last ones count.

    Raises:
        Rejected: The last tags are not those of the mode, once each and in order, or a section is empty.
    """
    text = text[-_MOST_CHARACTERS:]
    marks = list(tag_pattern(mode.tags).finditer(text))
    tail = marks[-len(mode.marks) :]
    if tail and [(m[1] == "", m[2].lower()) for m in tail] == list(mode.marks):
        block = text[tail[0].start() : tail[-1].end()]
        if sum(1 for _ in _any_tag().finditer(block)) > len(mode.marks):
            raise Rejected(WRONG_FORM, "There are other tags inside the sections: write plain text in them.")
        if follows_grammar(block, mode):
            return block
        raise Rejected(
            WRONG_FORM, "A section is empty, or there is text between the sections: put all text into the sections."
        )
    expected = "".join(f"<{'' if opens else '/'}{name}>" for opens, name in mode.marks)
    found = "".join(m[0] for m in marks[-2 * len(mode.marks) :]) or "no tags"
    raise Rejected(WRONG_FORM, f"Expected the tags {expected} once each and in this order; found {found}.")


def without_thought(text: str) -> str:
    """Return an answer without the thought that it begins with, where a model wrote one in ``<think>``."""
    return text.rpartition(_THOUGHT_ENDS)[2]


def _json_values(text: str) -> list[Any]:
    """Return every JSON array and object that stands in the text and in no other, in order."""
    text = without_thought(text)[:_MOST_CHARACTERS]
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats)
    found: list[Any] = []
    position = 0
    for _ in range(_MOST_STARTS):
        start = _START.search(text, position)
        if start is None:
            break
        try:
            value, position = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            position = start.end()
            continue
        found.append(value)
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise ValueError(f"the key {key!r} comes twice with different values")
        found[key] = value
    return found
