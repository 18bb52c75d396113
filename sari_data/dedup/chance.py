"""How many texts of a corpus would be a question of a benchmark by chance: the weight of a common text.

A corpus that was written with templates has the benchmark's "Which sound comes first?" with the benchmark's four
options, because both draw from the same few sounds. So the siblings of a text are counted: texts with the same frame,
which is the question but for up to three words in one place ("How often does * occur?"), or the question itself. Of n
siblings in the corpus

    expected = (n + 1) * P(filler) * max(prod P(option), P(all these options))

are the text by chance, where the shares are those of the siblings on both sides, with half a sibling added to what was
seen (Jeffreys' prior), and the largest expectation over all frames counts. Copies of the text are no siblings: what
leaked a hundred times does not excuse itself. GPT-3's authors met the same problem and ignored 13-grams that are in
more than ten documents of the corpus (Brown et al., arXiv 2005.14165, appendix C); a fixed number does not do here,
where a small corpus of templates has each text once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sari_data.dedup.text import Text, Texts

# A match is no evidence where more than one in twenty such questions would be found by chance.
MOST_EXPECTED = 0.05
# One text with the same frame may be anything; two or more make a template.
LEAST_SIBLINGS = 2
# A frame leaves out so many words in one place at most, and keeps so many.
_GAP, _KEPT = 3, 2
_PRIOR = 0.5

Frame = tuple[str, str]


def frames(question: str) -> Iterator[tuple[Frame, str]]:
    """Yield the frames of a question in normal form, each with the words that it leaves out; the first one is whole."""
    words = question.split()
    yield (question, ""), ""
    for gap in range(1, min(_GAP, len(words) - _KEPT) + 1):
        if len(words) - gap < gap:
            return
        for at in range(len(words) - gap + 1):
            # The mark keeps "what is | this" apart from the whole question "what is this".
            yield (" ".join(words[:at]) + "\x1f", " ".join(words[at + gap :])), " ".join(words[at : at + gap])


@dataclass(slots=True)
class _Family:
    """The texts with one frame: how many, how many of them in the corpus, and what they have where."""

    texts: int = 0
    of_corpus: int = 0
    fillers: Counter[str] = field(default_factory=Counter)
    options: Counter[str] = field(default_factory=Counter)
    sets: Counter[int] = field(default_factory=Counter)

    def add(self, text: Text, filler: str, in_corpus: bool, times: int) -> None:
        self.texts += times
        self.of_corpus += in_corpus * times
        self.fillers[filler] += times
        for option in text.options:
            self.options[option] += times
        self.sets[text.options_key] += times


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
        known = {option for text in texts for option in text.options}
        # Of all texts whatever their question: how many have an option, and how many just these options.
        self._all, self._of_corpus = 0, len(corpus)
        self._options: Counter[str] = Counter()
        self._sets: Counter[int] = Counter()
        for side, in_corpus in ((benchmark, False), (corpus, True)):
            for number, text in enumerate(side):
                self._all += 1
                self._options.update(known.intersection(text.options))
                self._sets[text.options_key] += 1
                for frame, filler in frames(text.question):
                    family = self._families.get(frame)
                    if family is not None:
                        family.add(text, filler, in_corpus, 1 if in_corpus else clips[number])

    def of_text(self, own: Text, shared: Sequence[str], copies: Sequence[tuple[Text, bool]], same: bool) -> float:
        """Return how many texts of the corpus would be a question by chance; 0 where it has no siblings.

        Args:
            own: The benchmark's text.
            shared: Those of its options that the match has too.
            copies: What is no sibling, with whether it is the corpus's: the text itself and its matches.
            same: Whether the match has the very question; else another one, and what fills the frame is no evidence.
        """
        gone: dict[Frame, list[tuple[Text, str, bool]]] = {}
        for text, in_corpus in copies:
            for frame, filler in frames(text.question):
                gone.setdefault(frame, []).append((text, filler, in_corpus))
        most = 0.0
        for frame, filler in frames(own.question):
            family, less = self._families[frame], gone.get(frame, [])
            number = family.texts - len(less)
            if number < LEAST_SIBLINGS:
                continue
            of_corpus = family.of_corpus - sum(in_corpus for _, _, in_corpus in less)
            expected = (of_corpus + 1) * _all_of(shared, own, number, family.options, family.sets, less)
            if same and filler:
                count = family.fillers[filler] - sum(its == filler for _, its, _ in less)
                expected *= (count + _PRIOR) / (number + 1)
            most = max(most, expected)
        return most

    def of_options(self, own: Text, shared: Sequence[str], copies: Sequence[tuple[Text, bool]]) -> float:
        """Return how many texts of the corpus would have the shared options by chance, whatever they ask."""
        less = [(text, "", in_corpus) for text, in_corpus in copies]
        number = self._all - len(less)
        return self._of_corpus * _all_of(shared, own, number, self._options, self._sets, less) if number else 0.0


def _all_of(
    shared: Sequence[str],
    own: Text,
    number: int,
    options: Counter[str],
    sets: Counter[int],
    less: Sequence[tuple[Text, str, bool]],
) -> float:
    """The share of texts that have all shared options: as independent draws, or as a fixed list, whichever is more."""
    drawn = 1.0
    for option in shared:
        count = options[option] - sum(option in text.options for text, _, _ in less)
        drawn *= (count + _PRIOR) / (number + 1)
    key = own.options_key
    listed = sets[key] - sum(text.options_key == key for text, _, _ in less)
    return max(drawn, listed / number)
