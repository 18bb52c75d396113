"""Majority votes, ties, questions on which nobody votes, and pass@k against counting every draw."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest
from bench_scores import gold_of, score_of, scored
from hypothesis import given, settings
from hypothesis import strategies as st

from sari_bench.scoring import Answer, BenchmarkGolds, score, summarize
from sari_bench.statistics.metrics import OUTCOMES, wilson
from sari_bench.statistics.voting import (
    has_votes,
    majority,
    pass_at,
    pass_chance,
    shown_pass_at,
    vote,
    vote_lines,
    votes_json,
)
from sari_data.errors import InputError

SAID = st.one_of(st.integers(0, 3), st.sampled_from(["unparsed", "truncated", "refused", "missing"]))
SAMPLES = st.integers(1, 6).flatmap(
    lambda k: st.dictionaries(
        st.integers(0, 99).map(lambda i: f"q{i}"), st.lists(SAID, min_size=k, max_size=k), min_size=1, max_size=12
    )
)


def test_the_option_with_most_votes_wins_and_what_was_not_read_does_not_vote() -> None:
    score = score_of(
        {
            "q1": [1, 0, 0],
            "q2": [2, 1, 1],
            "q3": ["unparsed", "refused", 0],
            "q4": ["truncated", "unparsed", "truncated"],
            "q5": ["missing", "missing", "unparsed"],
        }
    )
    voted = majority(score)
    assert [item.outcome for item in voted.items] == ["correct", "wrong", "correct", "truncated", "missing"]
    assert [item.choice for item in voted.items] == [0, 1, 0, None, None]
    assert voted.items[3].reason == "because it is truncated"
    assert (voted.overall.n, voted.overall.correct) == (5, 2)
    assert vote(score)[1].silent == 2
    assert vote(score)[1].unanimous == 1


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ([0, 1], "correct"),
        ([1, 0], "wrong"),
        ([2, 0, 0, 2], "wrong"),
        ([1, 0, 2, 0, 2], "correct"),  # two each for 0 and 2; 0 was first
        (["unparsed", 0, 1, 1, 0], "correct"),
        (["refused", "unparsed"], "refused"),
        (["missing", "truncated", "truncated", "missing"], "missing"),
    ],
)
def test_ties_go_to_the_first_vote(said: list[int | str], outcome: str) -> None:
    assert majority(score_of({"q": said})).items[0].outcome == outcome


def test_samples_vote_in_the_order_of_their_numbers_and_repeated_options_are_one() -> None:
    gold = gold_of("q1", choices=("dog", "cat", "dog", "bell"))
    items = [scored(gold, 1, sample=2), scored(gold, 0, sample=1), scored(gold, 1, sample=3), scored(gold, 2, sample=0)]
    voted = majority(summarize(BenchmarkGolds("toy", "1", "0", (gold,)), items, "answer"))
    assert (voted.items[0].outcome, voted.items[0].answer.sample) == ("correct", 0), "dog twice, cat twice; dog first"


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_votes_are_one_outcome_a_question_and_that_of_a_plain_count(said: dict[str, list[int | str]]) -> None:
    score = score_of(said)
    voted = majority(score)
    assert sum(voted.overall.outcomes.values()) == voted.overall.n == len(said)
    for item in voted.items:
        ballots = [one for one in said[item.gold.id] if isinstance(one, int)]
        if ballots:
            counts = Counter(ballots)
            assert counts[item.choice] == max(counts.values())
            assert all(
                ballots.index(item.choice) <= ballots.index(o) for o in counts if counts[o] == counts[item.choice]
            )
        else:
            assert item.outcome in said[item.gold.id]
    assert all(outcome in OUTCOMES for outcome in voted.overall.outcomes)


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_counts_every_draw(numbers: tuple[int, int, int]) -> None:
    n, right, k = numbers
    draws = list(itertools.combinations([True] * right + [False] * (n - right), k))
    assert pass_chance(n, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))
    if 0 < right < n and 1 < k < n:
        biased = 1 - (1 - right / n) ** k  # what one would write first; Chen et al. show that it is too low
        assert pass_chance(n, right, k) > biased + 1e-9


def test_pass_at_k_over_questions_with_its_intervals() -> None:
    score = score_of({f"q{i}": [0] * (i % 5) + [1] * (4 - i % 5) for i in range(50)})
    found = pass_at(score)
    assert [one.k for one in found] == [1, 2, 3, 4]
    assert found[0].value == pytest.approx(score.overall.correct / score.overall.n)
    expected = sum(1 - math.comb(4 - c, 2) / math.comb(4, 2) for c in range(5)) / 5
    assert (found[1].value, found[3].value) == pytest.approx((expected, 0.8))
    assert [one.k for one in shown_pass_at(found)] == [2, 4]
    assert [one.value for one in found] == sorted(one.value for one in found)
    assert all(one.interval[0] < one.value < one.interval[1] for one in found)
    assert pass_at(score) == found
    never = pass_at(score_of({f"q{i}": [1, 1] for i in range(40)}))
    assert [(one.value, one.interval) for one in never] == [(0.0, wilson(0, 40))] * 2, (
        "nothing right is not certainly 0"
    )
    many = score_of({"q1": [0] * 70, "q2": [1] * 70})
    assert [one.k for one in pass_at(many)] == [1, 2, 4, 8, 16, 32, 64, 70]


def test_lines_and_json_say_the_same() -> None:
    score = score_of({f"q{i}": [0, 0, i % 4] for i in range(20)} | {"q99": ["unparsed"] * 3})
    lines = vote_lines(score)
    assert lines[0].startswith("mean of 3 samples: 71.43 % [")
    assert lines[1].startswith("majority vote: 95.24 % [")
    assert lines[1].endswith("of 21 questions (5 unanimous, 0 tied, 1 without a vote)")
    assert [part.split()[0] for part in lines[2].split(", ")] == ["pass@2", "pass@3"], "pass@1 is the mean"
    body = votes_json(score)
    assert body is not None
    assert (body["majority"]["accuracy"], body["majority"]["without_a_vote"]) == (95.24, 1)
    assert [one["k"] for one in body["pass_at"]] == [1, 2, 3]
    assert vote_lines(score_of({"q1": [0]})) == []
    assert votes_json(score_of({"q1": [0]})) is None


def test_a_scorer_that_reads_no_option_lets_nobody_vote() -> None:
    score = score_of({"q1": [0, 1]})
    bare = [type(item)(item.gold, item.answer, item.outcome) for item in score.items]
    told = summarize(BenchmarkGolds("toy", "1", "0", (score.items[0].gold,)), bare, "official")
    assert has_votes(score)
    assert not has_votes(told)
    assert "no majority vote" in vote_lines(told)[1]
    with pytest.raises(InputError, match="scorer 'official' does not say which option it read"):
        majority(told)


def test_a_gold_that_is_no_option_has_the_votes_of_the_answers_that_match_it() -> None:
    """The official rule accepts "a bird" where no option says so: two such answers outvote a cat."""
    gold = replace(gold_of("q1", choices=("a dog", "a cat")), answer="a bird")
    about = BenchmarkGolds("toy", "1", "0", (gold,))
    said = ("a cat", "a bird", "a bird")
    answers = {"q1": [Answer("q1", text, sample, raw=False) for sample, text in enumerate(said)]}
    voted = majority(score(about, answers, "official", 3))
    assert (voted.overall.correct, voted.overall.n) == (1, 1)
    by_reader = score(about, answers, "answer", 3)
    assert majority(by_reader).overall.outcomes["ungradable"] == 1
    assert by_reader.notes == ("3 of 3 answers cannot be right because the gold is not among the choices",)
    few = score(about, {"q1": answers["q1"][:1]}, "official", 3)
    assert few.notes[0].startswith("2 of 3 answers are missing; the total of 'official'"), "one question"
