"""The words without which a sentence is not searched: whatever a pattern finds holds one of them."""

from __future__ import annotations

import random
import re

import pytest

from sari_data import cues

ENDINGS = ("", "s", "d", "ed", "es", "e", "ing", "y", "ly", "able")
PAIRS = {
    "STATES_CUE": cues.STATING,
    "RIGHT_CUE": cues.RATING,
    "CONCLUDES_CUE": cues.CONCLUDING,
    "LEANS_CUE": cues.LEANING,
    "REFUSES_CUE": cues.REFUSING,
    "ABSENT_CUE": cues.LACKING,
}
PATTERNS = {name: getattr(cues, name) for name in PAIRS} | {
    "REFUSES_CUE after LACKING": cues.REFUSES_CUE,
}
NEEDED = PAIRS | {"REFUSES_CUE after LACKING": cues.LACKING}


def phrases(pattern: re.Pattern[str]) -> list[str]:
    """The runs of words in a pattern, and each of its words with every ending that it may have."""
    runs = re.findall(r"[a-z]+(?: [a-z]+)*", re.sub(r"\\[a-zA-Z]", "", pattern.pattern))
    single = {word + ending for run in runs for word in run.split() for ending in ENDINGS}
    return sorted({*runs, *single, "@1", "a", "b", "x", ".", ":", ",", "(", ")"})


PHRASES = {pattern.pattern: phrases(pattern) for pattern in PATTERNS.values()}


def found_without(name: str, needed: frozenset[str]) -> list[str]:
    """Sentences in which the pattern finds something though they hold none of the words."""
    draw, pattern = random.Random(name), PATTERNS[name]
    kept = [phrase for phrase in PHRASES[pattern.pattern] if needed.isdisjoint(phrase.split())]
    texts = (" ".join(draw.choices(kept, k=draw.randint(1, 7))) for _ in range(15_000))
    return [text for text in texts if pattern.search(text)]


@pytest.mark.parametrize("name", NEEDED)
def test_nothing_is_found_without_one_of_its_words(name: str) -> None:
    assert found_without(name, NEEDED[name]) == []


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("STATES_CUE", "verdict"),
        ("RIGHT_CUE", "plausible"),
        ("CONCLUDES_CUE", "finally"),
        ("LEANS_CUE", "typical"),
        ("REFUSES_CUE", "insufficient"),
        ("ABSENT_CUE", "not"),
    ],
)
def test_a_word_that_is_forgotten_would_be_seen(name: str, word: str) -> None:
    assert word in NEEDED[name]
    assert found_without(name, NEEDED[name] - {word})
