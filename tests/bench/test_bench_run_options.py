"""What the table [bench] and the options of ``sari-bench run`` mean for the responder, and what is shown of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_toys import make_questions, right, wrong

from sari_bench.benchmarks.base import from_questions
from sari_bench.benchmarks.scenes import HeldOut, load
from sari_bench.commands.arguments import responder_options
from sari_bench.config import Bench
from sari_bench.running import measure as measuring
from sari_bench.running import progress
from sari_bench.running.measure import make_responder, measure, with_options
from sari_bench.running.progress import State
from sari_data.config import load_tables
from sari_data.errors import AudioError, InputError, RecipeError
from sari_data.responder import Request, Response, Usage
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioRef


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What responders were made with."""
    found: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, /, **options: Any) -> ScriptedResponder:
        found.append((name, options))
        return ScriptedResponder({})

    monkeypatch.setattr(measuring, "load_responder", load)
    return found


def test_missing_audio_is_told_before_the_model_is_loaded(
    taken: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    gone = [replace(question, audio=AudioRef(path=str(tmp_path / "gone.wav"))) for question in make_questions(2)]
    with pytest.raises(AudioError, match="2 of 2 audio files of benchmark 'toy' do not exist"):
        measure(Bench(model="m"), from_questions("toy", gone), tmp_path / "run")
    assert taken == []
    assert not (tmp_path / "run").exists()


def test_options_are_toml_where_they_are_and_text_elsewhere() -> None:
    pairs = ["a=8", "b=0.5", "c=true", 'd=["x", 1]', "e={seed = 3}", "f=http://host:1/v1?a=b", "g='8'", "h=2024-01-01"]
    pairs += ["i=", "j=answers.jsonl", "k=1_000", "l= padded "]
    assert responder_options(pairs) == {
        "a": 8, "b": 0.5, "c": True, "d": ["x", 1], "e": {"seed": 3}, "f": "http://host:1/v1?a=b", "g": "8",
        "h": "2024-01-01", "i": "", "j": "answers.jsonl", "k": 1000, "l": " padded ",
    }  # fmt: skip
    assert responder_options(None) == {}
    for pair in ("a", "=8", ""):
        with pytest.raises(InputError, match="expected key=value"):
            responder_options([pair])


def test_the_table_tells_the_local_responder_how_and_others_only_their_own_options(
    taken: list[tuple[str, dict[str, Any]]], capfd: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(model="m", batch_size=16, long_audio="split", responder_options={"device": "cpu"})
    make_responder(bench)
    make_responder(Bench(model="m"))
    assert capfd.readouterr().err == ""
    make_responder(bench.model_copy(update={"responder": "server"}))
    assert taken == [
        ("local", {"model": "m", "on_error": "skip", "batch_size": 16, "long_audio": "split", "device": "cpu"}),
        ("local", {"model": "m", "on_error": "skip"}),
        ("server", {"model": "m", "device": "cpu"}),
    ]
    assert "batch_size is for the responder 'local'; 'server' is not told of it" in capfd.readouterr().err
    with pytest.raises(RecipeError, match=r"bench\.long_audio"):
        load_tables(None, {"bench": Bench}, ["bench.long_audio=cut"])


def test_a_model_among_the_options_is_the_tables_model_and_options_win_over_the_table() -> None:
    table = Bench(responder="server", responder_options={"concurrency": 2, "tries": 3})
    found = with_options(table, {"model": "gpt", "concurrency": 9})
    assert found.model == "gpt"
    assert found.responder_options == {"concurrency": 9, "tries": 3}
    assert with_options(table, {}) == table
    plugin = with_options(Bench(responder="mine"), {"model": "x"})
    assert (plugin.model, plugin.responder_options) == ("tiny", {"model": "x"}), "a plugin's option is its own"


def test_a_responder_may_serve_several_runs_and_a_variant_has_a_folder_of_its_own(
    tmp_path: Path, taken: list[tuple[str, dict[str, Any]]], capfd: pytest.CaptureFixture[str]
) -> None:
    benchmark = from_questions("toy", make_questions(4))
    responder = ScriptedResponder(lambda request, sample: "dog" if request.audio else "cat")
    bench = Bench(mode="direct", responder="scripted")
    run = measure(bench, benchmark, tmp_path / "run", responder=responder)
    deaf = measure(
        bench, benchmark, run.folder / "shortcuts" / "deaf", responder=responder, variant="deaf",
        requests=lambda question, prompt: Request("", None, prompt),
    )  # fmt: skip
    assert taken == []
    assert [run.score().overall.correct, deaf.score().overall.correct] == [1, 1]
    assert run.answers["q000"][0].text != deaf.answers["q000"][0].text
    assert json.loads((deaf.folder / "recipe.json").read_text())["bench"]["responder"] == "scripted"
    assert "4 answers added" in capfd.readouterr().err


class Paid:
    """A responder with a price."""

    name = "paid"

    def __init__(self) -> None:
        self.usage, self.failed = Usage(cost=2.0), {"q009": "gone"}


def test_the_state_of_a_run_names_accuracy_speed_cost_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    responder: Any = Paid()
    state = State(responder, 10)
    questions = make_questions(3)
    for question, said in zip(questions, (right(questions[0]), wrong(questions[1]), "no idea at all"), strict=True):
        state.see(Response(question.id, 0, said, "stop", 50), question)
    clock[0] += 2.0
    responder.usage.cost = 2.25
    assert str(state) == "33.3 % right so far, 1 unread, 75 tokens/s, cost 0.2500, 1 failed"
    assert state.time_left() == "about 5 s left"
    clock[0] += 118.0
    assert state.time_left() == "about 5 min left"


def test_a_benchmark_without_answers_shows_speed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    state = State(ScriptedResponder({}), 2)
    clock[0] = 4.0
    state.see(Response("q", 0, "dog", "stop"), make_questions(1)[0].replace(answer=None))
    assert str(state) == "0.2 answers/s"


def test_what_stays_missing_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Half(ScriptedResponder):
        def __init__(self) -> None:
            super().__init__({})
            self.failed: dict[str, str] = {}

        def respond(self, requests: Any, sampling: Any) -> Any:
            for number, request in enumerate(requests):
                if number % 2:
                    yield Response(request.id, 0, "dog", "stop")
                else:
                    self.failed[request.id] = (
                        "its audio cannot be read: x.wav" if number else "the server refused it: y"
                    )

    answered: Callable[..., Any] = measure
    answered(Bench(mode="direct"), from_questions("toy", make_questions(6)), tmp_path / "run", responder=Half())
    said = capfd.readouterr().err
    assert "3 answers are missing: 3 questions failed (2 its audio cannot be read, 1 the server refused it)" in said
    assert "failed.json says why, and the same command asks for them again" in said


def test_several_samples_are_told_as_mean_and_pass_at_k(
    tmp_path: Path, run_command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    questions = load(None, None, scenes=HeldOut(questions={"sound": 8})).questions
    with (tmp_path / "said.jsonl").open("w", encoding="utf-8") as file:
        for index, question in enumerate(questions):
            for sample in range(3):  # right in two of three, but for the last question: in none
                said = wrong(question) if sample == 0 or index == 7 else right(question)
                file.write(json.dumps({"id": question.id, "sample": sample, "text": said}) + "\n")
    words = ["run", "--responder", "scripted", "--responder-option", "path=said.jsonl", "--mode", "direct"]
    words += ["--samples", "3", "--temperature", "1", "--set", "bench.scenes.questions={sound = 8}"]
    code, printed, said = run_command("sari-bench", *words)
    assert code == 0, said
    lines = {line.split(":")[0]: line for line in printed.splitlines()}
    assert lines["mean of 3 samples"].split()[4:6] == ["58.33", "%"]
    assert "pass@2 87.50 %" in printed
    body = json.loads(run_command("sari-bench", *words, "--json")[1])
    assert "majority" in body["votes"]
    assert [entry["value"] for entry in body["votes"]["pass_at"]] == [58.33, 87.5, 87.5]
    assert body["timing"]["answers"] == 24
    for command in (("score", "--run"), ("report",)):
        code, again, said = run_command("sari-bench", *command, body["folder"])
        assert code == 0, said
        votes = [line for line in printed.splitlines() if line.startswith(("mean of", "majority", "pass@"))]
        assert len(votes) == 3
        assert set(votes) <= set(again.splitlines())
        found = json.loads(run_command("sari-bench", *command, body["folder"], "--json")[1])
        assert (found["runs"][0] if "runs" in found else found)["votes"] == body["votes"]
