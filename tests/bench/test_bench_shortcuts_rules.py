"""What rules score without a model: published figures, chance exactly, and nothing learned from the question itself."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from heard_toys import row_of
from hypothesis import given
from hypothesis import strategies as st

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.shortcuts.figures import rules_only
from sari_bench.shortcuts.priors import chance, priors
from sari_data.errors import InputError

Call = Callable[..., tuple[int, str, str]]


def _golds(*questions: tuple[tuple[str, ...], str | None]) -> list[Gold]:
    return [Gold(f"q{i}", "Which?", choices, answer, "sound") for i, (choices, answer) in enumerate(questions)]


def _scores(golds: list[Gold]) -> dict[str, int]:
    return {prior.name: prior.tally.correct for prior in priors(golds)}


def test_the_rules_score_on_mmau_what_is_published_of_them(shared_data: Path) -> None:
    path = shared_data / "mmau" / "mmau-test-mini.v05.15.25.json"
    benchmark = load_benchmark("mmau-test-mini", path)
    scores = _scores(list(benchmark.golds))
    assert (scores["always the first"], scores["longest option"]) == (395, 394)
    assert [scores[f"always ({letter})"] for letter in "BCDEFGH"] == [271, 212, 133, 5, 0, 0, 0]
    row = row_of(rules_only(benchmark), "always the first")
    assert (row.accuracy, row.n) == (0.395, 1000)
    assert row.to_json()["interval"] == [36.52, 42.56]


GOLDS = st.lists(
    st.tuples(st.lists(st.sampled_from("abc"), min_size=2, max_size=8), st.sampled_from("abcx")), min_size=1, max_size=3
).map(lambda rows: _golds(*((tuple(choices), answer) for choices, answer in rows)))


@given(GOLDS)
def test_chance_is_what_all_guessers_together_score(golds: list[Gold]) -> None:
    """Every guesser there can be, counted one by one."""
    rights = [
        sum(g.choices[at] == g.answer for g, at in zip(golds, guess, strict=True))
        for guess in itertools.product(*(range(len(g.choices)) for g in golds))
    ]
    found = chance(golds)
    assert found.expected == pytest.approx(sum(rights) / len(rights) / len(golds), abs=1e-12)
    low, high = (round(share * len(golds)) for share in found.middle)
    assert low == min(k for k in range(9) if sum(r <= k for r in rights) >= 0.025 * len(rights) * (1 - 1e-9))
    assert high == min(k for k in range(9) if sum(r <= k for r in rights) >= 0.975 * len(rights) * (1 - 1e-9))


@given(GOLDS)
def test_rules_that_learn_do_not_know_the_question_they_guess_at(golds: list[Gold]) -> None:
    """With another right answer for one question, the guess at it stays the same; the counts are taken anew here."""
    found = {prior.name: prior.right for prior in priors(golds)}
    for at, gold in enumerate(golds):
        others = golds[:at] + golds[at + 1 :]
        texts = Counter(other.answer for other in others)
        places = Counter(
            other.choices.index(str(other.answer))
            for other in others
            if other.gradable and len(other.choices) == len(gold.choices)
        )
        text = max(gold.choices, key=lambda choice: texts[choice])
        place = max(range(len(gold.choices)), key=lambda p: places[p])
        assert (gold.id in found["most frequent answer"]) == (text == gold.answer)
        assert (gold.id in found["likeliest position"]) == (gold.choices[place] == gold.answer)
        rights = 0
        for choice in dict.fromkeys(gold.choices):
            changed = [*golds[:at], dataclasses.replace(gold, answer=choice), *golds[at + 1 :]]
            rights += gold.id in next(p.right for p in priors(changed) if p.name == "words of the options")
        assert rights == 1, "whatever the right answer is, the guess is one and the same option"


def test_each_rule_finds_what_is_planted_for_it() -> None:
    longest = _golds(*(((("a", "bb", "cc dd"), "cc dd"),) * 3), (("x", "yy"), "yy"))
    assert _scores(longest)["longest option"] == _scores(longest)["always the last"] == 4
    assert _scores(longest)["shortest option"] == 0
    ties = _golds((("aa", "bb"), "aa"), (("cc", "dd"), "dd"))
    assert _scores(ties)["longest option"] == _scores(ties)["shortest option"] == 1, "of several the first"
    words = _golds(*(((f"{w} sings", f"{w} barks"), f"{w} sings") for w in ("dog", "cat", "owl", "fox")))
    assert _scores(words)["words of the options"] == 4
    assert _scores(_golds((("a", "b"), "b"), (("c", "b"), "b"), (("b", "d"), "b")))["most frequent answer"] == 3


def test_a_right_answer_that_is_no_option_is_never_guessed_and_a_withheld_one_is_said() -> None:
    stray = _golds((("a", "b"), "c"), (("a", "b"), "a"))
    assert chance(stray).expected == 0.25
    assert _scores(stray)["always the first"] == 1
    golds = _golds((("a", "b"), None), (("a", "b"), "a"))
    with pytest.raises(InputError, match="withholds the answers to 1 of its 2 questions"):
        rules_only(Benchmark("toy", "1", "0", (), tuple(golds)))
