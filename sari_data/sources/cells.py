"""What the cells of a table say: options, gold answers, domains, numbers, in the forms that published tables use.

Every function reads one cell and nothing else. What it cannot read without a guess is an :class:`UnfitError`, whose
reason a source counts its set-aside rows under. No text makes these functions raise anything else.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sari_data.types import DOMAINS

AnswerForm = Literal["text", "letter", "index0", "index1"]

MOST_OPTIONS = 26  # as many as there are letters
# Lists in a cell are short; a longer text is not one that a person or a program wrote as options.
_LONGEST_LIST = 100_000

_LETTER = re.compile(r"[(\[]? ?([A-Za-z]) ?[)\].:]?")
_LABEL = re.compile(r"(?:\(([A-Za-z])\)|([A-Za-z])[).:])\s*(.*)", re.DOTALL)
_YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)
_YOUTUBE_URL = re.compile(
    r"https?://(?:www\.|m\.|music\.)?(?:youtu\.be/|youtube\.com/(?:watch\?(?:[^#]*&)?v=|shorts/|embed/|live/))([\w-]{11})"
    r"(?![\w-])",
    re.ASCII,
)
_OTHER_URL = re.compile(r"https?://")
_BETWEEN_DOMAINS = re.compile(r"[-+_,/&;\s]+")
_NOT_A_DOMAIN = ("mix", "mixed", "and")


class UnfitError(Exception):
    """A cell that cannot be read without a guess.

    Args:
        reason: A short phrase to count under, the same for all of its kind.
        detail: What was found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def is_empty(value: Any) -> bool:
    """Return whether a cell says nothing: absent, not a number, white space, or a list of nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, Mapping | list | tuple) and not value


def read_text(value: Any) -> str:
    """Return a cell's text without outer white space; empty where it says nothing, list items joined by ``, ``.

    Raises:
        UnfitError: It is a struct or bytes, or has half a character (a lone surrogate), which no file can hold.
    """
    if is_empty(value):
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(read_text, value)))
    if isinstance(value, Mapping | bytes):
        raise UnfitError("cell is no text", f"found {_short(value)}")
    text = str(value).strip()
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UnfitError("text is no Unicode", f"found {_short(text)}")
    return text


def read_choices(value: Any, separator: str | None = None) -> list[str | None]:
    """Read options from one cell.

    Args:
        value: A list; a mapping of the letters A, B, ... to texts; or a text: split at ``separator``, or without one
            the JSON or Python form of a list.
        separator: What stands between two options in a text.

    Returns:
        The options in order, none where there are none. An empty one keeps its place as ``None``, since a letter or
        an index may count it; empty ones at the end are left out.

    Raises:
        UnfitError: It is none of these, or there are more options than letters.
    """
    if isinstance(value, str) and not is_empty(value):
        value = value.split(separator) if separator else _list_in(value)
    if is_empty(value):
        return []
    if isinstance(value, Mapping):
        letters = [chr(ord("A") + n) for n in range(min(len(value), MOST_OPTIONS))]
        by_letter = {str(key).strip().upper(): text for key, text in value.items()}
        if sorted(by_letter) != letters or len(value) != len(letters):
            raise UnfitError("options cannot be read", f"found a mapping with the keys {_short(list(value))}")
        value = [by_letter[letter] for letter in letters]
    if not isinstance(value, list | tuple):
        raise UnfitError("options cannot be read", f"found {_short(value)}")
    if any(isinstance(item, Mapping | list | tuple | bytes) for item in value):
        raise UnfitError("options cannot be read", f"found more than texts in {_short(value)}")
    found: list[str | None] = [read_text(item) or None for item in value]
    while found and found[-1] is None:
        found.pop()
    if len(found) > MOST_OPTIONS:
        raise UnfitError("options cannot be read", f"found {len(found)} options, more than there are letters")
    return found


def strip_letters(choices: Sequence[str | None], answer: Any, form: AnswerForm) -> tuple[list[str | None], Any]:
    """Take the letters off options that are written ``A. dog``, ``(B) cat``; and off an answer that is given as text.

    Raises:
        UnfitError: An option does not begin with the letter of its place, or is nothing but the letter.
    """
    bare: list[str | None] = []
    for place, choice in enumerate(choices):
        label = None if choice is None else _LABEL.fullmatch(choice)
        if choice is not None and (label is None or _place(label[1] or label[2]) != place or not label[3].strip()):
            raise UnfitError("options have no letters to strip", f"found {_short(list(choices))}")
        bare.append(label[3].strip() if label else None)
    if form == "text":
        label = _LABEL.fullmatch(read_text(answer))
        place = _place(label[1] or label[2]) if label else -1
        if label and 0 <= place < len(bare) and bare[place] == label[3].strip():
            answer = bare[place]
    return bare, answer


def read_answer(value: Any, choices: Sequence[str | None], form: AnswerForm) -> str:
    """Return the text of the right option.

    Args:
        value: The cell.
        choices: The options as :func:`read_choices` gives them.
        form: ``text``: the option's own text, compared exactly but for outer white space; ``letter``: ``B``, ``b``,
            ``(B)``, ``B.``; ``index0`` and ``index1``: the option's number, counted from 0 or from 1.

    Raises:
        UnfitError: It is not of that form, or names no option. Nothing else is tried.
    """
    text = read_text(value)
    if not text:
        raise UnfitError("no gold answer", "the cell is empty")
    if form == "text":
        if text not in choices:
            raise UnfitError("gold is not among the options", f"found {_short(text)} and {_short(list(choices))}")
        return text
    place = _letter_place(text) if form == "letter" else _index(value, text) - (form == "index1")
    if not 0 <= place < len(choices) or choices[place] is None:
        raise UnfitError("gold is not among the options", f"found {_short(text)} ({form}) and {_short(list(choices))}")
    return str(choices[place])


def read_domain(value: Any, names: Mapping[str, str]) -> str:
    """Return a domain as questions have it: one of ``sound``, ``music``, ``speech``, or a mix.

    Args:
        value: The cell: a domain, a mix in any order (``mix-sound-speech``, ``speech+sound``), or one of ``names``.
        names: The table's own words to ours; they come first.

    Raises:
        UnfitError: It is none of these.
    """
    text = read_text(value)
    if text in names:
        return names[text]
    words = [word for word in _BETWEEN_DOMAINS.split(text.lower()) if word and word not in _NOT_A_DOMAIN]
    if not words or not set(words) <= set(DOMAINS):
        raise UnfitError("domain is not known", f"found {_short(text)}: say what it means under `domains`")
    return "+".join(domain for domain in DOMAINS if domain in words)


def read_seconds(value: Any, what: str, *, positive: bool = False) -> float | None:
    """Return a number of seconds, ``None`` where the cell is empty.

    Raises:
        UnfitError: No number, an infinite or a negative one, or 0 where ``positive``.
    """
    if is_empty(value):
        return None
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise UnfitError(f"{what} cannot be read", f"found {_short(value)}, expected seconds")
    return number


def read_youtube(value: Any) -> str:
    """Return a YouTube id from an id or an address of it; empty where the cell is, or is an address elsewhere.

    Raises:
        UnfitError: It is neither.
    """
    text = read_text(value)
    found = _YOUTUBE_URL.match(text)
    if found:
        return found[1]
    if not text or _OTHER_URL.match(text):
        return ""
    if not _YOUTUBE_ID.fullmatch(text):
        raise UnfitError("YouTube id cannot be read", f"found {_short(text)}, expected 11 letters, digits, - or _")
    return text


def read_labels(value: Any, separator: str | None = None) -> tuple[str, ...]:
    """Return labels from a list, its JSON or Python form, or a text split at ``separator`` (one label without one).

    Raises:
        UnfitError: A text that begins as a list and is none.
    """
    if isinstance(value, str):
        if separator:
            value = value.split(separator)
        elif value.lstrip().startswith("["):
            value = _list_in(value)
        else:
            value = [value]
    if is_empty(value):
        return ()
    if not isinstance(value, list | tuple):
        value = [value]
    return tuple(filter(None, map(read_text, value)))


def _list_in(text: str) -> list[Any]:
    """The list that a text is the JSON or the Python form of."""
    stripped = text.strip()
    if stripped.startswith("[") and len(stripped) <= _LONGEST_LIST:
        for parse in (json.loads, ast.literal_eval):
            try:
                found = parse(stripped)
            # What a hostile text makes a parser raise: depth, memory, zero bytes, digits without end.
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
                continue
            if isinstance(found, list):
                return found
    raise UnfitError("options cannot be read", f"found {_short(text)}: no list, and no separator is given")


def _place(letter: str) -> int:
    return ord(letter.upper()) - ord("A")


def _letter_place(text: str) -> int:
    found = _LETTER.fullmatch(text)
    if found is None:
        raise UnfitError("gold is no letter", f"found {_short(text)}")
    return _place(found[1])


def _index(value: Any, text: str) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)  # spreadsheets and data frames with gaps store whole numbers so
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,3}", text, re.ASCII):
        raise UnfitError("gold is no index", f"found {_short(text)}")
    return int(text)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
