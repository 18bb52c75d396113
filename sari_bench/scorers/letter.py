"""``letter``: only a letter counts, as in harnesses that ask for nothing else.

(A) is the first option, whatever its text. In the answer section, or in the whole response where there is none, it
reads ``B``, ``(b)``, ``B.``, ``**B**`` and ``B) text``; of the last the letter counts and the text is not looked at.
An option's text alone is ``unparsed`` here, however clear it is.
"""

from __future__ import annotations

import re

from sari_bench.scorers.base import GradingScorer, Said, Verdict, chosen, unread
from sari_data.answers import CUT_OFF, DISAGREE

NO_LETTER = "no letter"
NO_SUCH_LETTER = "a letter that no option has"

_WRAPPING = " \t\r\n\"'`*_"
# A letter alone, in brackets or with a mark; before a text it needs its bracket or mark, since "a dog" is no letter.
_ALONE = re.compile(r"[(\[]?\s*([a-z])\s*[)\]]?\s*[.:,;]?", re.IGNORECASE | re.ASCII)
_LABEL = re.compile(r"(?:[(\[]\s*([a-z])\s*[)\]]|([a-z])\s*[).:\]])\W?\s*\S", re.IGNORECASE | re.ASCII)


def read_letter(text: str) -> int | None:
    """Return the index that a text's letter stands for (A is 0), or ``None`` where it is not a letter."""
    bare = text.strip(_WRAPPING)
    found = _ALONE.fullmatch(bare)
    letter = found[1] if found else next((g for g in m.groups() if g), None) if (m := _LABEL.match(bare)) else None
    return None if letter is None else ord(letter.lower()) - ord("a")


class LetterScorer(GradingScorer):
    """Reads a letter and nothing else."""

    name = "letter"

    def grade(self, said: Said) -> Verdict:
        """Grade one answer by its letter."""
        if said.reading.reason in (CUT_OFF, DISAGREE):
            return unread(said, said.reading.reason)
        section = said.answer_section
        index = read_letter(section if section is not None else said.answer.text or "")
        if index is None:
            return unread(said, NO_LETTER)
        choices = said.gold.choices
        if index >= len(choices):
            return unread(said, NO_SUCH_LETTER)
        return chosen(said.gold, choices.index(choices[index]))
