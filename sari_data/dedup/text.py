"""When two questions say the same: normal forms, a TF-IDF score, and what makes near texts different questions.

The question's words and the options are the two parts of a TF-IDF vector, so that neither the order of the options
nor their letters matter and what is rare counts most. The options weigh as much as the question where no other
question has these options, and the less the more have ("yes" and "no"). The score of two texts is the cosine. All
pairs above a threshold are found exactly: of each reference only the rarest entries are looked up, those without
which the rest cannot reach the threshold (prefix filtering: Bayardo, Ma and Srikant, "Scaling up all pairs similarity
search", WWW 2007).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Numbers with their point, fraction or sign; words with an apostrophe inside; notes with their sharp.
_WORD = re.compile(r"(?:(?<![^\s(])-)?\d+(?:[.,:/]\d+)*%?|[^\W\d_]+(?:'[^\W\d_]+)*#?")
_LETTER = re.compile(r"^\s*(?:\(?[A-Za-z]\)|[A-Za-z][.:](?=\s))\s*(?=\S)")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "♯": "#", "−": "-", "–": "-"})

# Words that turn a question into another one although all others stay, each with what it says. Where that is said in
# one text and not in the other, the two are never near, however high they score.
_SAYINGS = {
    "0": "zero no none never not without isn't doesn't don't aren't wasn't cannot can't absent",
    "1": "one first once earliest initial initially begin begins beginning start starts",
    "2": "two second twice both",
    "3": "three third thrice",
    "4": "four fourth",
    "5": "five fifth",
    "6": "six sixth",
    "7": "seven",
    "8": "eight",
    "9": "nine",
    "10": "ten",
    "11": "eleven",
    "12": "twelve",
    "-1": "last final finally latest end ends ending",
    "earlier": "before earlier precedes preceding prior previous",
    "later": "after later follows following afterwards next",
    "higher": "high higher highest",
    "lower": "low lower lowest deeper deepest",
    "louder": "loud louder loudest",
    "quieter": "quiet quieter quietest soft softer softest",
    "longer": "long longer longest",
    "shorter": "short shorter shortest brief briefest",
    "faster": "fast faster fastest quicker quickest",
    "slower": "slow slower slowest",
    "more": "more most greatest",
    "less": "less least fewer fewest",
    "except": "except excluding besides",
    "male": "male man men boy boys",
    "female": "female woman women girl girls",
    "up": "up rise rises rising increase increases increasing ascending",
    "down": "down fall falls falling decrease decreases decreasing descending",
}
_OTHERS = "left right major minor stressed unstressed positive negative same different foreground background"
_SAYINGS |= {word: word for word in _OTHERS.split()}
_SAYS = {word: saying for saying, words in _SAYINGS.items() for word in words.split()}
# Words that tie what stands before them to what stands behind: the order of the other words then matters.
_RELATIONS = frozenset(["than", "before", "after", "then", "followed", "follows", "precedes"])
_LITTLE = """
a an the of in on at for with by is are was were be been do does did what which who whom whose when where how that
this these those it its and or as can could would will there here you your we us please me given based to from audio
clip recording sound heard hear listen according
"""
# Words that say little of what is asked.
FUNCTION = frozenset(_LITTLE.split())


def normalise(text: str) -> str:
    """Return a text's normal form: compatibility forms and case folded, words and numbers with one space between.

    Sharps, fractions, decimal points and signs stay, so that ``A#`` is not ``A`` and ``3/4`` not ``34``. A text of
    signs alone keeps them. ``normalise(normalise(text)) == normalise(text)``.
    """
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    while (folded := unicodedata.normalize("NFKC", text.casefold()).translate(_QUOTES)) != text:
        text = folded
    return " ".join(_WORD.findall(text)) or " ".join(text.split())


def normalise_option(text: str) -> str:
    """Return an option's normal form, without a letter such as ``(A)`` or ``B.`` in front of it."""
    return normalise(_LETTER.sub("", text, count=1))


@dataclass(frozen=True, slots=True)
class Text:
    """What a question says, in normal form.

    Args:
        question: The question.
        options: The options, each once, sorted.
        answer: The right option; empty where it is withheld.
    """

    question: str
    options: tuple[str, ...]
    answer: str

    @classmethod
    def of(cls, question: str, choices: Sequence[str], answer: str | None) -> Text:
        """Return the normal form of a question as it stands in a corpus or benchmark."""
        options = sorted({normalise_option(choice) for choice in choices})
        return cls(normalise(question), tuple(options), "" if answer is None else normalise_option(answer))

    @property
    def key(self) -> int:
        """64 bits that are the same for the same question and options, whatever the options' order."""
        return digest("\x1f".join((self.question, *self.options)))

    @property
    def question_key(self) -> int:
        """64 bits that are the same for the same question, whatever its options."""
        return digest(self.question)

    @property
    def options_key(self) -> int:
        """64 bits that are the same for the same options, whatever their order and the question."""
        return digest("\x1f".join(self.options))

    @property
    def option_entries(self) -> list[str]:
        """The entries of the options in the text's vector: each option whole, and its words."""
        words = [f"\x01{word}" for option in self.options for word in option.split()]
        return [*(f"\x02{option}" for option in self.options), *words]


def answers_agree(one: Text, other: Text) -> bool:
    """Return whether two texts may have the same right answer: an equal or near one, or one that is withheld."""
    if not one.answer or not other.answer or one.answer == other.answer:
        return True
    first, second = set(one.answer.split()), set(other.answer.split())
    alike = len(first & second) >= 0.5 * len(first | second)
    return alike and _says(first) == _says(second)


def may_be_near(one: Text, other: Text, *, strict: bool = True) -> bool:
    """Return whether two texts that score high may be one question: nothing decisive sets them apart.

    Args:
        one: A text.
        other: Another.
        strict: Any decisive word, number or note that only one of them has makes two questions. Otherwise only a
            negation or what each has of its own does ("first" here, "last" there): a question that was made shorter
            may have lost some.
    """
    if not answers_agree(one, other):
        return False
    first, second = one.question.split(), other.question.split()
    only_first, only_second = _says(first) - _says(second), _says(second) - _says(first)
    if "0" in only_first | only_second or (only_first and only_second) or (strict and (only_first or only_second)):
        return False
    if _RELATIONS & (set(first) | set(second)):
        shared = set(first) & set(second) - FUNCTION
        return _in_order(first, shared) == _in_order(second, shared)
    return True


def _in_order(words: Sequence[str], chosen: set[str]) -> list[str]:
    return list(dict.fromkeys(word for word in words if word in chosen))


def _says(words: Iterable[str]) -> set[str]:
    """What the decisive words of a text say: numbers, notes with a sharp, and the words of _SAYINGS."""
    found = {_SAYS.get(word, word if word[0] in "-0123456789" or word[-1] == "#" else "") for word in words}
    return found - {""}


def digest(text: str) -> int:
    """Return 64 bits that are the same for the same text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class Texts:
    """Many texts in little memory: each different one once, as bytes end to end (about 200 bytes a text)."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("q", [0])
        self._numbers: dict[int, int] = {}
        self.keys = array("Q")
        self.question_keys = array("Q")

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, text: Text) -> int:
        """Keep a text and return its number; the same text has the same number."""
        whole = "\x1f".join((text.question, text.answer, *text.options))
        number = self._numbers.setdefault(digest(whole), len(self.keys))
        if number == len(self.keys):
            self._bytes += whole.encode("utf-8", "surrogatepass")
            self._ends.append(len(self._bytes))
            self.keys.append(text.key)
            self.question_keys.append(text.question_key)
        return number

    def __getitem__(self, number: int) -> Text:
        part = self._bytes[self._ends[number] : self._ends[number + 1]]
        question, answer, *options = part.decode("utf-8", "surrogatepass").split("\x1f")
        return Text(question, tuple(options), answer)

    def __iter__(self) -> Iterator[Text]:
        return (self[number] for number in range(len(self)))


def vectorise(*collections: Texts) -> list[csr_matrix]:
    """Return the TF-IDF vectors (float32, length 1) of several collections, weighed by all of them together."""
    from scipy.sparse import diags, hstack

    words = _weighted(collections, lambda text: text.question.split())
    options = _weighted(collections, lambda text: text.option_entries)
    sets = [np.array([text.options_key for text in texts], np.uint64) for texts in collections]
    _, which, counts = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    # Two texts with these options are what is looked for; four halve what the options say, sixteen quarter it.
    share = 1 / (1 + np.log2(np.maximum(counts / 2, 1)))
    weight = np.sqrt(share / 2)[which]
    found, at = [], 0
    for texts, some, others in zip(collections, words, options, strict=True):
        # A text without options is its words alone.
        mine = np.where(np.diff(others.indptr) > 0, weight[at : at + len(texts)], 0.0)
        at += len(texts)
        parts = [diags(np.sqrt(1 - mine**2)) @ some, diags(mine) @ others]
        found.append(hstack(parts, format="csr", dtype=np.float32))
    return found


def _weighted(collections: Sequence[Texts], entries: Callable[[Text], list[str]]) -> list[csr_matrix]:
    """TF-IDF of one part of the texts, each row of length 1."""
    from scipy.sparse import csr_matrix, diags, vstack
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.preprocessing import normalize

    # Hashed into half a million places: no vocabulary to hold; two words in one place are a rare and small error.
    places = 2**19
    hashing = HashingVectorizer(analyzer=entries, n_features=places, alternate_sign=False, norm=None, dtype=np.float32)
    nothing = csr_matrix((0, places), dtype=np.float32)
    counts = [hashing.transform(texts) if len(texts) else nothing for texts in collections]
    every = vstack(counts).tocsr()
    weights = np.log((1 + every.shape[0]) / (1 + np.bincount(every.indices, minlength=places))) + 1
    weigh = diags(weights.astype(np.float32))
    return [normalize((matrix @ weigh).tocsr()) if matrix.shape[0] else matrix for matrix in counts]


def pair_scores(matrix: csr_matrix, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the scores of pairs of rows."""
    scores = np.zeros(len(one), np.float32)
    for begin in range(0, len(one), 20_000):
        part = slice(begin, begin + 20_000)
        scores[part] = np.asarray(matrix[one[part]].multiply(matrix[other[part]]).sum(axis=1)).ravel()
    return scores


def near_pairs(
    corpus: csr_matrix, references: csr_matrix, threshold: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Yield all pairs (row of corpus, row of references, score) with a score of ``threshold`` or more, in blocks."""
    if not corpus.shape[0] or not references.shape[0]:
        return
    prefixes, rest = _prefixes(references, np.bincount(corpus.indices, minlength=corpus.shape[1]), threshold)
    turned = prefixes.T.tocsr()
    for begin in range(0, corpus.shape[0], 1024):
        found = (corpus[begin : begin + 1024] @ turned).tocoo()
        # What the prefix gives and what the rest could add at most.
        may = found.data + rest[found.col] >= threshold
        rows, columns = found.row[may].astype(np.int64) + begin, found.col[may].astype(np.int64)
        scores = np.zeros(len(rows), np.float32)
        for at in range(0, len(rows), 50_000):
            part = slice(at, at + 50_000)
            scores[part] = np.asarray(corpus[rows[part]].multiply(references[columns[part]]).sum(axis=1)).ravel()
        good = scores >= threshold
        yield rows[good], columns[good], scores[good]


def _prefixes(
    references: csr_matrix, rows_with: NDArray[np.int64], threshold: float
) -> tuple[csr_matrix, NDArray[np.float32]]:
    """Keep of each reference its rarest entries, so that the others are shorter than the threshold."""
    from scipy.sparse import csr_matrix

    indptr, indices, data = references.indptr, references.indices, references.data
    row_of = np.repeat(np.arange(references.shape[0]), np.diff(indptr))
    # Commonest first within each row; what is left out is the longest such run whose length stays below the threshold.
    order = np.lexsort((indices, -rows_with[indices], row_of))
    squared = np.cumsum(data[order].astype(np.float64) ** 2)
    before = np.concatenate([[0.0], squared])[indptr[:-1]]
    running = squared - before[row_of[order]]
    left_out = running < (threshold - 1e-4) ** 2
    length = np.zeros(references.shape[0])
    np.maximum.at(length, row_of[order][left_out], running[left_out])
    kept = order[~left_out]
    matrix = csr_matrix((data[kept], (row_of[kept], indices[kept])), shape=references.shape)
    return matrix, (np.sqrt(length) + 1e-4).astype(np.float32)
