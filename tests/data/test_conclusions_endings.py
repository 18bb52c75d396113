"""What stands last in a response: an offer of help, a list with one tick, the one that is not part of it."""

from __future__ import annotations

import time

import pytest

from sari_data.answers import read_response
from sari_data.endings import without_offers

INSTRUMENTS = ("Piano", "Violin", "Flute", "Organ")
TEAMS = ("Home team", "Away team")
YES_NO = ("Yes", "No")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("The notes are long. So the answer is D. If you want to know more about organs, just let me know.", 3),
        ("The answer is **D**. If you'd like more details, just ask.", 3),
        ("The notes are long. So the answer is D. Do you want to know more about it?", 3),
        ("The notes are long. Thus it is D. If you hear any other instrument, please tell me.", 3),
        ("So it may be C or D. Let me know what you think.", None),
        ("The options are A, B, C and D. Let me know which you prefer.", None),
        ("Let me know if you hear a piano.", None),
    ],
)
def test_an_offer_after_a_letter_hides_nothing(text: str, choice: int | None) -> None:
    assert read_response(text, INSTRUMENTS).choice == choice


def test_only_the_offer_is_taken_away() -> None:
    assert without_offers(["it is low.", "the answer is d. let me know."]) == ["it is low.", "the answer is d."]
    assert without_offers(["it is low.", "let me know."]) == ["it is low."]
    assert without_offers(["let me know."]) == ["let me know."]
    assert without_offers(["if you ask me, it is a piano."]) == ["if you ask me, it is a piano."]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("- Piano: soft and low. ❌\n- Violin: bowed. ✅\n- Flute: no breath. ❌", 1),
        ("1. **Piano:** soft. ❌\n2. **Violin**: bowed. ✅\n\n3. **Flute:** no breath. ❌\n4. **Organ**: no. ❌", 1),
        ("A. **Piano:** too soft. ✖️\nB. **Violin:** bowed. ✔️\n", 1),
        ("- Piano: soft. ✅\n- Violin: bowed. ✅\n- Flute: no breath. ❌", None),
        ("- Piano: soft. ❌\n- Violin: bowed. ❌\n- Flute: no breath. ❌", None),
        ("- Attack: sharp. ✅\n- Decay: short. ❌", None),
        ("- Piano: soft. ✅\n- Violin: none. ❌\nThe one that is not heard is the violin.", 1),
        ("- Piano: soft. ✅\n- Violin: bowed. ❌\n- Flute: none. ❌\nSo the answer is the flute.", 2),
    ],
)
def test_a_list_of_verdicts_with_one_tick_at_the_end(text: str, choice: int | None) -> None:
    assert read_response(text, INSTRUMENTS).choice == choice


def test_a_long_line_of_signs_takes_no_time() -> None:
    text = "- Piano: " + "✅ \t" * 10_000 + "x\n" + "- Violin: a" + " " * 20_000 + "❌"
    begin = time.process_time()
    read_response(text, INSTRUMENTS)
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("It has piano, violin and flute. The element that is NOT part of the instrumentation is the **organ**.", 3),
        ("An upbeat swing piece with a walking bass. The one that is not part of the style is organ.", 3),
        ("It has strings and keys. The one not among the instruments is the flute.", 2),
        ("The answer is not among the options.", None),
        ("The instrument that plays is not one of the options: piano, violin, flute or organ.", None),
        ("The instrument that is not part of the list is what I hear, it is no piano.", None),
        ("The song that I hear is not part of a piano.", None),
    ],
)
def test_the_one_that_is_not_part_of_it(text: str, choice: int | None) -> None:
    assert read_response(text, INSTRUMENTS).choice == choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("If we only hear the start, we'd be inclined to say yes, but he is fine. My answer is No.", 1),
        ("So if we only hear the start, we'd be inclined to say yes, but he is fine. My answer is No.", 1),
        ("At first I was inclined to say yes, but the man denies it. So the answer is no.", 1),
        ("At first I was inclined to say yes, but the man denies it.", None),
        ("I am inclined to say yes, but the audio is faint.", 0),
        ("I am inclined to say yes, but he is fine. My answer is No.", None),
    ],
)
def test_what_one_was_inclined_to_say_at_first(text: str, choice: int | None) -> None:
    assert read_response(text, YES_NO).choice == choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("They cheer, which means that the home team is attacking. The defensive side is the away team.", 1),
        ("They cheer, which means it is the home team. The defensive side is the away team.", None),
        ("They cheer, which means that it is the home team.", 0),
        ("They cheer, which means the home team is attacking. The next side is the away team.", 0),
        ("They cheer, which means that the home team is attacking. The ball is out.", 0),
    ],
)
def test_a_conclusion_in_passing_yields_to_the_last_sentence(text: str, choice: int | None) -> None:
    assert read_response(text, TEAMS).choice == choice
