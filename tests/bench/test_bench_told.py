"""What would be told late, by half or not at all is told at once, in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_toys import make_questions, right, wrong

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.config import Bench
from sari_bench.running.measure import check_model, measure
from sari_bench.running.run_meta import check_same
from sari_bench.running.runs import read_run
from sari_bench.thoughts.diagnostic_tables import diagnosis_tables
from sari_bench.thoughts.diagnostics import diagnose
from sari_data.errors import BenchmarkError, CheckpointError
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioQuestion

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sari_bench(sari_bench: Command) -> Command:
    """Run the command in a folder with a run of four questions; returns exit code and what was printed."""
    _run(right)
    return sari_bench


def _run(answer: Callable[[AudioQuestion], str]) -> Benchmark:
    benchmark = from_questions("toy", make_questions(4))
    said = {question.id: answer(question) for question in benchmark.questions}
    model = ScriptedResponder(lambda request, sample: said[request.id], name="m")
    measure(Bench(mode="direct"), benchmark, Path("runs/toy/m"), responder=model)
    return benchmark


def test_a_response_beyond_the_runs_samples_is_an_error(sari_bench: Command) -> None:
    folder = Path("runs/toy/m")
    row = json.loads((folder / "responses.jsonl").read_text().splitlines()[0])
    with (folder / "responses.jsonl").open("a", encoding="utf-8") as sink:
        sink.write(json.dumps(row | {"sample": 1}) + "\n")
    with pytest.raises(BenchmarkError, match=f"has sample 1 of question '{row['id']}', and by run.json the run has 1"):
        read_run(folder)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--html", "out", "--csv", "./out"], "--html and --csv both write out: name two files"),
        (["--csv", "a", "--markdown", "b", "--disagreements", "b"], "--markdown and --disagreements both write b"),
    ],
)
def test_two_outputs_do_not_share_a_file(sari_bench: Command, options: list[str], told: str) -> None:
    code, out, said = sari_bench("report", "runs", "--scorer", "answer", "--scorer", "letter", *options)
    assert (code, out) == (2, "")
    assert told in said
    assert not Path(options[1]).exists()


def test_a_missing_token_is_told_before_anything_is_printed(
    sari_bench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    code, out, said = sari_bench("report", "runs", "--push-to-hub", "zoe/model", "--json")
    assert (code, out) == (2, "")
    assert "needs a token, found none" in said


def test_a_model_that_there_cannot_be_is_told_before_the_benchmark_is_fetched(
    sari_bench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sari_bench.running.measure.load_benchmark", lambda *a, **o: pytest.fail("was fetched"))
    for command in ("run", "shortcuts"):
        code, _, said = sari_bench(command, "--benchmark", "mmar", "--model", "checkpoints/sft/best")
        assert code in (1, 2)
        assert "'checkpoints/sft/best' is neither 'tiny', nor a folder, nor a hub id" in said
    for model in ("tiny", "owner/name", "runs/toy/m"):
        check_model(Bench(model=model))
    check_model(Bench(model="gpt", responder="server"))
    with pytest.raises(CheckpointError, match="correct the name"):
        check_model(Bench(model="./owner"))


def test_an_audio_folder_that_is_not_there_is_named(sari_bench: Command) -> None:
    row = {"id": "a", "audio": "a.wav", "question": "What?", "choices": ["x", "y"], "answer": "x", "task": "sound"}
    Path("table.json").write_text(json.dumps([row]), encoding="utf-8")
    code, _, said = sari_bench("run", "--benchmark", "table:table.json", "--audio", "clips", "--model", "tiny")
    assert code == 2
    assert "--audio 'clips' does not exist: give a folder" in said


def test_a_variant_with_another_seed_is_not_advised_to_take_a_name() -> None:
    def meta(digest: str, variant: str) -> dict[str, Any]:
        return {
            "model": {"name": "m"},
            "benchmark": {"name": "toy", "digest": "0"},
            "mode": "direct",
            "samples": 1,
            "sampling": {},
            "prompt": {"prompts_digest": "" if variant else digest},
            "variant": {"name": variant, "requests_digest": digest if variant else None},
        }

    for variant, advised in (("other-audio", "--seed"), ("", "--name")):
        with pytest.raises(BenchmarkError) as told:
            check_same(meta("a", variant), meta("b", variant), Path("folder"))
        assert advised in str(told.value)
        assert ("--name" in str(told.value)) == (not variant)


def test_reasons_say_whose_outcomes_they_stand_by(sari_bench: Command) -> None:
    def vague(question: AudioQuestion) -> str:
        return "a noise" if question.id == "q000" else wrong(question)

    Path("runs/toy/m/responses.jsonl").unlink()
    Path("runs/toy/m/run.json").unlink()
    _run(vague)
    run = read_run(Path("runs/toy/m"))
    titles = {name: [title for title, _, _ in diagnosis_tables(diagnose(run, name))] for name in ("answer", "official")}
    assert titles["answer"][-1] == "why no option was read"
    assert titles["official"][-1] == "why no option was read by sari's reader; outcomes are those of scorer official"
