"""Reasoning diagnostics: what the thoughts of a run have to do with its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from bench_toys import make_questions, right, wrong
from hypothesis import given, settings
from hypothesis import strategies as st

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.running.runner import RunSettings, run_benchmark
from sari_bench.running.runs import Run, read_run
from sari_bench.thoughts.diagnostic_tables import diagnosis_sentences, diagnosis_tables
from sari_bench.thoughts.diagnostics import diagnose
from sari_bench.thoughts.lengths import cut_bins, rank_trend
from sari_data.responder import Request, Response, Sampling
from sari_data.thoughts import last_sentence
from sari_data.types import AudioQuestion


def structured(reasoning: str, summary: str, answer: str, caption: str = "A clip.") -> str:
    return (
        f"<think><planning>I listen.</planning><caption>{caption}</caption><reasoning>{reasoning}</reasoning>"
        f"<summary>{summary}</summary></think><answer>{answer}</answer>"
    )


@given(st.lists(st.integers(1, 12), max_size=40), st.integers(1, 6))
def test_bins_hold_everything_once_and_never_part_equal_lengths(lengths: list[int], bins: int) -> None:
    found = cut_bins(lengths, bins)
    assert len(found) <= bins
    assert [value for low, high in found for value in sorted(lengths) if low <= value <= high] == sorted(lengths)
    assert all(low in lengths and high in lengths for low, high in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))
    if len(set(lengths)) == len(lengths) >= bins:
        sizes = [sum(low <= value <= high for value in lengths) for low, high in found]
        assert len(found) == bins
        assert max(sizes) - min(sizes) <= 1


def test_bins_are_cut_where_the_shares_are_most_equal() -> None:
    assert cut_bins([1, 1, 1, 1, 2, 3, 4, 5], 2) == [(1, 1), (2, 5)]
    assert cut_bins([1, 2, 2, 2, 2, 2, 2, 3], 2) == [(1, 1), (2, 3)], "of two cuts as near the shorter side"
    assert cut_bins([7] * 9, 5) == [(7, 7)]
    assert cut_bins([], 5) == []


SIDES = st.lists(st.integers(0, 8), min_size=1, max_size=30)


@settings(max_examples=25)
@given(SIDES, SIDES)
def test_the_trend_is_the_mann_whitney_test(right_: list[int], wrong_: list[int]) -> None:
    from scipy.stats import mannwhitneyu

    share, p_value = rank_trend(right_, wrong_)
    pairs = [(a > b) + (a == b) / 2 for a in right_ for b in wrong_]
    assert share == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    if len(set(right_ + wrong_)) > 1:
        expected = mannwhitneyu(right_, wrong_, method="asymptotic", use_continuity=False).pvalue
        assert p_value == pytest.approx(expected, abs=1e-12)
        with_continuity = mannwhitneyu(right_, wrong_, method="asymptotic", use_continuity=True).pvalue
        assert abs(with_continuity - expected) > 1e-12 or share == 0.5, "the tolerance tells the two forms apart"
    else:
        assert (share, p_value) == (0.5, 1.0)


def test_long_thoughts_that_go_with_wrong_answers_are_seen(
    benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]
) -> None:
    def respond(question: AudioQuestion) -> str:
        index = int(question.id[1:])
        words = 10 if index < 20 else 100
        answer = right(question) if index < 20 else wrong(question)
        return f"<think>{'word ' * words}</think>{answer}"

    run = run_of(benchmark_of(40), respond, mode="unstructured")
    found = diagnose(run)
    assert (found.answers, found.thoughts, found.words.mean) == (40, 40, 55.0)
    assert [(b.low, b.high, b.tally.n, b.tally.correct) for b in found.words.bins] == [
        (10, 10, 20, 20),
        (100, 100, 20, 0),
    ]
    assert found.words.trend is not None
    assert found.words.trend.right_longer == 0
    assert found.words.trend.p_value is not None
    assert found.words.trend.p_value < 1e-8
    items = tuple(replace(i, gold=replace(i.gold, clip=f"clip {n // 20}")) for n, i in enumerate(run.score().items))
    two_clips = diagnose(run, score=replace(run.score(), items=items)).words.trend
    assert two_clips is not None
    assert (two_clips.right_longer, two_clips.p_value) == (0, None), "forty answers about two clips prove nothing"
    body = found.to_json()
    assert body["bins"][0] == {
        "from_words": 10, "to_words": 10, "n": 20, "correct": 20, "accuracy": 100.0, "interval": [83.89, 100.0],
        "clustered": None, "truncated": 0,
    }  # fmt: skip
    assert (body["unit"], body["tokens"]) == ("words", None), "nobody counted tokens"
    assert body["sections"]["think"] == {
        "present": 40, "absent": 0, "accuracy_with": 50.0, "accuracy_without": None,
    }  # fmt: skip


def test_what_the_summary_names_is_held_against_the_answer(run_of: Callable[..., Run]) -> None:
    questions = make_questions(6)  # dog, cat, rain, bell, dog, cat are right
    texts = [
        structured("r", "It is the dog.", "dog"),  # agrees, right
        structured("r", "So the bell it is.", "cat"),  # disagrees, right
        structured("r", "It is a dog or a cat.", "rain"),  # names two, right
        structured("r", "It is clear.", "dog"),  # names none, wrong
        structured("r", "The cat.", "no idea"),  # no answer can be read
        "<think><caption>c</caption><reasoning>Rain? No. It is the cat.</reasoning></think><answer>cat</answer>",
    ]
    answers = {q.id: text for q, text in zip(questions, texts, strict=True)}
    run = run_of(from_questions("toy", questions), lambda q: answers[q.id], mode="structured")
    found = diagnose(run)
    counts = {name: (part.n, part.correct) for name, part in found.agreement.items()}
    assert counts == {"agree": (2, 2), "disagree": (1, 1), "silent": (2, 1), "unread": (1, 0)}
    agrees = found.to_json()["agrees"]
    assert (agrees["agree"], agrees["accuracy_agree"], agrees["accuracy_silent"]) == (2, 100.0, 50.0)
    sections = {name: (s.present.n, s.absent.n) for name, s in found.sections.items()}
    assert sections == {"planning": (5, 1), "caption": (6, 0), "reasoning": (6, 0), "summary": (5, 1)}
    assert found.reasons == {"unparsed": {"answer is not an option": 1}}


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("One. Two.", "Two."),
        ("A dog!\nThen 2.5 m", "Then 2.5 m"),
        ("", ""),
        ("  only this ", "only this"),
        ("A?) B.", "B."),
    ],
)
def test_the_last_sentence(text: str, last: str) -> None:
    assert last_sentence(text) == last


class _Cut:
    """Thinks up to 40 words and is cut after 30."""

    name = "cut"

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        for index, request in enumerate(requests):
            cut = index > 20
            text = f"<think>{'word ' * min(10 + index, 30)}" + ("" if cut else "</think><answer>A</answer>")
            yield Response(request.id, 0, text, "length" if cut else "stop")


def test_truncation_is_counted_and_keeps_out_of_the_trend(tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    run_benchmark(from_questions("toy", make_questions(30)), _Cut(), folder, RunSettings("unstructured"))
    found = diagnose(read_run(folder))
    assert (found.truncated, found.outcomes["truncated"], found.thoughts) == (9, 9, 30)
    assert found.words.trend is not None
    assert found.words.trend.n == 21
    assert sum(b.truncated for b in found.words.bins) == 9
    assert found.words.bins[-1].truncated == 9, "they are the longest"
    assert found.reasons == {"truncated": {"answer cut off by the length limit": 9}}
    assert Counter(found.outcomes)["correct"] == sum(b.tally.correct for b in found.words.bins)


class _Counting:
    """Thinks the same words everywhere in ever more tokens; it does not count every fourth response."""

    name = "counting"

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        for index, request in enumerate(requests):
            text = f"<think>{'word ' * 7}</think><answer>{'ABCD'[index % 4] if index < 20 else 'no idea'}</answer>"
            yield Response(request.id, 0, text, "stop", 0 if index % 4 == 3 else 30 + index, prompt_tokens=900)


def test_tokens_of_the_response_stand_beside_words_of_the_thought_where_they_were_counted(tmp_path: Path) -> None:
    folder = tmp_path / "counting"
    run_benchmark(from_questions("toy", make_questions(40)), _Counting(), folder, RunSettings("unstructured"))
    found = diagnose(read_run(folder))
    assert [(b.low, b.high, b.tally.n) for b in found.words.bins] == [(7, 7, 40)], "words tell nothing here"
    assert found.words.trend is not None
    assert found.words.trend.right_longer == 0.5
    assert found.tokens is not None
    counted = [30 + index for index in range(40) if index % 4 != 3]
    assert (found.tokens.n, found.tokens.mean) == (30, pytest.approx(sum(counted) / 30))
    assert sum(b.tally.n for b in found.tokens.bins) == 30, "no length is made up for what was not counted"
    assert [b.tally.accuracy for b in found.tokens.bins] == [1, 1, 0.5, 0, 0]
    assert found.tokens.trend is not None
    assert found.tokens.trend.right_longer == 0
    body = found.to_json()
    assert (body["unit"], body["mean_words"], body["tokens"]["n"]) == ("words", 7.0, 30)
    assert set(body["tokens"]["bins"][0]) == {*body["bins"][0], "from_tokens", "to_tokens"} - {"from_words", "to_words"}
    said = " ".join(diagnosis_sentences(found))
    assert "have these thoughts (30 of them were counted) take" in said
    assert "0.0 % of all pairs of a right and a wrong answer the right one has the longer response, in tokens" in said
    headers = [header[0] for _, header, _ in diagnosis_tables(found)]
    assert headers[:2] == ["words of the thought", "tokens of the response"]


def test_a_run_without_thoughts_says_so(benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]) -> None:
    found = diagnose(run_of(benchmark_of(4), right))
    assert not found.has_thoughts
    assert (found.words.bins, found.words.trend, found.sections, found.swapped) == ((), None, {}, None)
    assert "model@direct has no thoughts" in next(diagnosis_sentences(found))
    assert list(diagnosis_tables(found)) == []
    again = run_of(benchmark_of(4), right, name="again")
    official = diagnose(again, "official")
    assert official.outcomes["correct"] == 4
    assert diagnose(again, score=again.score("official")) == official


def test_several_samples_have_no_p_and_a_lost_mode_loses_only_its_absent_sections(
    benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]
) -> None:
    draws = np.random.default_rng(0)
    run = run_of(
        benchmark_of(12),
        lambda q: (
            f"<think>{'w ' * int(draws.integers(1, 9))}</think>" + (right(q) if q.domain == "sound" else wrong(q))
        ),
        mode="unstructured",
    )
    run.meta["mode"] = "gone"
    assert set(diagnose(run).sections) == {"think"}
    run.meta["samples"] = 2
    found = diagnose(run)
    assert found.words.trend is not None
    assert found.words.trend.p_value is None
    assert (found.answers, found.outcomes["missing"]) == (12, 12)
