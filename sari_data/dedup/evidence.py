"""Which texts of a benchmark are in a training corpus, and whether that is evidence or what chance gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sari_data.dedup.chance import MOST_EXPECTED, Chance
from sari_data.dedup.collection import Benchmark, Held
from sari_data.dedup.findings import EXACT, GENERIC, NEAR, OTHER_ANSWER, QUESTION, Dedup
from sari_data.dedup.matching import Match, Matches, keep_best
from sari_data.dedup.text import FUNCTION, Text, answers_agree, may_be_near, near_pairs, vectorise

# Shorter texts, question and options together, are written twice without being copied. GPT-3's authors took no n-gram
# below eight words either (arXiv 2005.14165, appendix C).
SHORTEST = 8
# An id so long is not what two authors give by counting.
_LONG_ID = 16
# Of the corpus's texts near one of the benchmark's so many are looked at; before that, so many pairs are in memory.
_NEAREST, _MOST_PAIRS = 20, 200_000


def match_evidence(held: Held, corpus: Benchmark, table: Dedup) -> Matches:
    """Return the best match of each text of a benchmark with a corpus's texts.

    Grades that count: ``exact`` and ``near``. That do not: ``generic`` (question and options, as they would come by
    chance), ``other_answer``, and ``question`` (its question with other options).

    Args:
        held: The benchmark.
        corpus: The corpus.
        table: ``near`` and ``generic`` play a part.
    """
    matches: Matches = {}
    if not len(held.texts) or not len(corpus.texts):
        return matches
    first_with: dict[int, int] = {}
    for question, text in enumerate(corpus.text_numbers):
        if text >= 0:
            first_with.setdefault(text, question)
    same, near = _equal(held, corpus), _near(held, corpus, table)
    clips = np.bincount([text for text, _ in set(zip(held.text_numbers, held.clip_numbers, strict=True))])
    chance = Chance(held.texts, corpus.texts, sorted(same.keys() | near.keys()), clips.tolist())
    often = _asked_often(held, corpus, table)
    copied = _same_ids(held, corpus)
    asked = dict(zip(reversed(corpus.texts.question_keys), reversed(range(len(corpus.texts))), strict=True))
    for number, own in enumerate(held.texts):
        agreeing = [other for other in same.get(number, ()) if answers_agree(own, corpus.texts[other])]
        copies = [(own, False), *((corpus.texts[other], True) for other in agreeing)]
        for other in same.get(number, ()):
            grade = OTHER_ANSWER
            if other in agreeing:
                weak = _words(own) < SHORTEST or held.texts.keys[number] in often
                weak = weak or chance.of_text(own, own.options, copies, same=True) > MOST_EXPECTED
                grade = GENERIC if weak and (number, other) not in copied else EXACT
            keep_best(matches, number, Match("text", grade, first_with[other], 1.0, grade == EXACT))
        for other, score in near.get(number, ()):
            counts = _is_reworded(_Pair(own, corpus.texts[other]), copies, chance)
            grade = NEAR if counts else GENERIC
            keep_best(matches, number, Match("text", grade, first_with[other], round(min(1.0, score), 3), counts))
        like = asked.get(held.texts.question_keys[number])
        if like is not None:
            keep_best(matches, number, Match("text", QUESTION, first_with[like], 0.0, False))
    return matches


@dataclass(frozen=True, slots=True)
class _Pair:
    """A benchmark's text and one of the corpus that is near it."""

    own: Text
    other: Text

    @property
    def shared(self) -> list[str]:
        return [option for option in self.own.options if option in self.other.options]

    @property
    def only(self) -> tuple[set[str], set[str]]:
        """The words of each question that say something and that the other one has not."""
        first, second = _content(self.own), _content(self.other)
        return first - second, second - first


def _is_reworded(pair: _Pair, copies: Sequence[tuple[Text, bool]], chance: Chance) -> bool:
    """Whether a near text is the benchmark's question in other words, and no other question of its kind."""
    if _words(pair.own) < SHORTEST:
        return False
    copies = [*copies, (pair.other, True)]
    shared, (only_own, only_other) = pair.shared, pair.only
    in_both = len(_content(pair.own) - only_own)
    if in_both + min(len(only_own), len(only_other)) > 2 * in_both:
        return False
    # Half of the options in common say as little as none.
    alike = 2 * len(shared) > max(len(pair.own.options), len(pair.other.options))
    same = pair.own.question == pair.other.question
    if alike and chance.of_text(pair.own, shared, copies, same=same) > MOST_EXPECTED:
        return False
    if alike and chance.of_options(pair.own, shared, copies) <= MOST_EXPECTED:
        return True
    # Then the words must say it: some may be added or left out, but none stands for another one.
    return (alike or not pair.own.options) and not (only_own and only_other)


def _content(text: Text) -> set[str]:
    return set(text.question.split()) - FUNCTION


def _words(text: Text) -> int:
    return sum(len(part.split()) for part in (text.question, *text.options))


def _equal(held: Held, corpus: Benchmark) -> dict[int, list[int]]:
    """Of each text of the benchmark the corpus's texts with its question and options, in their order."""
    wanted = set(held.texts.keys)
    by_key: dict[int, list[int]] = {}
    for other, key in enumerate(corpus.texts.keys):
        if key in wanted:
            by_key.setdefault(key, []).append(other)
    return {number: by_key[key] for number, key in enumerate(held.texts.keys) if key in by_key}


def _near(held: Held, corpus: Benchmark, table: Dedup) -> dict[int, list[tuple[int, float]]]:
    """Of each text of the benchmark the corpus's nearest other texts, and those with just its options.

    Texts whose question is asked in many ways are compared only where the options are the same: there may be millions
    of such pairs, and only options tell them apart.
    """
    mine, theirs = (_asked_in_few_ways(side, table.generic) for side in (held, corpus))
    common = set(np.array(held.texts.question_keys, np.uint64)[~mine].tolist())
    common |= set(np.array(corpus.texts.question_keys, np.uint64)[~theirs].tolist())
    listed = np.array(sorted(common), np.uint64)
    columns, rows = (
        np.flatnonzero(~np.isin(np.array(side.texts.question_keys, np.uint64), listed)) for side in (held, corpus)
    )
    benchmark, others = vectorise(held.texts, corpus.texts)
    pairs = {
        (int(columns[own]), int(rows[other])): score
        for own, other, score in _nearest(near_pairs(others[rows], benchmark[columns], table.near))
    }
    same = np.array(_same_options(held, corpus), np.int64).reshape(-1, 2)
    alike = np.asarray(benchmark[same[:, 0]].multiply(others[same[:, 1]]).sum(axis=1)).ravel()
    for (own, other), score in zip(same.tolist(), alike.tolist(), strict=True):
        if score >= table.near:
            pairs[own, other] = score
    found: dict[int, list[tuple[int, float]]] = {}
    for (own, other), score in sorted(pairs.items()):
        differ = held.texts.keys[own] != corpus.texts.keys[other]
        if differ and may_be_near(held.texts[own], corpus.texts[other], strict=False):
            found.setdefault(own, []).append((other, score))
    return found


def _same_options(held: Held, corpus: Benchmark) -> list[tuple[int, int]]:
    """The pairs of texts with the same options, where few of the corpus's texts have these."""
    wanted = [text.options_key for text in held.texts]
    by_key: dict[int, list[int]] = {key: [] for key in wanted}
    for number, text in enumerate(corpus.texts):
        those = by_key.get(text.options_key)
        if those is not None and len(those) <= _NEAREST:
            those.append(number)
    return [(own, other) for own, key in enumerate(wanted) if len(by_key[key]) <= _NEAREST for other in by_key[key]]


def _nearest(
    blocks: Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]],
) -> list[tuple[int, int, float]]:
    """Return (benchmark, corpus, score) of the best pairs of each of the benchmark's texts; memory is bounded."""
    numbers, others, scores = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    for their, own, score in blocks:
        numbers, others = np.concatenate([numbers, own]), np.concatenate([others, their])
        scores = np.concatenate([scores, score])
        if numbers.size > _MOST_PAIRS:
            best = _best(numbers, others, scores)
            numbers, others, scores = numbers[best], others[best], scores[best]
    best = _best(numbers, others, scores)
    return list(zip(numbers[best].tolist(), others[best].tolist(), scores[best].tolist(), strict=True))


def _best(numbers: NDArray[np.int64], others: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which pairs are among the best of their text, best first."""
    order = np.lexsort((others, -scores, numbers))
    begins = np.searchsorted(numbers[order], numbers[order], "left")
    return order[np.arange(order.size) - begins < _NEAREST]


def _asked_in_few_ways(side: Held, most: int) -> NDArray[np.bool_]:
    """Which texts have a question that at most so many texts have."""
    keys = np.array(side.texts.question_keys, np.uint64)
    _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.asarray(counts[which] <= most)


def _asked_often(held: Held, corpus: Benchmark, table: Dedup) -> set[int]:
    """The keys of texts that either side asks of more different recordings than ``table.generic``.

    Rows that do not say which recording they are about are no different recordings: copies of a leak would be.
    """
    named = np.array(corpus.named, np.uint64)
    clips = corpus.clip_of.astype(np.int64).astype(np.uint64)
    recordings = np.where(corpus.clip_of >= 0, clips, named)
    often: set[int] = set()
    for side, about, known in (
        (held, held.clip_of.astype(np.uint64), np.ones(len(held.ids), bool)),
        (corpus, recordings, (corpus.clip_of >= 0) | (named > 0)),
    ):
        chosen = np.flatnonzero(known & (side.text_of >= 0))
        keys = np.array(side.texts.keys, np.uint64)[side.text_of[chosen]]
        both = np.unique(np.stack([keys, about[chosen]], axis=1), axis=0)
        found, counts = np.unique(both[:, 0], return_counts=True)
        often |= set(found[counts > table.generic].tolist())
    return often


def _same_ids(held: Held, corpus: Benchmark) -> set[tuple[int, int]]:
    """The pairs of texts that have the same question, options and id, where the id is no mere number."""
    mine = {id: held.text_numbers[number] for number, id in enumerate(held.ids) if len(id) >= _LONG_ID}
    pairs = ((mine[id], corpus.text_numbers[number]) for number, id in enumerate(corpus.ids) if id in mine)
    return {(own, other) for own, other in pairs if other >= 0}
