"""How many texts of a corpus would be a question of a benchmark by chance: the weight of a common text.

A corpus that was written with templates has the benchmark's "Which sound comes first?" with the benchmark's four
options, because both draw from the same few sounds. So the siblings of a text are counted: texts with the same frame,
which is the question but for up to three words in one place ("How often does * occur?"), or the question itself. Of n
siblings in the corpus

    expected = (n + 1) * P(filler) * max(P(these options as draws), P(just these options))

are the text by chance, where the shares are those of the siblings on both sides, with half a sibling added to what was
seen (Jeffreys' prior), and the largest expectation over all frames counts. Draws are without putting back: of k options
one that a share s of the siblings has is drawn with s / k, and each draw is from what the others left. Where two
siblings or more have each of the options, these may be one list (the instruments, among all sounds), and then are no
independent draws: the share of the siblings that have any of them, times the shares among those, is taken too. Copies
of the text are no siblings: what leaked a hundred times does not excuse itself. GPT-3's authors met the same problem:
they ignored 13-grams that are in more than ten documents of the corpus (Brown et al., arXiv 2005.14165, appendix C). A
fixed number does not do here, where a small corpus of templates has each text once.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from sari_data.dedup.text import Text, Texts

# A match is no evidence where more than one in twenty such questions would be found by chance.
MOST_EXPECTED = 0.05
# One text with the same frame may be anything; two or more make a template.
LEAST_SIBLINGS = 2
# A frame leaves out so many words in one place at most, and keeps so many.
_GAP, _KEPT = 3, 2
_PRIOR = 0.5

# A longer text is compared as a whole: no template has so many words, and each has three frames a word.
_LONGEST = 1000

# Hashes of the words before and behind the gap; of a whole question, of all words and 0.
Frame = tuple[int, int]


def frames(question: str) -> Iterator[tuple[Frame, str]]:
    """Yield the frames of a question in normal form, each with the words that it leaves out; the first one is whole.

    Frames are the same, as numbers, within one process; the time is proportional to the words.
    """
    words = question.split()
    before, behind = _chained(words, 1), _chained(reversed(words), 2)
    yield (before[-1], 0), ""
    most = min(_GAP, len(words) - _KEPT, len(words) // 2) if len(words) <= _LONGEST else 0
    for gap in range(1, most + 1):
        for at in range(len(words) - gap + 1):
            # What is behind no word is not 0, which keeps "what is | this" apart from the whole question "what is".
            yield (before[at], behind[len(words) - at - gap]), " ".join(words[at : at + gap])


def _chained(words: Iterable[str], begin: int) -> list[int]:
    """Return 64 bits for each run of words from the first one, the empty run included."""
    return list(accumulate(words, lambda known, word: hash((known, word)), initial=begin))


@dataclass(slots=True)
class _Family:
    """The texts with one frame: how many, how many of them in the corpus, and which have what."""

    texts: int = 0
    of_corpus: int = 0
    fillers: Counter[str] = field(default_factory=Counter)
    sets: Counter[int] = field(default_factory=Counter)
    with_option: dict[str, array[int]] = field(default_factory=dict)

    def add(self, text: Text, filler: str, in_corpus: bool, options: Iterable[str]) -> None:
        self.of_corpus += in_corpus
        self.fillers[filler] += 1
        self.sets[text.options_key] += 1
        for option in options:
            self.with_option.setdefault(option, array("i")).append(self.texts)
        self.texts += 1

    def expected(self, own: Text, shared: Sequence[str], gone: Sequence[_Gone], filler: str) -> float:
        """How many of the corpus's texts would be this one by chance, without those that are gone."""
        number = self.texts - len(gone)
        if number < LEAST_SIBLINGS:
            return 0.0
        counts = [
            len(self.with_option.get(option, ())) - sum(option in one.text.options for one in gone) for option in shared
        ]
        fillers = self.fillers[filler] - sum(one.filler == filler for one in gone)
        listed = self.sets[own.options_key] - sum(one.text.options_key == own.options_key for one in gone)
        size = len(own.options)
        share = max(_drawn(counts, number, size), listed / number) * (_share(fillers, number) if filler else 1.0)
        if shared and min(counts) >= LEAST_SIBLINGS:
            with_any = len(set().union(*(self.with_option[option] for option in shared)))
            with_any = max(max(counts), with_any - sum(not set(shared).isdisjoint(one.text.options) for one in gone))
            together = _share(with_any, number) * _drawn(counts, with_any, size)
            share = max(share, together * (min(1.0, _share(fillers, with_any)) if filler else 1.0))
        return (self.of_corpus - sum(one.in_corpus for one in gone) + 1) * share


@dataclass(frozen=True, slots=True)
class _Gone:
    """A text with a frame that is no sibling, and what fills the frame in it."""

    text: Text
    filler: str
    in_corpus: bool


def _share(count: int, number: int) -> float:
    return (count + _PRIOR) / (number + 1)


def _drawn(counts: Sequence[int], number: int, size: int) -> float:
    """The chance that ``size`` options drawn without putting back have all those that so many siblings have."""
    shares = [_share(count, number) for count in counts]
    if not shares:
        return 1.0
    mean = sum(shares) / len(shares) / size
    # With shares s of V equal options, k of which are drawn, this is k (k - 1) ... / (V (V - 1) ...).
    return math.prod((size - i) / size * share / (1 - i * mean) for i, share in enumerate(shares))


class Chance:
    """How often texts of a benchmark would be in a corpus by chance.

    Args:
        benchmark: Texts of the benchmark.
        corpus: Texts of the corpus, each different one once.
        wanted: Numbers of the benchmark's texts that are asked about; only their frames are counted.
        clips: Of each of the benchmark's texts, of how many recordings it is asked: a benchmark that asks the same of
            several says itself that the text is none of one recording's. (The corpus's are counted once each, because
            they may be copies of what leaked.)
    """

    def __init__(self, benchmark: Texts, corpus: Texts, wanted: Iterable[int], clips: Sequence[int]) -> None:
        texts = [benchmark[number] for number in wanted]
        self._families: dict[Frame, _Family] = {frame: _Family() for t in texts for frame, _ in frames(t.question)}
        # Of all texts whatever their question, those with an option that is asked about.
        self._all = _Family()
        known = {option for text in texts for option in text.options}
        for side, in_corpus in ((benchmark, False), (corpus, True)):
            for number, text in enumerate(side):
                options = [option for option in text.options if option in known]
                self._all.add(text, "", in_corpus, options)
                for frame, filler in frames(text.question):
                    family = self._families.get(frame)
                    if family is not None:
                        for _ in range(1 if in_corpus else clips[number]):
                            family.add(text, filler, in_corpus, options)

    def of_text(self, own: Text, shared: Sequence[str], copies: Sequence[tuple[Text, bool]], same: bool) -> float:
        """Return how many texts of the corpus would be a question by chance, or the first such number that is too high.

        Args:
            own: The benchmark's text.
            shared: Those of its options that the match has too.
            copies: What is no sibling, with whether it is the corpus's: the text itself and its matches.
            same: Whether the match has the very question; else another one, and what fills the frame is no evidence.

        Returns:
            The largest expectation over all frames; 0 where the text has no siblings.
        """
        gone: dict[Frame, list[_Gone]] = {}
        for text, in_corpus in copies:
            for frame, filler in frames(text.question):
                gone.setdefault(frame, []).append(_Gone(text, filler, in_corpus))
        most = 0.0
        for frame, filler in frames(own.question):
            found = self._families[frame].expected(own, shared, gone.get(frame, ()), filler if same else "")
            most = max(most, found)
            if most > MOST_EXPECTED:
                break
        return most

    def of_options(self, own: Text, shared: Sequence[str], copies: Sequence[tuple[Text, bool]]) -> float:
        """Return how many texts of the corpus would have the shared options by chance, whatever they ask."""
        return self._all.expected(own, shared, [_Gone(text, "", in_corpus) for text, in_corpus in copies], "")
