"""What guessing by a rule scores, from the questions alone: no model, no audio.

A benchmark on which "always the first" scores 39.5 % is no test of hearing below that. Rules that learn (the most
frequent answer, the likeliest position, words of the options) leave the question that they guess at out, so none has
seen its answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sari_bench.benchmarks.base import Gold
from sari_bench.statistics.metrics import UNGRADABLE, Tally, percent, tally
from sari_data.errors import BenchmarkError
from sari_data.options import loose_form

Guess = int | None  # the option's index; None where the rule has no option to guess
Rule = Callable[[Sequence[Gold]], Iterable[Guess]]


@dataclass(frozen=True, slots=True)
class Prior:
    """What one rule scores.

    Args:
        name: The rule in a few words.
        about: What exactly it does, ties included.
        right: Ids of the questions that it gets right.
        tally: Counts; a question without the option that the rule wants counts as wrong.
    """

    name: str
    about: str
    right: frozenset[str]
    tally: Tally

    def to_json(self) -> dict[str, Any]:
        """Return counts, accuracy and interval in percent."""
        body = self.tally.to_json()
        return {"about": self.about, **{key: body[key] for key in ("n", "correct", "accuracy", "interval")}}


@dataclass(frozen=True, slots=True)
class Chance:
    """What guessing uniformly among the options as shown scores.

    Args:
        n: Questions.
        expected: Expected accuracy, in [0, 1]: the mean over questions of the share of options with the right text. A
            repeated option counts as often as it is shown; a right answer that is no option cannot be guessed.
        middle: The accuracies between which at least 95 % of such guessers end: the 2.5 % and 97.5 % quantiles of the
            exact distribution of their number right (a Poisson binomial).
    """

    n: int
    expected: float
    middle: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Return the expectation and the range in percent."""
        low, high = self.middle
        return {"n": self.n, "accuracy": percent(self.expected), "middle_95": [percent(low), percent(high)]}


def chance(golds: Sequence[Gold]) -> Chance:
    """Return what guessing uniformly scores.

    Raises:
        BenchmarkError: No questions, or answers are withheld.
    """
    import numpy as np

    check_answers(golds)
    shares = [gold.choices.count(str(gold.answer)) / len(gold.choices) for gold in golds]
    pmf = np.ones(1)
    for share in shares:
        pmf = np.append(pmf, 0.0) * (1 - share) + np.append(0.0, pmf) * share
    below = np.cumsum(pmf)
    # The cumulative sum ends a rounding error short of 1 or beyond it, far from the two quantiles.
    low, high = (int(np.searchsorted(below, quantile)) for quantile in (0.025, 0.975))
    return Chance(len(golds), math.fsum(shares) / len(golds), (low / len(golds), high / len(golds)))


def priors(golds: Sequence[Gold]) -> list[Prior]:
    """Return what every rule scores on these questions.

    Raises:
        BenchmarkError: No questions, or answers are withheld.
    """
    check_answers(golds)
    most = max(len(gold.choices) for gold in golds)
    rules: list[tuple[str, str, Rule]] = [
        (
            f"always ({_letter(at)})" if at else "always the first",
            f"option ({_letter(at)}); wrong where there are fewer options",
            partial(_always, at),
        )
        for at in range(most)
    ]
    rules += [
        ("always the last", "the last option", lambda asked: (len(gold.choices) - 1 for gold in asked)),
        ("longest option", "most characters; of several the first", lambda asked: (_longest(g) for g in asked)),
        ("shortest option", "fewest characters; of several the first", lambda asked: (_shortest(g) for g in asked)),
        (
            "most frequent answer",
            "the option whose text is the right answer of most other questions; of several the first",
            _frequent,
        ),
        (
            "likeliest position",
            "the position that is right in most other questions with as many options; of several the first",
            _likeliest,
        ),
        (
            "words of the options",
            "the option whose words stand most in right options and least in wrong ones of the other questions: naive "
            "Bayes, with the mean over the words so that long options have no advantage; of several the first",
            _by_words,
        ),
    ]
    return [_score(name, about, golds, list(rule(golds))) for name, about, rule in rules]


def check_answers(golds: Sequence[Gold]) -> None:
    """Raise BenchmarkError where there are no questions, or where answers are withheld."""
    withheld = sum(gold.answer is None for gold in golds)
    if withheld or not golds:
        what = f"{withheld:,} of {len(golds):,} questions have their answers withheld" if golds else "there are none"
        raise BenchmarkError(
            f"shortcuts are measured against the right answers, and {what}: take a benchmark with answers"
        )


def _always(at: int, golds: Sequence[Gold]) -> Iterator[Guess]:
    return (at if at < len(gold.choices) else None for gold in golds)


def _score(name: str, about: str, golds: Sequence[Gold], guesses: Sequence[Guess]) -> Prior:
    right = frozenset(
        gold.id
        for gold, guess in zip(golds, guesses, strict=True)
        if guess is not None and gold.choices[guess] == gold.answer
    )
    outcomes = (
        (gold.id, "correct" if gold.id in right else "wrong" if gold.gradable else UNGRADABLE) for gold in golds
    )
    return Prior(name, about, right, tally(outcomes, clusters={gold.id: gold.cluster for gold in golds}))


def _letter(at: int) -> str:
    return chr(ord("A") + at) if at < 26 else str(at + 1)


def _longest(gold: Gold) -> int:
    return _best([len(choice) for choice in gold.choices])


def _shortest(gold: Gold) -> int:
    return _best([-len(choice) for choice in gold.choices])


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda at: (values[at], -at))


def _frequent(golds: Sequence[Gold]) -> Iterator[Guess]:
    counts = Counter(loose_form(str(gold.answer)) for gold in golds)
    for gold in golds:
        own = loose_form(str(gold.answer))
        forms = [loose_form(choice) for choice in gold.choices]
        yield _best([counts[form] - (form == own) for form in forms])


def _likeliest(golds: Sequence[Gold]) -> Iterator[Guess]:
    counts = Counter((len(gold.choices), gold.choices.index(str(gold.answer))) for gold in golds if gold.gradable)
    for gold in golds:
        own = gold.choices.index(str(gold.answer)) if gold.gradable else None
        size = len(gold.choices)
        yield _best([counts[size, at] - (at == own) for at in range(size)])


def _by_words(golds: Sequence[Gold]) -> Iterator[Guess]:
    """Guess by each option's mean log odds that its words stand in a right option, with one added to each count."""
    options = [[frozenset(loose_form(choice).split()) for choice in gold.choices] for gold in golds]
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for gold, sets in zip(golds, options, strict=True):
        for choice, words in zip(gold.choices, sets, strict=True):
            (right if choice == gold.answer else wrong).update(words)
    vocabulary, rights, wrongs = len(right | wrong), right.total(), wrong.total()
    for gold, sets in zip(golds, options, strict=True):
        own_right: Counter[str] = Counter()
        own_wrong: Counter[str] = Counter()
        for choice, words in zip(gold.choices, sets, strict=True):
            (own_right if choice == gold.answer else own_wrong).update(words)
        all_right = rights - own_right.total() + vocabulary
        all_wrong = wrongs - own_wrong.total() + vocabulary

        def odds(word: str, own_right: Counter[str] = own_right, own_wrong: Counter[str] = own_wrong) -> float:
            return (right[word] - own_right[word] + 1) / (wrong[word] - own_wrong[word] + 1)

        base = math.log(all_wrong / all_right)
        # Words are sorted, so that sums do not depend on the order of a set.
        yield _best([base + math.fsum(math.log(odds(w)) for w in sorted(words)) / max(len(words), 1) for words in sets])
