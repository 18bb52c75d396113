"""The official scorer against MMAR's and MMAU's own programs, whose verdicts are recorded, and their rule otherwise."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from bench_scores import string_match
from hypothesis import given
from hypothesis import strategies as st

from sari_bench.benchmarks import load_benchmark
from sari_bench.scorers.official import Rule
from sari_bench.statistics.metrics import percent

GOLDEN = Path(__file__).parent / "golden"


def _program(repository: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a program of the folder benchmarks, which is no installed package."""
    monkeypatch.syspath_prepend(str(repository))
    spec = importlib.util.find_spec(f"benchmarks.{name}")
    assert spec is not None
    assert spec.origin == str(repository / "benchmarks" / f"{name}.py")
    module = importlib.import_module(f"benchmarks.{name}")
    return sys.modules.setdefault(module.__name__, module)


@pytest.mark.parametrize(
    ("record", "questions", "figures"),
    [
        ("mmar_verdicts.json", "mmar/MMAR-meta.jsonl", 28),
        ("mmau_verdicts.json", "mmau/mmau-test-mini.v05.15.25.json", 34),
    ],
)
def test_the_benchmarks_own_program_says_the_same(
    shared_data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, record: str, questions: str, figures: int
) -> None:
    parity = _program(repository, "mmar_parity", monkeypatch)
    recorded = json.loads((GOLDEN / record).read_text(encoding="utf-8"))
    rows = parity.read_rows(shared_data / questions)
    made = parity.predictions(rows, recorded["predictions"], recorded["seed"])
    assert parity.digest(made) == recorded["predictions_sha256"], "the seed made other predictions than were recorded"
    theirs = parity.unpack(recorded["right"])
    assert len(theirs) == sum(text is not None for _, text in made) > 4500
    assert 1400 < sum(theirs) < 2000, "a record of one verdict only would show nothing"
    result = parity.ours(rows, made)
    assert parity.verdicts(result, len(made)) == theirs
    said = parity.our_figures(result)
    assert len(recorded["figures"]) == figures
    assert {name: said.get(name) for name in recorded["figures"]} == recorded["figures"]
    # A rule that is a little off is noticed.
    monkeypatch.setattr(Rule, "accepts", lambda rule, held: bool(held) and rule.right <= held)
    assert parity.verdicts(parity.ours(rows, made), len(made)) != theirs


def _words(text: str) -> list[str]:
    """Words without a regular expression: runs of letters, digits and underscores."""
    found, word = [], ""
    for sign in text.lower() + " ":
        if sign.isalnum() or sign == "_":
            word += sign
        elif word:
            found.append(word)
            word = ""
    return found


def by_another_way(answer: str, prediction: str, choices: Iterable[str]) -> bool:
    """The published rule, word by word instead of by sets."""
    said, wanted = _words(prediction), _words(answer)
    for word in said:
        if word not in wanted and any(word in _words(choice) for choice in choices):
            return False
    return said != [] and all(word in said for word in wanted)


def test_the_rule_said_another_way_agrees_on_every_shape(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = _program(repository, "made_predictions", monkeypatch)
    questions = [
        shapes.Asked(choices, answer)
        for choices, answer in [
            (("a red dog", "a dog", "the cat", "Red"), "a dog"),
            (("C major", "C minor", "c Major.", "D_minor"), "C major"),
            (("Yes", "No"), "No"),
            (("4", "4.5", "0:04", "four", "İki"), "4"),
            (("?", "!", "man"), "?"),
            (("Café noir", "café", "Straße", "ﬁn"), "café"),
            (("dog", "cat"), "a bird"),
        ]
    ]
    made = shapes.make(questions, 4000, seed=1)
    verdicts = []
    for index, (_, text) in enumerate(made):
        asked = questions[index % len(questions)]
        if text is not None:
            verdicts.append(string_match(asked.answer, text, asked.choices))
            assert verdicts[-1] == by_another_way(asked.answer, text, asked.choices), (asked, text)
    assert 0.1 < sum(verdicts) / len(verdicts) < 0.9
    assert {shape for shape, _ in made} == set(shapes.SHAPES)
    assert made == shapes.make(questions, 4000, seed=1)
    assert made != shapes.make(questions, 4000, seed=2)


@given(st.text(max_size=20), st.text(max_size=40), st.lists(st.text(max_size=20), max_size=5))
def test_the_rule_said_another_way_agrees_on_any_text(answer: str, prediction: str, choices: list[str]) -> None:
    assert string_match(answer, prediction, choices) == by_another_way(answer, prediction, choices)


def test_a_share_is_printed_as_the_published_programs_print_it() -> None:
    for n in (*range(1, 120), 894, 997, 1000, 9000):
        for correct in range(0, n + 1, 1 if n < 120 else 7):
            published = f"{(correct / n) * 100:.2f}"
            ours: Any = percent(correct / n)
            assert f"{ours:.2f}" == published, (correct, n)


def test_empty_options_change_no_verdict_and_no_letter_of_mmar(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "mmar" / "MMAR-meta.jsonl").open(encoding="utf-8")]
    empty = [row for row in rows if not all(choice.strip() for choice in row["choices"])]
    assert len(empty) == 4
    shown = {gold.id: gold.choices for gold in load_benchmark("mmar", shared_data / "mmar" / "MMAR-meta.jsonl").golds}
    for row in empty:
        whole, kept = row["choices"], shown[row["id"]]
        assert kept == tuple(whole[: len(kept)]), "an empty option before others would shift their letters"
        for said in (*whole, " ".join(whole), f"It is {row['answer']}.", "", "B", "none of these"):
            assert string_match(row["answer"], said, whole) is string_match(row["answer"], said, kept)
