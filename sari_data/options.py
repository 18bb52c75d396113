"""Which option a short text names: by its text, by its letter, or by both together.

Texts are compared from exact to loose; the first level at which any option fits decides. Where two
readings point to options with different texts, the answer is ambiguous: none is preferred.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property, lru_cache

EMPTY = "empty answer"
AMBIGUOUS = "ambiguous answer"
NOT_AN_OPTION = "answer is not an option"

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´ʼ", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", None),
    }
)
_WRAPPING = " \"'*_"
_LEADING = _WRAPPING + "([{"
_TRAILING = _WRAPPING + ")]}.,;:!?"
_AROUND = _LEADING + _TRAILING
_ARTICLE = re.compile(r"(?:the|an|a) (?=.)")
# A mark before a digit belongs to a number: 1.5, 0:30, .5 and -5 keep theirs.
_MARKS = re.compile(r"[,;:.](?!\d)|[!?\"()\[\]{}*_]|(?<=[^\W\d_])-(?=[^\W\d_])")
_PREFIX = re.compile(r"(?:the )?(?:correct |final |right |best )?(?:answer|option|choice)(?: is)?(?: ?: ?| )(?=.)")
# Ways of setting the whole answer apart that models write: {"answer": "x"}, \boxed{x}, \text{x}, <x>.
_SET_APART = re.compile(
    r"""\{ ?['"]?(?:answer|option|choice)['"]? ?: ?(?P<quote>['"]?)(?P<object>[^{}]*)(?P=quote) ?\}"""
    r"|\$?\\(?:boxed|text) ?\{(?P<tex>[^{}]*|\\text ?\{[^{}]*\})\}\$?|<(?P<angle>[^<>/]*)>"
)
_LETTER = re.compile(r"[(\[]? ?([a-z]) ?[)\]]?[.:,]?")
_IN_BRACKETS = re.compile(r"[(\[] ?([a-z]) ?[)\]]")
_LABELLED = re.compile(r"(?:[(\[] ?([a-z]) ?[)\]][.:]?|([a-z])(?: ?[).:\]]| ?- )) ?([^ ].*)")


class Options:
    """The options of one question, ready to be matched against many answers.

    Args:
        choices: The options in the order in which they were shown; the first is (A).
    """

    def __init__(self, choices: Sequence[str]) -> None:
        # The same text is the same choice: a repeated option stands for its first place.
        self._first = [list(choices).index(choice) for choice in choices]
        self._letters: dict[str, set[int]] = {}
        for index, first in zip(range(26), self._first, strict=False):
            self._letters.setdefault(chr(ord("a") + index), set()).add(first)
        # No form of any option is longer than this, whatever stands around it.
        self._longest = 3 * max((len(choice) for choice in choices), default=0) + 300
        forms = [(_clean(choice), first) for choice, first in zip(choices, self._first, strict=True)]
        labels = [_LABELLED.fullmatch(_fold(form)) for form, _ in forms]
        own = [label[1] or label[2] for label in labels if label]
        if len(set(own)) == len(forms):
            # Every option has a label of its own in its text ("A. dog"): it may be left out, or stand alone.
            for letter, label, (_, first) in zip(own, labels, tuple(forms), strict=True):
                self._letters.setdefault(letter, set()).add(first)
                forms.append((label[3] if label else "", first))
        self._levels: list[dict[str, set[int]]] = [{} for _ in _STEPS]
        for form, first in forms:
            for step, table in zip(_STEPS, self._levels, strict=True):
                form = step(form)
                table.setdefault(form, set()).add(first)
        for table in self._levels:
            table.pop("", None)

    def match(self, answer: str) -> tuple[int | None, str | None]:
        """Return the index of the option that ``answer`` names, or ``None`` and the reason.

        An option's own text wins over a bare letter, since options may themselves be letters; any
        other two readings that differ, such as a letter and another option's text, are ambiguous.
        """
        if len(answer) > self._longest:
            if len(begin := " ".join(answer[: self._longest + 100].split())) > self._longest and begin.strip(_AROUND):
                return None, NOT_AN_OPTION  # the whole is no shorter
            answer = " ".join(answer.split())
            if len(answer) > self._longest and answer.strip(_AROUND):
                return None, NOT_AN_OPTION
        text = _clean(answer)
        if not text.strip(_AROUND):
            return self._verdict(self._by_text(text, 0, 2)) if self._by_text(text, 0, 2) else (None, EMPTY)
        for form in dict.fromkeys((text, text.strip(_WRAPPING))):
            found = self._by_text(form, 0, 2)
            if found:
                return self._verdict(found)
        folded = _fold(text).strip(_WRAPPING)
        forms = {folded, _PREFIX.sub("", folded, count=1) if _PREFIX.match(folded) else folded}
        forms |= {inner for form in tuple(forms) for inner in _inside(form)}
        found = set()
        for form in forms:
            found |= self._by_text(form, 1, len(_STEPS)) | self._by_letter(form)
        return self._verdict(found)

    def named(self, text: str) -> frozenset[int]:
        """Return the indices of all options that a sentence names: by their text as whole words, or as ``(B)``.

        Where texts lie within each other the longest counts: "hot dog" does not name "dog". Two options with
        one loose form ("dog" and "the dog") are both named by it.
        """
        cleaned = _clean(text)
        forms, lengths = self._in_words
        words, at = _loose(cleaned).split(), 0
        result: set[int] = set()
        while at < len(words):
            size = next((n for n in lengths if tuple(words[at : at + n]) in forms), 0)
            if size:
                result |= forms[tuple(words[at : at + size])]
            at += max(size, 1)
        for letter in _IN_BRACKETS.findall(_fold(cleaned)):
            result |= self._letters.get(letter, set())
        return frozenset(result)

    @cached_property
    def _in_words(self) -> tuple[dict[tuple[str, ...], set[int]], list[int]]:
        """The loose forms as words, and how many words they have, most first."""
        forms = {tuple(form.split()): found for form, found in self._levels[-1].items()}
        return forms, sorted({len(form) for form in forms}, reverse=True)

    def _verdict(self, found: set[int]) -> tuple[int | None, str | None]:
        if len(found) == 1:
            return next(iter(found)), None
        return None, AMBIGUOUS if found else NOT_AN_OPTION

    def _by_text(self, text: str, first: int, last: int) -> set[int]:
        for level, (step, table) in enumerate(zip(_STEPS[:last], self._levels[:last], strict=True)):
            text = step(text)
            found = table.get(text) if level >= first else None
            if found:
                return set(found)
        return set()

    def _by_letter(self, folded: str) -> set[int]:
        alone = _LETTER.fullmatch(folded.strip(_WRAPPING))
        if alone:
            return set(self._letters.get(alone[1], ()))
        label = _LABELLED.fullmatch(folded)
        if label is None:
            return set()
        by_text = self._by_text(label[3], 0, len(_STEPS))
        if not by_text:
            return set()
        # A letter that no option has contradicts the text as much as another option's letter does.
        return by_text | self._letters.get(label[1] or label[2], {-1})


@lru_cache(maxsize=4096)
def options_of(choices: tuple[str, ...]) -> Options:
    """Return the (cached) options of a question."""
    return Options(choices)


def loose_form(text: str) -> str:
    """Return the loosest form in which :class:`Options` compares texts: no case, leading article, marks or spacing.

    Options whose loose forms are the same cannot be told apart in every answer.
    """
    return _loose(_clean(text))


def _inside(form: str) -> list[str]:
    """What stands inside, where the whole form sets its answer apart, from the outside in."""
    found = []
    while match := _SET_APART.fullmatch(form.rstrip(".").strip()):
        form = next(group for group in match.group("object", "tex", "angle") if group is not None).strip()
        found.append(form)
    return found


def _clean(text: str) -> str:
    if text.isascii():  # then this is all that the other line does
        return " ".join(text.replace("`", "'").split())
    return " ".join(unicodedata.normalize("NFKC", text.translate(_PLAIN)).translate(_PLAIN).split())


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text.casefold()).split())


def _same(text: str) -> str:
    return text


def _bare(folded: str) -> str:
    return folded.lstrip(_LEADING).rstrip(_TRAILING)


def _no_article(bare: str) -> str:
    article = _ARTICLE.match(bare)
    return bare[article.end() :] if article else bare


def _unmarked(plain: str) -> str:
    return " ".join(_MARKS.sub(" ", plain.replace("'", "")).split())


def _loose(text: str) -> str:
    return _unmarked(_no_article(_bare(_fold(text))))


# Each makes the form of the one before looser.
_STEPS = (_same, _fold, _bare, _no_article, _unmarked)
