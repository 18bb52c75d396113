"""Families of ways to conclude: what a careful person reads in each, with options of many kinds."""

import time

import pytest

from sari_data.answers import AMBIGUOUS, DISAGREE, HALFWAY, NO_ANSWER, read_response

PLAYED = ("Violin", "Piano", "Cello", "Flute")
YES = ("Yes", "No")
TRUE = ("True", "False")
FEELINGS = ("Angry", "Happy", "Sad", "Neutral")
SPEAKERS = ("first speaker", "second speaker", "both speakers", "none of the speakers")
VOICES = ("Male", "Female", "Both", "Neither")
COUNTS = ("2", "3", "4", "5")
TIMES = ("Once", "Twice", "Three times", "Four times")
CLOCK = ("0:05", "0:12", "0:20", "0:31")
SPANS = ("00:00-00:10", "00:10-00:20", "00:20-00:30", "00:30-00:40")
KEYS = ("C# minor", "Db major", "F# minor", "A major")
DECADES = ("1960s", "1970s", "1980s", "1990s")
ASKS = (
    "The man is asking for directions",
    "The man is ordering food",
    "The man is complaining about the service",
    "The man is making a reservation",
)
PLACES = ("In a dense forest", "In a closed cage", "In a city park", "In a shopping mall")
PAIRS = ("Mother and son", "Teacher and student", "Doctor and patient", "Boss and employee")
AMOUNTS = ("More than 10", "Less than 5", "Between 5 and 10", "Exactly 1")
CHANGES = ("increases", "decreases", "stays the same", "fluctuates")
SAID = (
    "first and second show fear and neutral respectively.",
    "first and third show fear and sadness respectively.",
    "third and fourth show sadness and surprise respectively.",
)
GAMES = ("Billiards", "Table tennis", "Tennis", "Badminton")

READ = {
    "the answer first, with a reason": (
        *(
            "B, because the attack is percussive.",
            "B) because the notes decay.",
            "B. Unlike a violin, the notes decay.",
        ),
        *(
            "Piano. The violin would have a bowed attack.",
            "Piano, because violins and cellos are bowed.",
            "**Piano** – not violin.",
        ),
        "B\n\nExplanation: The violin and cello are bowed while the flute is blown.",
        "(B) Piano\n\nExplanation: A. Violin is bowed. C. Cello is bowed. D. Flute is blown.",
    ),
    "a letter where only an option can be meant": (
        *(
            "That leaves B.",
            "Overall, B.",
            "By process of elimination, B.",
            "Only B fits.",
            "B it is.",
            "Based on the audio, B.",
        ),
        *(
            "I'd vote for B.",
            "Going with B.",
            "Leaning towards B.",
            "I'd lean toward option B.",
            "B aligns with what is heard.",
        ),
    ),
    "elimination": (
        *("Which leaves piano.", "We are left with the piano.", "Violin, cello and flute can be ruled out, so piano."),
        "It isn't bowed, so violin and cello are out. It's not blown, so flute is out. Piano.",
    ),
    "a verdict on each option": (
        *(
            "- Violin: no\n- Piano: yes\n- Cello: no\n- Flute: no",
            "A) Violin ❌\nB) Piano ✅\nC) Cello ❌\nD) Flute ❌",
        ),
        *("A: incorrect. B: correct. C: incorrect. D: incorrect.", "Violin? No. Cello? No. Flute? No. Piano? Yes."),
    ),
    "another option is granted": (
        *("It may sound like a cello, but it is actually a piano.", "You might think it's a violin, but it's piano."),
        *("While it could be a violin, a piano is more likely.", "Piano, although it could be a violin."),
        *("It is more of a piano than a violin.", "This is a piano, as opposed to a violin."),
    ),
    "not sure, and said all the same": (
        *("It's a piano, but I'm not sure.", "Not sure, but piano.", "Hard to tell, maybe piano."),
        *("B, I think, though I'm not sure.", "There's not enough information, but I'd go with piano."),
    ),
    "corrections": (
        *("It's a violin... no, a piano.", "Violin, no wait, piano.", "A. Actually, B.", "It's A. Hmm, actually B."),
        *(
            "It's a cello - no, it's a piano.",
            "Cello? No, piano.",
            "The answer is A, I mean B.",
            "violin, or rather piano",
        ),
        *("Violin. Wait, no. Piano.", "It's a violin. On second thought, it's a piano."),
    ),
    "the former and the latter": (
        *(
            "It is between violin and piano, and the latter fits better.",
            "It's either a piano or a cello, and I'd say the former.",
        ),
        "Violin or piano? The latter.",
    ),
    "tags and tokens of other makers": (
        *(
            "<CONCLUSION>B</CONCLUSION>",
            "<final_answer>Piano</final_answer>",
            "[ANSWER]B[/ANSWER]",
            "B</s>",
            "B<|im_end|>",
        ),
        *(
            "<thinking>It might be a violin.</thinking> B",
            "[THINK]a violin[/THINK]Piano",
            "Answer => B",
            "=> B",
            "-> B",
        ),
    ),
    "a stray close tag after a short answer": (
        "Piano</think>",
        "The answer is B.</think>",
        "It is a piano.\n</think>\n",
    ),
    "at the end of a long response": (
        "The attack of every note is percussive and the tone decays naturally, which rules out bowed strings such as "
        "the violin and the cello. A flute would have a breathy tone. No doubt is left. The instrument is a piano.",
        "The notes decay. I hear no bow. They are chords. The range is wide. So it's a piano. What do you think?",
    ),
}

OTHERS = [
    *(
        (text, YES, 0)
        for text in ("Yeah.", "Yep, it does.", "Affirmative.", "I believe so.", "Absolutely.", "Correct.")
    ),
    *(
        (text, YES, 1)
        for text in ("Nope.", "No they don't.", "I don't think so.", "Definitely not.", "No: there's no drum")
    ),
    *((text, TRUE, 1) for text in ("That is not true.", "It is not true.", "The statement is false.")),
    *(
        (text, FEELINGS, 0)
        for text in ("Anger", "He speaks angrily.", "There is anger in the voice.", "The tone conveys anger.")
    ),
    *((text, FEELINGS, 2) for text in ("Sadness.", "The emotion conveyed is sadness.")),
    *((text, SPEAKERS, 0) for text in ("Speaker 1.", "Speaker one", "The first one.", "the 1st speaker")),
    *(
        (text, SPEAKERS, 2)
        for text in ("Both the first and the second speaker.", "The first speaker and the second speaker.")
    ),
    *(
        (text, SPEAKERS, 3)
        for text in ("Neither.", "Neither the first nor the second speaker changes.", "No speaker changes.")
    ),
    *((text, VOICES, 0) for text in ("A man.", "The speaker is a man.")),
    *((text, VOICES, 1) for text in ("The voice is female rather than male.", "a woman")),
    *((text, VOICES, 2) for text in ("Both male and female.", "A man and a woman.", "male and female")),
    *((text, VOICES, 3) for text in ("neither male nor female", "Neither of them.")),
    *(
        (text, COUNTS, 1)
        for text in ("There are three speakers: two men and one woman.", "3 voices: two men and a woman.")
    ),
    *(
        (text, COUNTS, 1)
        for text in ("Two men and one woman, so three.", "A total of three beeps.", "3 barks in total")
    ),
    *((text, TIMES, 1) for text in ("2", "Two times.", "It rings 2 times.")),
    *((text, TIMES, 2) for text in ("thrice", "3")),
    *((text, CLOCK, 1) for text in ("At around the 12 second mark.", "00:12", "It occurs 12 seconds in.")),
    *((text, SPANS, 2) for text in ("Between 20 and 30 seconds", "From 0:20 to 0:30.", "20-30 seconds")),
    *((text, KEYS, 0) for text in ("C sharp minor", "It's in C-sharp minor.", "C♯ minor", "C#m")),
    *((text, KEYS, 1) for text in ("D flat major", "The key is D-flat major.")),
    *((text, DECADES, 2) for text in ("the 80s", "The song is from the '80s.", "the eighties")),
    *((text, ASKS, 0) for text in ("He asks for directions.", "To ask for directions.", "directions")),
    *((text, ASKS, 2) for text in ("A complaint about the service.", "complaining")),
    *((text, PLACES, 0) for text in ("Birds chirp and insects buzz. They are in a forest.", "It is inside a forest.")),
    *(
        (text, PAIRS, 1)
        for text in ("A student and his teacher.", "teacher/student", "One is a teacher, the other a student.")
    ),
    *((text, AMOUNTS, 1) for text in ("Fewer than 5", "less than five")),
    *((text, CHANGES, 1) for text in ("The volume is decreasing.", "decreased over time")),
    *((text, CHANGES, 3) for text in ("There are fluctuations in volume.", "It remains fluctuating.")),
    ("The first speaker shows fear and the third speaker shows sadness.", SAID, 1),
    ("bulet", ("Coin", "Bullet"), 1),
    ("restaraunt patio", ("Subway station", "Restaurant patio"), 1),
    *((text, GAMES, 1) for text in ("ping pong", '{"answer": "ping pong"}')),
]

NOT_READ = [
    *("It sounds nothing like a piano.", "It's anything but a piano.", "I doubt it's a piano.", "Hardly a piano."),
    *("It is less likely to be a piano.", "Is it a piano?", "What about piano?", "The question asks about the piano."),
    *("A piano would sound different.", "Let's consider option B.", "I need to decide whether it is a piano."),
    *("Option B makes the least sense.", "Nothing points to the piano.", "B: incorrect", "Piano: no", "The former."),
    *(
        "The piano can be ruled out.",
        "We need to determine if it's a piano.",
        "The violin and the piano are ruled out.",
    ),
]
OPEN = [
    *(("It's a violin. It's a piano.", AMBIGUOUS), ("It's a piano. Hmm, or maybe a violin.", AMBIGUOUS)),
    *(("The answer is B. Actually, I'm not sure.", DISAGREE), ("That leaves piano and cello.", AMBIGUOUS)),
    ("<thinking>It is a piano", HALFWAY),
]


@pytest.mark.parametrize("family", READ)
def test_a_family_is_read(family):
    for text in READ[family]:
        assert read_response(text, PLAYED).choice == 1, text
        assert read_response(text.upper(), PLAYED).choice == 1, text


@pytest.mark.parametrize(("text", "choices", "expected"), OTHERS)
def test_another_name_of_an_option_is_read(text, choices, expected):
    assert read_response(text, choices).choice == expected
    assert read_response(f"<answer>{text}</answer>", choices).choice == expected


@pytest.mark.parametrize("text", NOT_READ)
def test_what_is_denied_asked_or_announced_is_not_read(text):
    assert read_response(text, PLAYED).choice is None


@pytest.mark.parametrize(("text", "reason"), OPEN)
def test_what_is_left_open_has_its_reason(text, reason):
    assert read_response(text, PLAYED).reason == reason


def test_a_thought_before_a_stray_close_tag_is_no_answer():
    long = "Let me think. The notes decay. No bow is heard. So it must be the piano.\n</think>"
    for text in (long, "<think>Piano</think>", "<thinking>Piano</thinking>"):
        assert read_response(text, PLAYED).reason == NO_ANSWER


def test_names_count_only_where_they_fit_one_option():
    assert read_response("a man", ("Male", "Man")).choice == 1
    assert read_response("There are 80 of them.", DECADES).choice is None
    assert read_response("He says yes.", YES).choice is None
    assert read_response("Neither.", ("Dog", "Cat", "Bird", "None of the above")).choice is None


HUGE = {
    "thoughts": "<thinking>a</thinking>" * 45_000,
    "tokens": "<|" * 500_000,
    "pauses": "dog... " * 140_000,
    "verdicts": "bell : correct , " * 60_000,
    "letters": "only b , " * 110_000,
    "former": "dog or bell the latter " * 45_000,
    "offers": "what do you think?\n" * 52_000,
    "sums": "2 men and 1 woman , " * 50_000,
    "taken back": "dog no wait " * 90_000,
}


@pytest.mark.parametrize("name", HUGE)
def test_a_megabyte_is_read_in_bounded_time(name):
    begin = time.process_time()
    read_response(HUGE[name], ("dog bark", "bell", "hot dog", "dog"))
    read_response(HUGE[name], ("2", "3"))
    # 0.3 s here; anything quadratic takes minutes.
    assert time.process_time() - begin < 8
