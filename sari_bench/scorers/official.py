"""``official``: the token matching of MMAU's and MMAR's published ``evaluation.py``, to the digit.

Both programs have one rule (:class:`Rule`), one denominator (rows that have the prediction's key) and one way
of printing (``correct / total * 100`` with two decimals). They differ in what surrounds it: MMAU's reads
``model_output`` and groups by task, difficulty and sub-category; MMAR's reads ``answer_prediction`` (before 2026
``model_prediction``) from JSONL too and groups by modality, category and sub-category. Neither counts a row without
the key, both stop with an error at one whose prediction is ``null``, and "No prediction count" is 0 in both whatever
is missing; here such a row is ``missing`` and the honest accuracy stands beside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from sari_bench.scorers.base import GOLD_OUTSIDE, NO_PREDICTION, Said, Verdict

NO_WORDS = "no words"
SEVERAL = "words of several options"
NONE_WHOLE = "no option's words are all there"

_WORD = re.compile(r"\w+")  # the published pattern is \b\w+\b, whose matches are the same: runs of \w
# All ASCII signs but those of \w: as white space they part the words as the pattern does, several times as fast.
_APART = {code: " " for code in range(128) if not _WORD.match(chr(code))}


class Rule:
    """The rule for one question: the words that a prediction must hold, and those that it must not.

    A prediction is right when it holds every word of the answer and none that only another option has. An option with
    the same words as the answer is not another option; a prediction without any word is wrong.

    Args:
        answer: The right answer, which need not be among the options.
        choices: The options.
    """

    __slots__ = ("_choices", "other", "right")

    def __init__(self, answer: str, choices: Sequence[str]) -> None:
        self.right = words(answer)
        self._choices = [words(choice) for choice in choices]
        # An option with the answer's own words adds nothing here: its difference from them is empty.
        self.other = frozenset().union(*self._choices) - self.right

    def accepts(self, said: frozenset[str]) -> bool:
        """Return whether a prediction with these words is right."""
        return bool(said) and self.right <= said and self.other.isdisjoint(said)

    def accepted_as(self, said: frozenset[str]) -> tuple[int | None, str | None]:
        """Return the first option that the rule would accept if it were the answer, or ``None`` and why."""
        if not said:
            return None, NO_WORDS
        whole = [index for index, option in enumerate(self._choices) if option and option <= said]
        for index in whole:
            option = self._choices[index]
            if all((other - option).isdisjoint(said) for other in self._choices):
                return index, None
        return None, SEVERAL if whole else NONE_WHOLE


def words(text: str) -> frozenset[str]:
    """Return the set of a text's words in lower case; an underscore is part of a word."""
    folded = text.lower()
    return frozenset(folded.translate(_APART).split() if folded.isascii() else _WORD.findall(folded))


@lru_cache(maxsize=4096)
def _rule(answer: str, choices: tuple[str, ...]) -> Rule:
    return Rule(answer, choices)


class OfficialScorer:
    """The published rule and its total, which leaves questions without a prediction out.

    Predictions are matched as they are. Of a model's raw response only the answer section is matched, where it has
    one, because a thought that weighs the options names them all. ``choice`` is the right option where the
    prediction is right, else the option that the rule would accept if it were the answer.
    """

    name = "official"
    drops_missing = True
    notes: tuple[str, ...] = ()

    def verdict(self, said: Said) -> Verdict:
        """Match one answer: ``correct``, ``wrong`` or ``missing``."""
        gold, text = said.gold, said.answer.text
        if text is None:
            return Verdict("missing", None, NO_PREDICTION)
        assert gold.answer is not None, f"question {gold.id!r} has no answer to match"
        if said.answer.raw and "<" in text:
            section = said.answer_section
            text = text if section is None else section
        rule, held = _rule(gold.answer, gold.choices), words(text)
        if rule.accepts(held):
            if not gold.gradable:
                return Verdict("correct", None, GOLD_OUTSIDE)
            return Verdict("correct", gold.choices.index(gold.answer))
        return Verdict("wrong", *rule.accepted_as(held))
