"""Predictions of every shape over given questions, from a seed: for parity with published programs, and for timing.

Only ``random.Random.random`` is drawn from, whose sequence Python promises to keep, so that a seed means the same
predictions on every machine and version.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MARKS = ("", ".", "!", "?!", "...", " ", "\n", "—", "( )", "'", "#", "*", "_", "__")
UNICODE = (
    "İstanbul",
    "ﬁddle",
    "naïve café",
    "Ⅻ",
    "ß",
    "ǅ",
    "\u200bword",
    "日本語 の 音",
    "zero\u0301",
    "½ tone",
    "a\u00a0b",
    "Σς",
)
FILLERS = ("The audio has", "I hear", "It is clearly", "Most likely,", "Based on the recording, the answer is")
WORDS = ("sound", "voice", "music", "loud", "the", "of", "and", "two", "high", "pitch", "a", "in", "C", "4", "guitar")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the shapes need it: its options and the right one."""

    choices: tuple[str, ...]
    answer: str


class Draw:
    """What is drawn, from one stream of numbers in [0, 1)."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def below(self, count: int) -> int:
        """Return an integer from 0 to ``count - 1``."""
        return int(self._random() * count)

    def one(self, values: Sequence[str]) -> str:
        """Return one of the values."""
        return values[self.below(len(values))]

    def mixed(self, values: Sequence[str]) -> list[str]:
        """Return the values in any order."""
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]

    def chance(self, share: float) -> bool:
        """Return whether something happens that happens so often."""
        return self._random() < share


def _option(asked: Asked, draw: Draw) -> str:
    """The right option half of the time, else any."""
    return asked.answer if draw.chance(0.5) else draw.one(asked.choices)


def _letter(asked: Asked, option: str) -> str:
    return chr(ord("A") + asked.choices.index(option)) if option in asked.choices else "A"


def _exact(asked: Asked, draw: Draw) -> str:
    return _option(asked, draw)


def _case(asked: Asked, draw: Draw) -> str:
    option = _option(asked, draw)
    return (option.upper(), option.lower(), option.title(), option.swapcase())[draw.below(4)]


def _only_letter(asked: Asked, draw: Draw) -> str:
    letter = chr(ord("A") + draw.below(len(asked.choices) + 1))
    return draw.one((letter, f"({letter})", f"{letter}.", f"({letter.lower()})", f"Option {letter}", f"**{letter}**"))


def _letter_and_text(asked: Asked, draw: Draw) -> str:
    option = _option(asked, draw)
    letter = _letter(asked, option)
    return draw.one((f"({letter}) {option}", f"{letter}. {option}", f"{letter}) {option}", f"{option} ({letter})"))


def _sentence(asked: Asked, draw: Draw) -> str:
    return f"{draw.one(FILLERS)} {_option(asked, draw)}{draw.one(MARKS)}"


def _several(asked: Asked, draw: Draw) -> str:
    return draw.one((" or ", ", ", " and not ", "\n")).join(draw.mixed(asked.choices)[: 2 + draw.below(2)])


def _nothing(asked: Asked, draw: Draw) -> str:
    return ""


def _marks(asked: Asked, draw: Draw) -> str:
    return "".join(draw.one(MARKS) for _ in range(1 + draw.below(4)))


def _unicode(asked: Asked, draw: Draw) -> str:
    return " ".join(draw.mixed((draw.one(UNICODE), _option(asked, draw))))


def _reordered(asked: Asked, draw: Draw) -> str:
    return " ".join(draw.mixed(_option(asked, draw).split()))


def _partial(asked: Asked, draw: Draw) -> str:
    words = _option(asked, draw).split()
    return " ".join(word for word in words if draw.chance(0.7))


def _with_another(asked: Asked, draw: Draw) -> str:
    others = [choice for choice in asked.choices if choice != asked.answer] or ["x"]
    return f"{asked.answer} {draw.one(draw.one(others).split() or ['x'])}"


def _number(asked: Asked, draw: Draw) -> str:
    number = draw.below(13)
    return draw.one((str(number), f"{number}.5", f"0:{number:02d}", f"{number} times", f"-{number}", f"{number}%"))


def _joined(asked: Asked, draw: Draw) -> str:
    return draw.one(("_", "-", "'", "/", "")).join(_option(asked, draw).split())


def _words(asked: Asked, draw: Draw) -> str:
    return " ".join(draw.one(WORDS) for _ in range(1 + draw.below(8)))


def _tagged(asked: Asked, draw: Draw) -> str:
    thought = " ".join(f"It could be {choice}." for choice in draw.mixed(asked.choices)[: draw.below(3)])
    return f"<think>{thought} {draw.one(FILLERS)} this.</think><answer>{_option(asked, draw)}</answer>"


def _set_apart(asked: Asked, draw: Draw) -> str:
    option = _option(asked, draw)
    return draw.one((f'{{"answer": "{option}"}}', f"\\boxed{{{option}}}", f"**{option}**", f"<{option}>"))


def _missing(asked: Asked, draw: Draw) -> None:
    return None


SHAPES: dict[str, Callable[[Asked, Draw], str | None]] = {
    "exact option": _exact,
    "another case": _case,
    "letter": _only_letter,
    "letter and text": _letter_and_text,
    "sentence": _sentence,
    "several options": _several,
    "empty": _nothing,
    "marks only": _marks,
    "unicode": _unicode,
    "words reordered": _reordered,
    "partial": _partial,
    "the answer and another's word": _with_another,
    "number": _number,
    "words joined": _joined,
    "any words": _words,
    "thought and answer section": _tagged,
    "set apart": _set_apart,
    "missing": _missing,
}


def make(questions: Sequence[Asked], count: int, seed: int) -> list[tuple[str, str | None]]:
    """Return ``count`` predictions with the names of their shapes: the i-th is about question ``i % len(questions)``.

    ``None`` is a question without a prediction.
    """
    draw, names = Draw(seed), tuple(SHAPES)
    found = []
    for index in range(count):
        shape = draw.one(names)
        found.append((shape, SHAPES[shape](questions[index % len(questions)], draw)))
    return found
