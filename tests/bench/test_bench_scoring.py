"""The official scorer against MMAU's published figures, to the digit; the honest one beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from bench_scores import string_match
from hypothesis import given
from hypothesis import strategies as st

from sari_bench import scorers
from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.disagreements import disagreements
from sari_bench.predictions import read_predictions
from sari_bench.scorers import base
from sari_bench.scorers.official import Rule
from sari_bench.scoring import (
    SCORERS,
    Answer,
    BenchmarkGolds,
    Score,
    honest_of,
    score,
    score_all,
    subset,
)
from sari_bench.statistics.metrics import percent
from sari_data.answers import Reading, read_response
from sari_data.errors import InputError, PluginError

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
    def only_contains(rule: Rule, said: frozenset[str]) -> bool:
        return rule.right <= said

    monkeypatch.setattr(Rule, "accepts", only_contains)
    found = _figures(_score(shared_data, "r1-aqa", "v03.25.25", "official"))
    assert found != _expected(shared_data)["r1-aqa@v03.25.25"]


def test_the_honest_denominator_stands_beside_the_official_one(shared_data: Path) -> None:
    result = _score(shared_data, "r1-aqa", "v05.15.25", "official")
    assert (result.overall.n, result.honest.n, result.honest.correct) == (894, 1000, 520)
    assert result.overall.outcomes["missing"] == 106
    assert any(note.startswith("106 of 1,000 questions have no prediction;") for note in result.notes)
    assert any("106 predictions with an id that is not in the benchmark" in note for note in result.notes)


@pytest.mark.parametrize("scorer", [*SCORERS])
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


CHOICES = ("dog", "cat", "dog")  # a published quirk: an option twice
TEXTS = st.one_of(
    st.none(),
    st.sampled_from(["<answer>dog</answer>", "cat", "B", "(c) dog", "<think>dog", "", "<answer>dog or cat</answer>"]),
    st.sampled_from(["The answer cannot be determined.", "so it is " * 60, "Therefore, the answer is (B) cat."]),
    st.text(max_size=30),
)


@given(
    st.lists(st.tuples(TEXTS, st.sampled_from(["stop", "length"]), st.booleans()), min_size=12, max_size=12),
    st.sets(st.sampled_from([str(i) for i in range(12)])),
    st.integers(1, 2),
)
def test_outcomes_add_up_for_any_text_by_every_scorer(
    said: list[tuple[str | None, str, bool]], kept: set[str], samples: int
) -> None:
    golds = [
        Gold(str(i), "q?", CHOICES, "a bird" if i == 5 else "dog", ("sound", "music")[i % 2], "c", f"s{i % 3}", "easy")
        for i in range(12)
    ]
    answers = {
        str(i): [Answer(str(i), text, finish_reason=reason, raw=raw)]  # type: ignore[arg-type]
        for i, (text, reason, raw) in enumerate(said)
    }
    for name, result in score_all(_golds(*golds), answers, samples=samples).items():
        assert sum(result.honest.outcomes.values()) == result.honest.n == 12 * samples
        part = subset(result, kept)
        rest = subset(result, {gold.id for gold in golds} - kept)
        for whole, halves in (
            (result.honest, (part.honest, rest.honest)),
            (result.overall, (part.overall, rest.overall)),
        ):
            assert whole.n == sum(half.n for half in halves)
            assert whole.correct == sum(half.correct for half in halves)
        for one in (result, part, rest):
            for parts in one.by.values():
                assert sum(sum(group.outcomes.values()) for group in parts.values()) == one.honest.n
                assert sum(honest_of(group).n for group in parts.values()) == one.honest.n
                assert sum(group.n for group in parts.values()) == one.overall.n
                assert sum(group.correct for group in parts.values()) == one.overall.correct
        missing = result.honest.outcomes["missing"]
        assert result.overall.n == result.honest.n - (missing if name == "official" else 0)
        for item in result.items:
            assert (item.outcome in ("correct", "wrong")) or item.choice is None
            assert (item.choice is None) is (item.reason is not None)
            assert item.choice is None or item.choice == CHOICES.index(CHOICES[item.choice]), "the first of its text"


def test_a_repeated_option_is_one_option_by_every_scorer(shared_data: Path) -> None:
    benchmark = load_benchmark("mmau-test-mini", shared_data / "mmau" / "mmau-test-mini.v05.15.25.json")
    repeated = [gold for gold in benchmark.golds if len(set(gold.choices)) < len(gold.choices)]
    assert len(repeated) == 27
    golds = BenchmarkGolds("repeated", "1", "0", tuple(repeated))
    last = {g.id: len(g.choices) - 1 - g.choices[::-1].index(g.answer or "") for g in repeated}
    by_letter = {g.id: [Answer(g.id, f"<answer>{chr(ord('A') + last[g.id])}</answer>")] for g in repeated}
    by_text = {g.id: [Answer(g.id, g.answer, raw=False)] for g in repeated}
    assert score(golds, by_letter, "letter").overall.correct == 27
    assert score(golds, by_letter, "answer").overall.correct == 27
    assert {name: one.overall.correct for name, one in score_all(golds, by_text).items()} == {
        "answer": 27, "official": 27, "letter": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "outcome", "choice"),
    [
        ("B", "wrong", 1),
        ("(a)", "correct", 0),
        ("A.", "correct", 0),
        ("**A**", "correct", 0),
        ("A) cat", "correct", 0),  # the letter counts
        ("a: dog", "correct", 0),
        ("<think>B? no</think><answer> [a] </answer>", "correct", 0),
        ("<answer>B</answer> A", "wrong", 1),
        ("dog", "unparsed", None),
        ("a dog", "unparsed", None),  # an article
        ("A dog barks", "unparsed", None),
        ("D", "unparsed", None),
        ("AB", "unparsed", None),
        ("", "unparsed", None),
        ("<answer>A</answer><answer>B</answer>", "unparsed", None),
    ],
)
def test_letter(text: str, outcome: str, choice: int | None) -> None:
    gold = Gold("a", "q?", ("dog", "cat", "rain"), "dog", "sound")
    (item,) = score(_golds(gold), {"a": [Answer("a", text)]}, "letter").items
    assert (item.outcome, item.choice) == (outcome, choice)
    assert (item.reason is None) == (choice is not None)


def test_a_cut_letter_is_truncated() -> None:
    gold = Gold("a", "q?", ("dog", "cat"), "dog", "sound")
    for text in ("<answer>A", "It is", "<think>the"):
        (item,) = score(_golds(gold), {"a": [Answer("a", text, finish_reason="length")]}, "letter").items
        assert item.outcome == "truncated", text


def test_official_says_what_it_would_have_accepted() -> None:
    gold = Gold("a", "q?", ("red dog", "cat", "?"), "red dog", "sound")
    for text, choice, reason in [
        ("the red dog", 0, None),
        ("a cat", 1, None),
        ("cat dog", None, "words of several options"),
        ("dog", None, "no option's words are all there"),
        ("...", None, "no words"),
    ]:
        (item,) = score(_golds(gold), {"a": [Answer("a", text, raw=False)]}, "official").items
        assert (item.choice, item.reason) == (choice, reason), text


def test_disagreements_name_every_answer_once() -> None:
    golds = [Gold(str(i), "q?", ("dog", "cat"), "dog", "sound") for i in range(4)]
    texts = ["dog", "A", "dog or cat", None]
    answers = {str(i): [Answer(str(i), text, raw=False)] for i, text in enumerate(texts) if text is not None}
    scores = score_all(_golds(*golds), answers)
    found = {one.gold.id: one for one in disagreements(scores)}
    assert sorted(found) == ["0", "1", "2"]
    assert found["0"].outcomes == {"answer": "correct", "official": "correct", "letter": "unparsed"}
    assert found["1"].readings == {"answer": "dog", "official": "no option's words are all there", "letter": "dog"}
    assert found["0"].about_right
    assert found["1"].about_right
    assert not found["2"].about_right
    pair = disagreements({name: scores[name] for name in ("answer", "official")})
    assert [(one.gold.id, one.about_right) for one in pair] == [("1", True), ("2", False)]
    assert disagreements({"answer": scores["answer"]}) == []
    again = {name: score(_golds(*golds), answers, name) for name in scores}
    assert disagreements(again) == disagreements(scores), "scores made one by one are of the same answers too"
    with pytest.raises(AssertionError, match="not of the same answers"):
        disagreements({"answer": scores["answer"], "official": subset(scores["official"], ["0"])})


def test_each_response_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(text: str, choices: Sequence[str], **options: str) -> Reading:
        read.append(text)
        return read_response(text, choices, **options)

    monkeypatch.setattr(base, "read_response", counted)
    gold = Gold("a", "q?", ("dog", "cat"), "dog", "sound")
    score_all(_golds(gold), {"a": [Answer("a", "<answer>A</answer>")]})
    assert read == ["<answer>A</answer>"]


def test_subset_keeps_the_official_denominator() -> None:
    golds = [Gold(str(i), "q?", ("dog", "cat"), "dog", "sound") for i in range(4)]
    answers = {"0": [Answer("0", "dog", raw=False)], "1": [Answer("1", "cat", raw=False)]}
    part = subset(score(_golds(*golds), answers, "official"), ["0", "3", "unknown"])
    assert (part.overall.n, part.honest.n, part.overall.correct) == (1, 2, 1)
    assert part.notes[0] == "these are 2 of 4 questions"
    assert subset(part, []).overall.n == 0


def test_a_benchmark_that_withholds_its_answers_says_so() -> None:
    gold = Gold("a", "q?", ("dog", "cat"), None, "sound")
    with pytest.raises(InputError, match=r"withholds the answers to 1 of its 1 questions.*sari-bench submit"):
        score(_golds(gold), {"a": [Answer("a", "dog")]})


class Lenient:
    """A scorer of another package: whoever says anything is right."""

    name = "lenient"
    drops_missing = True
    notes = ("lenient is lenient",)

    def verdict(self, said: base.Said) -> base.Verdict:
        """Say so."""
        return base.Verdict("missing" if said.answer.text is None else "correct", None, "not read")


def test_another_package_s_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        EntryPoint("lenient", f"{__name__}:Lenient", scorers.GROUP),
        EntryPoint("broken", "no_such_package_of_scorers:Scorer", scorers.GROUP),
    ]
    monkeypatch.setattr(scorers, "entry_points", lambda group: [one for one in entries if one.group == group])
    golds = [Gold(str(i), "q?", ("dog", "cat"), "dog", "sound") for i in range(2)]
    result = score(_golds(*golds), {"0": [Answer("0", "?")]}, "lenient")
    assert (result.overall.n, result.overall.correct, result.honest.n, result.drops_missing) == (1, 1, 2, True)
    assert "lenient is lenient" in result.notes
    assert scorers.scorer_names() == ["answer", "official", "letter", "judge", "broken", "lenient"]
    with pytest.raises(PluginError, match=r"scorer 'broken' .* fails to load: ModuleNotFoundError"):
        scorers.load_scorer("broken")


def test_a_scorer_that_is_not_there(benchmark_of: Callable[[int], Benchmark]) -> None:
    with pytest.raises(ValueError, match="scorer 'bleu' is unknown"):
        score(benchmark_of(2), {}, "bleu")
