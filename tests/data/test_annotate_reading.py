"""Reading what a model wrote: tolerant of what stands around an answer, strict about the answer."""

import json
import time

import pytest
from annotator import attempt
from hypothesis import given
from hypothesis import strategies as st

from sari_data.annotation.captions import goes_in_circles, read_caption
from sari_data.annotation.reading import (
    BAD_TEXT,
    HAS_TAGS,
    NOT_JSON,
    WRONG_FORM,
    WRONG_SHAPE,
    WRONG_TYPE,
    Rejected,
    find_block,
    find_element,
    find_object,
    find_objects,
    take_text,
)
from sari_data.answers import follows_grammar
from sari_data.prompting import load_mode

KEYS = st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, min_size=1, max_size=3)
PROSE = st.text(st.characters(blacklist_characters="{}[]<", blacklist_categories=("Cs",)), max_size=40)
GOOD = (
    "<think><planning>I listen.</planning><caption>A dog.</caption><reasoning>It barks.</reasoning>"
    "<summary>So a dog.</summary></think><answer>dog</answer>"
)


@given(value=OBJECT, before=PROSE, after=PROSE, fence=st.booleans(), indent=st.sampled_from([None, 2]))
def test_an_object_is_found_whatever_stands_around_it(value, before, after, fence, indent) -> None:
    text = json.dumps(value, indent=indent)
    text = f"```json\n{text}\n```" if fence else text
    assert find_object(before + text + after) == value


@given(values=st.lists(OBJECT, min_size=1, max_size=4), lines=st.booleans())
def test_a_list_and_an_object_a_line_are_the_same(values, lines) -> None:
    text = "\n".join(json.dumps(v) for v in values) if lines else json.dumps(values)
    assert find_objects(text) == values


@given(text=st.text() | st.text('{}[]":,ab1<>/`think \n', max_size=300))
def test_any_text_gives_objects_or_a_complaint(text) -> None:
    for read in (find_objects, find_object, read_caption):
        found, rejected = attempt(read, text)
        assert (found is not None) if rejected is None else rejected.complaint


@given(text=st.text("<>/thinkaswerplgcouym \n", max_size=200) | st.text())
def test_any_text_gives_a_block_of_the_mode_or_a_complaint(text) -> None:
    for name in ("structured", "unstructured"):
        block, rejected = attempt(find_block, text, load_mode(name))
        assert follows_grammar(block, name) if rejected is None else rejected.reason == WRONG_FORM


@given(before=PROSE, after=PROSE, thought=PROSE)
def test_a_block_is_found_behind_prose_and_the_models_own_thought(before, after, thought) -> None:
    assert find_block(f"{before}{GOOD}{after}", load_mode("structured")) == GOOD
    assert find_block(f"<think>{thought}</think>{before}{GOOD}{after}", load_mode("structured")) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dog",
        GOOD.replace("<planning>I listen.</planning>", ""),
        GOOD.replace("I listen.", " "),
        GOOD.replace("</think>", ""),
        GOOD.replace("</planning>", "</planning> and "),
        GOOD.replace("I listen.", "I <answer>dog</answer>."),
        GOOD.replace("<caption>A dog.</caption><reasoning>It barks.</reasoning>", "<reasoning>It barks.</reasoning>"),
        GOOD[:-20],
        GOOD + "<answer>cat</answer>",
    ],
)
def test_what_is_no_block_of_the_mode_is_rejected(text) -> None:
    with pytest.raises(Rejected) as raised:
        find_block(text, load_mode("structured"))
    assert raised.value.reason == WRONG_FORM


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", NOT_JSON),
        ("no", NOT_JSON),
        ('{"a": 1', NOT_JSON),
        ("[1, 2]", NOT_JSON),
        ('{"a": 1, "a": 2}', NOT_JSON),
        ('{"a": 1} or {"a": 2}', WRONG_SHAPE),
        ("[" * 90_000, NOT_JSON),
        ('{"a":' * 90_000, NOT_JSON),
        ('{"a": ' + "9" * 5000 + "}", NOT_JSON),
    ],
)
def test_what_is_no_single_object_is_rejected(text, reason) -> None:
    with pytest.raises(Rejected) as raised:
        find_object(text)
    assert raised.value.reason == reason


def test_the_same_object_twice_is_one() -> None:
    assert find_object('{"a": 1}\nAgain:\n```\n{"a": 1}\n```') == {"a": 1}


def test_an_object_in_the_models_own_thought_does_not_count() -> None:
    assert find_object('<think>Maybe {"a": 1}?</think>\n{"a": 2}') == {"a": 2}


def test_reading_takes_little_time_whatever_is_read() -> None:
    for text in ("{" * 100_000, '{"a":[' * 40_000, "<think>" * 20_000, "[{" * 50_000, "<caption>" * 20_000):
        start = time.process_time()
        for read in (find_objects, lambda t: find_block(t, load_mode("structured")), lambda t: find_element(t, "b")):
            attempt(read, text)
        assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (3, WRONG_TYPE, "must be a text; found a number"),
        (True, WRONG_TYPE, "found true or false"),
        (None, WRONG_TYPE, "found null"),
        (["a"], WRONG_TYPE, "found a list"),
        ({}, WRONG_TYPE, "found an object"),
        ("  ", WRONG_SHAPE, "is empty"),
        ("x" * 51, WRONG_SHAPE, "51 characters; at most 50"),
        ("\ud800", BAD_TEXT, "half a character"),
        ("a\x00b", BAD_TEXT, "control"),
        ("a <answer>b</answer>", HAS_TAGS, "without tags"),
        ("a < THINK > b", HAS_TAGS, "without tags"),
    ],
)
def test_a_value_that_is_no_plain_text_is_told(value, reason, says) -> None:
    with pytest.raises(Rejected, match=says) as raised:
        take_text({"k": value}, "k", most=50)
    assert raised.value.reason == reason


def test_a_missing_key_is_told_with_those_found() -> None:
    with pytest.raises(Rejected, match=r'key "k" is missing; found the keys \[.a., .b.\]'):
        take_text({"b": 1, "a": 2}, "k", most=5)


def test_white_space_in_a_text_is_made_plain() -> None:
    assert take_text({"k": " a\n\tb  c "}, "k", most=50) == "a b c"


CAPTION = "A dog barks twice, and then a car passes."


@pytest.mark.parametrize(
    "text",
    [
        f"<caption>{CAPTION}</caption>",
        f"Here it is:\n<CAPTION>\n{CAPTION}\n</CAPTION>\nI hope this helps!",
        f"```\n<caption>{CAPTION}</caption>\n```",
        f"<think>What is it? <caption>x</caption></think><caption>{CAPTION}</caption>",
        f'```json\n{{"caption": "{CAPTION}"}}\n```',
        CAPTION,
        f'"{CAPTION}"\n',
        f"<think>Hm.</think>\n{CAPTION}",
    ],
)
def test_a_caption_is_read_from_tags_json_or_the_bare_text(text) -> None:
    assert read_caption(text) == CAPTION


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<caption></caption>",
        "<caption>A dog barks",
        "A dog barks</caption>",
        "<caption>A dog barks.</caption><caption>A cat meows twice.</caption>",
        "Sure! A dog barks twice in the street.",
        "Here is the description:\nA dog barks.",
        "- a dog barks\n- a car passes",
        "A dog barks.\n\nA car passes.",
        "# Caption\nA dog barks twice.",
        "I'm sorry, but I can't listen to audio.",
        "<caption>As an AI language model I cannot process audio.</caption>",
        "dog",
        '{"text": "A dog barks twice."}',
        '{"caption": 3}',
        "the dog barks and then " * 10,
        "<caption>" + "word " * 400 + "</caption>",
    ],
)
def test_what_is_no_caption_is_rejected(text) -> None:
    with pytest.raises(Rejected):
        read_caption(text)


def test_going_in_circles_is_told_from_plain_repetition() -> None:
    assert goes_in_circles("a dog barks and then " * 5)
    assert not goes_in_circles("A dog barks, a car passes, a dog barks, a car passes, a dog barks.")
    assert not goes_in_circles("")
