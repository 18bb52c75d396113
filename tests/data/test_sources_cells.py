"""What single cells say: options, golds, domains, numbers; and that no text breaks their readers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.sources.cells import (
    AnswerForm,
    UnfitError,
    is_empty,
    read_answer,
    read_choices,
    read_domain,
    read_labels,
    read_seconds,
    read_text,
    read_youtube,
    strip_letters,
)
from sari_data.types import DOMAINS, check_domain

WORD = (
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="|"), min_size=1).map(str.strip).filter(bool)
)
OPTIONS = st.lists(WORD, min_size=2, max_size=8)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@given(OPTIONS)
def test_options_are_the_same_however_a_table_writes_them(options: list[str]) -> None:
    letters = {chr(ord("A") + place): text for place, text in enumerate(options)}
    for cell in (options, tuple(options), json.dumps(options), json.dumps(options, ensure_ascii=False), repr(options)):
        assert read_choices(cell) == options
    assert read_choices(letters) == options
    assert read_choices(dict(reversed(letters.items()))) == options
    assert read_choices("|".join(options), "|") == options
    assert read_choices(" | ".join(options), "|") == options


@given(OPTIONS, st.data())
def test_a_gold_is_found_in_each_stated_form(options: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(options) - 1))
    letter = chr(ord("A") + place)
    forms: dict[AnswerForm, list[Any]] = {
        "text": [options[place], f"  {options[place]}\n"],
        "letter": [letter, letter.lower(), f"({letter})", f"{letter}.", f"{letter})", f" {letter} "],
        "index0": [place, str(place), float(place)],
        "index1": [place + 1, str(place + 1), float(place + 1)],
    }
    for form, cells in forms.items():
        for cell in cells:
            assert read_answer(cell, options, form) == options[place]


@pytest.mark.parametrize(
    ("cell", "form", "reason"),
    [
        ("Dog", "text", "gold is not among the options"),
        ("the dog", "text", "gold is not among the options"),
        ("A", "text", "gold is not among the options"),
        ("dog", "letter", "gold is no letter"),
        ("C", "letter", "gold is not among the options"),
        ("AB", "letter", "gold is no letter"),
        (2, "index0", "gold is not among the options"),
        (-1, "index0", "gold is no index"),
        (0, "index1", "gold is not among the options"),
        ("B", "index0", "gold is no index"),
        (True, "index0", "gold is no index"),
        (0.5, "index0", "gold is no index"),
        (None, "text", "no gold answer"),
        (math.nan, "index1", "no gold answer"),
        ("²", "index0", "gold is no index"),
    ],
)
def test_a_gold_in_another_form_is_not_guessed_at(cell: Any, form: AnswerForm, reason: str) -> None:
    with pytest.raises(UnfitError) as raised:
        read_answer(cell, ["dog", "cat"], form)
    assert raised.value.reason == reason


def test_an_empty_option_keeps_its_place_for_letters_and_numbers() -> None:
    options = read_choices(["dog", "", "cat", None, ""])
    assert options == ["dog", None, "cat"]
    assert read_answer("C", options, "letter") == "cat"
    assert read_answer(2, options, "index0") == "cat"
    with pytest.raises(UnfitError, match="not among"):
        read_answer("B", options, "letter")


@pytest.mark.parametrize("cell", ["dog, cat", "[1", "{'a': 'b'}", 7, {"A": "x", "C": "y"}, [["a"], ["b"]], ["x"] * 27])
def test_what_is_no_list_of_options_is_not_taken_for_one(cell: Any) -> None:
    with pytest.raises(UnfitError) as raised:
        read_choices(cell)
    assert raised.value.reason == "options cannot be read"


@pytest.mark.parametrize("cell", [None, "", "  ", [], (), {}, math.nan, ["", None]])
def test_no_options_are_no_error(cell: Any) -> None:
    assert read_choices(cell) == []


@given(st.lists(WORD, min_size=2, max_size=6), st.sampled_from(["{}. {}", "({}) {}", "{}) {}", "{}: {}"]), st.data())
def test_letters_are_taken_off_options_and_gold(options: list[str], form: str, data: st.DataObject) -> None:
    written = [form.format(chr(ord("A") + place), text) for place, text in enumerate(options)]
    gold = data.draw(st.sampled_from(range(len(options))))
    bare, answer = strip_letters(written, written[gold], "text")
    assert bare == options
    assert read_answer(answer, bare, "text") == options[gold]
    assert strip_letters(written, "B", "letter") == (options, "B")


@pytest.mark.parametrize("options", [["dog", "cat"], ["A. dog", "cat"], ["B. dog", "A. cat"], ["A. dog", "B. "]])
def test_options_without_their_letters_have_none_to_take_off(options: list[str]) -> None:
    with pytest.raises(UnfitError, match="no letters"):
        strip_letters(options, "A", "letter")


@given(st.lists(st.sampled_from(DOMAINS), min_size=1, max_size=4), st.sampled_from(["-", "+", " and ", ", ", "/", "_"]))
def test_a_mix_of_domains_is_read_in_any_order(domains: list[str], between: str) -> None:
    for text in (between.join(domains), f"mix-{between.join(domains)}", between.join(domains).upper()):
        found = read_domain(text, {})
        check_domain(found, "here")
        assert set(found.split("+")) == set(domains)


def test_a_word_for_a_domain_must_be_explained() -> None:
    assert read_domain("env", {"env": "sound"}) == "sound"
    assert read_domain("music", {"music": "speech"}) == "speech", "the table's own words come first"
    for text in ("env", "temporal", "", "soundmusic", "sound+noise", "mix"):
        with pytest.raises(UnfitError, match="domain is not known"):
            read_domain(text, {})


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Y0aBcDeFgH_", "Y0aBcDeFgH_"),
        ("https://www.youtube.com/watch?v=qx8hrhBZJ98&list=RDQMaID4naqyfpY&start_radio=1", "qx8hrhBZJ98"),
        ("https://www.youtube.com/watch?list=RDQ&v=qx8hrhBZJ98", "qx8hrhBZJ98"),
        ("https://www.youtube.com/shorts/R33NY5b6ZWA", "R33NY5b6ZWA"),
        ("https://youtu.be/R33NY5b6ZWA?t=3", "R33NY5b6ZWA"),
        ("https://www.bilibili.com/video/BV1xx411c7mD", ""),
        ("https://example.org/?u=https://youtu.be/R33NY5b6ZWA", ""),
        (None, ""),
    ],
)
def test_a_youtube_id_is_read_from_its_address(cell: Any, expected: str) -> None:
    assert read_youtube(cell) == expected


def test_what_is_no_youtube_id_is_said_to_be_none() -> None:
    with pytest.raises(UnfitError, match="YouTube id cannot be read"):
        read_youtube("clip 17")


@given(st.floats(0, 1e9))
def test_seconds_are_read_as_numbers_and_as_text(value: float) -> None:
    assert read_seconds(value, "start") == value
    assert read_seconds(str(value), "start") == value


@pytest.mark.parametrize("cell", ["-1", -0.5, "ten", "inf", True, [3], "1:30"])
def test_seconds_that_are_none_are_refused(cell: Any) -> None:
    with pytest.raises(UnfitError, match="start cannot be read"):
        read_seconds(cell, "start")
    with pytest.raises(UnfitError, match="duration cannot be read"):
        read_seconds(0, "duration", positive=True)


def test_labels_are_a_list_or_a_text_in_parts() -> None:
    assert read_labels(["Dog", " Bark "]) == ("Dog", "Bark")
    assert read_labels("Dog; Bark;", ";") == ("Dog", "Bark")
    assert read_labels('["Dog", "Bark"]') == ("Dog", "Bark")
    assert read_labels("Dog, Bark") == ("Dog, Bark",), "without a separator a text is one label"
    assert read_labels(None) == ()


@given(ANY, st.none() | st.sampled_from([",", ";"]))
def test_no_cell_breaks_a_reader(cell: Any, separator: str | None) -> None:
    """Whatever stands in a cell is read, or is unfit; nothing else is raised."""
    unfit: list[UnfitError] = []

    def read(reader: Any, *arguments: Any) -> Any:
        try:
            return reader(*arguments)
        except UnfitError as error:
            unfit.append(error)
            return None

    options = read(read_choices, cell, separator) or ["a", "b"]
    assert all(option is None or (option == option.strip() and option) for option in options)
    for form in ("text", "letter", "index0", "index1"):
        gold = read(read_answer, cell, options, form)
        assert gold is None or gold in options
        read(strip_letters, options, cell, form)
    for reader in (read_text, read_youtube):
        found = read(reader, cell)
        assert found is None or found == found.strip()
        assert found is None or found.encode() is not None
    read(read_domain, cell, {})
    read(read_seconds, cell, "start")
    read(read_labels, cell, separator)
    assert isinstance(is_empty(cell), bool)
    assert all(error.reason and len(error.detail) < 1000 for error in unfit)


@pytest.mark.parametrize("cell", ["[" * 50_000, "[" + "9" * 9000 + "]", "[\0]", '["\ud800", "a"]', "[" + "(" * 300])
def test_a_hostile_text_is_no_list(cell: str) -> None:
    with pytest.raises(UnfitError):
        read_choices(cell)
