"""What one sentence claims: which option it gives as the answer, how firmly, or that it gives none.

A sentence is a list of words in which ``@i`` stands for a mention of option ``i`` (:mod:`sari_data.mentions`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sari_data.cues import (
    ABSENT_CUE,
    ALSO_CUE,
    BREAKS,
    CONCLUDES_CUE,
    CONCLUDING,
    DRAWING,
    FILLERS,
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
    RIGHT_CUE,
    STATES_CUE,
    STATING,
    TELLING,
    TURNS_CUE,
    WEIGHING_CUE,
)
from sari_data.denials import denied, denied_together, describes
from sari_data.lettering import bare, choice_at, letter_at, listed, total
from sari_data.mentions import MANY, MARKS, Mentions
from sari_data.options import NOT_AN_OPTION
from sari_data.turns import main_clause, only_asks, taken_back, unforced
from sari_data.wording import word_set

REFUSED = "refuses to answer"
# Cues of which what follows is concluded, never what stands before.
_FORWARD = word_set("be means leaving leaves left making makes so end short elimination total")
_COMES = ("comes", "came", "coming", "originates", "stems", "dates", "date", "dated")
_JUDGED = re.compile(
    r" (?:(?:the|a|an|most|more|quite|also|very|only|clearly|not|less|1) ){0,4}(?:correct|right|best|likely|plausible"
    r"|possible|understandable|tempting|reasonable|suitable|appropriate|unlikely|wrong|incorrect|out|excluded|close|closest|left|remaining)\b"
)
_AT_FIRST = re.compile(r"\b(?:if|1st|initially)\b")
_BUT = re.compile(r" (?:but|however|yet) ")
_CLAUSE_ENDS = (",", ";", "but")
REASONS = ("because", "since", "as", "due", "given", "based")
_ALL_THE_SAME = ("but", "though", "although", "however", ";", "still", "yet")
_MAYBE = ([",", "maybe"], [",", "perhaps"], [",", "probably"], [",", "likely"], [",", "possibly"], [",", "i"])
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
        items = unforced(items)
    if not items or only_asks(items) or items[0] in ("if", "unless", "were", "suppose"):
        return None
    if "@" not in "".join(items):  # no word holds that sign
        return None if TELLING.isdisjoint(items) else _claimed(items, mentions, plain)
    turned = taken_back(items)
    if turned is not None:
        return _instead(*turned, mentions, plain)
    return _claimed(main_clause(items), mentions, plain)


def _instead(before: list[str], after: list[str], mentions: Mentions, plain: bool) -> Claim | None:
    """What a sentence claims that takes its beginning back: "It is a cello - no, a piano"."""
    said = _claimed(before, mentions, plain)
    new = _claimed(main_clause(after), mentions, plain) if after else None
    if new is None or not new.options:
        options = bare(after, mentions)
        new = Claim(NAMES, options, predicate=True) if options else new
    if said is None or not said.options:
        return new
    if new is not None and new.options:
        return Claim(max(said.level, new.level), new.options, predicate=True)
    return said if NOT.isdisjoint(after) else Claim(said.level, said.options | {MANY})


def _claimed(items: list[str], mentions: Mentions, plain: bool) -> Claim | None:
    text = " ".join(items)
    named = "@" in text  # no word holds that sign
    if "opposite" in items or ("inclined" in items and _first_inclined(text)):
        return None
    stated = None if STATING.isdisjoint(items) else _stated(text, mentions)
    if stated is not None:
        return stated
    right = frozenset() if RATING.isdisjoint(items) else _right(text, items, mentions)
    if right:
        return Claim(STATES if len(right) == 1 else CONCLUDES, right)
    if named and items[0][0] == "@" and len(items) > 2 and items[1 + (items[1] == ",")] in REASONS:
        return Claim(CONCLUDES, frozenset((int(items[0][1:]),)))
    if named and mentions.numeric:
        whole = total(items, mentions)
        if whole is not None:
            return Claim(CONCLUDES, frozenset((whole,)))
    if named:
        for level, pattern, needed in ((CONCLUDES, CONCLUDES_CUE, CONCLUDING), (LEANS, LEANS_CUE, LEANING)):
            cue = _search(pattern, needed, items, text)
            if cue is not None:
                before = text[: cue.start()].split()[-4:]
                if level == LEANS and (denied(before, 4) or before[-1:] == ["less"]):
                    return None
                after = positive(_until_break(text[cue.end() : cue.end() + 500].split()))
                found = after or (
                    positive(_clause(text[: cue.start()].split())) if _FORWARD.isdisjoint(cue[0].split()) else []
                )
                if found:
                    return Claim(level, frozenset(c for c, _ in found))
    lacks = not LACKING.isdisjoint(items)
    if lacks and _absent(text, items):
        return Claim(NAMES, frozenset(), NOT_AN_OPTION)
    if lacks and _search(REFUSES_CUE, REFUSING, items, text):
        return _all_the_same(items, mentions) or Claim(NAMES, frozenset(), REFUSED)
    if named and plain and WEIGHING_CUE.search(text) is None:
        found = positive([w for i, w in enumerate(items) if w[0] != "@" or not _part_of(items, i)])
        said = {c for c, predicate in found if predicate}
        if found:
            return Claim(NAMES, frozenset(said or {c for c, _ in found}), predicate=bool(said))
    return None


def _first_inclined(text: str) -> bool:
    """Whether a sentence says what it does not stay with: "at first I was inclined to say yes, but he denies it"."""
    at = text.find("inclined")
    return _AT_FIRST.search(text, 0, at) is not None and _BUT.search(text, at) is not None


def _absent(text: str, items: list[str]) -> bool:
    """Whether a sentence says that no option is right; "the one that is not part of it is the piano" does not."""
    cue = ABSENT_CUE.search(text)
    if cue is None:
        return False
    last = max((i for i, word in enumerate(items) if word[0] == "@"), default=-1)
    return last < 0 or not describes(items, text.count(" ", 0, cue.start()), last)


def _clause(items: list[str]) -> list[str]:
    """The last clause of some words: of what "... is most likely" is said; a list is one clause."""
    at = len(items)
    while at and not (items[at - 1] in _CLAUSE_ENDS and at < len(items) and items[at][0] != "@"):
        at -= 1
    return items[at:]


def _names(items: Sequence[str]) -> bool:
    return any(word[0] == "@" for word in items)


def _all_the_same(items: list[str], mentions: Mentions) -> Claim | None:
    """What a sentence claims that is not sure and names one option all the same: "a piano, but I am not sure"."""
    at = next((i for i, w in enumerate(items) if w in _ALL_THE_SAME or items[i : i + 2] in _MAYBE), None)
    if at is None:
        return None
    for clause in (items[:at], items[at + 1 :]):
        if not clause or not LACKING.isdisjoint(clause):
            continue
        claim = _claimed(clause, mentions, True)
        if claim is not None and claim.choice is not None:
            return Claim(max(claim.level, LEANS), claim.options)
    return None


def _search(pattern: re.Pattern[str], needed: frozenset[str], items: list[str], text: str) -> re.Match[str] | None:
    """Search for a cue where one of the words stands that it needs; a word may end in "#", and then be one of "
    "them."""
    return None if needed.isdisjoint(items) and "#" not in text else pattern.search(text)


def positive(items: Sequence[str]) -> list[tuple[int, bool]]:
    """Return the options that a clause names without denying them, each with whether it is what something "is"."""
    found: list[tuple[int, bool]] = []
    last, ruled_out = -9, False
    for i, word in enumerate(items):
        if word[0] != "@":
            continue
        between = items[last + 1 : i] if last >= 0 else ["-"]
        joined = len(between) < 7 and all(w in LISTED for w in between)
        ruled_out = (joined and ruled_out and "and" not in between[:1]) or denied(items, i) or denied_together(items, i)
        label = ":" in items[i + 1 : i + 3] and i + 3 < len(items) and all(w in MARKS or len(w) < 2 for w in items[:i])
        if not ruled_out and not label:
            at = _before_remark(items, i - 1)
            while at >= 0 and items[at] in FILLERS and items[at] not in ("is", "are", "be", ":"):
                at -= 1
            link = at >= 0 and items[at] in ("is", "are", "was", "were", "be", "by", ":", "been")
            link = link and not (at and items[at - 1] == "there")
            link = link or (at > 0 and items[at] == "from" and items[at - 1] in _COMES)
            found.append((int(word[1:]), link or (joined and bool(found) and found[-1][1])))
        last = i
    return found


def _before_remark(items: Sequence[str], at: int) -> int:
    """The place before a remark between commas that ends at ``at``: "the instrument is, in my opinion, a piano"."""
    if at < 3 or items[at] != ",":
        return at
    begin = next((k for k in range(at - 1, max(at - 8, 0), -1) if items[k] == "," or items[k][0] == "@"), 0)
    return begin - 1 if begin and items[begin] == "," and items[begin - 1] in ("is", "are", "was", "were") else at


def _part_of(items: Sequence[str], i: int) -> bool:
    """Whether a mention only says whose or of what something is: "the tone of both speakers"."""
    return i > 1 and items[i - 1] == "of" and items[i - 2] not in HAS


def _until_break(items: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for word in items:
        if (word in BREAKS or word == "then") and any(w[0] == "@" for w in kept):
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
        if (
            said is not None
            and said.reason == NOT_AN_OPTION
            and (_names(before[-1:]) or _JUDGED.match(text, cue.end()) is not None)
        ):
            continue  # "The piano option is understandable." and "The last option is correct." state nothing here.
        if said is not None and (found is None or said.reason is None or found.reason is not None):
            if said.reason is None and ALSO_CUE.search(text):
                said = Claim(STATES, said.options | {MANY})
            if said.reason is None and found is not None and found.reason is None and said.options != found.options:
                said = Claim(STATES, said.options | found.options) if not _turns(text) else said
            found = said
    return found


def _turns(text: str) -> bool:
    return TURNS_CUE.search(text) is not None


def _after(items: list[str], mentions: Mentions) -> Claim | None:
    at = 0
    while at < len(items) and (items[at] in FILLERS) and letter_at(items, at, mentions) is None:
        at += 1
    found, end = listed(items, at, mentions)
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
        choice, _ = choice_at(before + items[len(before) : len(before) + 1], i, mentions)
        if choice is not None and not (before[i][0] == "@" and denied(before, i)):
            found.add(choice)
    return frozenset(found)
