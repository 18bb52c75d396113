"""``sari-bench run`` with a chat server: from the command line to the score, with what fails told and asked again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chat_server import ChatServer, Reply

from sari_bench.config import Bench
from sari_bench.running.reopening import reopen
from sari_bench.running.runs import read_run

FEW = "bench.scenes.questions={sound = 12}"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _words(url: str, *more: str) -> list[str]:
    words = ["run", "--responder", "server", "--mode", "direct", "--set", FEW, "--responder-option", f"base_url={url}"]
    options = ("concurrency=4", "price_in=1.0", "price_out=2.0", "tries=2", "backoff=0.01")
    return [*words, *(word for option in options for word in ("--responder-option", option)), *more]


def test_a_server_is_asked_scored_and_asked_again_for_what_it_withheld(here: Path, run_command: Command) -> None:
    withheld = [True]

    def reply(ask):
        if "3" in ask.key[:2] and withheld[0]:
            return Reply("the content was filtered", status=400)
        return f"<answer>{ask.prompt.split('(A) ')[1].splitlines()[0]}"

    with ChatServer(reply) as server:
        words = _words(server.url, "--responder-option", "model=toy")
        code, printed, said = run_command("sari-bench", *words)
        assert code == 0, said
        run = read_run(here / "runs" / "scenes" / "toy@direct")
        failed = len(run.failed)
        assert 0 < failed < 12
        assert f"{failed} answers are missing: {failed} questions failed ({failed} the server refused it (400))" in said
        assert "the same command asks for them again" in said
        assert f"{12 - failed} answers added" in said
        assert "a second" in said
        assert "(median)" in said
        assert f"{12 - failed} requests" in said
        assert "cost" in said
        assert run.score().overall.outcomes["missing"] == failed
        assert run.meta["model"]["name"].startswith("toy@127.0.0.1")
        assert run.meta["model"]["path"] == "toy"
        assert run.sittings[0]["usage"]["cost"] > 0
        bench = Bench.model_validate(json.loads((run.folder / "recipe.json").read_text())["bench"])
        assert bench.model == "toy"
        assert bench.responder_options == {
            "base_url": server.url, "concurrency": 4, "price_in": 1.0, "price_out": 2.0, "tries": 2, "backoff": 0.01,
        }  # fmt: skip
        assert reopen(run).questions[0].audio.data
        withheld[0] = False
        code, printed, said = run_command("sari-bench", *words, "--json")
        assert code == 0, said
        assert f"{12 - failed} of 12 answers are there already" in said
        assert "missing:" not in said
        body = json.loads(printed)
        assert (body["n"], body["outcomes"]["missing"]) == (12, 0)
        assert max(server.answered.values()) == 1
    rows = [json.loads(line) for line in (run.folder / "responses.jsonl").read_text().splitlines()]
    assert all(row["took"] > 0 and row["text"].endswith("</answer>") for row in rows)


def test_a_server_that_is_not_there_leaves_a_run_that_goes_on(here: Path, run_command: Command) -> None:
    with ChatServer(lambda ask: "dog") as server:
        url = server.url
    code, _, said = run_command("sari-bench", *_words(url, "--model", "toy"))
    assert code == 2
    assert said.strip().splitlines()[-1].startswith("error: the server at 127.0.0.1")
    run = read_run(here / "runs" / "scenes" / "toy@direct")
    assert (run.meta["finished"], run.sittings[0]["answers"]) == (None, 0)
    with ChatServer(lambda ask: "dog", port=server.port):
        assert run_command("sari-bench", *_words(url, "--model", "toy"))[0] == 0
    assert read_run(run.folder).meta["finished"]


def test_a_model_that_the_server_does_not_have(here: Path, run_command: Command) -> None:
    with ChatServer(lambda ask: "dog") as server:
        code, _, said = run_command("sari-bench", *_words(server.url))
    assert code == 2
    assert "model is 'tiny', the server has toy" in said
