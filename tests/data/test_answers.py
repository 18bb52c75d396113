"""The reader and grader of responses: examples, properties on arbitrary text, and linear time."""

import re
import string
import time
import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sari_data.answers import (
    AMBIGUOUS,
    CUT_OFF,
    DISAGREE,
    EMPTY,
    NO_ANSWER,
    NOT_AN_OPTION,
    REASONS,
    follows_grammar,
    grade,
    read_response,
)
from sari_data.errors import InputError, TemplateError
from sari_data.prompting import list_modes, load_mode, render_target
from sari_data.types import AudioQuestion, AudioRef, Reasoning, StructuredReasoning

SOUNDS = ("dog bark", "bell", "hot dog", "dog")
LETTERS = ("B", "A", "D", "C")
STRUCTURED = (
    "<think><planning>p</planning><caption>c</caption><reasoning>r</reasoning><summary>s</summary></think>"
    "<answer>bell</answer>"
)


def answer(text: str, choices=SOUNDS, **options):
    reading = read_response(f"<think>t</think><answer>{text}</answer>", choices, **options)
    assert (reading.choice is None) == (reading.reason in REASONS)
    return reading.choice if reading.choice is not None else reading.reason


@pytest.mark.parametrize(
    "text",
    [
        *("B", "b", "(b)", "( B )", "[B]", "B.", "B)", "B:", "**B**", "'B'", "Option B", "choice (b)", "Answer: B"),
        *("bell", "BELL", " bell\n", "Bell.", "bell!", "“bell”", "‘Bell’", "**bell**", "the bell", "A bell", "(bell)"),
        *("b: bell", "(B) bell", "B. bell", "B) Bell.", "B - bell", "(b): the bell", "answer: bell", "Answer is bell."),
        *("ｂｅｌｌ", "\u200bbell", "bell\u00a0", "The correct answer is (B)"),
    ],
)
def test_forms_of_an_option(text):
    assert answer(text) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dog", 3),
        ("hot dog", 2),
        ("Dog Bark", 0),
        ("dog barks", NOT_AN_OPTION),
        ("E", NOT_AN_OPTION),
        ("B or C", NOT_AN_OPTION),
        ("bell, dog", NOT_AN_OPTION),
        ("I think it is the bell", NOT_AN_OPTION),
        ("not bell", NOT_AN_OPTION),
        ("A. bell", AMBIGUOUS),
        ("(D) hot dog", AMBIGUOUS),
        ("E. bell", AMBIGUOUS),
        ("A. something else", NOT_AN_OPTION),
        ("", EMPTY),
        (" \n", EMPTY),
        ("...", EMPTY),
    ],
)
def test_nothing_is_guessed(text, expected):
    assert answer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", 0),
        ("b", 0),
        ("'B'", 0),
        ("A", 1),
        ("(B)", AMBIGUOUS),
        ("D.", AMBIGUOUS),
        ("(B) A", 1),
        ("(A) A", AMBIGUOUS),
    ],
)
def test_options_that_are_letters(text, expected):
    assert answer(text, LETTERS) == expected
    # Shown in their own order, letters and texts agree.
    straight = answer(text, ("A", "B", "C", "D"))
    assert straight == (AMBIGUOUS if text == "(B) A" else string.ascii_uppercase.index(text.strip("'().").upper()[0]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("2", 0), ("1", 1), ("1.", 1), ("(5)", 2), ("1.5", 3), ("B", 1), ("B. 1", 1), ("B. 2", AMBIGUOUS)),
        *((text, NOT_AN_OPTION) for text in ("15", "-5", ".5", "5:00", "0")),
    ],
)
def test_options_that_are_numbers(text, expected):
    assert answer(text, ("2", "1", "5", "1.5")) == expected


def test_options_that_carry_letters():
    assert [answer(t, ("A. dog", "B. cat")) for t in ("B", "cat", "B. cat", "(A) dog", "A. dog")] == [1, 1, 1, 0, 0]
    # Their own letters and the shown ones disagree here, so a letter alone says nothing.
    assert [answer(t, ("B. dog", "A. cat")) for t in ("B", "cat", "B. dog")] == [AMBIGUOUS, 1, 0]


def test_a_repeated_option_is_one_choice():
    assert [answer(t, ("x", "y", "x")) for t in ("x", "C", "A", "(C) x", "B")] == [0, 0, 0, 0, 1]
    # Options that differ in case alone are told apart only by their exact text.
    assert [answer(t, ("Cm7", "CM7")) for t in ("CM7", "Cm7", "cm7", "B")] == [1, 0, AMBIGUOUS, 1]
    assert answer("a dog", ("dog", "the dog")) == AMBIGUOUS


def test_signs_that_matter_are_kept():
    keys = ("C", "C#", "-1", "1", "0:30", "0.30")
    assert [answer(key, keys) for key in keys] == list(range(6))
    assert answer("'C#'", keys) == 1
    assert answer("hip hop", ("hip-hop", "jazz")) == 0
    assert answer("don't know", ("don’t know", "know")) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<THINK>a</THINK>\n<Answer>Bell</ANSWER>", 1),
        ("< think >a< / think >< answer >bell</ answer >", 1),
        ("<think>a</think><answer>bell", 1),
        ("<think>a <answer>bell", 1),
        ("<think><planning>a<caption>b <answer>bell</answer>", 1),
        ("Sure! <think>a</think> Here: <answer>bell</answer> Thanks.", 1),
        ("<answer>bell</answer>", 1),
        ("<think>maybe <answer>dog</answer>, no</think><answer>bell</answer>", 1),
        ("thought</think><answer>bell</answer>", 1),
        ("thought</think>bell", 1),
        ("<think>thought</think> (B)", 1),
        ("bell", 1),
        ("B", 1),
        ("bell</answer>", 1),
        ("<answer>bell</answer><answer>B</answer>", 1),
        ("<answer></answer><answer>B</answer>", 1),
        ("<answer>bell</answer><answer>dog</answer>", DISAGREE),
        ("<answer>the one</answer><answer>dog</answer>", DISAGREE),
        ("<answer>this</answer><answer>that</answer>", DISAGREE),
        ("<think>bell</think>", NO_ANSWER),
        ("<think>it is the bell", NO_ANSWER),
        ("<think>a <answer>bell</answer></think>", NO_ANSWER),
        ("<planning>bell</planning>", NO_ANSWER),
        ("It is the bell", NO_ANSWER),
        ("", NO_ANSWER),
        ("<answer>", EMPTY),
        ("<b>bell</b>", NO_ANSWER),
    ],
)
def test_where_the_answer_is(text, expected):
    reading = read_response(text, SOUNDS)
    assert (reading.choice if reading.choice is not None else reading.reason) == expected


def test_a_cut_answer_is_not_read():
    assert read_response("<answer>hot dog", SOUNDS).choice == 2
    for text in ("<answer>hot dog", "<answer>dog</answer><answer>dog", "dog", "<think>so"):
        assert read_response(text, SOUNDS, finish_reason="length").reason == CUT_OFF
    assert read_response("<answer>hot dog</answer> and", SOUNDS, finish_reason="length").choice == 2


def test_sections():
    sections = read_response(STRUCTURED, SOUNDS).sections
    assert sections == {
        "think": "p\nc\nr\ns",
        "think.planning": "p",
        "think.caption": "c",
        "think.reasoning": "r",
        "think.summary": "s",
        "answer": "bell",
    }
    open_sections = read_response("<think><planning> p <caption>c", SOUNDS).sections
    assert open_sections == {"think": "p\nc", "think.planning": "p", "think.caption": "c"}
    assert read_response("a</think>b", SOUNDS).sections == {"think": "a"}


def test_grades():
    question = make_question(("dog", "cat", "dog"), "dog")
    assert grade("<answer>C</answer>", question).outcome == "correct"
    assert grade("<answer>C</answer>", question).correct
    assert grade("<answer>cat</answer>", question).outcome == "wrong"
    assert grade("<answer>cow</answer>", question).outcome == "unparsed"
    assert grade("<answer>cow</answer>", question, finish_reason="length").outcome == "truncated"
    assert grade("<think>", question, finish_reason="length").outcome == "truncated"
    assert grade("<answer>dog</answer>", question, finish_reason="length").outcome == "correct"
    with pytest.raises(InputError, match="withheld"):
        grade("dog", question.replace(answer=None))


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        (STRUCTURED, "structured", True),
        (STRUCTURED.upper().replace("><", ">\n <"), "structured", True),
        (STRUCTURED + "\n", "structured", True),
        (STRUCTURED + ".", "structured", False),
        ("So: " + STRUCTURED, "structured", False),
        (STRUCTURED.replace("<summary>s</summary>", ""), "structured", False),
        (STRUCTURED.replace("<summary>s</summary>", "<summary> </summary>"), "structured", False),
        (STRUCTURED.replace("</caption>", "</caption> and "), "structured", False),
        (STRUCTURED.replace("</answer>", ""), "structured", False),
        (STRUCTURED.replace("planning", "plan"), "structured", False),
        (
            STRUCTURED.replace("caption", "x").replace("planning", "caption").replace("x", "planning"),
            "structured",
            False,
        ),
        (STRUCTURED * 2, "structured", False),
        ("<think>a</think><answer>b</answer>", "structured", False),
        ("<think>a</think><answer>b</answer>", "unstructured", True),
        ("<think>a<think>a</think></think><answer>b</answer>", "unstructured", False),
        ("<answer>b</answer><think>a</think>", "unstructured", False),
        ("<answer>b</answer>", "unstructured", False),
        ("<answer>b</answer>", "direct", True),
        ("<answer></answer>", "direct", False),
        ("b", "direct", False),
        ("", "direct", False),
    ],
)
def test_grammar_is_strict(text, mode, expected):
    assert follows_grammar(text, mode) is expected
    assert follows_grammar(text, load_mode(mode)) is expected


def test_grammar_needs_a_mode_that_exists():
    with pytest.raises(TemplateError, match="'loud' is unknown"):
        follows_grammar("", "loud")


def make_question(choices, gold, chain="because"):
    return AudioQuestion(
        id="q",
        audio=AudioRef(path="a.wav"),
        question="What?",
        choices=tuple(choices),
        answer=gold,
        domain="sound",
        reasoning=Reasoning(StructuredReasoning(chain, chain, chain, chain), chain),
    )


fixed = settings(deadline=None, derandomize=True, max_examples=150)

# Any text but angle brackets, which would be tags; options need something that is not punctuation.
prose = st.text(st.characters(codec="utf-8", exclude_characters="<>"), min_size=1, max_size=30).filter(str.strip)
option = st.text(string.ascii_letters + string.digits + " éßİüŉ-#'", min_size=1, max_size=12).filter(
    lambda text: any(c.isalnum() for c in text)
)


def letters_of(text: str) -> str:
    """What is left of a text when case and everything but letters and digits are taken away."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


pieces = st.sampled_from(
    [
        *("<think>", "</think>", "<answer>", "</answer>", "<Answer>", "<caption>", "</planning>", "<", "/", ">", " "),
        *("A", "b", "(C)", "D.", "dog", "hot dog", "bell", "dog bark", "’", "ß", "\u0000", "the ", "\n"),
    ]
)
responses = st.lists(pieces, max_size=25).map("".join) | st.text(max_size=60)


@fixed
@given(st.lists(prose, min_size=2, max_size=8), st.data())
def test_every_target_reads_back(choices, data):
    gold = data.draw(st.sampled_from(choices))
    question = make_question(choices, gold, chain=data.draw(prose))
    assume(any(c.isalnum() for c in gold))
    for mode in list_modes():
        target = render_target(question, mode)
        graded = grade(target, question)
        assert graded.outcome == "correct"
        assert follows_grammar(target, mode)
        expected = [s for s in load_mode(mode).sections if "." in s]
        assert [s for s in graded.reading.sections if "." in s] == expected
        if mode == "structured":
            assert graded.reading.sections["think.caption"] == question.reasoning.structured.caption.strip()


@fixed
@given(responses, st.lists(option, min_size=2, max_size=6) | st.just(list(SOUNDS)), st.sampled_from(["stop", "length"]))
def test_any_text_reads_and_choices_stand_in_it(text, choices, finish_reason):
    reading = read_response(text, choices, finish_reason=finish_reason)
    assert (reading.choice is None) == (reading.reason in REASONS)
    assert (reading.choice is None) != (reading.reason is None)
    for mode in list_modes():
        assert follows_grammar(text, mode) in (True, False)
    if reading.choice is not None:
        chosen = choices[reading.choice]
        letters = "".join(string.ascii_lowercase[i] for i, choice in enumerate(choices) if choice == chosen)
        region = unicodedata.normalize("NFKC", reading.answer_text or "").casefold()
        alone = re.search(rf"(?<![^\W_])[{letters}](?![^\W_])", region)
        assert letters_of(chosen) in letters_of(region) or alone


@fixed
@given(responses)
def test_case_and_white_space_change_nothing(text):
    before = read_response(text, SOUNDS)
    for changed in (text.upper(), text.lower(), text.swapcase(), f"\n {text}\t", text.replace(" ", " \n ")):
        after = read_response(changed, SOUNDS)
        assert (after.choice, after.reason) == (before.choice, before.reason)


@fixed
@given(
    st.lists(option, min_size=2, max_size=5, unique_by=lambda t: "".join(filter(str.isalnum, t.casefold()))), st.data()
)
def test_case_and_wrapping_keep_the_option(choices, data):
    index = data.draw(st.integers(0, len(choices) - 1))
    letter = string.ascii_uppercase[index]
    expected = answer(choices[index], choices)
    assert expected == index
    change = data.draw(
        st.sampled_from([str.upper, str.lower, str.swapcase, lambda t: f"  {t}\n", lambda t: f"**{t}**"])
    )
    # A change may make the text ambiguous (an option "b" in quotes), but never another option.
    assert answer(change(choices[index]), choices) in (index, AMBIGUOUS)
    assert answer(f"({letter}) {choices[index]}", choices) in (index, AMBIGUOUS)
    assert answer(f"({letter})", choices) in (index, AMBIGUOUS)


HUGE = {
    "open answers": "<answer>" * 125_000,
    "pairs": "<think></think>" * 66_000,
    "nested": "<think><planning>" * 60_000,
    "space after a bracket": "<" + " " * 1_000_000,
    "brackets": "< " * 500_000,
    "parentheses": "<answer>" + "(" * 1_000_000,
    "words": "<answer>" + "a " * 500_000,
    "marks": "<answer>a" + ".:" * 500_000,
    "quotes": "<answer>" + '" ' * 500_000,
    "hyphens": "<answer>" + "-a" * 500_000,
    "answers": "".join(f"<answer>x{i}" for i in range(80_000)),
    "closed later": "<think><answer>b</answer></think>" * 30_000,
    "articles": "<answer>" + "the " * 250_000,
    "prefixes": "<answer>" + "the answer is " * 70_000,
}


@pytest.mark.parametrize("name", HUGE)
def test_a_megabyte_takes_linear_time(name):
    begin = time.process_time()
    read_response(HUGE[name], SOUNDS)
    follows_grammar(HUGE[name], "structured")
    # About 0.2 s here; anything quadratic takes minutes.
    assert time.process_time() - begin < 10
