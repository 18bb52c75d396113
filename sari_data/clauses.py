"""What one sentence claims: which option it gives as the answer, how firmly, or that it gives none.

A sentence is a list of words in which ``@i`` stands for a mention of option ``i`` (:mod:`sari_data.mentions`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sari_data.cues import (
    ABSENT_CUE,
    AFTER_LETTER,
    ALSO_CUE,
    BREAKS,
    CONCLUDES_CUE,
    CONCLUDING,
    DRAWING,
    FILLERS,
    FORCED,
    FORE,
    HAS,
    JOINS,
    LACKING,
    LEANING,
    LEANS_CUE,
    LISTED,
    NOT,
    NOT_AFTER_CUE,
    OF_ANOTHER,
    RATING,
    REFUSES_CUE,
    REFUSING,
    RELATED,
    RELATED_GAP,
    RIGHT_CUE,
    STATES_CUE,
    STATING,
    STOPS,
    TELLING,
    TURNS_CUE,
)
from sari_data.mentions import MANY, MARKS, Mentions
from sari_data.options import NOT_AN_OPTION

REFUSED = "refuses to answer"
# How firmly a sentence claims: it states the answer, draws a conclusion, leans towards an option, only names it.
STATES, CONCLUDES, LEANS, NAMES = 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What a sentence claims: options (more than one where it leaves open which), or a reason for none."""

    level: int
    options: frozenset[int]
    reason: str | None = None
    predicate: bool = False

    @property
    def choice(self) -> int | None:
        """The option, where it is one."""
        return (
            next(iter(self.options))
            if len(self.options) == 1 and self.reason is None and min(self.options) >= 0
            else None
        )


def claim_of(items: list[str], mentions: Mentions, *, plain: bool = True) -> Claim | None:
    """Return what a sentence claims, ``None`` for nothing.

    Args:
        items: The sentence's words, with its mentions marked.
        mentions: The options.
        plain: Whether a sentence that only names options counts.
    """
    if items[:1] == ["if"]:
        items = _unforced(items)
    if not items or (items[-1] == "?" and len(items) > 4) or items[0] in ("if", "unless", "were", "suppose"):
        return None
    text = " ".join(items)
    named = "@" in text  # no word holds that sign
    if not named and TELLING.isdisjoint(items):
        return None
    stated = None if STATING.isdisjoint(items) else _stated(text, mentions)
    if stated is not None:
        return stated
    right = frozenset() if RATING.isdisjoint(items) else _right(text, items, mentions)
    if right:
        return Claim(STATES if len(right) == 1 else CONCLUDES, right)
    if named:
        for level, pattern, needed in ((CONCLUDES, CONCLUDES_CUE, CONCLUDING), (LEANS, LEANS_CUE, LEANING)):
            cue = _search(pattern, needed, items, text)
            if cue is not None:
                if level == LEANS and _denied(text[: cue.start()].split()[-4:], 4):
                    return None
                after = positive(_until_break(text[cue.end() : cue.end() + 500].split()))
                found = after or positive(items)
                if found:
                    return Claim(level, frozenset(c for c, _ in found))
    lacks = not LACKING.isdisjoint(items)
    if lacks and ABSENT_CUE.search(text):
        return Claim(NAMES, frozenset(), NOT_AN_OPTION)
    if lacks and _search(REFUSES_CUE, REFUSING, items, text):
        return Claim(NAMES, frozenset(), REFUSED)
    if named and plain:
        found = positive([w for i, w in enumerate(items) if w[0] != "@" or not _part_of(items, i)])
        said = {c for c, predicate in found if predicate}
        if found:
            return Claim(NAMES, frozenset(said or {c for c, _ in found}), predicate=bool(said))
    return None


def _search(pattern: re.Pattern[str], needed: frozenset[str], items: list[str], text: str) -> re.Match[str] | None:
    """Search for a cue where one of the words stands that it needs; a word may end in "#", and then be one of them."""
    return None if needed.isdisjoint(items) and "#" not in text else pattern.search(text)


def positive(items: Sequence[str]) -> list[tuple[int, bool]]:
    """Return the options that a clause names without denying them, each with whether it is what something "is"."""
    found: list[tuple[int, bool]] = []
    last, denied = -9, False
    for i, word in enumerate(items):
        if word[0] != "@":
            continue
        between = items[last + 1 : i] if last >= 0 else ["-"]
        joined = len(between) < 7 and all(w in LISTED for w in between)
        denied = (joined and denied and "and" not in between[:1]) or _denied(items, i)
        label = items[i + 1 : i + 3] == [":", "'"] or (
            items[i + 1 : i + 3] and ":" in items[i + 1 : i + 3] and i + 3 < len(items)
        )
        if not denied and not label:
            at = i - 1
            while at >= 0 and items[at] in FILLERS and items[at] not in ("is", "are", "be", ":"):
                at -= 1
            link = at >= 0 and items[at] in ("is", "are", "was", "were", "be", "by", ":", "been")
            link = link and not (at and items[at - 1] == "there")
            found.append((int(word[1:]), link or (joined and bool(found) and found[-1][1])))
        last = i
    return found


def _unforced(items: list[str]) -> list[str]:
    """A sentence without "if I had to choose," which is no condition."""
    if items[:2] != ["if", "i"] and items[:2] != ["if", "forced"]:
        return items
    at = items.index(",") if "," in items[:12] else -1
    return items[at + 1 :] if at > 0 and not FORCED.isdisjoint(items[:at]) else items


def _part_of(items: Sequence[str], i: int) -> bool:
    """Whether a mention only says whose or of what something is: "the tone of both speakers"."""
    return i > 1 and items[i - 1] == "of" and items[i - 2] not in HAS


def _denied(items: Sequence[str], i: int) -> bool:
    for at in range(min(i, len(items)) - 1, max(i - 7, -1), -1):
        if items[at] in STOPS:
            break
        if items[at] in NOT and not (items[at] == "not" and items[at + 1 : at + 2] in (["only"], ["just"])):
            return True
        if items[at] in RELATED and i - at < 5 and all(w in RELATED_GAP for w in items[at + 1 : i]):
            return True
    return NOT_AFTER_CUE.match(" ".join(items[i + 1 : i + 7])) is not None


def _until_break(items: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for word in items:
        if word in BREAKS and any(w[0] == "@" for w in kept):
            break
        kept.append(word)
    return kept


def _stated(text: str, mentions: Mentions) -> Claim | None:
    """What stands after "the answer is" and the like; the last that says something counts."""
    found: Claim | None = None
    for cue in STATES_CUE.finditer(text):
        before = text[max(cue.start() - 40, 0) : cue.start()].split()
        if any(word in OF_ANOTHER for word in before[-3:]) and not cue[0].startswith(DRAWING):
            continue
        said = _after(text[cue.end() : cue.end() + 500].split(), mentions)
        if said is not None and (found is None or said.reason is None or found.reason is not None):
            if said.reason is None and ALSO_CUE.search(text):
                said = Claim(STATES, said.options | {MANY})
            if said.reason is None and found is not None and found.reason is None and said.options != found.options:
                said = Claim(STATES, said.options | found.options) if not _turns(text) else said
            found = said
    return found


def _turns(text: str) -> bool:
    return TURNS_CUE.search(text) is not None


def bare(items: list[str], mentions: Mentions) -> frozenset[int]:
    """Return the choices of a text that is nothing but choices: "option 2", "A, B and C"."""
    at = 0
    while at < len(items) and items[at] in FILLERS and _letter(items, at, mentions) is None:
        at += 1
    found, end = _list(items, at, mentions)
    return frozenset(found) if all(w in MARKS for w in items[end:]) else frozenset()


def options_by_letter(items: list[str], mentions: Mentions) -> list[str]:
    """Return a sentence's words with a mention for every "option C"."""
    if "option" not in items:
        return items
    result: list[str] = []
    for i, word in enumerate(items):
        if result and result[-1] == "option" and items[i - 1] == "option":
            # Whatever stands after "option C", it is the letter; "option a" and "option i" may go on otherwise.
            choice = _letter(items if word in "ai" else items[: i + 1], i, mentions)
            if choice is not None and items[i + 1 : i + 2] not in ([")"], [":"], ["is"]):
                result[-1] = f"@{choice}"
                continue
        result.append(word)
    return result


def _after(items: list[str], mentions: Mentions) -> Claim | None:
    at = 0
    while at < len(items) and (items[at] in FILLERS) and _letter(items, at, mentions) is None:
        at += 1
    found, end = _list(items, at, mentions)
    if found:
        if NOT_AFTER_CUE.match(" ".join(items[end : end + 6])):
            return None
        return Claim(STATES, frozenset(found))
    if _is_another(items[at:]):
        return Claim(STATES, frozenset(), NOT_AN_OPTION)
    rest: list[str] = []
    for word in items[at:]:
        if word in BREAKS or len(rest) > 40:
            break
        rest.append(word)
    if not rest or rest[0] in ("not", "never"):
        return None
    named = frozenset(c for c, _ in positive(rest))
    if named:
        return Claim(STATES, named)
    if any(word[0] == "@" for word in rest):
        return None
    words = [w for w in rest if w not in MARKS]
    choice = mentions.contained(words)
    if choice is None:
        choice = mentions.reworded(words)
    if choice is not None:
        return Claim(STATES, frozenset((choice,)))
    if REFUSES_CUE.search("answer is " + " ".join(rest)):
        return Claim(STATES, frozenset(), REFUSED)
    return Claim(STATES, frozenset(), NOT_AN_OPTION) if 0 < len(words) <= 4 else None


def _is_another(items: Sequence[str]) -> bool:
    """Whether a short answer puts a word before an option, which may make it another thing: "hot dog" for "dog"."""
    words = [w for w in items[:5] if w not in MARKS]
    if len(words) != 2 or len(items) > 4 or words[1][0] != "@":
        return False
    return words[0].isalpha() and words[0] not in NOT and not words[0].endswith("ly") and words[0] not in FORE


def _list(items: Sequence[str], at: int, mentions: Mentions) -> tuple[set[int], int]:
    """The choices that stand from ``at`` on, joined by commas, "or" and "and"; a letter with its text is one."""
    found: set[int] = set()
    end = at
    while at < len(items):
        choice, size = _choice(items, at, mentions)
        if choice is None:
            break
        found.add(choice)
        at = end = at + size
        while at < len(items) and (items[at] in JOINS or (items[at] == "a" and _letter(items, at, mentions) is None)):
            at += 1
        if at < len(items) and items[at] == "." and at == end and items[at + 1 : at + 2] and items[at + 1][0] == "@":
            at += 1
        follows = items[at + 1] if at + 1 < len(items) else "."
        if (
            at < len(items)
            and items[at][0] == "@"
            and at > end
            and not (follows in MARKS or follows in JOINS or follows in BREAKS)
        ):
            break
    return found, end


def _choice(items: Sequence[str], at: int, mentions: Mentions) -> tuple[int | None, int]:
    word = items[at]
    if word[0] == "@":
        return int(word[1:]), 1
    letter = _letter(items, at, mentions)
    if letter is not None:
        return letter, 1
    before, after = items[at - 1] if at else "", items[at + 1] if at + 1 < len(items) else ""
    number = word[:-2] if word[-2:] in ("st", "nd", "rd", "th") else word
    counted = number != word and after in ("option", "choice", "1", "answer")
    if number.isdecimal() and len(number) < 3 and (counted or before in ("option", "choice", "number")):
        place = int(number) - 1
        return (mentions.first[place] if 0 <= place < mentions.count else -1), 1 + (number != word)
    return None, 0


def _letter(items: Sequence[str], at: int, mentions: Mentions) -> int | None:
    """The option whose letter stands here: -1 where no option has it, ``None`` where the word is none."""
    word = items[at]
    if len(word) != 1 or not "a" <= word <= "z":
        return None
    before, after = items[at - 1] if at else "", items[at + 1] if at + 1 < len(items) else ""
    place = ord(word) - ord("a")
    if not (before in ("(", "[") and after in (")", "]")):
        if after and after not in MARKS and after not in AFTER_LETTER and not (after[0] == "@" and word not in "ai"):
            return None
        if (
            word in ("a", "i")
            and at
            and (after in ("'", '"', "<", "is") or (after == "(" and items[at + 2 : at + 3] != ["not"]))
            and before not in ("option", "choice", "letter")
        ):
            return None
        if word == "i" and place >= mentions.count:
            return None
    return mentions.first[place] if place < mentions.count else -1


def _right(text: str, items: list[str], mentions: Mentions) -> frozenset[int]:
    """The options of which a sentence says that they are right: "(b) is the correct answer"."""
    cue = RIGHT_CUE.search(text)
    if cue is None:
        return frozenset()
    before = text[: cue.start()].split()
    at = len(before) - 1
    while at >= 0 and before[at] in (")", "]", "'", '"', ">", ",", "/", "."):
        at -= 1
    if at > 0 and before[at] in ("option", "choice", "answer", "1") and before[at - 1][-2:] in ("st", "nd", "rd", "th"):
        at -= 1
    start = at
    while start > 0 and (
        before[start - 1] in JOINS or before[start - 1][0] == "@" or before[start - 1] in ("a", "option")
    ):
        start -= 1
    found: set[int] = set()
    for i in range(max(start, 0), at + 1):
        choice, _ = _choice(before + items[len(before) : len(before) + 1], i, mentions)
        if choice is not None and not (before[i][0] == "@" and _denied(before, i)):
            found.add(choice)
    return frozenset(found)
