"""What a text that names no option outright says in other words: the last resort of the reader of prose.

An option is paraphrased by a sentence that has its words in its order ("the first speaker is calm and the second
speaker is happy"), or most of the words that tell it from the other options and few of theirs. A word is the same
in any of its forms ("exaggerates", "exaggeration"). What is denied does not count, nor what only might be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from sari_data.aliases import canonical
from sari_data.mentions import MARKS, Mentions
from sari_data.wording import root, stem, tokens, word_set

# The share of an option's telling words that a sentence has to have, and how far the next option has to be.
_ENOUGH, _AHEAD = 0.6, 0.35
# The share where the sentence has a word of another option, and the most that it may have of that.
_NEARLY_ALL, _HALF = 0.75, 0.5
# So many telling words are more than chance: then half of a long option is enough, if twice as much as of any other.
_MANY = 6
# A word that may be a slip of the pen for an option's word has at least so many letters.
_SPELT = 7
# Two words of an option that are written as one have at least so many letters.
_GLUED = 5
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
_DOUBLED = re.compile(r"([a-z])\1+")
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
    rated: list[_Rated] = []
    for place in sorted(set(mentions.first)):
        own, weights = words[place]
        denies_itself = not _DENYING.isdisjoint(mentions.exact[place])
        spoken = said if denies_itself else kept
        forms = [_same_in_all_forms(w) for w in spoken if w not in _FUNCTION_WORDS]
        found = _found(own, forms, words)
        total = sum(weights)
        # What an option denies or counts it does not say without that word.
        missed = any(w[0].isdigit() or (i and w in _DENYING) for i, w in enumerate(own) if i not in found)
        share = sum(weights[i] for i in found) / total if total and not missed else 0.0
        open_ = (
            not own
            or _listed_with(own, items, vocabulary)
            or place in named
            or (denying and not denies_itself)
            or not _ONLY_MAYBE.isdisjoint(set(spoken) - set(mentions.exact[place]))
            or not (denies_itself or taken.isdisjoint(own))
        )
        # "Both show joy" for "both show sadness": the other word is another option's.
        strange = not denying and any(w in vocabulary and w not in own for w in forms)
        telling = len([i for i in found if weights[i] and len(own[i]) > 2])
        if not open_ and not strange and len(found) == len(own) > 1:
            whole.append((len(own), place))
        rated.append(_Rated(share, telling, len(found), place, not open_, strange))
    if whole:
        longest = max(size for size, _ in whole)
        best = [place for size, place in whole if size == longest]
        return best[0] if len(best) == 1 else None
    return _best(rated)


def _listed_with(own: Sequence[str], items: Sequence[str], vocabulary: set[str]) -> bool:
    """Whether a word of an option is joined to one of another's: "joy and neutral" is not "neutral"."""
    for i, word in enumerate(items[1:-1], 1):
        if word == "and":
            pair = {_same_in_all_forms(items[i - 1]), _same_in_all_forms(items[i + 1])}
            if pair <= vocabulary and len(pair.intersection(own)) == 1:
                return True
    return False


@dataclass(frozen=True, slots=True)
class _Rated:
    """How much of an option a sentence has: a share, telling words, all words; and whether it may count."""

    share: float
    telling: int
    words: int
    place: int
    counts: bool
    strange: bool


def _best(rated: Sequence[_Rated]) -> int | None:
    """The option of which a sentence has enough, and much more than of the others."""
    ranked = sorted((r for r in rated if r.counts), key=lambda r: (r.share, r.telling, r.place), reverse=True)
    if not ranked:
        return None
    first = ranked[0]
    if first.strange:
        # With a word of another option: nearly all of this one, and not half of any other.
        rest = max((r.share for r in rated if r.place != first.place), default=0.0)
        enough = first.share >= _NEARLY_ALL and first.telling > 2 and rest <= _HALF
        if first.telling >= _MANY and first.share >= _HALF and 2 * rest <= first.share:
            return first.place
        return first.place if enough and first.share - rest >= _AHEAD else None
    rest = max((r.share for r in ranked[1:] if not r.strange), default=0.0)
    enough = first.share >= _ENOUGH and first.telling > 1
    # All that tells the option from the others, if only one word, and two that it shares with them.
    enough = enough or (first.share > 0.99 and first.telling == 1 and first.words > 2)
    return first.place if enough and first.share - rest >= _AHEAD else None


def _found(own: Sequence[str], forms: Sequence[str], words: Sequence[tuple[tuple[str, ...], list[float]]]) -> set[int]:
    """The places in ``own`` of the words that were said: in its order, where another option has much the same words."""
    said = set(forms)
    if not any(w in said for w in own):
        return set()
    bag = set(own)
    alike = any(other is not own and other != own and 2 * len(bag.intersection(other)) > len(bag) for other, _ in words)
    if not alike or (_only_bag(own, words) and bag <= said):
        return {i for i, w in enumerate(own) if w in said}
    return _in_order(own, forms)


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
    apart = _joined(mentions.exact)
    if not apart.keys().isdisjoint(map(stem, result)):
        result = [part for word in result for part in apart.get(stem(word), (word,))]  # "hihats" for "hi hats"
    for i, word in enumerate(result):
        if len(word) < _SPELT - 2 or word in vocabulary or not word.isalpha() or word.endswith("ing"):
            continue
        meant = [w for w in vocabulary if w[0] == word[0] and not _ends_otherwise(word, w) and _slip(word, w)]
        if len(meant) == 1:
            result[i] = meant[0]
    return result if result != list(words) else None


@lru_cache(maxsize=4096)
def _joined(exact: tuple[tuple[str, ...], ...]) -> dict[str, tuple[str, str]]:
    """What two words of an option that stand together are when written as one, each with the two."""
    known = {w for option in exact for w in option}
    return {
        stem(a + b): (a, b)
        for option in exact
        for a, b in pairwise(option)
        if a.isalpha()
        and b.isalpha()
        and len(a + b) >= _GLUED
        and a + b not in known
        and min(len(a), len(b)) > 1
        and not {a, b} & _FUNCTION_WORDS
    }


def _ends_otherwise(word: str, other: str) -> bool:
    """Whether one of two words is the other with another letter at its end, which is a form of it and no slip."""
    longer, shorter = sorted((word, other), key=len, reverse=True)
    return longer[:-1] == shorter and longer[-1] != longer[-2]


def _slip(word: str, other: str) -> bool:
    """Whether a word is another one with a slip: in a short word a letter missing, in a long one up to two slips."""
    if len(other) < _SPELT or len(word) < _SPELT:
        return len(other) == len(word) + 1 and _one_slip(word, other)
    if _one_slip(word, other) or _undoubled(word) == _undoubled(other):
        return True
    if len(other) > 8 and word[:2] == other[:2] and _one_slip(_undoubled(word), _undoubled(other)):
        return True  # "dissapointed": one letter doubled, and a slip
    if len(other) < 9 or word[:3] != other[:3] or len(word) != len(other):
        return False
    # Letters that changed their places with one between them: "restaraunt".
    return sorted(word) == sorted(other) and sum(a != b for a, b in zip(word, other, strict=True)) <= 4


def _undoubled(word: str) -> str:
    return _DOUBLED.sub(r"\1", word)


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
