"""Whoever is to be asked is looked for before any work."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from chat_server import ChatServer

from sari_data.answer_cache import CachedResponder
from sari_data.build import Build, Plan, build
from sari_data.calibrate import Calibrate
from sari_data.errors import ResponderError
from sari_data.probing import check_responders
from sari_data.responder import Request, Sampling
from sari_data.responders.rehearsal import RehearsalResponder
from sari_data.responders.server import ServerResponder


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def test_a_server_that_is_there_is_no_news(capfd: pytest.CaptureFixture[str]) -> None:
    with ChatServer() as server:
        check_responders([ServerResponder("toy", server.url), None, RehearsalResponder()])
        assert server.asked.total() == 0
    assert capfd.readouterr().err == ""


def test_a_server_that_is_not_there_is_told(nowhere: str) -> None:
    with pytest.raises(ResponderError, match=r"the server at 127.0.0.1:\d+ does not answer \(ConnectError.*base_url"):
        check_responders([ServerResponder("toy", nowhere)])


def test_a_key_that_is_refused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer(key="right") as server:
        server.guarded = True
        with pytest.raises(ResponderError, match=r"\(401: Incorrect API key provided\): set one .*api_key_env"):
            check_responders([ServerResponder("toy", server.url)])
        monkeypatch.setenv("SOME_KEY", "right")
        check_responders([ServerResponder("toy", server.url, api_key_env="SOME_KEY")])


def test_a_model_that_is_not_listed_is_only_said(capfd: pytest.CaptureFixture[str]) -> None:
    with ChatServer(model="real-one") as server:
        check_responders([ServerResponder("toy", server.url)])
    assert "does not list the model 'toy'; it has real-one" in capfd.readouterr().err


def test_with_answers_in_the_cache_the_server_may_be_away(
    nowhere: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ChatServer() as server:
        there = CachedResponder(ServerResponder("toy", server.url, label="here"), tmp_path / "a.sqlite")
        assert len(list(there.respond([Request("q", None, "p", 1)], Sampling()))) == 1
    away = CachedResponder(ServerResponder("toy", nowhere, label="here"), tmp_path / "a.sqlite")
    check_responders([away])
    assert "does not answer" in capfd.readouterr().err
    other = CachedResponder(ServerResponder("toy", nowhere, label="other"), tmp_path / "a.sqlite")
    with pytest.raises(ResponderError, match="does not answer"):
        check_responders([other])


def test_a_build_looks_before_it_collects(nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sari_data.stages.collect", lambda *arguments: pytest.fail("nothing may be collected"))
    table = Build.model_validate({"out": str(tmp_path / "corpus"), "sft": 0, "dev": 0})
    with pytest.raises(ResponderError, match="does not answer"):
        build(Plan(table, Calibrate(responder="server", model="toy", options={"base_url": nowhere})))
    assert list(tmp_path.glob("*corpus*")) == []
