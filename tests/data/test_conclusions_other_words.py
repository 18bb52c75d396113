"""What the reader makes of corrections, hedges, slips of the pen, words in bold and options in other words."""

import time

import pytest

from benchmarks.reader import blind_readings, figures, guessed
from sari_data.answers import AMBIGUOUS, DISAGREE, NO_ANSWER, NOT_AN_OPTION, REFUSED, read_response
from sari_data.mentions import mentions_of
from sari_data.paraphrases import paraphrased, respelled
from sari_data.wording import fold, tokens

FOUR = ("Dog", "Cat", "Human", "Fountain")
CLEAR = ("Clear", "Not clear")
SPEAKERS = ("first speaker", "second speaker", "none of the speakers", "both speakers")
FEELINGS = (
    "first is calm, second is happy.",
    "first is happy, second is calm.",
    "both remain calm.",
    "first is sad, second is calm.",
)
SPEEDS = ("Gradually slowing down", "Slow down first then speed up", "Gradually speeding up", "Stay the same")
LENGTHS = ("Approximately 1.0 second", "Approximately 1.5 seconds", "Approximately 2.0 seconds")
SPANS = ("0-5s", "1-6s", "3-8s")
CHORDS = ("G", "F#m", "Em", "C")
VOICES = ("Singing (melodic)", "Rapping (rhythmic speech)", "Scatting (improvised)")
REGIONS = ("Europe, because of the British accent", "South Asia, because of the Indian accent")
WORDS = ("bought, because", "quality, sorry")
COUNTS = ("one", "two", "three")
GYM = ("push-ups", "pull-ups")
STYLES = ("Monophonic", "Polyphonic", "Homophonic")
LEFT = ("Birds nearby", "It cannot be reliability determined from the audio")

READ = [
    *((text, FOUR, 1) for text in ("The answer is dog. No, cat.", "The answer is A. Wait, it's a cat.")),
    *((text, FOUR, 1) for text in ("The answer is A. Sorry, B.", "The answer is B. Actually, I also hear a dog.")),
    *((text, FOUR, 0) for text in ("The answer is A (not B).", "The answer is A, not B.", "So A.", "Hmm, no. So A.")),
    *(
        (text, FOUR, 2)
        for text in ("This points to option C.", "That's option C.", "因此选 C。", "That leaves the human.")
    ),
    *((text, FOUR, 2) for text in ("It isn't clear, so C.", "It speaks: C", "A voice makes option C the best choice.")),
    *(
        (text, FOUR, 2)
        for text in ("I can't tell for sure. If I had to choose, I'd pick the human.", "Not a dog. Human.")
    ),
    *((text, FOUR, 1) for text in ("Dogs and humans are loud.\nWhat is heard is a **cat**.", "## 4. Answer\nCat")),
    *((text, CLEAR, 1) for text in ("She is not at all clear.", "The mother isn't very clear.", "It is not clear.")),
    ("She is clear.", CLEAR, 0),
    ("The first speaker is calm, and the second speaker is happy.", FEELINGS, 0),
    ("It is gradually slow down.", SPEEDS, 0),
    ("It lasts about 2 seconds.", LENGTHS, 2),
    ("Slow motion from 1 second to 6 seconds.", SPANS, 1),
    ("1.5 s", ("1.50 seconds", "2.00 seconds"), 0),
    ("The last chord is **C major**.", CHORDS, 3),
    ("It is E minor.", CHORDS, 2),
    ("The style is rapping.", VOICES, 1),
    ("The accent is Indian, hence **South Asia**.", REGIONS, 1),
    ("The word appears once.", COUNTS, 0),
    ("That's one... and one more. Three.", COUNTS, 2),
    ("The word pushups comes first.", GYM, 0),
    ("Monophonc", STYLES, 0),
    ("It cannot be reliably determined from the audio.", LEFT, 1),
]

NOT_READ = [
    *((text, FOUR, NOT_AN_OPTION) for text in ("The answer is hot dog.", "The answer is a cardboard cat.")),
    *((text, FOUR, NO_ANSWER) for text in ("It doesn't sound like a dog.", "I do not think it is a dog.", "I say no.")),
    *((text, FOUR, NO_ANSWER) for text in ("Not a dog, and it does not sound like a cat either.", "a **mouse**")),
    *(
        (text, FOUR, DISAGREE)
        for text in ("The answer is A. Wait, no.", "The answer is A. I am sure.\nCat", "The answer is A.\nB")
    ),
    *(
        (text, FOUR, AMBIGUOUS)
        for text in ("The answer is A. Actually, the answer could also be C.", "**Dog**. Or a cat.")
    ),
    *((text, FOUR, AMBIGUOUS) for text in ("The answer is dog or maybe cat.", "I hear a **dog**, a cat and a human.")),
    *((text, FOUR, REFUSED) for text in ("I am unable to process audio.", "The audio does not mention it.")),
    *((text, FOUR, REFUSED) for text in ("I can't assess that.", "There is no information about the source.")),
    ("because", WORDS, NO_ANSWER),
    ("The first speaker does not change.", SPEAKERS, NO_ANSWER),
    ("Once upon a time there was a bell.", COUNTS, NO_ANSWER),
    ("Both remain happy.", FEELINGS, NO_ANSWER),
    ("If it were slower, it would be gradually slowing down.", SPEEDS, NO_ANSWER),
    ("The word crazy appears before the word calm.", ("x", "calm"), NO_ANSWER),
    ("It lasts 2.05 seconds.", LENGTHS, NO_ANSWER),
]


def said(text, choices):
    reading = read_response(text, choices)
    return reading.choice if reading.choice is not None else reading.reason


@pytest.mark.parametrize(("text", "choices", "expected"), READ)
def test_it_is_read(text, choices, expected):
    assert said(text, choices) == expected


@pytest.mark.parametrize(("text", "choices", "expected"), NOT_READ)
def test_it_is_not_guessed(text, choices, expected):
    assert said(text, choices) == expected


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        *(
            ("emergancy", "emergency"),
            ("emergecy", "emergency"),
            ("emergnecy", "emergency"),
            ("emergenccy", "emergency"),
        ),
        *(("emergency", None), ("emergencies", None), ("clapping", None), ("submergency", None), ("mergency", None)),
    ],
)
def test_one_slip_of_the_pen_is_set_right_and_nothing_else(word, meant):
    mentions = mentions_of(("emergency siren", "clipping"))
    assert respelled(["an", word], mentions) == (None if meant is None else ["an", meant])


def test_a_paraphrase_has_the_words_in_order_and_none_of_another_option():
    mentions = mentions_of(FEELINGS)
    for text, expected in (
        ("the first one is calm while the second one is happy", 0),
        ("the first one is happy while the second one is calm", 1),
        ("the second one is happy and the first one sad", None),
        ("the first might be calm, the second happy", None),
        ("the first is not calm, the second is happy", None),
    ):
        assert paraphrased(tokens(fold(text)), mentions) == expected, text


BIG = {
    "bold": "**a** " * 170_000,
    "bold without an end": "**" + "a" * 1_000_000,
    "paraphrases": "first calm, second happy " * 40_000,
    "corrections": "No, cat. " * 110_000,
    "conditions": "if i had to choose " * 52_000,
    "options": "option a " * 110_000,
    "headings": "\n   #### answer" * 66_000,
    "decimals": "1." + "0" * 1_000_000,
    "slips": "emergancy " * 100_000,
    "given that": "as cat , cat , cat is cat , not cat , " * 30_000,
    "the one that": "the one that is not what is what is the cat " * 25_000,
    "numbered": "1. cat\n2. cat\n" * 75_000,
    "rows": "| 1 | cat |\n| 2 | " * 55_000,
    "anything": "can hardly be anything " * 45_000,
}


@pytest.mark.parametrize("name", BIG)
def test_a_megabyte_is_read_in_bounded_time(name):
    begin = time.process_time()
    read_response(BIG[name], (*FEELINGS, "emergency siren", "cat"))
    # 0.2 s here; anything quadratic takes minutes.
    assert time.process_time() - begin < 5


def test_the_responses_written_blind_are_read_as_labelled(shared_data):
    rows = blind_readings(shared_data / "mmau", shared_data / "mmar" / "MMAR-meta.jsonl")
    assert len(rows) == 1628
    for number, share_read in ((1, 0.965), (2, 0.95), (3, 0.775), (4, 0.97), (5, 0.925)):
        part = [row for row in rows if row["set"] == number]
        found = figures(part)["reader"]
        assert found["share_read"][0] / found["share_read"][1] >= share_read
        assert found["share_right"][0] >= found["share_right"][1]
        assert guessed(part) == 0
