"""Sentences in which one option stands against another, and words that stand for an option: rewritten to be plain.

"It may sound like a cello, but it is a piano" and "a cello, no wait, a piano" are both about the piano; "the "
"latter" is
the second of two that were named, "both A and B" the option "both", and "nope" is "no". Items are a sentence's words in
which ``@i`` stands for a mention of option ``i``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sari_data.cues import ANNOUNCING, ASKING, DECIDING, FORCED
from sari_data.mentions import MARKS, REPORTS, Mentions
from sari_data.wording import word_set

_TENTATIVE = word_set(
    "could may might maybe perhaps possibly possible seem seems seemed appear appears sound sounds sounded like "
    "initially 1st thought think resemble resembles resemblance similar some initial guess first guessed suspected "
    "mistaken tempting tempted expect expected assume assumed consider considered close"
)
_ALSO = word_set("also too another additionally")
_CONCEDES = word_set("although though while whereas despite even albeit")
# After how many of its last commas the main clause of a sentence is looked for.
_COMMAS = 8
_GIVEN = word_set("as since because given")
_GOES_ON = word_set("not and or nor rather instead unlike than while whereas with like such which who where but even")
_IS = word_set("is are was were be must leaves")
_MAIN = word_set("it this that the i we most overall clearly there")
# What takes the first half of a sentence back: "a cello, no, a piano".
_TAKES_BACK = re.compile(
    r"(?<=\S )(?:no ,? ?wait|wait ,? ?no|hmm ,? ?no|no ,|wait|actually ,|(?<=[,.] )actually|i mean|i meant|or rather"
    r"|scratch that|make that|correction|(?<=[,.] )sorry|hold on)(?= )"
)
_NAMED = re.compile(r"@(\d+)")
_YES = re.compile(
    r"^(?:(?:well|oh|hmm|so|okay|ok) (?:, )?)?(?:yeah|yep|yup|yea|affirmative|indeed|certainly|absolutely|definitely|"
    r"of course|exactly)(?= (?:[,.!;:]|yes\b)|$)"
)
_NO = re.compile(
    r"^(?:(?:well|oh|hmm|so|okay|ok) (?:, )?)?(?:nope|nah|negative|(?:probably|definitely|absolutely|certainly"
    r"|most likely|likely"
    r"|perhaps|clearly|surely|of course) not|not at all|not really|by no means|unlikely|not likely)(?= [,.!;:]|$)"
)
_NOT_SO = re.compile(r"\b(?:i|we) (?:do not|cannot) (?:think|believe) so\b|\b(?:i|we) (?:think|believe|guess) not\b")
_SO = re.compile(r"\b(?:i|we) (?:would )?(?:think|believe|guess|suppose|say) so\b")
_SAME_AS_YES = re.compile(r"^(?:(?:that|this|it) is )?(?:correct|true|right)(?: [.!])?$")
_SAME_AS_NO = re.compile(
    r"^(?:(?:that|this|it|the \S+) is )?(?:incorrect|untrue|false|not (?:correct|true|right))(?: [.!])?$"
)
# Of "True" and "False": "It is not true."
_NOT_TRUE = re.compile(r"^(?:(?:that|this|it|the (?!answer)\S+) is )?not @\d+(?: [.!])?$")
_SPOKEN_YES = word_set("yeah yep yup affirmative")
_SPOKEN_NO = word_set("nope nah")
_VERDICT = re.compile(
    r"(?:^|[,;] )(?:[a-z0-9] [.):] |[(] [a-z] [)] )?(@\d+)(?: [,:(=])?(?: (?:is|very|highly|clearly|definitely|most"
    r"|the))*"
    r" (correct|right|yes|true|likely|match|matches|fits|incorrect|wrong|no|false|unlikely|excluded|impossible)"
    r"(?= [).,;!]|$|(?<=: correct) |(?<=: incorrect) )"
)
_RIGHT = word_set("correct right yes true match matches fits likely")


def plain(items: list[str], mentions: Mentions) -> list[str]:
    """Return a sentence with "both", "neither" and spoken forms of yes and no as mentions of those options."""
    if mentions.polar is not None:
        items = _spoken(items, mentions.polar)
    if mentions.both is not None or mentions.neither is not None:
        items = _of_two(items, mentions)
    return items


def _spoken(items: list[str], polar: tuple[int, int]) -> list[str]:
    yes, no = (f"@{choice}" for choice in polar)
    if "not" in items and yes in items and _NOT_TRUE.search(" ".join(items)):
        return [no]
    if len(items) > 2 and items[0] in ("yes", "no") and items[1] in MARKS and items[2] not in REPORTS:
        items = [yes if items[0] == "yes" else no, *items[1:]]
    if len(items) > 2 and items[0] in (yes, no) and items[1] == ":":
        return [items[0], ",", *items[2:]]
    if yes in items or no in items:
        return items
    if len(items) > 3 and items[-2:] in (["negative", "."], ["affirmative", "."]) and items[-3] == "is":
        items = [*items[:-2], no if items[-2] == "negative" else yes, "."]
    if items[-4:-1] in (["in", "the", "negative"], ["in", "the", "affirmative"]):
        head = items[:-6] if items[-6:-4] == ["the", "question"] else items[:-4]
        items = [*head, no if items[-2] == "negative" else yes, "."]
    items = [yes if w in _SPOKEN_YES else no if w in _SPOKEN_NO else w for w in items]
    text = " ".join(items[:40])
    for pattern, choice in ((_NOT_SO, no), (_NO, no), (_SAME_AS_NO, no), (_SO, yes), (_YES, yes), (_SAME_AS_YES, yes)):
        match = pattern.search(text)
        if match:
            before, after = text[: match.start()].split(), text[match.end() :].split() + items[40:]
            return [*before, choice, *after]
    return items


def _of_two(items: list[str], mentions: Mentions) -> list[str]:
    whole = {mentions.both, mentions.neither}
    others = [i for i in dict.fromkeys(mentions.first) if i not in whole]
    at = [i for i, w in enumerate(items) if w[0] == "@" and int(w[1:]) in others]
    if not at and mentions.neither is not None:
        k = next(
            (i for i, w in enumerate(items) if w in ("neither", "nobody") or items[i : i + 2] == ["none", "of"]), None
        )
        if k is not None and not any(w[0] == "@" for w in items[k:]):
            return [*items[:k], f"@{mentions.neither}", *items[k + 1 :]]
        if items[:2] in (["no", "1"], ["no", "speaker"]):
            return [f"@{mentions.neither}", *items[2:]]
    if len(at) != 2 or items[at[0]] == items[at[1]] or at[1] - at[0] > 5:
        return items
    between = items[at[0] + 1 : at[1]]
    lead = at[0]
    while lead and items[lead - 1] in ("the", "a", "an", "of", "a"):
        lead -= 1
    before = items[lead - 1] if lead else ""
    for choice, word, joint in ((mentions.both, "both", "and"), (mentions.neither, "neither", "nor")):
        if choice is None or joint not in between:
            continue
        named = before in (word, f"@{choice}") or (
            word == "both" and (word in items[at[1] + 1 : at[1] + 3] or _alone(items, lead, at[1]))
        )
        if named:
            return [*items[: lead - (before in (word, f"@{choice}"))], f"@{choice}", *items[at[1] + 1 :]]
    return items


def _alone(items: Sequence[str], start: int, end: int) -> bool:
    """Whether a sentence is nothing but what stands from ``start`` to ``end``, and a word after it."""
    rest = [w for w in items[end + 1 :] if w not in MARKS]
    return start == 0 and len(rest) < 2


def pairs(parts: list[list[str]], mentions: Mentions) -> list[list[str]]:
    """Return sentences with "the former" and "the latter" as mentions of the two options that were named before."""
    if not any("former" in part or "latter" in part for part in parts):
        return parts
    result: list[list[str]] = []
    earlier: list[str] = []
    different = list(dict.fromkeys(mentions.first))
    for part in parts:
        own: list[str] = []
        words: list[str] = []
        start = 0
        for i, word in enumerate(part):
            if word in ("former", "latter") and not _noun(part, i):
                two = own if len(own) == 2 else earlier if not own else []
                two = two or ([f"@{i}" for i in different] if len(different) == 2 else [])
                if len(two) == 2:
                    # What was weighed before is settled by this word.
                    words = [w for w in words[start:] if w != "the"]
                    word = two[word == "latter"]
                    own = two
            elif word[0] == "@" and word not in own:
                own = [*own, word]
                start = len(words) + 1
            words.append(word)
        result.append(words)
        earlier = own or earlier
    return result


def _noun(items: Sequence[str], i: int) -> bool:
    after = items[i + 1] if i + 1 < len(items) else "."
    return after.isalpha() and after not in (
        *("is", "fits", "seems", "rather", "because", "since", "would", "as", "one", "option", "makes", "matches"),
        *("appears", "sounds", "over", "and", "but", "best", "given", "being", "was", "more", "choice"),
    )


def main_clause(items: list[str]) -> list[str]:
    """Return the part of a sentence that says what holds, where another part only grants what might be."""
    if len({w for w in items if w[0] == "@"}) < 2:
        return items
    if items[0] in _GIVEN and "," in items:
        # "As the violin and the cello are heard, the one that is not mentioned is the organ."
        for k in [k for k in range(2, len(items) - 1) if items[k] == ","][: -_COMMAS - 1 : -1]:
            rest = items[k + 1 :]
            if rest[0] not in _GOES_ON and _names(rest) and not _IS.isdisjoint(rest):
                return rest
    words = [i for i, w in enumerate(items) if w in _CONCEDES or w in ("but", "however", "yet")]
    for i in words:
        head, tail = items[:i], items[i + 1 :]
        if items[i] in ("but", "however", "yet"):
            if _names(head) and _names(tail) and _grants(head) and not _grants(tail[:8]):
                return tail
        elif i <= 1:
            comma = next((k for k, w in enumerate(items) if w == "," and _names(items[:k])), None)
            if comma is not None and _names(items[comma + 1 :]):
                main = items[comma + 1 :]
                if _grants(items[:comma]) or main[0] in _MAIN:
                    return main
        elif (items[i] in ("while", "whereas") and len(_options(head)) == 1 and _options(tail) - _options(head)) or (
            items[i] in ("although", "though", "despite", "albeit", "even")
            and len(_options(head)) == 1
            and _names(tail)
        ):
            return head[:-1] if head[-1] == "," else head
    return items


def _options(items: Sequence[str]) -> set[str]:
    return {w for w in items if w[0] == "@"}


def _names(items: Sequence[str]) -> bool:
    return any(w[0] == "@" for w in items)


def _grants(items: Sequence[str]) -> bool:
    return not (_TENTATIVE | _ALSO).isdisjoint(items)


def taken_back(items: list[str]) -> tuple[list[str], list[str]] | None:
    """Return what a sentence says first and what it says instead: "a cello, no wait, a piano"; ``None`` if "
    "nothing."""
    text = " ".join(items)
    found = [m for m in _TAKES_BACK.finditer(text) if "@" in text[: m.start()]]
    if not found:
        return None
    return text[: found[-1].start()].split(), text[found[-1].end() :].split()


def verdicts(parts: list[list[str]], mentions: Mentions) -> dict[int, frozenset[int]]:
    """Return of which option each sentence says that it is right, in a list that says it of each: "Piano: "
    "correct"."""
    found: dict[int, frozenset[int]] = {}
    if mentions.polar is not None:
        return found
    for i, part in enumerate(parts):
        if len(part) == 2 and part[0][0] == "@" and part[1] == "?" and i + 1 < len(parts) and parts[i + 1][0] == "yes":
            found[i + 1] = frozenset((int(part[0][1:]),))
        if _RIGHT.isdisjoint(part) or not _names(part):
            continue
        text = " ".join(part)
        right = {int(m[1][1:]) for m in _VERDICT.finditer(text) if m[2] in _RIGHT}
        if right:
            found[i] = frozenset(right)
    return found


def only_asks(items: list[str]) -> bool:
    """Return whether a sentence is a question, or announces what is to be found out: "Let us consider the dog"."""
    if items[-1] == "?":
        return len(items) > 4 or items[0] in ASKING
    first = 2 if items[:2] == ["1st", ","] else 0
    if items[first] in ANNOUNCING and (items[first] != "considering" or "," not in items):
        return True
    return items[first] == "let" and len(items) > first + 2 and DECIDING.isdisjoint(items[first + 2 : first + 5])


def unforced(items: list[str]) -> list[str]:
    """Return a sentence without "if I had to choose," which is no condition."""
    if items[:2] != ["if", "i"] and items[:2] != ["if", "forced"]:
        return items
    at = items.index(",") if "," in items[:12] else -1
    return items[at + 1 :] if at > 0 and not FORCED.isdisjoint(items[:at]) else items
