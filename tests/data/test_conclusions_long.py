"""Long responses: an answer that opens and is explained, a conclusion that closes, and those that conclude nothing."""

import itertools

import pytest

from sari_data.answers import AMBIGUOUS, NO_ANSWER, REFUSED, read_response

OPTIONS = (
    ("Piano", "Violin", "Flute", "Drums"),
    ("Dog", "Cat", "Train", "Fountain"),
    ("Hospital", "Restaurant", "Library", "Park"),
)
MIDDLE = (
    "The recording starts quietly and grows louder after a few moments. There is some echo, and the level rises twice "
    "before it falls again. I could not make out every detail of the last part. "
)
WEIGHED = (
    "A {1} would sound quite different here. The {2} is perhaps closer, but its onset is softer. There is a faint {3} "
    "in the background, as it seems. "
)
AFTERWARDS = "None of that changes the overall impression of the clip."
OPENINGS = (
    "The source that stands out most is the {}.",
    "In this recording, the main source is a {}.",
    "It is a {} that we hear in this clip.",
    "What we hear is a {}, at some distance.",
    "The sound comes from a {}.",
    "Based on the audio, the sound comes from a {}.",
    "I believe that the source is a {}.",
    "This is clearly a {}.",
    "From what I can hear, it is the {} that explains the clip.",
    "There is little doubt that this is a {}.",
    "The main source in the clip is, without any doubt, the {}.",
    "You are listening to a {}.",
    "To answer the question directly: it is the {}.",
)
CLOSINGS = (
    "For these reasons the source is most likely the {}.",
    "Taking all of this into account, I am fairly confident that it is the {}.",
    "All of this points to the {}.",
    "All signs point towards a {}.",
    "On that basis there is a {} in the scene.",
    "It follows that the source is, as one would expect, a {}.",
    "In view of this, I have little doubt that it is a {}.",
    "In light of these observations, the source has to be the {}.",
    "Given all that, I'd go for the {}.",
    "Everything considered, this must be a {}.",
    "Of the four, only the {} fits this description.",
    "The {} is what remains after the others have been excluded.",
    "This leads me to the {}.",
    "Summing up, we are dealing with a {}.",
    "That can only mean a {}.",
    "As the others are all part of the list of what is heard, the one that isn't mentioned is the {}.",
    "The sound which is not present is **{}**.",
    "What I was asked for is consequently the {}.",
)


def _options(which: int, right: int) -> tuple[tuple[str, ...], list[str]]:
    options = OPTIONS[which]
    return options, [options[(right + k) % 4].lower() for k in range(4)]


@pytest.mark.parametrize("opening", OPENINGS)
def test_an_opening_answer_that_is_explained_is_read(opening: str) -> None:
    for which, right in itertools.product(range(len(OPTIONS)), range(4)):
        options, names = _options(which, right)
        text = f"{opening.format(names[0])} {MIDDLE}{WEIGHED.format(*names)}{AFTERWARDS}"
        assert read_response(text, options).choice == right, text


@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_closing_conclusion_is_read(closing: str) -> None:
    for which, right in itertools.product(range(len(OPTIONS)), range(4)):
        options, names = _options(which, right)
        text = f"{MIDDLE}{WEIGHED.format(*names)}{closing.format(names[0])}"
        assert read_response(text, options).choice == right, text


@pytest.mark.parametrize("opening", OPENINGS)
def test_what_is_concluded_at_the_end_outranks_the_opening_or_contradicts_it(opening: str) -> None:
    options, names = _options(0, 1)
    text = f"{opening.format(names[0])} {MIDDLE}{WEIGHED.format(*names)}So the answer is the {names[2]}."
    assert read_response(text, options).choice in (3, None)


@pytest.mark.parametrize(
    ("opening", "choice"),
    [
        ("Yes, the person did cut off everything.", 0),
        ("No, I do not believe that this man is talking to other human beings.", 1),
        ("No he does not, as far as one can hear.", 1),
        ("Yes, I can hear a drum.", 0),
        ("Yes, I can help you with that!", None),
        ("Yes, I can hear the audio.", None),
        ("Yes and no.", None),
    ],
)
def test_yes_and_no_that_open_a_long_response(opening: str, choice: int | None) -> None:
    text = f"{opening} {MIDDLE}He asks whether the other is ready, and then a door closes. {AFTERWARDS}"
    assert read_response(text, ("Yes", "No")).choice == choice


NOTHING = (
    "The piece begins with a piano. {m}After some seconds a violin enters, and the flute follows later.",
    "The first instrument is a piano. {m}The second is a violin. The last one that is heard is the flute.",
    "One of the instruments is a piano. {m}Another is the violin.",
    "The recording is a lively piece with a piano and a violin. {m}The drums keep a steady beat.",
    "{m}On that basis it could be the piano or the violin.",
    "{m}Taking all of this into account, the piano and the violin are equally likely.",
    "{m}For these reasons it is not the piano.",
    "{m}It follows that the piano can be excluded.",
    "{m}I am confident that it is not a piano, and fairly sure that it is not a violin.",
    "{m}I am not confident that this is a piano.",
    "{m}I have some doubt that it is a piano.",
    "{m}I doubt that it is a piano.",
    "{m}I hear a piano, a violin and drums. Taking everything into account, I cannot tell which of them was meant.",
    "{m}There is a piano. There is a violin. In view of all this, I would need a longer excerpt to decide.",
    "It is a piano that begins. {m}Then it is a violin that takes over.",
    "The question is about the instrument. {m}The piano is loud. The violin is soft.",
    "What we hear is a mix of piano and violin. {m}",
    "The piano is the instrument with which most people begin. {m}A violin is harder to learn.",
)


@pytest.mark.parametrize("template", NOTHING)
def test_long_responses_that_conclude_nothing_are_not_read(template: str) -> None:
    text = template.format(m=MIDDLE + "The acoustics suggest a large room with hard walls and few people. ")
    reading = read_response(text, OPTIONS[0])
    assert reading.choice is None, text
    assert reading.reason in (NO_ANSWER, AMBIGUOUS, REFUSED)


def test_what_somebody_says_in_the_recording_is_no_answer() -> None:
    for said in ("The man asks whether he is ready. Yes, says the other.", "It is hard to say yes or no here."):
        assert read_response(f"{MIDDLE}{said} {AFTERWARDS}", ("Yes", "No")).choice is None


@pytest.mark.parametrize("marks", ["{}. ", "{}) ", "{}.  **", "- {}. "])
def test_numbers_of_a_list_name_no_option(marks: str) -> None:
    options = ("one", "four", "six", "two")
    said = ("A man who opens the conversation.", "A woman who answers him.")
    items = "\n".join(marks.format(n) + text for n, text in enumerate(said, 1))
    assert (
        read_response(f"Based on the audio, there are **two** people in this dialogue:\n\n{items}", options).choice == 3
    )
    assert read_response(f"Here is what I hear:\n\n{items}", options).choice is None


def test_a_checklist_before_the_conclusion() -> None:
    text = (
        "Checklist of the sounds:\n\n- [x] **Piano** - soft\n- [x] **Violin** - from 0:02\n- [ ] **Flute** - no\n"
        "\nThe sound which is not present is **Flute**."
    )
    assert read_response(text, OPTIONS[0]).choice == 2


def test_an_answer_of_the_story_is_not_the_answer() -> None:
    text = (
        f"{MIDDLE}He asks for a favour, and the answer is a long groan, followed by a list of excuses. The other one "
        "then offers to pay. This amounts to a yes, even if a grudging one. {}"
    )
    options = ("Accepted", "Did not accept")
    assert read_response(text.format("So this person eventually accepted."), options).choice == 0
    assert read_response(text.format("They talk about breakfast."), options).choice is None


def test_the_option_that_is_called_possible_is_not_stated() -> None:
    text = f"{MIDDLE}The flute option is understandable. For these reasons the instrument is most likely the piano."
    assert read_response(text, OPTIONS[0]).choice == 0
    assert read_response("The last option is the correct one.", OPTIONS[0]).choice == 3


KINDS = ("Argument", "Celebration", "Lecture", "Interview")
TALK = (
    "In the first part a man talks about his day, and another person answers. The two of them laugh, and a door is "
    "closed somewhere behind them. Later on there is a pause of about two seconds. "
)


@pytest.mark.parametrize(
    ("template", "options", "choice"),
    [
        ("The scene is best understood as an interview. {}In a lecture nobody would answer.", KINDS, 3),
        ("{}I cannot identify the language. Nevertheless, the questions speak for an interview.", KINDS, 3),
        ("{}An interview is thus the only option that is left.", KINDS, 3),
        ("The recording dates from the 1980s. {}In the 1970s drums were drier.", ("1970s", "1980s", "1990s"), 1),
        ("There are three people in this recording. {}One might suspect a fourth.", ("2", "3", "4"), 1),
        ("{}Counting them up, I arrive at three people.", ("2", "3", "4"), 1),
        ("{}Therefore the question has to be answered in the negative.", ("Yes", "No"), 1),
        ("{}For these reasons I would answer the question in the affirmative.", ("Yes", "No"), 0),
        ("Dwight is the one who came too late. {}Jim was there, and Joy is mentioned.", ("Jim", "Joy", "Dwight"), 2),
        ("The person in question is Dwight. {}Jim was there, and Joy is mentioned.", ("Jim", "Joy", "Dwight"), 2),
        ("The one who came too late was Dwight, as can be heard. {}Jim was there.", ("Jim", "Joy", "Dwight"), 2),
        (
            "In this clip, a man is sawing wood. {}The dog that barks once is far away.",
            ("A dog barking at the mailman", "A cat fighting with a bird", "A man sawing wood"),
            None,
        ),
    ],
)
def test_more_ways_to_open_and_to_close(template: str, options: tuple[str, ...], choice: int | None) -> None:
    assert read_response(template.format(TALK), options).choice == choice
