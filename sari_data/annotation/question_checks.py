"""What makes a written question unfit: options that cannot be told apart, give-aways, talk of the text behind it.

The checks on wording know English; those on options, lengths and repetition know no language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sari_data.options import loose_form
from sari_data.sources.base import Clip
from sari_data.sources.music_theory import note_class

SAME_OPTIONS = "two options are the same"
SAME_PITCH = "two options are the same pitch"
CATCH_ALL = "an option that is no answer of its own"
LONG_GOLD = "the right option stands out by its length"
MENTIONS_TEXT = "it speaks of a caption or metadata"
HOLDS_ANSWER = "the question contains its answer"
INAUDIBLE = "it names what cannot be heard"
REPEATED = "the same question twice"

# The right option may be so much longer than the longest wrong one: half as long again, and some characters.
_LONGER, _SPARE = 1.5, 10
_LEAST_NAME = 3  # characters of a hidden fact's value that is looked for

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_AS_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)}
_CATCH_ALL = re.compile(
    r"\b(?:all|none|both|any|neither|either) of (?:the (?:above|options|others?|answers?)|these|those|them)\b"
    r"|\b(?:both|neither|either) (?:option )?\(?[a-e]\)? (?:and|n?or) \(?[a-e]\)?(?:\W|$)"
    r"|\bnot enough information\b|\b(?:can(?:no|')t|cannot|can not|impossible to) be (?:determined|told|known)\b"
    r"|\bimpossible to (?:say|tell|know|determine)\b|^(?:unknown|i don'?t know|not sure|other|n/?a)\W*$",
    re.IGNORECASE,
)
_TEXT_BEHIND = re.compile(
    r"\b(?:captions?|captioned|meta-?data|annotations?|annotated|data ?sets?|transcripts?|ground truth)\b"
    r"|\b(?:the|this|these|its|audio|provided|given)\s+(?:audio |clip |text(?:ual)? |provided |given )*"
    r"(?:labels?|tags|descriptions?|text|facts|information|data)\b"
    r"(?! (?:file|messages?|in the (?:audio|recording|song|speech)))"
    r"|\b(?:according to|based on) (?:the |this |these )?(?:given |provided )?(?:\w+ )?"
    r"(?:label|tag|description|text|fact|information|data|list)s?\b",
    re.IGNORECASE,
)
# A note's name, alone or before a mode or a chord's quality: "Bb", "A♯ minor", "E flat", "Bbm7", but not "Bass".
_PITCH = re.compile(
    r"(?<![A-Za-z])([A-G])(#|♯|b|♭|[ -]?(?:[Ss]harp|[Ff]lat)\b)?(?=maj|min|dim|aug|sus|add|m|M|[^A-Za-z]|$)"
)


def check_options(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (reason, complaint) for options that cannot stand beside each other."""
    forms: dict[str, int] = {}
    pitches: dict[str, int] = {}
    for number, option in enumerate(options, start=1):
        form = " ".join(_AS_DIGITS.get(word, word) for word in loose_form(option).split())
        first = forms.setdefault(form, number)
        pitch = pitch_form(option)
        same = pitches.setdefault(pitch, number)
        if not form:
            yield SAME_OPTIONS, f"Option {number} has no words: {option!r}."
        elif first != number:
            yield SAME_OPTIONS, f"Options {first} and {number} are the same ({option!r}): make all options different."
        elif same != number:
            yield (
                SAME_PITCH,
                f"Options {same} and {number} ({options[same - 1]!r} and {option!r}) are the same pitch under two "
                "names: only one of them may be an option.",
            )
        if _CATCH_ALL.search(option):
            yield (
                CATCH_ALL,
                f"Option {number} ({option!r}) is no answer of its own: name something that could be heard.",
            )


def check_gold(question: str, options: Sequence[str], gold: str) -> Iterator[tuple[str, str]]:
    """Yield (reason, complaint) where the right option gives itself away."""
    longest = max(len(option) for option in options if option != gold)
    if len(gold) > longest * _LONGER + _SPARE:
        yield (
            LONG_GOLD,
            f"The right option has {len(gold)} characters and the longest wrong one {longest}: write options of "
            "about the same length and detail.",
        )
    # A question that names a wrong option too asks for a choice between them.
    if contains_words(question, gold) and not any(contains_words(question, o) for o in options if o != gold):
        yield HOLDS_ANSWER, f"The question contains its own answer ({gold!r}): ask without naming it."


def check_wording(question: str, options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (reason, complaint) for talk of the text that the question was written from."""
    for text in (question, *options):
        found = _TEXT_BEHIND.search(text)
        if found:
            yield (
                MENTIONS_TEXT,
                f"{found[0]!r} speaks of the text behind the question: whoever answers has only the audio, "
                "so ask about what is heard.",
            )


def check_audible(
    question: str, options: Sequence[str], clip: Clip, hidden: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield (reason, complaint) for values of hidden facts that the visible ones do not tell."""
    shown = " ".join((clip.caption or "", *clip.labels, *map(str, visible_facts(clip, hidden).values())))
    asked = " ".join((question, *options))
    for name in hidden:
        for value in _texts(clip.facts.get(name)):
            if len(value) >= _LEAST_NAME and contains_words(asked, value) and not contains_words(shown, value):
                yield INAUDIBLE, f"{value!r} cannot be heard in the audio: leave it out."


def visible_facts(clip: Clip, hidden: Sequence[str]) -> Mapping[str, Any]:
    """Return the facts of a clip that may be told, without empty ones."""
    return {name: value for name, value in clip.facts.items() if name not in hidden and value not in (None, "", [], {})}


def contains_words(text: str, words: str) -> bool:
    """Return whether ``words`` stand in ``text`` as whole words in a row; case, marks and articles do not matter."""
    form = loose_form(words)
    return bool(form) and f" {form} " in f" {loose_form(text)} "


def pitch_form(text: str) -> str:
    """Return a text in which names of one pitch are the same: ``A# minor`` and ``B♭ Minor`` are."""

    def number(match: re.Match[str]) -> str:
        accidental = (match[2] or "").strip(" -").casefold()
        sign = "#" if accidental in ("#", "♯", "sharp") else "b" if accidental else ""
        return f"<{note_class(match[1] + sign)}>"

    return _PITCH.sub(number, text).casefold()


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [item for item in values if isinstance(item, str)]
