"""The scripted responder: every form that its answers may have, and errors that name what is missing."""

import json

import pytest

from sari_data.errors import InputError, MissingFileError, ResponderError
from sari_data.responder import Request, Responder, Response, Sampling, load_responder
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioRef

AUDIO = AudioRef(path="a.wav")
ASK = [Request("q1", AUDIO, "first?", samples=2), Request("q2", AUDIO, "second?")]


def texts(responder: Responder) -> list[tuple[str, int, str]]:
    return [(r.request_id, r.sample, r.text) for r in responder.respond(ASK, Sampling())]


def write(path, *rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8")


def test_from_a_function():
    responder = ScriptedResponder(lambda request, sample: f"{request.prompt}{sample}")
    assert isinstance(responder, Responder)
    assert texts(responder) == [("q1", 0, "first?0"), ("q1", 1, "first?1"), ("q2", 0, "second?0")]


def test_from_a_mapping():
    responder = ScriptedResponder({"q1": ["a", "b"], "q2": "c"}, name="fixed")
    assert texts(responder) == [("q1", 0, "a"), ("q1", 1, "b"), ("q2", 0, "c")]
    assert responder.name == "fixed"
    assert texts(ScriptedResponder({"q1": "x", "q2": "y"}))[:2] == [("q1", 0, "x"), ("q1", 1, "x")]


def test_from_a_file_and_a_run_folder(tmp_path):
    rows = [
        {"id": "q2", "text": "c", "finish_reason": "length", "tokens": 9, "seconds": 0.1},
        {"id": "q1", "sample": 1, "text": "été"},
        {"id": "q1", "sample": 0, "text": "a", "finish_reason": "stop"},
    ]
    write(tmp_path / "responses.jsonl", *rows)
    for path in (tmp_path, tmp_path / "responses.jsonl"):
        responder = load_responder("scripted", path=str(path))
        assert list(responder.respond(ASK, Sampling())) == [
            Response("q1", 0, "a", "stop"),
            Response("q1", 1, "été", "stop"),
            Response("q2", 0, "c", "length", 9),
        ]
        assert str(path) in responder.name


@pytest.mark.parametrize("answers", [{"q1": "a"}, {"q2": "c", "q1": "b"}, {"q1": ["a"], "q2": "c"}])
def test_what_is_missing_is_named(answers, tmp_path):
    complete = answers.get("q1") == "b"
    missing = "'q1', sample 1 of 2" if answers["q1"] == ["a"] else "'q2', sample 0 of 1"
    write(tmp_path / "r.jsonl", {"id": "q1", "text": "a"}, {"id": "q2", "text": "c"})
    if complete:
        assert len(texts(ScriptedResponder(answers))) == 3
    else:
        with pytest.raises(ResponderError, match=missing):
            texts(ScriptedResponder(answers))
    with pytest.raises(ResponderError, match="'q1', sample 1 of 2"):
        texts(ScriptedResponder(path=tmp_path / "r.jsonl"))


def test_an_error_of_the_function_is_not_swallowed():
    def broken(request, sample):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        texts(ScriptedResponder(broken))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: expected one JSON object a line"),
        ("[1]", "with the texts 'id' and 'text'"),
        ('{"id": 3, "text": "a"}', "with the texts 'id' and 'text'"),
        ('{"id": "q1"}', "with the texts 'id' and 'text'"),
        ('{"id": "q1", "text": "a", "sample": "0"}', "whole numbers"),
        ('{"id": "q1", "text": "a", "sample": -1}', "whole numbers"),
        ('{"id": "q1", "text": "a", "finish_reason": "tired"}', "finish_reason must be one of"),
        ('{"id": "q1", "text": "a"}\n{"id": "q1", "text": "b"}', "line 2: question 'q1', sample 0 comes twice"),
    ],
)
def test_bad_files(tmp_path, line, message):
    (tmp_path / "r.jsonl").write_text(line)
    with pytest.raises(InputError, match=message):
        ScriptedResponder(path=tmp_path / "r.jsonl")


def test_wrong_arguments(tmp_path):
    with pytest.raises(InputError, match="either answers or path"):
        ScriptedResponder()
    with pytest.raises(InputError, match="either answers or path"):
        ScriptedResponder({}, path=tmp_path)
    with pytest.raises(MissingFileError, match="expected a JSONL file"):
        ScriptedResponder(path=tmp_path)
