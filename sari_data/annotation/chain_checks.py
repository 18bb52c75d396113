"""What makes a chain of thought unfit to learn from, although it ends in the right answer.

*Naming the right option before reasoning* means:

- the planning has its text as whole words, unless the question has it too, the planning names every option, or the
  text is a word that any sentence may have ("no", "one", "first");
- planning or caption refer to an option by its letter, or state what the answer is. The caption may have the right
  option's words: what is heard may well be it;
- in a free thought, one of the first half of its sentences states the right answer.

A *statement of the answer* is a phrase such as "the answer is …" or "I choose …" that goes on to name an option, by its
text or its letter. The wording checks know English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from sari_data.options import Options, loose_form
from sari_data.prompting import LETTERS

NAMES_GOLD = "it names the right option before reasoning"
OTHER_ANSWER = "it states another answer than it gives"
OTHER_LETTER = "it gives an option the letter of another"
TOLD = "it says that the answer was given to it"
READS_TEXT = "it speaks of a caption or metadata"
TOO_SHORT = "a section says too little"
TOO_LONG = "it is too long"

_LEAST_WORDS = 3  # of every section
_LONGEST_WORD = 20  # characters on average; languages without spaces are measured by it
_LEAST_SENTENCES = 2  # of a free thought
# Options that are words of any sentence: to find one says nothing.
_COMMON = frozenset(
    (
        "yes",
        "no",
        "none",
        "one",
        "first",
        "last",
        "then",
        "before",
        "after",
        "same",
        "different",
        "both",
        "true",
        "false",
    )
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_STATES = re.compile(
    r"\b(?:(?:answer|option|choice)\s*(?:is|must be|should be|would be|has to be|can only be|:|=)"
    r"|(?:i|we|let's|let us)\s+(?:choose|select|pick|answer(?: with)?|go with|conclude(?: that)?(?: it is)?))"
    r"(?!\s*(?:not\b|n't|n’t))\s*(?P<what>.*)",
    re.IGNORECASE | re.DOTALL,
)
_BRACKETED = re.compile(r"(?<![\w(])[(\[]([A-Z])[)\]]")
_CALLED = re.compile(r"\b(?:[Oo]ption|[Cc]hoice)\s+([A-Z])\b(?![#♯♭’'])")
_BARE = re.compile(
    r"\s*(?:(?:clearly|definitely|obviously|probably|most likely|therefore|thus|indeed|then),?\s+)*"
    r"(?:\*\*)?([A-Z])(?:\*\*)?\s*(?:[.,;:!)]|$)"
)
# "So it must be (C)."
_CONCLUDES = re.compile(
    r"(?:^|\b(?:so|thus|hence|therefore)\b|\bmust be\b|\bit is\b)(?:\W+\w+){0,4}?\W*[(\[]([A-Z])[)\]](?: it is)?\W*$",
    re.IGNORECASE,
)
_NEGATES = re.compile(
    r"\b(?:not|no|none|never|neither|nor|rather than|instead|unlike|without|rules? out|ruled out)\b|n['’]t\b",
    re.IGNORECASE,
)
_TOLD = re.compile(
    r"\b(?:given|provided|supplied|stated|known|expected|reference|labell?ed|marked|ground[- ]truth|gold(?:en)?)\s+"
    r"(?:correct |right |final )?(?:answer|solution|option|choice)\b(?!\s+(?:options|choices))"
    r"|\b(?:answer|solution|correct option|right option)\s+(?:that |which )?(?:is|was|has been|had been|as)?\s*"
    r"(?:already )?(?:given|provided|supplied|told|revealed|known)\b"
    r"|\bas (?:provided|given|instructed)\b|\b(?:i|we)(?: (?:am|are|was|were)|'m|'re) told\b"
    r"|\banswer key\b|\bground truth\b|\bthe instructions?\b|\bthe prompt\b",
    re.IGNORECASE,
)
_READS = re.compile(
    r"\b(?:the|this|given|provided|its|audio|a)\s+(?:audio |given |provided |clip's )?captions?\b"
    r"|\bcaptions? (?:says?|states?|mentions?|describes?|tells?|indicates?)\b"
    r"|\bmeta-?data\b|\bannotations?\b|\btranscripts? provided\b"
    r"|\b(?:given|provided|the) (?:audio |text(?:ual)? )?descriptions? (?:says?|states?|mentions?|indicates?|tells?)\b"
    r"|\b(?:according to|based on|from) the (?:given |provided )?(?:audio )?"
    r"(?:caption|description|text|labels?|facts)\b",
    re.IGNORECASE,
)


def check_structured(
    sections: Mapping[str, str], question: str, choices: Sequence[str], gold: str
) -> Iterator[tuple[str, str]]:
    """Yield (reason, complaint) for a chain in sections; ``sections`` maps planning, caption, ... to their texts."""
    options = _Named(choices, gold)
    planning = sections["planning"]
    named = options.named(planning) - options.common
    every = named >= set(range(len(options.different))) - options.common
    if options.gold in named and not every and options.gold not in options.named(question):
        yield (
            NAMES_GOLD,
            f"The planning names {gold!r} before anything was heard: plan what to listen for without naming an option.",
        )
    for name in ("planning", "caption"):
        if options.letters(sections[name]) or options.stated(sections[name]):
            yield NAMES_GOLD, f"The {name} already states or quotes an option: state the answer only at the end."
    for name, text in sections.items():
        if len(text.split()) < _LEAST_WORDS and text.isascii():
            yield TOO_SHORT, f"The {name} says too little: write a sentence at least."
    concluded = options.named(sections["summary"]) - options.common
    if concluded and options.gold not in concluded and not _NEGATES.search(sections["summary"]):
        yield OTHER_ANSWER, f"The summary speaks of another option than the answer: conclude with {gold!r}."
    for text in sections.values():
        yield from _check_any(text, options)


def check_unstructured(thought: str, choices: Sequence[str], gold: str) -> Iterator[tuple[str, str]]:
    """Yield (reason, complaint) for a free thought."""
    options = _Named(choices, gold)
    sentences = [s for s in _SENTENCE.split(thought) if s.strip()]
    if len(sentences) < _LEAST_SENTENCES and thought.isascii():
        yield TOO_SHORT, "The thought is one sentence: say what is heard and what follows from it, step by step."
    if any(options.stated(sentence) for sentence in sentences[: len(sentences) // 2]):
        yield NAMES_GOLD, "The thought states the answer in its first half: reason first, conclude at the end."
    yield from _check_any(thought, options)


def check_length(texts: Sequence[str], most_words: int) -> Iterator[tuple[str, str]]:
    """Yield (reason, complaint) for a chain of more than twice the words that were asked for."""
    words = sum(max(len(text.split()), len(text) // _LONGEST_WORD) for text in texts)
    if words > 2 * most_words:
        yield TOO_LONG, f"The chain has {words} words: write at most {most_words}."


def _check_any(text: str, options: _Named) -> Iterator[tuple[str, str]]:
    told, reads = _TOLD.search(text), _READS.search(text)
    if told:
        yield TOLD, f"{told[0]!r} says that the answer was known: reason as somebody who only hears the recording."
    if reads:
        yield READS_TEXT, f"{reads[0]!r} speaks of a text: reason as somebody who only hears the recording."
    for sentence in _SENTENCE.split(text):
        stated = options.stated(sentence)
        if stated and options.gold not in stated:
            yield OTHER_ANSWER, f"{_short(sentence)!r} states another answer than the one at the end."
        yield from options.wrong_letters(sentence)


class _Named:
    """Which options a text names, by text or by letter; options with the same text count as one."""

    def __init__(self, choices: Sequence[str], gold: str) -> None:
        self.choices = list(choices)
        self.different = list(dict.fromkeys(self.choices))
        self.gold = self.different.index(gold)
        self._options = Options(self.different)
        self._forms = {loose_form(choice): index for index, choice in enumerate(self.different)}
        self.common = frozenset(index for form, index in self._forms.items() if form in _COMMON)
        self._most_words = max(len(form.split()) for form in self._forms)
        # Where options are notes or letters themselves, a letter in the text may be any of both.
        self._has_letters = any(len(form) == 1 and form.isalpha() for form in self._forms)

    def named(self, text: str) -> frozenset[int]:
        """Return the options that a text names by their words; letters in brackets do not count."""
        return self._options.named(_BRACKETED.sub(" ", text))

    def letters(self, text: str) -> list[re.Match[str]]:
        """Return the places where a text refers to an option by a letter: ``(B)`` of those shown, ``option B``."""
        if self._has_letters:
            return []
        shown = LETTERS[: len(self.choices)]
        found = [m for m in _BRACKETED.finditer(text) if m[1] in shown]
        return found + list(_CALLED.finditer(text))

    def stated(self, text: str) -> frozenset[int]:
        """Return the options that a sentence states to be the answer; empty where it states none."""
        match = _STATES.search(text)
        if match is None:
            last = None if self._has_letters else _CONCLUDES.search(text)
            return frozenset({self._index(last[1].upper())} if last else ())
        what = match["what"]
        found = set(self.named(what))
        if not self._has_letters:
            bare = _BARE.match(what)
            for letter in [m[1] for m in self.letters(what)] + ([bare[1]] if bare else []):
                found.add(self._index(letter))
        return frozenset(found)

    def wrong_letters(self, sentence: str) -> Iterator[tuple[str, str]]:
        """Yield a problem for every letter that stands beside another option's text, or that no option has."""
        for match in self.letters(sentence):
            index = self._index(match[1])
            if index < 0:
                yield OTHER_LETTER, f"There is no option {match[1]}: name options by their text, not by letters."
                continue
            beside = {self._option_at(sentence[match.end() :], first=True)}
            if match[0][0] in "([":
                beside.add(self._option_at(sentence[: match.start()], first=False))
            if beside - {None, index}:
                yield (
                    OTHER_LETTER,
                    f"{_short(sentence)!r} gives an option the letter of another: name options by their text, "
                    "not by letters.",
                )

    def _index(self, letter: str) -> int:
        place = LETTERS.index(letter)
        return self.different.index(self.choices[place]) if place < len(self.choices) else -1

    def _option_at(self, text: str, *, first: bool) -> int | None:
        """Return the option whose text a piece of a sentence begins or ends with: the longest that fits."""
        if not first and text.rstrip()[-1:] in tuple(",;:.!?"):
            return None
        words = loose_form(text[:400] if first else text[-400:]).split()
        if first and words[:1] == ["is"]:
            words = words[1:]
            words = words[1:] if words[:1] in (["a"], ["an"], ["the"]) else words
        for size in range(min(self._most_words, len(words)), 0, -1):
            form = " ".join(words[:size] if first else words[len(words) - size :])
            if form in self._forms:
                return self._forms[form]
        return None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 120 else f"{text[:117]}..."
