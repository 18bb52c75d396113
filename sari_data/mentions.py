"""Where a sentence names an option: by its text in any form that fits just this one.

A plural stands for its singular and a number in words for its digits; "hot dog" does not name "dog". What all
options have in common may be left out ("the first speaker" and "the second speaker" are "first" and "second").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from sari_data.aliases import aliases, counts
from sari_data.wording import LIGHT, fold, root, stem, stems, tokens, word_set

MARKS = frozenset(".!?;:,()[]=/\"'<>{}")
# How many words may stand between "not" and the rest of an option that begins with it ("does not sound drunk").
_DENIAL_GAP = 3
MANY = -2  # a form that several options share

_SKIPPED = frozenset(",;:()[]/\"'<>{}=")
_LEADING = frozenset(("in", "at", "on", "to", "by", "from", "during", "with", "of", "it", "is", "they", "there", "are"))
_LABEL = re.compile(r"^\W{0,3}(?:[a-z]|\d)\s?[.):]\s+(?=\S)")
_NOTE = frozenset(("maj", "min", "sharp", "flat", "key", "chord"))
_NO_NUMBER_BEFORE = frozenset(
    ("the", "this", "that", "which", "each", "any", "another", "every", "least", "no", "some")
)
_NO_NUMBER_AFTER = frozenset(("of", "another", "who", "that", "which", "by", "or"))
_AFTER_LETTER = frozenset(
    ("because", "since", "as", "which", "due", "given", "with", "based", "is", "or", "and", "not")
)
# "No they do not" is the answer "no"; "no dog" is not.
_AFTER_NO = _AFTER_LETTER | {"he", "she", "it", "they", "there", "we", "this", "that", "these", "those"}
# Right at the beginning, "no" is an answer before these too: "no shes not dead", "no the man does not".
_OPENED_BY_NO = word_set(
    "i you shes hes its theyre theres thats the his her their our my nobody nothing none both neither only just "
    "actually definitely clearly"
)
REPORTS = frozenset(("says", "said", "saying", "replies", "replied", "answers", "answered", "responds", "responded"))
_DECADE = re.compile(r"(?:1[89]|20)\d0s?")
_IN_BRACKETS = re.compile(r"(?<=\w) \([^()]*\)")
_DOTTED = re.compile(r"[^\W\d_]{2,}(?:\.[^\W\d_]{2,})+")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_CHORD = re.compile(r"([a-g][#b]?) (maj|min) 1")
# Chords by their sign: "G" is G major, "F#m" (two words) and "Em" are minor.
_CHORD_SIGN = re.compile(r"([a-g](?:#|b(?!$))?) ?(m?)")
_COPULAS = frozenset(("is", "are", "was", "were", "be", "been", "became", "become", "becomes", "being"))
_WHOSE = frozenset(("his", "her", "their", "its", "my"))
_JOINING = frozenset(("because", "since", "but", "so", "or", "while", "when", "as", "for", "that", "which", "who"))
_BETWEEN = _SKIPPED | LIGHT | _WHOSE | {"is", "are", "was", "were", "being"}


def content(words: Sequence[str]) -> tuple[str, ...]:
    """Return the stems of a text's words without marks, articles, "and" and the "to" between two numbers."""
    kept = [w for w in words if w not in MARKS]
    few = [w for i, w in enumerate(kept) if w not in LIGHT and not _range(kept, i)]
    return tuple(stem(w) for w in few or kept)


def _range(words: Sequence[str], i: int) -> bool:
    """Whether a word stands between two numbers: "from 1 second to 6", "1 to 6"."""
    if not 0 < i < len(words) - 1 or words[i] not in ("to", "seconds"):
        return False
    if words[i] == "seconds":
        return words[i + 1] == "to" and words[i - 1][0].isdigit()
    before = words[i - 2] if i > 1 and words[i - 1] == "seconds" else words[i - 1]
    return before[0].isdigit() and words[i + 1][0].isdigit()


class Mentions:
    """The forms in which sentences may name the options of one question.

    Args:
        choices: The options in the order in which they were shown; a repeated one stands for its first place.
    """

    def __init__(self, choices: Sequence[str]) -> None:
        places: dict[str, int] = {}
        self.first = [places.setdefault(choice, i) for i, choice in enumerate(choices)]
        self.count = len(choices)
        folded = [fold(choice) for choice in choices]
        bare = [_LABEL.sub("", text) for text in folded]
        self.labelled = sum(a != b for a, b in zip(folded, bare, strict=True)) == len(folded)
        exact = [[w for w in tokens(text) if w not in MARKS] for text in (bare if self.labelled else folded)]
        full = [content(words) for words in exact]
        self.full = full
        self.exact = tuple(map(tuple, exact))
        self._table: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        self._exact: dict[tuple[str, ...], int] = {}
        for words, first in zip(exact, self.first, strict=True):
            key = tuple(w for w in words if w not in LIGHT) or tuple(words)
            self._exact[key] = first if self._exact.get(key, first) == first else MANY
        taken: dict[tuple[str, ...], int] = {}
        self._take(taken, full)
        # Of the options "1960s" and "1970s" the short forms are "60s" and "70s", but not "60" and "70".
        self._decades = frozenset(f[0][2:] for f in full if len(f) == 1 and _DECADE.fullmatch(f[0]))
        # Whether a single letter can only be an option's: none holds one as a word ("C major").
        self.lettered = not any(len(w) == 1 and w.isalpha() and w not in "ai" for words in exact for w in words)
        self.polar = self._pair(("yes", "true"), ("no", "false"))
        self.both, self.neither = self._of_two()
        self.numeric = bool(full) and all(len(f) == 1 and f[0][0].isdigit() for f in full)
        different = [full[i] for i in sorted(set(self.first))]
        chords = [_chord(f) for f in different]
        if sum(map(_is_chord_sign, different)) > 1:
            chords = [_chord(f) or _chord_sign(f) for f in different]
        shorter = [content(tokens(_short(folded[i]))) for i in sorted(set(self.first))]
        unique = sorted(set(self.first))
        often = counts(different)
        cores = _cores(different)
        for alias in (
            cores,
            _cores(different, 1),
            _surnames([choices[i] for i in unique], different),
            [_unled(f) for f in different],
            chords,
            shorter,
            *aliases(different),
            *aliases(shorter),
            *often,
        ):
            spread = [alias[unique.index(first)] for first in self.first]
            self._take(taken, spread, only_new=True, digits=alias in often or alias is cores)
        for form, choice in taken.items():
            self._table.setdefault(form[0], []).append((form, choice))
        for forms in self._table.values():
            forms.sort(key=lambda item: -len(item[0]))
        self.starts = frozenset(self._table)
        # Whether a number alone may name an option, and names with a full stop inside ("example.com").
        self.digits = any(len(form) == 1 and form[0][0].isdigit() for form in taken)
        self.dotted = tuple(dict.fromkeys(m[0] for text in folded for m in _DOTTED.finditer(text)))

    def _take(
        self,
        taken: dict[tuple[str, ...], int],
        forms: Sequence[tuple[str, ...]],
        only_new: bool = False,
        digits: bool = False,
    ) -> None:
        new: dict[tuple[str, ...], int] = {}
        for form, first in zip(forms, self.first, strict=True):
            empty = not digits and all(w in _LEADING or len(w) < 2 for w in form)
            if form and not (only_new and (form in taken or empty)):
                new[form] = first if new.get(form, first) == first else MANY
        taken.update((form, choice) for form, choice in new.items() if not (only_new and choice == MANY))

    def _pair(self, positive: tuple[str, ...], negative: tuple[str, ...]) -> tuple[int, int] | None:
        """The only option that begins with one of some words and the only one that begins with one of others."""
        pair = []
        for begins in (positive, negative):
            found = {first for full, first in zip(self.full, self.first, strict=True) if full and full[0] in begins}
            pair.append(next(iter(found)) if len(found) == 1 else -1)
        return (pair[0], pair[1]) if min(pair) >= 0 else None

    def _of_two(self) -> tuple[int | None, int | None]:
        """The option "both" (of two others) and the option "neither", where there are two others."""
        both, neither = set(), set()
        for full, first in zip(self.full, self.first, strict=True):
            if full[:1] == ("both",) and len(full) < 3:
                both.add(first)
            elif full[:1] in (("neither",), ("none",)) and len(full) < 5 and not {"above", "option"} & set(full):
                neither.add(first)
        others = len(set(self.first) - both - neither)
        if others != 2:
            return None, None
        return (both.pop() if len(both) == 1 else None), (neither.pop() if len(neither) == 1 else None)

    def mark(self, words: list[str]) -> list[str]:
        """Return a sentence's words with ``@i`` for every mention of option ``i`` (``@-2``: one of several)."""
        bare = stems(words)
        if self.starts.isdisjoint(bare):
            return words
        result: list[str] = []
        at = 0
        while at < len(words):
            end, choice = self._at(words, bare, at) if bare[at] in self.starts else (0, 0)
            if end:
                while (result and result[-1] in ("the", "an")) or (
                    result and result[-1] == "a" and not _is_label(result)
                ):
                    result.pop()
                result.append(f"@{choice}")
                at = end
            else:
                result.append(words[at])
                at += 1
        return result

    def _at(self, words: list[str], bare: list[str], at: int) -> tuple[int, int]:
        """Return where the longest mention that begins here ends (0: none does), and its option."""
        for form, choice in self._table[bare[at]]:
            end = self._end(words, bare, at, form)
            if end and not self._other(words, at, end, form):
                if choice == MANY:
                    key = tuple(w for w in words[at:end] if w not in MARKS and w not in LIGHT)
                    choice = self._exact.get(key, MANY)
                return end, choice
        return 0, 0

    def _end(self, words: list[str], bare: list[str], at: int, form: tuple[str, ...]) -> int:
        here, size = at, len(words)
        for k, want in enumerate(form):
            gap = here + _DENIAL_GAP if k == 1 and form[0] == "not" else 0
            while k and here < size and (words[here] in _BETWEEN or _range(words, here) or here < gap):
                if bare[here] == want or (here < gap and words[here] in MARKS):
                    break
                here += 1
            if here >= size or bare[here] != want:
                return 0
            here += 1
        return here

    def _other(self, words: list[str], at: int, end: int, form: tuple[str, ...]) -> bool:
        """Return whether these words are something else here: an article, a pronoun, part of a longer name."""
        if len(form) > 1:
            return False
        word, before = words[at], words[at - 1] if at else ""
        after = words[end] if end < len(words) else ""
        wordy = bool(after) and after not in MARKS
        if word in ("a", "i"):
            return wordy and after not in _AFTER_LETTER
        if (len(word) == 1 and word.isalpha()) or (len(word) == 2 and word[1] == "#"):
            return after in ("maj", "min", "sharp", "flat") or (after == "'")
        if word in ("yes", "no") and not REPORTS.isdisjoint(words[end : end + 2 + (after in _SKIPPED)]):
            return True  # "Yes, says the other."
        if word == "no":
            if words[max(at - 2, 0) : at] == ["yes", "or"]:
                return False
            opens = not at and after in _OPENED_BY_NO
            return (wordy and after not in _AFTER_NO and not opens) or before in REPORTS
        if word == "1":
            return before in _NO_NUMBER_BEFORE or after in _NO_NUMBER_AFTER
        if word == "2nd":
            return before in ("a", "each", "every", "per")
        if word in ("yes", "no") and before in REPORTS:
            return True
        return word in self._decades

    def contained(self, words: Sequence[str]) -> int | None:
        """Return the only option that holds these words in a row, if they are a good part of it or its first word."""
        form = content(words)
        if not form or all(len(w) < 2 or w in _LEADING or w in _COPULAS or w in _JOINING for w in form):
            return None
        found = {
            first
            for full, first in zip(self.full, self.first, strict=True)
            if any(full[i : i + len(form)] == form for i in range(len(full) - len(form) + 1))
        }
        if len(found) != 1:
            return None
        choice = next(iter(found))
        full = self.full[choice]
        # What all options have in common is no part of what this one says.
        telling = sum(any(w not in other for other in self.full) for w in full)
        good = 3 * len(form) >= telling or (form[0] in ("yes", "no") and form[0] == full[0])
        good = good or (len(form) > 1 and form == full[: len(form)])
        return choice if good and not set(form) & {"not", "no"} - set(full[:1]) else None

    def reworded(self, words: Sequence[str]) -> int | None:
        """Return the only option with the same words but for endings, "is" and the like, or the order of a pair."""

        def loose(form: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(root(w) for w in form if w not in _COPULAS and w not in _WHOSE) or form

        said = loose(content(words))
        found = {first for full, first in zip(self.full, self.first, strict=True) if loose(full) == said}
        if not found and len(said) == 2:
            found = {i for full, i in zip(self.full, self.first, strict=True) if loose(full) == said[::-1]}
        if not found and self.numeric and len(said) == 1 and said[0][-2:] in ("st", "nd", "rd", "th"):
            found = {i for full, i in zip(self.full, self.first, strict=True) if full[0] == said[0][:-2]}
        return next(iter(found)) if len(found) == 1 else None


def _is_label(result: list[str]) -> bool:
    return len(result) > 1 and result[-2] == "("


def _cores(forms: Sequence[tuple[str, ...]], kept: int = 0) -> list[tuple[str, ...]]:
    """What is left of the options when the words that all begin or end with are taken away, but for the first ``kept``
    words of their ends: "second class" of "second-class seat"."""
    if len(forms) < 2:
        return [() for _ in forms]
    shortest = min(map(len, forms))
    head = next((i for i in range(shortest) if len({f[i] for f in forms}) > 1), shortest)
    left = [f[head:] for f in forms]
    shortest = min(map(len, left))
    tail = next((i for i in range(shortest) if len({f[-1 - i] for f in left}) > 1), shortest)
    tail = max(tail - kept, 0)
    cores = [f[: len(f) - tail] for f in left]
    return cores if all(cores) else [() for _ in forms]


def _surnames(choices: Sequence[str], forms: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The last words of options that are all names: "Orwell" of "George Orwell"."""
    if not all(len(form) > 1 and choice.istitle() for choice, form in zip(choices, forms, strict=True)):
        return [() for _ in forms]
    return [form[-1:] for form in forms]


def _unled(form: tuple[str, ...]) -> tuple[str, ...]:
    at = 0
    while at < len(form) - 1 and form[at] in _LEADING:
        at += 1
    return form[at:] if at else ()


def _chord(form: tuple[str, ...]) -> tuple[str, ...]:
    """A chord in root position by its name alone: "C:maj/1" is C major."""
    match = _CHORD.fullmatch(" ".join(form))
    return (match[1], match[2]) if match else ()


def _short(folded: str) -> str:
    """An option without what it says in brackets, and with its hyphenated words as one: "push-ups", "pushups"."""
    return _IN_BRACKETS.sub("", _HYPHEN.sub("", folded))


def _is_chord_sign(form: tuple[str, ...]) -> bool:
    return _CHORD_SIGN.fullmatch(" ".join(form)) is not None


def _chord_sign(form: tuple[str, ...]) -> tuple[str, ...]:
    match = _CHORD_SIGN.fullmatch(" ".join(form))
    return (match[1], "min" if match[2] else "maj") if match else ()


@lru_cache(maxsize=4096)
def mentions_of(choices: tuple[str, ...]) -> Mentions:
    """Return the (cached) forms of these options."""
    return Mentions(choices)
