"""Short answers by hand: slips in long words, words joined or apart, remarks in brackets, "no" without a comma."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sari_data.answers import read_response

FEELINGS = ("Disappointed", "Happy", "Excited", "Satisfied")
AUTHORS = ("George Orwell", "Ernest Hemingway", "Charles Darwin", "Charles Dickens")
YES = ("Yes", "No")


@pytest.mark.parametrize(
    ("said", "options", "choice"),
    [
        ("dissapointed", FEELINGS, 0),
        ("disapointed", FEELINGS, 0),
        ("dissatisfied", FEELINGS, None),
        ("shimmering hihats", ("Tinny bells", "Synth strings", "Shimmering hi hats"), 2),
        ("hi-hats that shimmer", ("Tinny bells", "Synth strings", "Shimmering hi hats"), 2),
        ("hemingway (cats)", AUTHORS, 1),
        ("orwell because of the pigs", AUTHORS, 0),
        ("charles (the other one)", AUTHORS, None),
        ("hemingway (or darwin)", AUTHORS, None),
        ("no shes not dead, he made it up to get off work", YES, 1),
        ("no the man does not", YES, 1),
        ("no idea", YES, None),
        ("no dog", YES, None),
        ("says he used youlearn.ai to study for the test", ("Groups", "youlearn.ai", "Textbooks"), 1),
        ("There is only a single student in the class.", ("3", "2", "5", "1"), 3),
        ("There is not a single student in the class.", ("3", "2", "5", "1"), None),
        ("It was stopped by a sudden use of its air brakes.", ("Sudden use of air brakes", "No fuel", "A ramp"), 0),
        ("what it shows is self-blame", ("Angry", "Blame oneself", "Calm"), 1),
        ("The speed is gradually increasing.", ("Gradually slowing down", "Gradually speeding up", "Stay the same"), 1),
        ("dickens i think", AUTHORS, 3),
        ("its orwell", AUTHORS, 0),
        ("its b i think", AUTHORS, 1),
        ("because hes tired", ("Because he is late", "Because it rains", "Because he is tired"), 2),
        ("harbour", ("Airport", "Harbor"), 1),
        ("It can hardly be anything but Darwin.", AUTHORS, 2),
        ("It is anything but Darwin.", AUTHORS, None),
        ("While the bus stop comes close, the airport wins.", ("Airport", "Bus stop"), 0),
        ("- Happy: \u2717 no smile\n- Satisfied: \u2713 low and slow\n- Excited: \u2717", FEELINGS, 3),
        ("There are 2 speakers.\n\n| # | Speaker |\n|---|---|\n| 1 | man |\n| 2 | woman |", ("1", "2", "3"), 1),
        ("he got a second-class ticket", ("First-class seat", "Second-class seat", "Third-class seat"), 1),
    ],
)
def test_short_answers(said: str, options: tuple[str, ...], choice: int | None) -> None:
    assert read_response(said, options).choice == choice


# A short sentence that denies something of one option answers only what was asked so, and the reader is not told.
@pytest.mark.parametrize("said", ["Jim did not come to work.", "Jim is not there.", "It was not Jim."])
def test_what_is_denied_of_one_option_is_no_answer(said: str) -> None:
    assert read_response(said, ("Steve", "Joy", "Dwight", "Jim")).choice is None


WORDS = ("accordion", "helicopter", "restaurant", "percussion", "celebration", "disappointed", "emergency")


@pytest.mark.parametrize("word", WORDS)
def test_a_doubled_letter_and_a_missing_one_are_read(word: str) -> None:
    options = ("Violin", word.title(), "Train")
    for at in range(1, len(word)):
        written = word[: at + 1] + word[at:]
        assert read_response(written, options).choice == 1
        for gone in range(2, len(written) - 1):
            if written[gone - 1] != written[gone + 1]:  # else another doubled letter comes of it
                assert read_response(written[:gone] + written[gone + 1 :], options).choice == 1


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(WORDS), st.sampled_from(WORDS), st.integers(0, 2))
def test_another_long_word_is_never_taken_for_a_slip(word: str, other: str, place: int) -> None:
    options = ["Violin", "Train"]
    options.insert(place, other.title())
    reading = read_response(f"a {word}", options)
    assert reading.choice == (place if word == other else None)


PHRASES = (
    ("To save paper on the desk", "To mimic the original crease on the note", "To hide the note in a drawer"),
    ("Implies an absurd improvement.", "Praises the idea genuinely.", "Expresses real concern."),
)


@pytest.mark.parametrize(
    ("said", "which", "choice"),
    [
        ("Her mother's note had a crease in the same place, and she wants to mimic that original crease.", 0, 1),
        ("She folds the paper so that the note has the crease, to mimic the original.", 0, 1),
        ("She folds the paper and then the note.", 0, None),
        ("It proposes an improvement which is so absurd that nobody takes it to be sincere.", 1, 0),
        ("It is not a genuine praise of the idea.", 1, None),
    ],
)
def test_words_of_one_option_in_any_order(said: str, which: int, choice: int | None) -> None:
    assert read_response(said, PHRASES[which]).choice == choice


def test_a_word_joined_to_another_options_word_is_not_it() -> None:
    options = (
        "first speaker shows joy and neutral, second speaker shows joy and neutral.",
        "both speakers show neutral throughout the conversation.",
        "first speaker shows neutral and second speaker shows joy throughout.",
    )
    assert read_response("Both speakers show joy and neutral throughout the conversation.", options).choice is None
