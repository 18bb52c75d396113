"""The reader and grader of responses: examples."""

import string

import pytest
from corpus_examples import answered_question

from sari_data.answers import (
    AMBIGUOUS,
    CUT_OFF,
    DISAGREE,
    EMPTY,
    HALFWAY,
    NO_ANSWER,
    NOT_AN_OPTION,
    REASONS,
    follows_grammar,
    grade,
    read_response,
)
from sari_data.errors import InputError, TemplateError
from sari_data.prompting import load_mode

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
        *("{'answer': 'bell'}", '{"answer": "B"}', "{answer: (b) bell}", "<bell>", "<B>", "The final answer is bell."),
        *(r"\boxed{B}", r"$\boxed{\text{bell}}$", r"\text{bell}.", r"The answer is \boxed{bell}", "Best option: B"),
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
        ("dog barks", 0),
        ("E", NOT_AN_OPTION),
        ("B or C", AMBIGUOUS),
        ("bell, dog", AMBIGUOUS),
        ("I think it is the bell", 1),
        ("not bell", NOT_AN_OPTION),
        ("A. bell", AMBIGUOUS),
        ("{'answer': 'A. bell'}", AMBIGUOUS),
        (r"\boxed{A. bell}", AMBIGUOUS),
        ("{'answer': 'bells'}", 1),
        ("{'answer': 'bell', 'not': 'dog'}", 1),
        ("{'wrong': 'bell'}", NOT_AN_OPTION),
        (r"not \boxed{bell}", NOT_AN_OPTION),
        (r"\boxed{}", NOT_AN_OPTION),
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
        ("<think>it is the bell", HALFWAY),
        ("<think>a <answer>bell</answer></think>", NO_ANSWER),
        ("<planning>bell</planning>", NO_ANSWER),
        ("It is the bell", 1),
        ("", NO_ANSWER),
        ("<answer>", EMPTY),
        ("<b>bell</b>", 1),
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
    question = answered_question(("dog", "cat", "dog"), "dog")
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
