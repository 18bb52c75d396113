"""What one sentence claims: which option it gives as the answer, how firmly, or that it gives none.

A sentence is a list of words in which ``@i`` stands for a mention of option ``i`` (:mod:`sari_data.mentions`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sari_data.mentions import MANY, MARKS, Mentions
from sari_data.options import AMBIGUOUS, NOT_AN_OPTION

REFUSED = "refuses to answer"
# How firmly a sentence claims: it states the answer, draws a conclusion, leans towards an option, only names it.
STATES, CONCLUDES, LEANS, NAMES = 3, 2, 1, 0

_LINK = (
    r"(?:(?:is|was|are|were|(?:would|will|should|must|could|may|might|has to|have to)(?: most)?(?: likely| probably)? be|"
    r"seems?(?: to be)?|appears?(?: to be)?|becomes|remains)(?! not\b)|:|=|\()"
)
_HEAD = r"(?:answers?|option|choice|selection|response|guess|verdict|pick|conclusion)"
_STATES = re.compile(
    rf"\b{_HEAD}(?: (?!not\b|cannot\b|never\b|neither\b|{_HEAD}\b|[.?!](?: |$))\S+){{0,14}}? {_LINK}(?= |$)"
    r"|\b(?:it|this|that) (?:is|must be|would be) (?=[a-z] (?:[.,!] ?$|$)|[a-z]$|[a-z] [.,])"
    rf"|\banswer (?=(?:\( )?[a-z](?: \))?(?: [.,:]|$))"
    r"|\b(?:i|we|i will|i would|i am|we should|let us|let me)(?: (?:will|would|must|should|have to|therefore|am))?"
    r" (?:choose|chose|pick|select|go with|going with|opt for|answer|choosing|picking|selecting|settle on)"
    r"(?: with)?(?: that)?(?= )|\b(?:choosing|selecting|selected|chosen|choose|select) (?=\(? ?(?:option|choice|@|[a-z] \)))"
)
# One of these words stands in whatever the patterns find: most sentences have none, and are not searched.
_STATING = frozenset(
    "answer answers option options choice choices selection response guess verdict pick conclusion choose chose select go opt "
    "choosing picking selecting selected chosen settle going it this that".split()
)
_RATING = frozenset(
    "correct right answer option choice best fit match likely plausible appropriate suitable accurate reasonable probable "
    "fitting".split()
)
_LACKING = frozenset(
    "cannot not neither unable impossible possible difficult hard unknown unclear uncertain undetermined indeterminate sorry "
    "insufficient sufficient without ai none no n unavailable".split()
)
_TELLING = _STATING | _RATING | _LACKING
_OF_ANOTHER = frozenset(
    ("wrong", "incorrect", "other", "another", "false", "remaining", "not", "no", "unlikely", "eliminated", "each")
)
_RIGHT = re.compile(
    r"(?:is|was|are|would be|must be|will be|seems to be|appears to be|seems|appears|should be|has to be)"
    r"(?: (?:the|a|an|most|more|very|best|only|clearly|therefore|thus|indeed|definitely|likely|our|my|final|overall"
    r"|single|obviously|probably|also))*"
    r" (?:correct|right|answer|option|choice|best|fit|match|likely|plausible|appropriate|suitable|accurate|reasonable"
    r"|probable|fitting)\b"
)
_CONCLUDES = re.compile(
    r"^(?:\W+ )?(?:so|therefore|thus|hence|overall|in conclusion|in summary|to conclude|to sum up|consequently|ultimately"
    r"|conclusion|finally)\b|\b(?:therefore|thus|hence)\b|\b(?:conclude|infer|deduce)(?:d|s)?\b|\bmost (?:likely|probabl[ey]"
    r"|plausibl[ey]|appropriate|suitable|consistent|fitting|closely|reasonable)\b"
    r"|\bbest (?:described|matche?[sd]?|fits?|fit|characteri[sz]ed|guess|option|choice|suited|represented)\b"
    r"|\bmust be\b|\bhas to be\b"
)
_LEANS = re.compile(
    r"\b(?:likely|probabl[ey]|suggest(?:s|ing)?|indicat(?:e|es|ing)|points? to|consistent with|sounds? like"
    r"|(?:i|we) (?:think|believe|guess|hear|would say|say)|(?:appears|seems)(?: to be)?|identified as|match(?:es|ing)?"
    r"|corresponds? to|characteristic of|typical of)\b"
)
_REFUSES = re.compile(
    r"\b(?:cannot|could not|can neither|unable to|not able to|impossible to|not possible to|not sufficient to|not enough to"
    r"|difficult to|hard to|do not|does not) "
    r"(?:(?:be|really|accurately|definitively|definitely|confidently|reliably|precisely|exactly|possible|to|provide|an|the|"
    r"which|say|tell|with|certainty) ){0,4}?"
    r"(?:determined?|tell|told|identify|identified|answer(?:ed)?|know|known|conclude|infer|inferred|assist|decide|sure"
    r"|specified|discern(?:ed)?|ascertain(?:ed)?|certain|hear the|listen|help)\b"
    r"|\banswer (?:is|remains|would be|to this question is|cannot be|can not be)"
    r"(?: therefore| likely| still| then)? (?:not )?(?:unknown|unclear|uncertain|undetermined|indeterminate|unavailable"
    r"|determined|clear|known|given|provided|specified|available|determinable|certain)\b"
    r"|\bnot (?:sure|certain|specified|stated|determinable|known)\b|\b(?:not enough|insufficient|no sufficient|without (?:more|further|additional|hearing|access|listening))\b"
    r"|^(?:unknown|unclear|uncertain|undetermined|indeterminate|n / a|not sure|sorry)\b|\bi am (?:sorry|not sure)\b"
    r"|\b(?:is|are|remains?) (?:unclear|unknown|uncertain)\b|\bas an ai\b|\b(?:unknown|undetermined|indeterminate) (?:without|due|because|from|based)\b"
)
_ABSENT = re.compile(
    r"\bnone of (?:the|these|them|those)(?: (?!other)\S+){0,2} (?:options?|choices|above|answers?|apply|are|is|match|fits?|these|them)\b"
    r"|\bnot (?:among|in|one of|part of|listed|present among|included|any of|available|an option)\b(?! \S+ \S+ @)|\bno correct\b"
)
_NOT = frozenset(
    "not no never cannot neither nor without except unlike excluding excludes exclude excluded than instead wrong "
    "incorrect false eliminate eliminates eliminated ruling rules ruled rule absence lacks lacking against".split()
)
_NOT_AFTER = re.compile(
    r"^(?:(?:is|was|are|were|seems?|would|could|can|does|do|did|may|might|has|have|be|been|also|being|option|choice) )*"
    r"(?:not|unlikely|wrong|incorrect|less|excluded|eliminated|absent|cannot|ruled|neither|out of|never|out)\b"
)
_BREAKS = frozenset(
    "because since as which who due given based where when but although though however rather instead over compared "
    "unlike . ; ! ? if whereas".split()
)
_FILLERS = frozenset(
    "the a an option choice letter answer number most likely probably clearly definitely therefore thus indeed simply just "
    "that of be is are : ( [ \" ' < { = , / best correct right final either both with say to following more highly very "
    "actually also then , selected described".split()
)
_JOINS = frozenset((",", "or", "and", "/", ":", ")", "(", "[", "]", "either", "both", "option", "choice", "the", '"', "'", ">"))
_AFTER_LETTER = frozenset(
    "because since as which due given with based is or and not for in but from among where if to would seems matches".split()
)
_HAS = frozenset(
    "that sound sounds noise noises consist consists consisting made composed type kind voice presence use is are was "
    "instance example form case recording group pair full combination sequence series".split()
)
_STOPS = frozenset((",", ";", ".", "!", "?", "but", "so", "whereas", "however"))


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
        return next(iter(self.options)) if len(self.options) == 1 and self.reason is None and min(self.options) >= 0 else None


def claim_of(items: list[str], mentions: Mentions, *, plain: bool = True) -> Claim | None:
    """Return what a sentence claims, ``None`` for nothing.

    Args:
        items: The sentence's words, with its mentions marked.
        mentions: The options.
        plain: Whether a sentence that only names options counts.
    """
    if not items or (items[-1] == "?" and len(items) > 4) or items[0] in ("if", "unless", "were", "suppose"):
        return None
    named = any(word[0] == "@" for word in items)
    if not named and _TELLING.isdisjoint(items):
        return None
    text = " ".join(items)
    stated = None if _STATING.isdisjoint(items) else _stated(text, mentions)
    if stated is not None:
        return stated
    right = frozenset() if _RATING.isdisjoint(items) else _right(text, items, mentions)
    if right:
        return Claim(STATES if len(right) == 1 else CONCLUDES, right)
    if named:
        for level, pattern in ((CONCLUDES, _CONCLUDES), (LEANS, _LEANS)):
            cue = None
            for cue in pattern.finditer(text):
                pass
            if cue is not None:
                after = positive(_until_break(text[cue.end() : cue.end() + 500].split()))
                found = after or positive(items)
                if found:
                    return Claim(level, frozenset(c for c, _ in found))
    lacks = not _LACKING.isdisjoint(items)
    if lacks and _ABSENT.search(text):
        return Claim(NAMES, frozenset(), NOT_AN_OPTION)
    if lacks and _REFUSES.search(text):
        return Claim(NAMES, frozenset(), REFUSED)
    if named and plain:
        found = positive([w for i, w in enumerate(items) if w[0] != "@" or not _part_of(items, i)])
        said = {c for c, predicate in found if predicate}
        if found:
            return Claim(NAMES, frozenset(said or {c for c, _ in found}), predicate=bool(said))
    return None


def positive(items: Sequence[str]) -> list[tuple[int, bool]]:
    """Return the options that a clause names without denying them, each with whether it is what something "is"."""
    found: list[tuple[int, bool]] = []
    last, denied = -9, False
    for i, word in enumerate(items):
        if word[0] != "@":
            continue
        between = items[last + 1 : i] if last >= 0 else ["-"]
        joined = len(between) < 4 and all(w in (",", "or", "nor", "and", "any", "the") for w in between)
        denied = (joined and denied and "and" not in between[:1]) or _denied(items, i)
        label = items[i + 1 : i + 3] == [":", "'"] or (items[i + 1 : i + 3] and ":" in items[i + 1 : i + 3] and i + 3 < len(items))
        if not denied and not label:
            at = i - 1
            while at >= 0 and items[at] in _FILLERS and items[at] not in ("is", "are", "be", ":"):
                at -= 1
            link = at >= 0 and items[at] in ("is", "are", "was", "were", "be", "by", ":", "been")
            link = link and not (at and items[at - 1] == "there")
            found.append((int(word[1:]), link or (joined and bool(found) and found[-1][1])))
        last = i
    return found


def _part_of(items: Sequence[str], i: int) -> bool:
    """Whether a mention only says whose or of what something is: "the tone of both speakers"."""
    return i > 1 and items[i - 1] == "of" and items[i - 2] not in _HAS


def _denied(items: Sequence[str], i: int) -> bool:
    for at in range(i - 1, max(i - 7, -1), -1):
        if items[at] in _STOPS:
            break
        if items[at] in _NOT and not (items[at] == "not" and items[at + 1] in ("only", "just")):
            return True
    return _NOT_AFTER.match(" ".join(items[i + 1 : i + 7])) is not None


def _until_break(items: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for word in items:
        if word in _BREAKS and any(w[0] == "@" for w in kept):
            break
        kept.append(word)
    return kept


def _stated(text: str, mentions: Mentions) -> Claim | None:
    """What stands after "the answer is" and the like; the last that says something counts."""
    found: Claim | None = None
    for cue in _STATES.finditer(text):
        before = text[max(cue.start() - 40, 0) : cue.start()].split()
        if any(word in _OF_ANOTHER for word in before[-3:]):
            continue
        said = _after(text[cue.end() : cue.end() + 500].split(), mentions)
        if said is not None and (found is None or said.reason is None or found.reason is not None):
            if said.reason is None and _ALSO.search(text):
                said = Claim(STATES, said.options | {MANY})
            if said.reason is None and found is not None and found.reason is None and said.options != found.options:
                said = Claim(STATES, said.options | found.options) if not _turns(text) else said
            found = said
    return found


_ALSO = re.compile(r"\b(?:could|might|may|can) also\b|\bpossibly\b.*\bor\b")


def _turns(text: str) -> bool:
    return TURNS.search(text) is not None


TURNS = re.compile(
    r"\b(?:wait|actually|correction|on second thought|i was wrong|reconsider(?:ing)?|let me re|scratch that|mistaken?"
    r"|upon re|after re|on reflection|re - ?listening|relistening|i misheard|changed? my)\b"
)


def bare(items: list[str], mentions: Mentions) -> frozenset[int]:
    """Return the choices of a text that is nothing but choices: "option 2", "A, B and C"."""
    at = 0
    while at < len(items) and items[at] in _FILLERS and _letter(items, at, mentions) is None:
        at += 1
    found, end = _list(items, at, mentions)
    return frozenset(found) if all(w in MARKS for w in items[end:]) else frozenset()


def _after(items: list[str], mentions: Mentions) -> Claim | None:
    at = 0
    while at < len(items) and (items[at] in _FILLERS) and _letter(items, at, mentions) is None:
        at += 1
    found, end = _list(items, at, mentions)
    if found:
        if _NOT_AFTER.match(" ".join(items[end : end + 6])):
            return None
        return Claim(STATES, frozenset(found))
    rest: list[str] = []
    for word in items[at:]:
        if word in _BREAKS or len(rest) > 40:
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
    if _REFUSES.search("answer is " + " ".join(rest)):
        return Claim(STATES, frozenset(), REFUSED)
    return Claim(STATES, frozenset(), NOT_AN_OPTION) if 0 < len(words) <= 4 else None


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
        while at < len(items) and (items[at] in _JOINS or (items[at] == "a" and _letter(items, at, mentions) is None)):
            at += 1
        if at < len(items) and items[at] == "." and at == end and items[at + 1 : at + 2] and items[at + 1][0] == "@":
            at += 1
        follows = items[at + 1] if at + 1 < len(items) else "."
        if at < len(items) and items[at][0] == "@" and at > end and not (follows in MARKS or follows in _JOINS or follows in _BREAKS):
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
    if number.isdecimal() and len(number) < 3:
        if (after in ("option", "choice", "1", "answer") and number != word) or before in ("option", "choice", "number"):
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
        if after and after not in MARKS and after not in _AFTER_LETTER and not (after[0] == "@" and word not in "ai"):
            return None
        if word in ("a", "i") and after in ("'", '"', "<", "(", "is") and before not in ("option", "choice", "letter"):
            return None
        if word == "i" and place >= mentions.count:
            return None
    return mentions.first[place] if place < mentions.count else -1


def _right(text: str, items: list[str], mentions: Mentions) -> frozenset[int]:
    """The options of which a sentence says that they are right: "(b) is the correct answer"."""
    cue = _RIGHT.search(text)
    if cue is None:
        return frozenset()
    before = text[: cue.start()].split()
    at = len(before) - 1
    while at >= 0 and before[at] in (")", "]", "'", '"', ">", ",", "/", "."):
        at -= 1
    if at > 0 and before[at] in ("option", "choice", "answer", "1") and before[at - 1][-2:] in ("st", "nd", "rd", "th"):
        at -= 1
    start = at
    while start > 0 and (before[start - 1] in _JOINS or before[start - 1][0] == "@" or before[start - 1] in ("a", "option")):
        start -= 1
    found: set[int] = set()
    for i in range(max(start, 0), at + 1):
        choice, _ = _choice(before + items[len(before) : len(before) + 1], i, mentions)
        if choice is not None and not (before[i][0] == "@" and _denied(before, i)):
            found.add(choice)
    return frozenset(found)
