"""The question type refuses rows that do not fit together, and its ids depend on content alone."""

import dataclasses

import pytest

from sari_data.errors import InputError, SariError
from sari_data.types import AudioQuestion, AudioRef, PassRate, Provenance, make_id

GOOD = {
    "id": "q1",
    "audio": AudioRef(path="a.wav"),
    "question": "What?",
    "choices": ("dog", "cat", "dog"),
    "answer": "dog",
    "domain": "sound",
}


def test_a_good_row():
    question = AudioQuestion(**GOOD)
    assert question.answer_index == 0
    assert question.replace(answer="cat").answer_index == 1
    assert question.replace(answer=None).answer_index is None
    assert question.replace(domain="sound+music+speech").domain == "sound+music+speech"
    with pytest.raises(dataclasses.FrozenInstanceError):
        question.answer = "cat"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "cow"}, r"'q1': the answer must be one of the choices; found answer 'cow'"),
        ({"answer": "Dog"}, "must be one of the choices"),
        ({"choices": ("dog",)}, "two or more non-empty choices"),
        ({"choices": ("dog", " ")}, "two or more non-empty choices"),
        ({"choices": ()}, "two or more non-empty choices"),
        ({"id": ""}, "an id and a question text"),
        ({"question": "  "}, "an id and a question text"),
        ({"domain": "smell"}, "domain must be one of"),
        ({"domain": "speech+sound"}, "in that order; found 'speech\\+sound'"),
        ({"domain": ""}, "domain must be one of"),
        ({"domain": "sound+sound"}, "domain must be one of"),
        ({"difficulty": "hellish"}, "difficulty must be one of"),
    ],
)
def test_bad_rows(changes, message):
    with pytest.raises(InputError, match=message) as error:
        AudioQuestion(**(GOOD | changes))
    assert isinstance(error.value, SariError)
    assert isinstance(error.value, ValueError)
    with pytest.raises(InputError, match=message):
        AudioQuestion(**GOOD).replace(**changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs a path or data"),
        ({"path": "a", "start": -0.1}, "start must be 0 seconds or more"),
        ({"path": "a", "duration": 0}, "duration must be more than 0"),
    ],
)
def test_bad_audio_references(arguments, message):
    with pytest.raises(InputError, match=message):
        AudioRef(**arguments)


@pytest.mark.parametrize(("passes", "samples"), [(-1, 4), (5, 4), (0, 0)])
def test_bad_pass_rates(passes, samples):
    with pytest.raises(InputError, match="0 <= passes <= samples"):
        PassRate(passes, samples, "tiny", "direct", 0)


def test_pass_rate():
    assert PassRate(1, 4, "tiny", "direct", 0).rate == 0.25


def test_ids_depend_on_content_alone():
    audio = AudioRef(path="a.wav", data=b"sound")
    base = make_id(audio, "q", ["a", "b"])
    # The value is fixed: ids in published corpora must not change with the code.
    assert base == "cebf872f0373f463"
    assert make_id(AudioRef(path="other.wav", data=b"sound"), "q", ("a", "b")) == base
    others = [
        make_id(AudioRef(data=b"noise"), "q", ["a", "b"]),
        make_id(AudioRef(data=b"sound", start=1), "q", ["a", "b"]),
        make_id(AudioRef(data=b"sound", duration=1), "q", ["a", "b"]),
        make_id(AudioRef(data=b"sound", start=1, duration=1), "q", ["a", "b"]),
        make_id(audio, "r", ["a", "b"]),
        make_id(audio, "q", ["b", "a"]),
        make_id(audio, "q", ["ab", ""]),
    ]
    assert len({base, *others}) == len(others) + 1


def test_audio_bytes_stay_out_of_messages():
    assert "sound" not in repr(AudioRef(path="a.wav", data=b"sound"))
    assert Provenance().made_by == {}
