"""Text as sentences of words, in a form in which two ways of writing one thing are equal.

Case, Unicode quotes and dashes, markdown, contractions and Chinese punctuation make no difference; numbers are
digits ("twenty-five" is "25", "third" is "3rd"). Everything here takes time linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable


def word_set(text: str) -> frozenset[str]:
    """Return the words of a list that is written as one text."""
    return frozenset(text.split())


_OPEN = word_set("is are be the a an of answer option choice conclusion or and")
LIGHT = word_set("a an the and while approximately about around roughly")

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´ʼ", "'"),
        **dict.fromkeys("“”„‟″«»「」『』《》", '"'),
        **dict.fromkeys("‐‑‒–−", "-"),
        **dict.fromkeys("—―", ","),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", None),
        **{"。": ". ", "、": ", ", "…": "... ", "♯": "#", "♭": "b"},
    }
)
_CHINESE = re.compile(r"[\u4e00-\u9fff]+")
_CHINESE_WORDS = (
    *(("无法确定", " cannot be determined "), ("不能确定", " cannot be determined "), ("不确定", " not sure ")),
    *(("不是", " is not "), ("正确答案", " correct answer "), ("最终答案", " final answer "), ("答案", " answer ")),
    *(("选项", " option "), ("选择", " option "), ("应该是", " is "), ("应为", " is "), ("是", " is "), ("为", " is ")),
    *(("所以", " therefore "), ("因此", " therefore "), ("或", " or "), ("和", " and "), ("选", " option ")),
)
_LATEX = re.compile(r"\\(?:boxed|fbox)\s{0,3}\{")
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|n|t|quad|[(),!;\[\]])")
_SHORT = (
    *(("can't", "cannot"), ("can not", "cannot"), ("won't", "will not"), ("n't", " not"), ("it's", "it is")),
    *(("that's", "that is"), ("there's", "there is"), ("i'm ", "i am "), ("i'd ", "i would "), ("i'll ", "i will ")),
    *(("she's", "she is"), ("he's", "he is"), ("'re ", " are "), ("what's", "what is"), ("let's", "let us")),
)
# A note with its sign in words: "c sharp minor", "d-flat major".
_SIGNED = re.compile(r"\b([a-g])[ -](sharp|flat)(?= (?:maj|min|major|minor)\b)")
# Dots in the middle of a sentence, which is no end of it.
_PAUSE = re.compile(r"\.{2,8}(?=[ \t]?[a-z])")
# "It can hardly be anything but a banjo."
_NOTHING_ELSE = re.compile(
    r"\b(?:cannot|can hardly|could not|could hardly) (?:really |possibly )?be anything"
    r" (?:(?:other|else) than|(?:else )?but)\b"
)
# A unit that is written to its number: "120bpm".
_GLUED = re.compile(r"\d(?:bpm|khz|hz|sec|ms|min|db)")
_UNIT = re.compile(r"(?<=\d)(?=(?:bpm|khz|hz|secs?|ms|mins?|db)\b)")
_INITIALS = re.compile(r"(?<![^\W_])[a-z](?:\.[a-z])+\.")
_BETWEEN_DOTS = re.compile(r"\.[a-z]\.")
_ENDING = re.compile(r"'(?<=[^\W_]')(?:(?:s|re|ve|ll|d|m)(?!\w)|(?=[^\W_]))")
_SENTENCE = re.compile(r"[.!?\n](?<![.!?][.!?])(?:(?<=\n)|(?<!\n)[.!?]*+[\"')\]}>]*+\s++)")
_WORD = r"[^\W_]+(?:(?<=\d)[.,:]\d[^\W_]*)*#?"
# Words first, which nearly all are: a number below zero, ".5" and marks begin with other signs.
_TOKEN = re.compile(rf"{_WORD}|(?<![\w)])-(?=\d){_WORD}|(?<![\w.])\.\d[^\W_]*|[.!?;:,()\[\]=/\"'<>{{}}]")
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_CARDINALS = {word: n for n, word in enumerate(_NUMBERS.split())} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_UNITS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"]
_ORDINALS = {word: n for n, word in enumerate(_UNITS, 1)} | {
    **{"tenth": 10, "eleventh": 11, "twelfth": 12, "twentieth": 20, "thirtieth": 30, "fortieth": 40, "fiftieth": 50},
    **{"sixtieth": 60, "seventieth": 70, "eightieth": 80, "ninetieth": 90, "hundredth": 100},
    **{f"{word}th": n for n, word in enumerate(_NUMBERS.split()) if 13 <= n <= 19 and word != "eighteen"},
    "eighteenth": 18,
}
_SCALES = {"hundred": 100, "thousand": 1000}
_NUMBER_WORDS = frozenset((*_CARDINALS, *_ORDINALS, *_SCALES))
_DECADES = {f"{ten[:-1]}ies": f"{10 * n}s" for n, ten in enumerate(_TENS, 2)}
_SAME = {
    **_DECADES,
    "major": "maj",
    "minor": "min",
    "cant": "cannot",
    "dont": "not",
    "grey": "gray",
    "vocals": "vocal",
} | {
    # "is" without its apostrophe; what is left out between an option's words makes no difference.
    **{"hes": "he", "shes": "she", "theyre": "they"},
    **{"harbour": "harbor", "colour": "color", "theatre": "theater", "neighbour": "neighbor", "favourite": "favorite"},
}
_MOST_KNOWN = 65536  # words
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})+")
_SECONDS = frozenset(("second", "s", "sec", "secs"))
# A heading or a line of its own: "### Answer", "4. Final answer".
_HEADING = re.compile(
    r"^[ \t]{0,4}#{0,6}[ \t]{0,4}(?:\d[.)] )?((?:final |correct )?(?:answer|conclusion))[ \t]*$", re.M
)


def fold(text: str) -> str:
    """Return a text without case, contractions, markdown and typographic variants."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_PLAIN)).translate(_PLAIN)
        if _CHINESE.search(text):
            for word, meaning in _CHINESE_WORDS:
                text = text.replace(word, meaning)
            text = _CHINESE.sub(lambda m: f" {m[0]} ", text)
        text = unicodedata.normalize("NFKC", text.casefold())
    else:
        text = text.lower().replace("`", "'")
    if "\\" in text:
        text = _LATEX_TEXT.sub(" ", _LATEX.sub(" answer is ", text)).replace("\\", "")
    text = text.replace("*", "").replace("_", " ")
    if "\n" in text and ("answer" in text or "conclusion" in text):
        text = _HEADING.sub(r"\1:", text)
    if "'" in text or "can not" in text:
        for short, full in _SHORT:
            if short in text:
                text = text.replace(short, full)
        text = _ENDING.sub("", text)
    if " sharp m" in text or " flat m" in text or "-sharp" in text or "-flat" in text:
        text = _SIGNED.sub(lambda m: m[1] + ("#" if m[2] == "sharp" else "b"), text)
    if "anything" in text:
        text = _NOTHING_ELSE.sub("must be", text)
    if ".." in text:
        text = _PAUSE.sub(", ", text)
    if _BETWEEN_DOTS.search(text):
        text = _INITIALS.sub(lambda m: m[0].replace(".", "") + " ", text)
    return text


def sentences(folded: str) -> list[str]:
    """Split a folded text at the ends of sentences and lines; what a line leaves open belongs to the next one."""
    found: list[str] = []
    joined = ""
    start = 0
    for match in _SENTENCE.finditer(folded):
        at, end = match.span()
        piece = folded[start:end].strip()
        start = end
        if not piece:
            continue
        # The label "B.": a full stop after one letter or digit.
        if folded[at] == "." and at and not folded[max(at - 2, 0) : at - 1].isalnum() and folded[at - 1].isalnum():
            joined = f"{joined} {piece}".lstrip()
            continue
        if joined:
            piece, joined = f"{joined} {piece}", ""
        if piece[-1] not in ".!?" and len(piece) < 200 and (piece[-1] in ":," or piece.rpartition(" ")[2] in _OPEN):
            joined = piece
        else:
            found.append(piece)
    last = f"{joined} {folded[start:].strip()}".strip()
    if last:
        found.append(last)
    return found


def tokens(folded: str) -> list[str]:
    """Return words, numbers and marks of a folded text; numbers in words become digits."""
    if _GLUED.search(folded):
        folded = _UNIT.sub(" ", folded)
    found: list[str] = _TOKEN.findall(folded)
    if not _SECONDS.isdisjoint(found):
        found = [
            "seconds" if word in _SECONDS and i and found[i - 1][-1].isdigit() else word for i, word in enumerate(found)
        ]
    if not _NUMBER_WORDS.isdisjoint(found):
        found = _digits(found)
    return list(map(_ONES.__getitem__, found))


class _Known(dict[str, str]):
    """What a function makes of words, each asked for once: a look-up is several times as fast as a call."""

    def __init__(self, make: Callable[[str], str]) -> None:
        self._make = make

    def __missing__(self, word: str) -> str:
        if len(self) >= _MOST_KNOWN:
            self.clear()
        made = self[word] = self._make(word)
        return made


def _one(word: str) -> str:
    if len(word) < 2:
        return word
    if word[0] == ".":
        return f"0{word}"
    if _GROUPED.fullmatch(word):
        return word.replace(",", "")
    if word[0] == "0" and word[2:3] == ":" and word[1].isdigit():
        return word[1:]  # "00:12" is "0:12"
    if word[-1] == "0" and "." in word:
        return _trimmed(word)
    return _SAME.get(word, word)


def _trimmed(number: str) -> str:
    """Return "2" for "2.00" and "2.4" for "2.40"; what is no decimal fraction stays."""
    whole, _, fraction = number.partition(".")
    if not (whole.removeprefix("-").isdecimal() and fraction.isdecimal()):
        return number
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _digits(words: list[str]) -> list[str]:
    result: list[str] = []
    at, end = 0, len(words)
    while at < end:
        if words[at] not in _CARDINALS and words[at] not in _ORDINALS:
            # "a hundred" is 100; "hundred" in "hundreds of dogs" is another word.
            if words[at] in _SCALES and (not result or result[-1] in ("a", "the", "one")):
                result.append(str(_SCALES[words[at]]))
            else:
                result.append(words[at])
            at += 1
            continue
        at, number = _number(words, at)
        result.append(number)
    return result


def _number(words: list[str], at: int) -> tuple[int, str]:
    """Return where a number in words ends, and its digits."""
    total, part, ordinal, scaled = 0, -1, False, False
    while at < len(words) and not ordinal:
        word = words[at]
        if word in _ORDINALS:
            value, ordinal = _ORDINALS[word], True
        elif word in _CARDINALS:
            value = _CARDINALS[word]
        elif word in _SCALES and part >= 0:
            part = max(part, 1) * _SCALES[word]
            if word == "thousand":
                total, part = total + part, 0
            at, scaled = at + 1, True
            continue
        elif word in ("and", ",") and scaled and words[at + 1 : at + 2] and words[at + 1] in _CARDINALS:
            at += 1
            continue
        else:
            break
        fits = part < 0 or (part % 100 == 0 and scaled) or (part % 100 >= 20 and part % 10 == 0 and 0 < value < 10)
        if not fits:
            ordinal = False
            break
        part = max(part, 0) + value
        at += 1
    value = total + max(part, 0)
    return at, ordinal_of(value) if ordinal else str(value)


def ordinal_of(number: int) -> str:
    """Return "1st", "2nd", "3rd", "4th"."""
    last = 0 if number % 100 in (11, 12, 13) else number % 10
    return f"{number}{('th', 'st', 'nd', 'rd')[last] if last < 4 else 'th'}"


def stem(word: str) -> str:
    """Return a word without its plural ending; words of up to three letters, and numbers, stay as they are."""
    return _STEMS[word]


def stems(words: Iterable[str]) -> list[str]:
    """Return the :func:`stem` of each word."""
    return list(map(_STEMS.__getitem__, words))


def _stem(word: str) -> str:
    if len(word) < 4 or word[-1] != "s" or word[-2] in "su'" or not word.isalpha():
        return word[:-1] if len(word) > 1 and word[-1] == "s" and word[:-1].replace(".", "").isdigit() else word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "zes")):
        return word[:-2]
    return word[:-1]


_ONES, _STEMS = _Known(_one), _Known(_stem)


def root(word: str) -> str:
    """Return a word without the ending of a verb ("uplifting", "uplifted") either."""
    word = stem(word)
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) >= len(ending) + 4:
            return word[: -len(ending)]
    return word
