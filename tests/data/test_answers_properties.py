"""Properties of the reader on arbitrary text and options, and linear time on adversarial text."""

import re
import string
import time
import unicodedata

import pytest
from corpus_examples import answered_question
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sari_data.answers import AMBIGUOUS, REASONS, follows_grammar, grade, read_response
from sari_data.prompting import list_modes, load_mode, render_target

SOUNDS = ("dog bark", "bell", "hot dog", "dog")


def answer(text: str, choices) -> int | str | None:
    reading = read_response(f"<answer>{text}</answer>", choices)
    return reading.choice if reading.choice is not None else reading.reason


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
    question = answered_question(choices, gold, chain=data.draw(prose))
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
    assert (reading.how is None) == (reading.choice is None)
    for mode in list_modes():
        assert follows_grammar(text, mode) in (True, False)
    if reading.choice is not None and reading.how != "conclusion":
        chosen = choices[reading.choice]
        letters = "".join(string.ascii_lowercase[i] for i, choice in enumerate(choices) if choice == chosen)
        region = unicodedata.normalize("NFKC", reading.answer_text or "").casefold()
        alone = re.search(rf"(?<![^\W_])[{letters}](?![^\W_])", region)
        assert letters_of(chosen) in letters_of(region) or alone


@fixed
@given(responses)
def test_case_and_white_space_change_nothing(text):
    before = read_response(text, SOUNDS)
    for changed in (text.upper(), text.lower(), text.swapcase(), f"\n {text}\t", text.replace(" ", " \t ")):
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
