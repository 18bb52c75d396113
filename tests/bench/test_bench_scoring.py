"""The official scorer against MMAU's published figures, to the digit; the honest one beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_bench import scoring
from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.metrics import percent
from sari_bench.predictions import read_predictions
from sari_bench.scoring import Answer, BenchmarkGolds, Score, score, string_match

MODELS = ("r1-aqa", "qwen2-audio-7b-instruct")
REVISIONS = ("v03.25.25", "v05.15.25")


def _score(shared_data: Path, model: str, revision: str, scorer: str) -> Score:
    folder = shared_data / "mmau"
    benchmark = load_benchmark("mmau-test-mini", folder / f"mmau-test-mini.{revision}.json")
    assert benchmark.version == revision
    predictions = read_predictions(folder / "predictions" / f"{model}.json")
    return score(benchmark, {key: [Answer(key, text, raw=False)] for key, text in predictions.items()}, scorer)


def _figures(result: Score) -> dict[str, object]:
    figures: dict[str, object] = {
        "correct": result.overall.correct,
        "total": result.overall.n,
        "accuracy": percent(result.overall.accuracy),
    }
    for dimension in ("task", "difficulty", "sub-category"):
        figures[dimension] = {
            name: {"correct": part.correct, "total": part.n} for name, part in result.by[dimension].items() if part.n
        }
    return figures


def _expected(shared_data: Path) -> dict[str, dict[str, object]]:
    path = shared_data / "mmau" / "expected_official_scores.json"
    expected: dict[str, dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))
    return expected


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("model", MODELS)
def test_official_equals_the_published_evaluation(shared_data: Path, model: str, revision: str) -> None:
    assert _figures(_score(shared_data, model, revision, "official")) == _expected(shared_data)[f"{model}@{revision}"]


def test_parity_catches_a_rule_that_is_a_little_off(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_contains(answer: str, prediction: str, choices: object) -> bool:
        return set(answer.lower().split()) <= set(prediction.lower().split())

    monkeypatch.setattr(scoring, "string_match", only_contains)
    found = _figures(_score(shared_data, "r1-aqa", "v03.25.25", "official"))
    assert found != _expected(shared_data)["r1-aqa@v03.25.25"]


def test_the_honest_denominator_stands_beside_the_official_one(shared_data: Path) -> None:
    result = _score(shared_data, "r1-aqa", "v05.15.25", "official")
    assert (result.overall.n, result.honest.n, result.honest.correct) == (894, 1000, 520)
    assert result.overall.outcomes["missing"] == 106
    assert any("106 of 1000 questions have no prediction" in note for note in result.notes)
    assert any("106 predictions have an id that is not in the benchmark" in note for note in result.notes)


@pytest.mark.parametrize("scorer", ["answer", "official"])
def test_outcomes_add_up_in_every_group_of_real_data(shared_data: Path, scorer: str) -> None:
    result = _score(shared_data, "qwen2-audio-7b-instruct", "v05.15.25", scorer)
    for parts in result.by.values():
        assert sum(part.n for part in parts.values()) == result.overall.n
        assert sum(part.correct for part in parts.values()) == result.overall.correct
        for part in parts.values():
            left_out = part.outcomes["missing"] if scorer == "official" else 0
            assert sum(part.outcomes.values()) == part.n + left_out


@pytest.mark.parametrize(
    ("answer", "prediction", "choices", "right"),
    [
        ("Man", "a man", ["Man", "Woman"], True),
        ("Man", "a man and a woman", ["Man", "Woman"], False),
        ("Man", "", ["Man", "Woman"], False),
        ("Man", "?!", ["Man", "Woman"], False),
        ("?", "man", ["?", "Woman"], True),  # an answer without tokens asks for nothing, so nothing is lacking
        ("C major", "c MAJOR.", ["C major", "C minor"], True),
        ("C major", "major", ["C major", "C minor"], False),
        ("Yes.", "yes", ["Yes.", "yes", "No"], True),  # the same tokens are not another option
        ("a_b", "a b", ["a_b", "c"], False),  # an underscore is part of a word
        ("Café", "café", ["Café", "Bar"], True),
        ("two dogs", "two dogs bark", ["two dogs", "two dogs bark"], False),
    ],
)
def test_string_match(answer: str, prediction: str, choices: list[str], right: bool) -> None:
    assert string_match(answer, prediction, choices) is right


def _golds(*golds: Gold) -> BenchmarkGolds:
    return BenchmarkGolds("toy", "1", "0", golds)


def test_a_gold_outside_the_choices_is_counted_apart() -> None:
    good = Gold("a", "q?", ("dog", "cat"), "dog", "sound")
    stray = Gold("b", "q?", ("dog", "cat"), "a dog", "sound")
    answers = {key: [Answer(key, "a dog", raw=False)] for key in ("a", "b")}
    ours = score(_golds(good, stray), answers)
    assert ours.overall.outcomes["ungradable"] == 1
    assert (ours.overall.n, ours.overall.correct) == (2, 1)
    assert any("1 of 2 answers cannot be right" in note and "accuracy is 100.0" in note for note in ours.notes)
    official = score(_golds(good, stray), answers, "official")
    assert official.overall.correct == 2


def test_official_reads_the_answer_section_of_a_raw_response() -> None:
    gold = Gold("a", "q?", ("dog", "cat"), "dog", "sound")
    text = "<think>dog or cat? The bark says dog.</think><answer>dog</answer>"
    assert score(_golds(gold), {"a": [Answer("a", text)]}, "official").overall.correct == 1
    assert score(_golds(gold), {"a": [Answer("a", text, raw=False)]}, "official").overall.correct == 0


def test_missing_samples_count() -> None:
    gold = Gold("a", "q?", ("dog", "cat"), "dog", "sound")
    result = score(_golds(gold), {"a": [Answer("a", "<answer>dog</answer>", sample=1)]}, samples=3)
    counts = {"correct": 1, "wrong": 0, "unparsed": 0, "truncated": 0, "refused": 0, "missing": 2}
    assert dict(result.overall.outcomes) == counts


TEXTS = st.one_of(
    st.none(),
    st.sampled_from(["<answer>dog</answer>", "cat", "B", "<think>dog", "", "<answer>dog or cat</answer>"]),
    st.text(max_size=30),
)


@given(
    st.lists(st.tuples(TEXTS, st.sampled_from(["stop", "length"])), min_size=12, max_size=12),
    st.sampled_from(["answer", "official"]),
)
def test_outcomes_add_up_for_any_text(said: list[tuple[str | None, str]], scorer: str) -> None:
    golds = [
        Gold(str(i), "q?", ("dog", "cat"), "dog", ("sound", "music")[i % 2], "c", f"s{i % 3}", "easy")
        for i in range(12)
    ]
    answers = {
        str(i): [Answer(str(i), text, finish_reason=reason)]  # type: ignore[arg-type]
        for i, (text, reason) in enumerate(said)
    }
    result = score(_golds(*golds), answers, scorer)
    assert sum(result.honest.outcomes.values()) == result.honest.n == 12
    for parts in result.by.values():
        assert sum(sum(part.outcomes.values()) for part in parts.values()) == 12


def test_a_scorer_that_is_not_there(benchmark_of: Callable[[int], Benchmark]) -> None:
    with pytest.raises(ValueError, match="scorer 'bleu' is unknown"):
        score(benchmark_of(2), {}, "bleu")
