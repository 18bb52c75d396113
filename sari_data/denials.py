"""Whether what a sentence says of an option denies it: "not a cat", "rather than a cat", "the cat is unlikely"."""

from __future__ import annotations

from collections.abc import Sequence

from sari_data.cues import NOT, NOT_AFTER_CUE, RELATED, RELATED_GAP, STOPS
from sari_data.wording import word_set

_AUXILIARIES = word_set("is are was were do does did has have had can could will would be been being")
_BEFORE_LINKED = word_set("the a an most likely probably clearly therefore thus simply indeed in fact actually")
_SUBJECTS = word_set("it that this he she they there what which")
_CLAIMING = word_set("think believe say says said is are was clear sure certain means mean suggests shows so know")
_JOINED = (",", "and", "or", "the", "a", "an")
# "No doubt", "little doubt", "without any question" deny nothing.
_DOUBTED = word_set("no without little not doubt doubts")
_PRESENT = word_set("heard present there part among")
_NO_DOUBT = word_set("doubt doubts question")


def denied_together(items: Sequence[str], i: int) -> bool:
    """Return whether options that are named with this one are denied after the last: "a dog and a cat are out"."""
    at = last = i
    while at + 1 < len(items) and at - last < 4 and (items[at + 1][0] == "@" or items[at + 1] in _JOINED):
        at += 1
        last = at if items[at][0] == "@" else last
    return last > i and NOT_AFTER_CUE.match(" ".join(items[last + 1 : last + 7])) is not None


def denied(items: Sequence[str], i: int) -> bool:
    """Return whether the words around place ``i`` deny what stands there: "not a cat", "the cat is unlikely"."""
    for at in range(min(i, len(items)) - 1, max(i - 9, -1), -1):
        if items[at] in STOPS and not (items[at] == "but" and at and items[at - 1] == "anything"):
            break
        if items[at] == "but" or (items[at] == "less" and items[at + 1 : at + 2] == ["likely"]):
            return True
        if at and items[at - 1] == "at" and items[at] == "least":
            continue
        if i - at > 2 and describes(items, at, i):
            continue  # "the one that cannot be mistaken for rain is a car"
        if items[at] in _DOUBTED and _undoubted(items, at):
            continue  # "There is no doubt that this is a piano."
        if items[at] in NOT and not (items[at] == "not" and items[at + 1 : at + 2] in (["only"], ["just"])):
            return True
        if items[at] in RELATED and i - at < 5 and all(w in RELATED_GAP for w in items[at + 1 : i]):
            return True
    return NOT_AFTER_CUE.match(" ".join(items[i + 1 : i + 7])) is not None


def _undoubted(items: Sequence[str], at: int) -> bool:
    """Whether the word at ``at`` belongs to "no doubt", "little doubt", "without any question"."""
    end = next((k for k in range(at, min(at + 3, len(items))) if items[k] in _NO_DOUBT), 0)
    return end > 0 and any(w in _DOUBTED and w not in _NO_DOUBT for w in items[max(end - 2, 0) : end])


def describes(items: Sequence[str], at: int, i: int) -> bool:
    """Return whether the denial at ``at`` only says which thing it is that a mention at ``i`` then is.

    "The sound that is not heard is a dog", "the one not mentioned is the organ", "what is missing is a piano".
    """
    link = min(i, len(items)) - 1
    while link > at and items[link] in _BEFORE_LINKED:
        link -= 1
    if link <= at + 1 or items[link] not in ("is", "was", "are", "were", ":") or items[link - 1] in _SUBJECTS:
        return False
    who = at - (items[at] in _AUXILIARIES)
    while who >= 0 and (items[who] in _AUXILIARIES or who == at):
        who -= 1
    if who >= 0 and items[who] in ("that", "which", "who", "what"):
        return who == 0 or items[who - 1] not in _CLAIMING
    # "the one not mentioned is": nothing before says what it is.
    named = who == at - 1 and who > 0 and items[who].isalnum() and items[who] not in _CLAIMING
    return named and (items[at + 1][-2:] in ("ed", "en") or items[at + 1] in _PRESENT)
