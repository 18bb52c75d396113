"""Texts of questions: their normal form, their score, and what is never near however alike it looks."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.dedup.text import (
    Text,
    Texts,
    answers_agree,
    may_be_near,
    near_pairs,
    normalise,
    normalise_option,
    pair_scores,
    vectorise,
)

WORDS = st.text(st.sampled_from("abcdeé'’#A♯ 12-./%?,()ßİﬁ½"), max_size=30)
CHOICES = ("violin", "trumpet", "flute", "piano")


def text(question: str, choices: tuple[str, ...] = CHOICES, answer: str | None = "flute") -> Text:
    return Text.of(question, choices, answer)


@given(st.one_of(WORDS, st.text(max_size=40)))
def test_the_normal_form_of_a_normal_form_is_itself(words: str) -> None:
    assert normalise(normalise(words)) == normalise(words)
    assert normalise(words.upper().lower()) == normalise(words.lower().upper().lower())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is  heard?", "what IS heard", True),
        ("the speaker’s mood", "The speaker's mood.", True),
        ("F♯ minor", "f# minor", True),
        ("F# minor", "F minor", False),
        ("3/4", "34", False),
        ("-5 dB", "5 dB", False),
        ("2.5 s", "25 s", False),
        ("♪", "♫", False),
        ("fi", "ﬁ", True),
    ],
)
def test_what_the_normal_form_keeps(one: str, other: str, same: bool) -> None:
    assert (normalise(one) == normalise(other)) is same


@pytest.mark.parametrize("written", ["(A) dog", "A. dog", "b) Dog", "C: dog", "dog"])
def test_an_option_loses_its_letter(written: str) -> None:
    assert normalise_option(written) == "dog"


@pytest.mark.parametrize("written", ["A", "A minor", "B flat", "(A)", "C#"])
def test_an_option_that_is_a_letter_keeps_it(written: str) -> None:
    assert normalise_option(written) == normalise(written) != ""


def test_order_and_case_of_options_do_not_matter() -> None:
    keys = {text("Which is it?", order).key for order in permutations(CHOICES)}
    keys.add(text("WHICH is it", tuple(c.upper() for c in CHOICES), "FLUTE").key)
    keys.add(text("Which is it?", (*CHOICES, "piano")).key)
    assert len(keys) == 1
    assert text("Which is it?", (*CHOICES[:3], "organ")).key not in keys
    assert text("Which was it?").key not in keys


NEAR = [
    ("What instrument plays the melody in the audio?", "What instrument is playing the melody?"),
    ("From the given utterance, count the words.", "Count the words from the given utterance."),
]
NOT_NEAR = [
    ("Which sound comes first in the audio?", "Which sound comes last in the audio?"),
    ("What is heard before the dog?", "What is heard after the dog?"),
    ("How many notes are there in the first 2 seconds?", "How many notes are there in the first 3 seconds?"),
    ("Is the dog louder than the horn?", "Is the horn louder than the dog?"),
    ("Which is the highest note?", "Which is the lowest note?"),
    ("Which sound is heard?", "Which sound is not heard?"),
    ("What does the man say?", "What does the woman say?"),
]


@pytest.mark.parametrize(("one", "other"), NEAR)
def test_rewordings_may_be_near(one: str, other: str) -> None:
    for strict in (True, False):
        assert may_be_near(text(one), text(other), strict=strict)
        assert may_be_near(text(other), text(one), strict=strict)


@pytest.mark.parametrize(("one", "other"), NOT_NEAR)
def test_a_decisive_word_or_order_makes_another_question(one: str, other: str) -> None:
    for strict in (True, False):
        assert not may_be_near(text(one), text(other), strict=strict)
        assert not may_be_near(text(other), text(one), strict=strict)


def test_a_question_made_shorter_may_have_lost_a_decisive_word() -> None:
    long, short = text("What weather is heard, made by air from high pressure areas?"), text("What weather is heard?")
    assert may_be_near(long, short, strict=False)
    assert not may_be_near(long, short, strict=True)


def test_another_answer_makes_another_question() -> None:
    assert answers_agree(text("a"), text("b", answer=None))
    assert not may_be_near(text("Which is it?"), text("Which is it then?", answer="piano"))
    long = ("a dog barking loudly", "x")
    assert answers_agree(text("a", long, long[0]), text("a", ("a dog barking", "x"), "a dog barking"))
    for one, other in [("A minor", "A major"), ("G# minor", "G minor"), ("2 dogs barking", "3 dogs barking")]:
        assert not answers_agree(text("a", (one, "x"), one), text("a", (other, "x"), other))


def test_texts_give_back_what_was_kept_and_keep_it_once() -> None:
    kept = Texts()
    some = [text("One?"), text("Two, “naïve”?", ("a\x1eb", "c"), None), text("One?")]
    assert [kept.add(t) for t in some] == [0, 1, 0]
    assert list(kept) == some[:2]
    assert list(kept.keys) == [t.key for t in some[:2]]


@pytest.fixture(scope="module")
def mmau(shared_data: Path) -> dict[str, list[dict]]:
    names = ("v03.25.25", "v05.15.25")
    return {n: json.loads((shared_data / "mmau" / f"mmau-test-mini.{n}.json").read_text()) for n in names}


def collect(rows: list[dict]) -> Texts:
    kept = Texts()
    for row in rows:
        kept.add(Text.of(row["question"], row["choices"], row["answer"]))
    return kept


def test_near_pairs_are_all_pairs_above_the_threshold(mmau: dict[str, list[dict]]) -> None:
    """The prefix filter loses no pair that the whole product has; a filter that looks up less does."""
    one, other = (collect(rows[:400]) for rows in mmau.values())
    first, second = vectorise(one, other)
    scores = (first @ second.T).toarray()
    for threshold in (0.6, 0.75, 0.9):
        found = {(a, b): s for rows in near_pairs(first, second, threshold) for a, b, s in zip(*rows, strict=True)}
        wanted = set(zip(*np.nonzero(scores >= threshold + 1e-5), strict=True))
        assert wanted <= found.keys()
        assert all(scores[pair] == pytest.approx(score, abs=1e-5) for pair, score in found.items())
        assert min(found.values()) >= threshold
        assert len(found) > 100


def test_options_that_many_questions_have_say_little() -> None:
    kept = Texts()
    rare = [kept.add(text(q, ("oud", "ney", "qanun"), "oud")) for q in ("Which plays the solo?", "What leads here?")]
    common = [kept.add(text(q, ("yes", "no"), "no")) for q in ("Is it a solo?", "Does rain fall?")]
    for i in range(30):
        kept.add(text(f"Do {i} dogs bark?", ("yes", "no"), "no"))
    [matrix] = vectorise(kept)
    [same] = pair_scores(matrix, *(np.array([i]) for i in rare))
    [other] = pair_scores(matrix, *(np.array([i]) for i in common))
    assert same > 0.45 > 2 * other > 0
    shuffled = Texts()
    shuffled.add(text("Which plays the solo?", ("qanun", "oud", "ney"), "oud"))
    assert list(shuffled) == [kept[0]]


def test_scores_are_symmetric_and_one_for_the_same(mmau: dict[str, list[dict]]) -> None:
    kept = collect(mmau["v03.25.25"][:200])
    [matrix] = vectorise(kept)
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, len(kept), (2, 500))
    assert np.array_equal(pair_scores(matrix, one, other), pair_scores(matrix, other, one))
    assert pair_scores(matrix, one, one) == pytest.approx(1, abs=1e-5)
    assert pair_scores(matrix, one, other).max() <= 1 + 1e-5


def test_real_rewordings_between_two_revisions_are_found(mmau: dict[str, list[dict]]) -> None:
    """The same question of MMAU, reworded by its authors; all other questions of MMAU are the negatives."""
    old, new = mmau["v03.25.25"], {row["id"]: row for row in mmau["v05.15.25"]}
    ones, others = collect(old), collect(list(new.values()))
    found = set()
    for rows, columns, _ in near_pairs(*vectorise(ones, others), 0.6):
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        found |= {
            (ones[a].question, others[b].question) for a, b in pairs if may_be_near(ones[a], others[b], strict=False)
        }
    kept = [(row, new[row["id"]]) for row in old if row["id"] in new and row["answer"] == new[row["id"]]["answer"]]
    pairs = {(normalise(a["question"]), normalise(b["question"])) for a, b in kept}
    reworded = {(a, b) for a, b in pairs if a != b}
    assert len(reworded) > 30
    assert len(reworded & found) > 0.8 * len(reworded)
    false = {a for a, b in found - pairs if a != b}
    assert len(false) < 0.05 * len(old)
