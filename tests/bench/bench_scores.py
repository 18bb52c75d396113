"""Scores made of outcomes and choices alone, for tests of what is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sari_bench.benchmarks.base import Gold
from sari_bench.scorers.official import Rule, words
from sari_bench.scoring import Answer, BenchmarkGolds, Score, Scored, summarize

CHOICES = ("dog", "cat", "rain", "bell")


def gold_of(name: str, clip: str = "", difficulty: str = "easy", choices: Sequence[str] = CHOICES) -> Gold:
    """A question whose right answer is the first option; "q7" has a task by its number."""
    number = int("".join(filter(str.isdigit, name)) or 0)
    task = ("sound", "music", "speech")[number % 3]
    return Gold(name, f"What is heard in {name}?", tuple(choices), choices[0], task, "", "", difficulty, "", clip)


def scored(gold: Gold, said: int | str, sample: int = 0) -> Scored:
    """An answer that names an option by its place, or has an outcome of its own with a reason."""
    answer = Answer(gold.id, None if said == "missing" else "text", sample)
    if isinstance(said, str):
        return Scored(gold, answer, said, None, f"because it is {said}")
    return Scored(gold, answer, "correct" if gold.choices[said] == gold.answer else "wrong", said)


def score_of(said: Mapping[str, Sequence[int | str]], clips: Mapping[str, str] | None = None) -> Score:
    """A score of questions by name, each with what its samples said."""
    golds = {name: gold_of(name, (clips or {}).get(name, "")) for name in said}
    items = [scored(golds[name], one, sample) for name, all_said in said.items() for sample, one in enumerate(all_said)]
    return summarize(BenchmarkGolds("toy", "1", "0", tuple(golds.values())), items, "answer")


def string_match(answer: str, prediction: str, choices: Iterable[str]) -> bool:
    """Whether a prediction is right by the published rule."""
    return Rule(answer, list(choices)).accepts(words(prediction))
