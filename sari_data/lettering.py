"""Which option a letter, a place in the list or a sum names: "B", "option C", "the second option", "two men and a "
"woman"."""

from __future__ import annotations

from collections.abc import Sequence

from sari_data.cues import AFTER_LETTER, BREAKS, FILLERS, JOINS
from sari_data.mentions import MARKS, Mentions
from sari_data.wording import word_set

# Words before a letter that make it another thing ("speaker b"), and words before it that ask for an answer.
_OF_THINGS = word_set(
    "speaker person plan part section vitamin note key chord clip audio segment group type side string grade point "
    "item voice player character sound track in of pitch minor major sharp flat channel"
)
_ASKS = word_set(
    "is be with leaves left leaving us to towards toward for choose pick select say only so therefore thus hence "
    "overall answer letter remains are than not nor or and but either support supports think guess believe prefer "
    ": , ( ; . ? !"
)
# Words after a letter with which it is an option's: a mark, a reason, what is said of an option.
_OF_OPTION = (AFTER_LETTER - {"to", "in", "for", "from", "if", "with"}) | word_set(
    "fits fit aligns align remains stands makes describes matches match looks sounds appears rather instead over it "
    "best can cannot does was has could must should may might also but are nor were alone only i , . ; ! ? ) :"
)
# "A man and two women": who "a" counts.
_ONE_OF = word_set("man woman male female boy girl child kid adult person speaker dog cat bird baby")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class _Firsts(dict[int, frozenset[str]]):
    """The letters of so many options."""

    def __missing__(self, count: int) -> frozenset[str]:
        made = self[count] = frozenset(_LETTERS[: min(count, 26)])
        return made


_FIRST_LETTERS = _Firsts()
_ARTICLES = frozenset("ai")
# What stands after "a" or "i" where it is a letter.
_AFTER_ARTICLE = MARKS | AFTER_LETTER
_QUOTES = frozenset("'\"<=/")


def options_by_letter(items: list[str], mentions: Mentions) -> list[str]:
    """Return a sentence's words with a mention for every "option C"."""
    if "option" not in items:
        return items
    result: list[str] = []
    for i, word in enumerate(items):
        if result and result[-1] == "option" and items[i - 1] == "option":
            # Whatever stands after "option C", it is the letter; "option a" and "option i" may go on otherwise.
            choice = letter_at(items if word in "ai" else items[: i + 1], i, mentions)
            if choice is not None and items[i + 1 : i + 2] not in ([")"], [":"], ["is"]):
                result[-1] = f"@{choice}"
                continue
        result.append(word)
    return result


def lone_letters(items: list[str], mentions: Mentions) -> list[str]:
    """Return a sentence's words with a mention for every letter that can only be an option's: "that leaves b"."""
    if not mentions.lettered:
        return items
    letters = _FIRST_LETTERS[mentions.count]
    if letters.isdisjoint(items) or (_ARTICLES.issuperset(letters.intersection(items)) and _articles(items)):
        return items
    if sum(w not in MARKS for w in items) < 2:
        return items  # A letter alone is a choice already.
    places = [i for i, w in enumerate(items) if w in letters]
    result = list(items)
    for i in places:
        before, after = items[i - 1] if i else ".", items[i + 1] if i + 1 < len(items) else "."
        if before in _OF_THINGS or before in ("option", "choice") or after not in _OF_OPTION or before in _QUOTES:
            continue
        if items[i] in "ai" and (
            after in _QUOTES or not (before in _ASKS and (after in MARKS or after in AFTER_LETTER))
        ):
            continue
        if _beside_text(items, i):
            continue
        result[i] = f"@{mentions.first[ord(items[i]) - ord('a')]}"
    return result


def _articles(items: Sequence[str]) -> bool:
    """Whether a word follows every "a" and "i" of a sentence after which it is no letter."""
    last = len(items) - 1
    return not any(w in _ARTICLES and (i == last or items[i + 1] in _AFTER_ARTICLE) for i, w in enumerate(items))


def _beside_text(items: Sequence[str], i: int) -> bool:
    """Whether a letter is the label of an option's text, or of other words: "b . @1", "@1 ( b )", "b : it rains"."""
    after = i + 1
    while after < len(items) and items[after] in MARKS:
        after += 1
    if after < len(items) and after > i + 1 and items[i + 1] in (")", ":", "."):
        return items[after] not in AFTER_LETTER and items[after] not in ("correct", "incorrect")
    before = i - 1
    while before >= 0 and items[before] in ("(", "[", "'", '"'):
        before -= 1
    return before >= 0 and before < i - 1 and items[before][0] == "@"


def bare(items: list[str], mentions: Mentions) -> frozenset[int]:
    """Return the choices of a text that is nothing but choices: "option 2", "A, B and C"."""
    at = 0
    while at < len(items) and items[at] in FILLERS and letter_at(items, at, mentions) is None:
        at += 1
    found, end = listed(items, at, mentions)
    return frozenset(found) if all(w in MARKS for w in items[end:]) else frozenset()


def listed(items: Sequence[str], at: int, mentions: Mentions) -> tuple[set[int], int]:
    """Return the choices from ``at`` on that commas, "or" and "and" join, and where they end.

    A letter with its text is one choice.
    """
    found: set[int] = set()
    end = at
    while at < len(items):
        choice, size = choice_at(items, at, mentions)
        if choice is None:
            break
        found.add(choice)
        at = end = at + size
        while at < len(items) and (items[at] in JOINS or (items[at] == "a" and letter_at(items, at, mentions) is None)):
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


def choice_at(items: Sequence[str], at: int, mentions: Mentions) -> tuple[int | None, int]:
    """Return the choice that one or two words name, and how many they are; -1 for one that does not exist."""
    word = items[at]
    if word[0] == "@":
        return int(word[1:]), 1
    letter = letter_at(items, at, mentions)
    if letter is not None:
        return letter, 1
    before, after = items[at - 1] if at else "", items[at + 1] if at + 1 < len(items) else ""
    if word == "last" and after in ("option", "choice", "answer"):
        return mentions.first[-1], 2
    number = word[:-2] if word[-2:] in ("st", "nd", "rd", "th") else word
    counted = number != word and after in ("option", "choice", "1", "answer")
    if number.isdecimal() and len(number) < 3 and (counted or before in ("option", "choice", "number")):
        place = int(number) - 1
        return (mentions.first[place] if 0 <= place < mentions.count else -1), 1 + (number != word)
    return None, 0


def letter_at(items: Sequence[str], at: int, mentions: Mentions) -> int | None:
    """Return the option whose letter stands here: -1 where no option has it, ``None`` where the word is none."""
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


def total(items: list[str], mentions: Mentions) -> int | None:
    """Return the option that is the sum of the other numbers of a sentence: "three people: two men and a woman"."""
    numbers: list[tuple[int, int]] = []
    for i, word in enumerate(items):
        number = mentions.full[int(word[1:])][0] if word[0] == "@" and word[1] != "-" else word
        if number.isdecimal() and len(number) < 4:
            numbers.append((int(number), int(word[1:]) if word[0] == "@" else -1))
        elif word in ("a", "an") and items[i + 1 : i + 2] and items[i + 1] in _ONE_OF:
            numbers.append((1, -1))
    if len(numbers) < 3:
        return None
    for whole, parts in ((numbers[0], numbers[1:]), (numbers[-1], numbers[:-1])):
        if whole[1] >= 0 and whole[0] == sum(n for n, _ in parts):
            return whole[1]
    return None
