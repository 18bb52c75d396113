"""What the reader makes of prose: written cases, each with what a careful person reads in it."""

import pytest
from corpus_examples import answered_question

from sari_data.answers import (
    AMBIGUOUS,
    DISAGREE,
    HALFWAY,
    LOOPS,
    NO_ANSWER,
    NOT_AN_OPTION,
    REFUSED,
    grade,
    read_response,
)

FOUR = ("Dog", "Cat", "Human", "Fountain")
SOUNDS = ("dog bark", "bell", "hot dog", "dog")
NUMBERS = ("two", "12", "twenty-five", "100")
ORDINALS = ("First speaker", "Second speaker", "Third speaker", "None of the speakers")
OPEN = ("Train", "Car", "Cannot be determined")
YES = ("Yes", "Yes, twice", "No")
LINES = ("In a library", "At a party", "In a forest", "On a ship")
NOTES = ("C", "C#", "C minor", "A minor")
LETTERS = ("A", "B", "C", "D")
BOTH = ("Dog", "Cat", "Both A and B", "None of the above")
KEYS = ("Major", "Minor")
CHORDS = ("C:maj/1", "A:min/1", "7.38 to 11.08", "8.00 - 9.60")


def read(text, choices=FOUR, **options):
    reading = read_response(text, choices, **options)
    return reading.choice if reading.choice is not None else reading.reason


CONCLUDED = [
    *((text, FOUR, 2) for text in ("Therefore, the answer is (c) Human.", "THE ANSWER IS C", "the answer is c", "(c)")),
    *((text, FOUR, 1) for text in ("the answer is B.", "Answer: B", "Final answer: B", "**B. Cat**", "B) Cat", "[B]")),
    *(
        (text, FOUR, 1)
        for text in ("Option B", "option 2", "The second option is correct.", "The 2nd option is right.")
    ),
    *(
        (text, FOUR, 1)
        for text in ("I would choose option B.", "I'll go with B.", "I choose (b).", "My answer is B: Cat")
    ),
    *((text, FOUR, 1) for text in ("(B) is the correct answer.", "B is correct.", "Option B is the best choice.")),
    *((text, FOUR, 1) for text in ("The correct option is: **B**", "The best answer is B) Cat.", "Answer:\n\nB. Cat")),
    *(
        (text, FOUR, 1)
        for text in ("The answer is\nB", "### Answer\nCat", "The answer is “Cat”.", "答案是B。", "正确答案：B")
    ),
    *((text, FOUR, 1) for text in (r"So \boxed{B}", r"The answer is \boxed{\text{Cat}}.", "{'answer': 'Cat'}")),
    *((text, FOUR, 1) for text in ('{"reasoning": "a dog would bark", "answer": "B"}', "{'sound': 'a cat'}", "<cat>")),
    *(
        (text, FOUR, 1)
        for text in ("I hear purring, so the answer is B, since cats purr.", "Cats", "the cats", "It's a cat.")
    ),
    *(
        (text, FOUR, 3)
        for text in ("most likely a fountain.", "It is probably a fountain", "Most likely, it's the fountain.")
    ),
    *(
        (text, FOUR, 3)
        for text in ("The sound is that of a fountain.", "This sounds like a fountain.", "A fountain</answer>")
    ),
    *(
        (text, FOUR, 3)
        for text in ("The sound suggests a fountain.", "I think it is the fountain.", "a fountain is heard")
    ),
    *(
        (text, FOUR, 0)
        for text in ("The answer is A", "The answer is A.", "The answer is a dog.", "Option A is correct.")
    ),
    *((text, FOUR, 0) for text in ("The answer is A because it barks.", "It is a dog, not a cat.", "A", "(A) Dog")),
    *(
        (text, FOUR, 0)
        for text in ("It cannot be a cat, so it must be a dog.", "Dog rather than cat.", "The dog, not the cat")
    ),
    *(
        (text, FOUR, 0)
        for text in ("The cat is unlikely. The answer is dog.", "It isn't a cat or a human. It is a dog.")
    ),
    ("At first it seems to be a cat. However, the barking settles it. The answer is A.", FOUR, 0),
    ("Option A is a dog, option B is a cat. A cat would meow. Therefore, the answer is (A) Dog.", FOUR, 0),
    ("The answer is B. Wait, actually I hear barking. The answer is A.", FOUR, 0),
    ("My first guess is B. The final answer is A.", FOUR, 0),
    ("It could be a cat or a dog. After listening again, the answer is A.", FOUR, 0),
    ("The answer is A. The answer is A. The answer is A.", FOUR, 0),
    ("The answer is A. " * 40, FOUR, 0),
    ("It cannot be determined with certainty, but it is most likely a fountain.", FOUR, 3),
    ("I am not sure, but I would guess the answer is D.", FOUR, 3),
    ("Without more context it is hard to say. The most likely answer is D. Fountain", FOUR, 3),
    ("thought about cats</think>The answer is D.", FOUR, 3),
    ("<think>maybe a cat</think>\nThe sound is coming from a fountain.", FOUR, 3),
    ("<answer>The sound is coming from a train.</answer>", OPEN, 0),
    ("The answer is B. The dog in the background is only noise.", FOUR, 1),
    ("The best option would be the cat, as dogs and humans sound different.", FOUR, 1),
    ("The answer to whether a dog or a human is heard is: cat", FOUR, 1),
    ("hot dog", SOUNDS, 2),
    ("It is a hot dog.", SOUNDS, 2),
    ("The answer is hot dogs.", SOUNDS, 2),
    ("It is a dog.", SOUNDS, 3),
    ("The sound is a dog bark.", SOUNDS, 0),
    ("Dog barks.", SOUNDS, 0),
    ("The answer is 2.", NUMBERS, 0),
    ("There are two.", NUMBERS, 0),
    ("I count twelve beats.", NUMBERS, 1),
    ("It happens 25 times.", NUMBERS, 2),
    ("twenty five", NUMBERS, 2),
    ("The answer is one hundred.", NUMBERS, 3),
    ("It rings twice.", NUMBERS, 0),
    ("The 3rd speaker is angry.", ORDINALS, 2),
    ("the third", ORDINALS, 2),
    ("The answer is 'None of the speakers'.", ORDINALS, 3),
    ("The second one", ORDINALS, 1),
    ("The answer cannot be determined.", OPEN, 2),
    ("It can't be determined.", OPEN, 2),
    ("It is impossible to tell.", OPEN, 2),
    ("Most likely a train.", OPEN, 0),
    ("The answer is unknown.", ("Train", "Unknown"), 1),
    ("I'm not sure.", ("Train", "Not sure"), 1),
    ("Yes.", YES, 0),
    ("Yes, twice.", YES, 1),
    ("The answer is yes.", YES, 0),
    ("The answer is no.", YES, 2),
    ("No, it is not.", YES, 2),
    ("The conversation takes place in a forest.", LINES, 2),
    ("Most likely they are on a ship.", LINES, 3),
    ("Library", LINES, 0),
    ("The key is C minor.", NOTES, 2),
    ("The chord is C#.", NOTES, 1),
    ("The chord is C.", NOTES, 0),
    ("The key is C minor.", KEYS, 1),
    ("The answer is D.", LETTERS, 3),
    ("The answer is A.", LETTERS, 0),
    ("Both A and B are correct.", BOTH, 2),
    ("The answer is both A and B.", BOTH, 2),
    ("None of the above.", BOTH, 3),
    ("The answer is none of the above.", BOTH, 3),
    ("C major", CHORDS, 0),
    ("The chord lasts from 7.38 to 11.08 seconds.", CHORDS, 2),
    ("It appears between 8.00 and 9.60 seconds.", CHORDS, 3),
    ("The answer is x.", ("x", "y", "x"), 0),
    ("The answer is C.", ("x", "y", "x"), 0),
    ("The answer is C or A.", ("x", "y", "x"), 0),
    ("Uplifting", ("Uplifted", "Depressed"), 0),
    ("D. Because water is flowing.", FOUR, 3),
    ("So it's C.", FOUR, 2),
    ("The answer is D? No, wait. It's A.", FOUR, 0),
    ("If it were a dog, the answer would be A. But there is water, so the answer is D.", FOUR, 3),
    ("Options: A. Dog B. Cat C. Human D. Fountain. The correct answer is D. Fountain.", FOUR, 3),
    (
        "(A) Dog: it barks. (B) Cat: cats meow. (C) Human: no voice. (D) Fountain: water. So the right option is (D).",
        FOUR,
        3,
    ),
    ("**Answer:** (D) Fountain\n\n**Explanation:** The sound of water rules out the dog and the cat.", FOUR, 3),
    ("The answer isn't the fountain but the dog.", FOUR, 0),
    ("It is likely to be a human rather than a dog or cat.", FOUR, 2),
    ("To see if an apartment became available.", ("To see if an apartment is available", "To tape the game"), 0),
    ("Three years", ("She waited for three years.", "She waited for two years.", "She waited for years."), 0),
    (
        "The first speaker shows joy while the second speaker shows fear.",
        ("first speaker shows joy, second speaker shows fear.", "x"),
        0,
    ),
]

OPEN_ENDED = [
    *((text, FOUR, AMBIGUOUS) for text in ("Either a dog or a cat.", "It is a dog or a cat.", "The answer is A or B.")),
    *(
        (text, FOUR, AMBIGUOUS)
        for text in ("The answer is (B) Dog.", "Both the dog and the cat.", "A, B, C and D", "A: Cat")
    ),
    *(
        (text, FOUR, AMBIGUOUS)
        for text in ("The answer is either A or B.", "Dog, Cat, Human, Fountain", "dog cat human fountain")
    ),
    *(
        (text, FOUR, DISAGREE)
        for text in ("The answer is A. So the answer is B.", "Answer: A\nAnswer: B\nAnswer: C\nAnswer: D")
    ),
    *(
        (text, FOUR, REFUSED)
        for text in ("The answer cannot be determined.", "The answer is unknown.", "I cannot tell.")
    ),
    *(
        (text, FOUR, REFUSED)
        for text in ("It is impossible to determine whether it is a dog or a cat.", "I'm not sure.")
    ),
    *((text, FOUR, REFUSED) for text in ("I am sorry, but I cannot listen to audio.", "The answer is not specified.")),
    *((text, FOUR, REFUSED) for text in ("There is not enough information to say.", "无法确定", "It is unclear.")),
    *(
        (text, FOUR, NOT_AN_OPTION)
        for text in ("The answer is E.", "The answer is chainsaw.", "None of the options is heard.")
    ),
    *(
        (text, FOUR, NO_ANSWER)
        for text in ("It is not a dog.", "There is no cat.", "A loud noise.", "", "Not the fountain!")
    ),
    *((text, FOUR, NO_ANSWER) for text in ("It cannot be the cat.", "This rules out the dog.", "I listened to it.")),
    ("The answer could be A, but it could also be B.", FOUR, AMBIGUOUS),
    ("The options are dog, cat, human and fountain.", FOUR, AMBIGUOUS),
    ("The answer is not D.", FOUR, NO_ANSWER),
    ("A fountain is not likely", FOUR, NO_ANSWER),
    ("The question asks which of these it is: dog?", FOUR, NO_ANSWER),
    ("It sounds like a bird. " * 30, FOUR, LOOPS),
    ("The water runs and " * 30, FOUR, LOOPS),
    ("The recording begins with a quiet passage, and then a second sound enters that is", FOUR, HALFWAY),
    ("<think>The answer is A. I hear", FOUR, HALFWAY),
    ("<think>It is a dog, so the answer is A.", FOUR, HALFWAY),
    ("There is no dog.", YES, NO_ANSWER),
    ("The answer is 10.", ("100", "1"), NOT_AN_OPTION),
    ("The answer is 1.", ("10", "100"), NOT_AN_OPTION),
    ("The answer is 10.5.", ("10", "5"), NOT_AN_OPTION),
    ("That is the one.", ("one", "two"), NO_ANSWER),
    ("I heard a sound.", LETTERS, NO_ANSWER),
    (
        "A dog barks at the beginning. Later a cat can be heard as well, and people talk about the weather in a calm "
        "voice. Somewhere water runs for a long time. The scene ends with steps on gravel and a closing door.",
        FOUR,
        AMBIGUOUS,
    ),
]


@pytest.mark.parametrize(("text", "choices", "expected"), CONCLUDED)
def test_a_conclusion_is_read(text, choices, expected):
    assert read(text, choices) == expected


@pytest.mark.parametrize(("text", "choices", "expected"), OPEN_ENDED)
def test_nothing_is_guessed(text, choices, expected):
    assert read(text, choices) == expected


@pytest.mark.parametrize(("text", "choices", "expected"), CONCLUDED)
def test_case_white_space_and_a_sentence_before_change_nothing(text, choices, expected):
    if "<" not in text and "{" not in text:
        assert read(text.upper(), choices) == expected
        assert read(f"\n  {text}\t ", choices) == expected
        long = "The recording starts quietly, and grows louder in the end."
        if any(cue in text.lower() for cue in ("answer is", "correct", "most likely")):
            assert read(f"{long}\n{text}", choices) == expected


def test_how_a_choice_was_read():
    cases = [
        *(("<answer>Cat</answer>", "section"), ("<answer>B</answer>", "section"), ("cat", "whole"), ("B", "whole")),
        *(("<answer>It is a cat.</answer>", "conclusion"), ("The answer is a cat, as I said.", "conclusion")),
        *(("no idea", None), ("<answer>E</answer>", None)),
    ]
    assert [read_response(text, FOUR).how for text, _ in cases] == [how for _, how in cases]


def test_outcomes_of_prose():
    question = answered_question(FOUR, "Cat")
    expected = {
        "The answer is B.": "correct",
        "The answer is A.": "wrong",
        "The answer cannot be determined.": "refused",
        "The answer is A or B.": "unparsed",
        "I hear " * 30: "unparsed",
        "The recording begins with a quiet passage, and then a second sound enters that is": "truncated",
        "<think>It is a cat": "truncated",
    }
    assert {text: grade(text, question).outcome for text in expected} == expected
    # What was cut at its length is not read outside an answer section, whatever it concluded before.
    for text in ("The answer is B. But then", "The answer is B.", "I cannot tell. " * 9):
        assert grade(text, question, finish_reason="length").outcome == "truncated"
    closed = "<answer>The answer is B.</answer> and"
    assert grade(closed, question, finish_reason="length").outcome == "correct"


def test_a_response_that_names_every_option_is_never_right():
    for gold in FOUR:
        question = answered_question(FOUR, gold)
        for text in (
            *(
                ", ".join(FOUR),
                " or ".join(FOUR),
                "\n".join(f"({letter}) {c}" for letter, c in zip("ABCD", FOUR, strict=True)),
            ),
            *("".join(f"The answer is {c}. " for c in FOUR), " ".join(f"It is a {c}." for c in FOUR)),
            "".join(f"<answer>{c}</answer>" for c in FOUR),
            "The answer is A, B, C and D.",
            "A. The answer is B. C is correct. So it must be D.",
            "A is correct. B is correct. C is correct. D is correct.",
            "Probably a dog, probably a cat, probably a human, probably a fountain",
            "I think it is " + ", ".join(FOUR),
        ):
            assert grade(text, question).outcome != "correct"
            assert grade(f"<answer>{text}</answer>", question).outcome != "correct"
