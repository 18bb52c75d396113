"""10,000 responses composed from reasoning and a conclusion, each of which is read as what it was composed from."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sari_data.answers import REASONS, read_response
from sari_data.conclusions import conclude
from sari_data.endings import loops, stops_halfway

NAMES = (
    *("train", "church bell", "violin", "hot dog", "dog", "waterfall", "cat", "helicopter", "footsteps", "baby crying"),
    *(
        "car engine",
        "door slamming",
        "acoustic guitar",
        "thunder",
        "female voice",
        "glass breaking",
        "fountain",
        "typing",
    ),
)
NUMBERS = (("two", "2"), ("five", "5"), ("twelve", "12"), ("twenty-one", "21"), ("forty", "40"), ("ninety-nine", "99"))
NEUTRAL = (
    "The recording starts quietly and grows louder.",
    "I listen to the beginning and to the end.",
    "The level rises twice, and there is some echo.",
    "Let me think about what is heard here.",
    "Some of it is hard to make out at first.",
)
WEIGHING = (
    "It could be a {other}, but the rhythm does not fit.",
    "A {other} would be louder.",
    "At first it seems to be a {other}.",
    "There is no {other} in the recording.",
    "Option {other_letter} is a {other}, which is not heard.",
    "If it were a {other}, there would be more noise.",
)
CONCLUSIONS = (
    *(
        "Therefore, the answer is ({lower}) {text}.",
        "The answer is {letter}.",
        "THE ANSWER IS {letter}",
        "Answer: {letter}",
    ),
    *(
        "So the correct answer is {text}.",
        "Final answer: {letter}. {text}",
        "**Answer:** {text}",
        "The answer is **{letter}**.",
    ),
    *(
        "I would choose option {letter}.",
        "Option {letter} is the correct answer.",
        "({letter}) is correct.",
        "The answer is: {text}",
    ),
    *(
        "The best answer is option {letter}: {text}.",
        "The final answer is \\boxed{{{letter}}}.",
        "Answer:\n{letter}) {text}",
    ),
    *(
        "Therefore, the answer is <{text}>.",
        "My final answer is “{text}”.",
        "{{'answer': '{text}'}}",
        "the answer is {lower}.",
    ),
)
NO_ANSWERS = (
    *("The answer cannot be determined.", "The answer is unknown.", "It is impossible to tell which it is."),
    *("The answer is either {text} or {other}.", "The answer is {letter} or {other_letter}.", "It is not a {text}."),
    *(
        "So the answer is {letter}. So the answer is {other_letter}.",
        "The answer is ({letter}) {other}.",
        "The answer is Z.",
    ),
    *(
        "The answer is {text}. The answer is {other}.",
        "I am not sure.",
        "There is not enough information.",
        "The answer is not {letter}.",
    ),
)


def compose(random_, forms):
    """Options, the right one's place, and a response that concludes with it (or does not, by ``forms``)."""
    choices = random_.sample(NAMES, random_.choice((2, 3, 4, 4, 5, 8)))
    if random_.random() < 0.15:
        choices = [pair[random_.random() < 0.5] for pair in random_.sample(NUMBERS, 4)]
    place = random_.randrange(len(choices))
    other = random_.choice([i for i in range(len(choices)) if i != place])
    text = choices[place]
    for pair in NUMBERS:
        text = random_.choice(pair) if text in pair else text
    words = {
        "text": random_.choice((text, text.upper(), text.capitalize())),
        "letter": "ABCDEFGH"[place],
        "lower": "abcdefgh"[place],
        "other": choices[other],
        "other_letter": "ABCDEFGH"[other],
    }
    parts = [random_.choice(NEUTRAL) for _ in range(random_.randrange(4))]
    if forms is CONCLUSIONS:
        parts += [random_.choice(WEIGHING).format(**words) for _ in range(random_.randrange(3))]
    parts.append(random_.choice(forms).format(**words))
    return choices, place, random_.choice((" ", "\n", "\n\n")).join(parts)


@pytest.mark.parametrize("seed", range(8))
def test_a_composed_conclusion_is_read(seed):
    random_ = random.Random(seed)
    for _ in range(900):
        choices, place, text = compose(random_, CONCLUSIONS)
        reading = read_response(text, choices)
        assert (reading.choice, reading.reason) == (place, None), (choices, text)


@pytest.mark.parametrize("seed", range(2))
def test_a_composed_response_without_an_answer_has_no_choice(seed):
    random_ = random.Random(seed)
    for _ in range(900):
        choices, _, text = compose(random_, NO_ANSWERS)
        reading = read_response(text, choices)
        assert reading.choice is None, (choices, text)
        assert reading.reason in REASONS


def test_wrapping_and_order_change_nothing():
    random_ = random.Random(3)
    for _ in range(500):
        choices, place, text = compose(random_, CONCLUSIONS)
        assert read_response(text.swapcase(), choices).choice == place, text
        assert read_response(f"<answer>\n{text} </answer>", choices).choice == place, text
        assert read_response(f"{NEUTRAL[0]} {text}", choices).choice == place, text
    by_text = (
        "The answer is {text}.",
        "So it must be a {text}.",
        "Most likely, it is a {text}.",
        "It sounds like a {text}.",
    )
    for _ in range(500):
        choices = random_.sample(NAMES, 4)
        text = random_.choice(by_text).format(text=choices[0])
        turned = random_.sample(choices, 4)
        assert read_response(text, turned).choice == turned.index(choices[0]), (text, turned)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.text(max_size=120), st.lists(st.text(max_size=12), max_size=6))
def test_arbitrary_text_never_raises(text, choices):
    choice, reason = conclude(text, choices)
    assert choice is None or (reason is None and choices.index(choices[choice]) == choice)
    assert loops(text) in (True, False)
    assert stops_halfway(text) in (True, False)


words = st.sampled_from(
    [
        *[
            "the",
            "answer",
            "is",
            "not",
            "a",
            "dog",
            "cat",
            "or",
            "and",
            "A",
            "B",
            "because",
            "option",
            "2",
            "most",
            "likely",
            "cannot",
            "be",
            "no",
            "yes",
        ],
        *"().,:?\n",
    ]
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(words, max_size=30).map(" ".join))
def test_word_salad_reads_or_says_why(text):
    reading = read_response(text, ("dog", "cat", "A", "no"))
    assert (reading.choice is None) == (reading.reason in REASONS)
    assert reading == read_response(f"  {text}\t", ("dog", "cat", "A", "no"))


HUGE = {
    "dots": "." * 1_000_000,
    "dots and spaces": ". " * 500_000,
    "answers": "the answer is " * 70_000,
    "answers that go on": "the answer is not the option that is the choice of " * 20_000,
    "mentions": "dog bark, " * 100_000,
    "half mentions": "dog dog dog bar " * 60_000,
    "letters": "the answer is a b c d " * 45_000,
    "numbers": "twenty one hundred thousand and " * 30_000,
    "quotes": "'" * 1_000_000,
    "nots": "not a dog or " * 80_000,
    "lines": "answer:\n" * 120_000,
    "digits": "1.1" * 300_000,
    "initials": "a.b." * 250_000,
    "unbroken": "a" * 1_000_000,
    "likely": "most likely " * 80_000,
}


@pytest.mark.parametrize("name", HUGE)
def test_a_megabyte_of_prose_is_read_in_bounded_time(name):
    begin = time.process_time()
    read_response(HUGE[name], ("dog bark", "bell", "hot dog", "dog"))
    # 0.1 s here; anything quadratic takes minutes.
    assert time.process_time() - begin < 5
