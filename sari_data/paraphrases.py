"""What a text that names no option outright says in other words: the last resort of the reader of prose.

An option is paraphrased by a sentence that has its words in its order ("the first speaker is calm and the second
speaker is happy"), or most of the words that tell it from the other options and few of theirs. A word is the same
in any of its forms ("exaggerates", "exaggeration"). What is denied does not count, nor what only might be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from sari_data.aliases import canonical
from sari_data.mentions import MARKS, Mentions
from sari_data.wording import root, stem, tokens, word_set

# The share of an option's telling words that a sentence has to have, and how far the next option has to be.
_ENOUGH, _AHEAD = 0.6, 0.35
# A word that may be a slip of the pen for an option's word has at least so many letters.
_SPELT = 7
_SENTENCE_WORDS = 80
_FUNCTION_WORDS = word_set(
    "a an the and while is are was were be been being it its this that there they he she his her their of in on at "
    "to by with from for as so then also very can has have had do does did because since who which or but i"
)
_DENYING = word_set("not no never cannot neither nor without than rather instead unlike unlikely less except wrong")
_DENIED_UNTIL = word_set(", ; . : ! ? but because since so")
_ONLY_MAYBE = word_set("if unless might may could maybe perhaps possibly either or ?")
_ENDINGS = re.compile(
    r"(?<=[a-z]{4})(?:ation|ion|ness|ment|ing|ed|al|ly|e)$|(?<=[a-z]{3})(?:ing|ed)$|(?<=[a-z]{5}[^aeiou])t$"
)
_SENTENCE_END = re.compile(r"[.!?]\s|\n")
# Verbs that say nothing by themselves of what tells one option from another.
_COMMON = word_set("move go come start begin end turn become get make take speak talk hear")
_RESPECTIVELY = re.compile(
    r"(?P<a>\S+) and (?P<b>\S+)(?: (?P<whose>speakers?|persons?|voices?))? (?P<verb>\S+) (?P<x>\S+) and (?P<y>\S+)"
    r" respectively(?: throughout the conversation)?"
)
_PLACE = re.compile(r"\d{1,2}(?:st|nd|rd|th)")
_BOLD = re.compile(r"\*\*([^*\n]{1,300})\*\*")


@lru_cache(maxsize=65536)
def _same_in_all_forms(word: str) -> str:
    if _PLACE.fullmatch(word):
        return word[:-2]  # "words two and four" for "the second and the fourth"
    return _ENDINGS.sub("", root(canonical(stem(word))))


@lru_cache(maxsize=4096)
def _option_words(exact: tuple[tuple[str, ...], ...]) -> list[tuple[tuple[str, ...], list[float]]]:
    """For each option its words, and of each how well it tells the option from the others (0 to 1)."""
    words = [tuple(_same_in_all_forms(w) for w in _spread(option) if w not in _FUNCTION_WORDS) for option in exact]
    different = list(dict.fromkeys(words))
    return [(own, [1 - sum(w in other for other in different) / len(different) for w in own]) for own in words]


def _spread(option: Sequence[str]) -> Sequence[str]:
    """An option that says two things of two with "respectively", with each thing after whom it is said of."""
    match = _RESPECTIVELY.fullmatch(" ".join(option))
    if match is None:
        return option
    whose = match["whose"] or ""
    return (
        f"{match['a']} {whose} {match['verb']} {match['x']} {match['b']} {whose} {match['verb']} {match['y']}".split()
    )


def paraphrased(items: Sequence[str], mentions: Mentions, denying: bool = False) -> int | None:
    """Return the option that a sentence paraphrases, ``None`` where it is not one.

    Args:
        items: The sentence's words, mentions not marked. An option that they name outright is no paraphrase.
        mentions: The options.
        denying: Whether only options that themselves deny something count ("It cannot be determined").
    """
    said = [w for w in items if w not in MARKS]
    if not 2 <= len(said) <= _SENTENCE_WORDS:
        return None
    kept = [w for w in _undenied(items) if w not in MARKS]
    taken = {_same_in_all_forms(w) for w in set(said) - set(kept)} - _FUNCTION_WORDS
    named = {int(w[1:]) for w in mentions.mark(list(items)) if w[0] == "@"}
    words = _option_words(mentions.exact)
    vocabulary = {w for own, _ in words for w in own} - _COMMON
    whole: list[tuple[int, int]] = []
    parts: list[tuple[float, int, int]] = []
    for place in sorted(set(mentions.first) - named):
        own, weights = words[place]
        denies_itself = not _DENYING.isdisjoint(mentions.exact[place])
        spoken = said if denies_itself else kept
        if (
            (denying and not denies_itself)
            or not own
            or not _ONLY_MAYBE.isdisjoint(set(spoken) - set(mentions.exact[place]))
        ):
            continue
        forms = [_same_in_all_forms(w) for w in spoken if w not in _FUNCTION_WORDS]
        found = _in_order(own, forms)
        if len(found) < len(own) and _only_bag(own, words) and set(own) <= set(forms):
            found = set(range(len(own)))
        if not denying and any(w in vocabulary and w not in own for w in forms):
            continue  # "Both show joy" for "both show sadness": the other word is another option's.
        if not denies_itself and not taken.isdisjoint(own):
            continue
        total = sum(weights)
        if len(found) == len(own) > 1:
            whole.append((len(own), place))
        missed = any(w[0].isdigit() for i, w in enumerate(own) if i not in found)
        share = sum(weights[i] for i in found) / total if total and not missed else 0.0
        parts.append((share, len([i for i in found if weights[i] and len(own[i]) > 2]), place))
    if whole:
        longest = max(size for size, _ in whole)
        best = [place for size, place in whole if size == longest]
        return best[0] if len(best) == 1 else None
    parts.sort(reverse=True)
    if not parts or parts[0][0] < _ENOUGH or parts[0][1] < 2:
        return None
    return parts[0][2] if len(parts) < 2 or parts[0][0] - parts[1][0] >= _AHEAD else None


def _only_bag(own: Sequence[str], words: Sequence[tuple[tuple[str, ...], list[float]]]) -> bool:
    """Whether no other option has the same words in another order."""
    bag = set(own)
    return len(own) > 1 and sum(set(other) >= bag for other, _ in words) == 1


def _undenied(items: Sequence[str]) -> list[str]:
    kept: list[str] = []
    denied = False
    for word in items:
        denied = (denied or word in _DENYING) and word not in _DENIED_UNTIL
        if not denied:
            kept.append(word)
    return kept


def _in_order(own: Sequence[str], said: Sequence[str]) -> set[int]:
    """The places in ``own`` of the longest run of its words that ``said`` has in the same order, gaps allowed."""
    known = set(own)
    said = [w for w in said if w in known]
    longest = [[0] * (len(said) + 1) for _ in range(len(own) + 1)]
    for i in range(len(own) - 1, -1, -1):
        for j in range(len(said) - 1, -1, -1):
            longest[i][j] = (
                longest[i + 1][j + 1] + 1 if own[i] == said[j] else max(longest[i + 1][j], longest[i][j + 1])
            )
    found, i, j = set(), 0, 0
    while i < len(own) and j < len(said):
        if own[i] == said[j]:
            found.add(i)
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1
    return found


def respelled(words: Sequence[str], mentions: Mentions) -> list[str] | None:
    """Return words with slips of the pen set right to the options' words, ``None`` where there are none.

    Only a long word with one letter missing, doubled, swapped or mistaken (not its first) counts, and none that ends
    in "-ing": "clapping" for "clipping" is another word.
    """
    vocabulary = {w for option in mentions.exact for w in option if len(w) >= _SPELT - 1 and w.isalpha()}
    result = list(words)
    for i in range(len(words) - 1):
        if words[i] + words[i + 1] in vocabulary:
            result[i], result[i + 1] = words[i] + words[i + 1], ","  # "game show" for "gameshow"
    for i, word in enumerate(words):
        if len(word) < _SPELT - 2 or word in vocabulary or not word.isalpha() or word.endswith("ing"):
            continue
        meant = [w for w in vocabulary if w[0] == word[0] and w[:-1] != word and w != word[:-1] and _slip(word, w)]
        if len(meant) == 1:
            result[i] = meant[0]
    return result if result != list(words) else None


def _slip(word: str, other: str) -> bool:
    """Whether a word is another one with a slip: in a short word a letter missing, in a long one up to two slips."""
    if len(other) < _SPELT or len(word) < _SPELT:
        return len(other) == len(word) + 1 and _one_slip(word, other)
    if _one_slip(word, other):
        return True
    if len(other) < 9 or word[:3] != other[:3] or len(word) != len(other):
        return False
    # Letters that changed their places with one between them: "restaraunt".
    return sorted(word) == sorted(other) and sum(a != b for a, b in zip(word, other, strict=True)) <= 4


def _one_slip(word: str, other: str) -> bool:
    if abs(len(word) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    a, b = word[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[:2][::-1] and a[2:] == b[2:])


def emphasised(text: str) -> tuple[str, str, str] | None:
    """Return the only words of a text in bold between what stands before them in their sentence and after them.

    ``None`` where nothing or more than one thing is in bold.
    """
    found = list(_BOLD.finditer(text))
    if len(found) != 1:
        return None
    before = _SENTENCE_END.split(text[max(found[0].start() - 500, 0) : found[0].start()])[-1]
    return before, found[0][1], text[found[0].end() : found[0].end() + 2_000]


def denies(folded: str) -> bool:
    """Return whether a text ends in a clause that denies what follows it."""
    words: Iterable[str] = tokens(folded)[-6:]
    denied = False
    for word in words:
        denied = (denied or word in _DENYING) and word not in _DENIED_UNTIL
    return denied
