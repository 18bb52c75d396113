"""Runs: resumed after a kill without loss or repetition, and refused where the settings changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from bench_toys import make_questions, right, wrong

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.running.runner import RunSettings, run_benchmark
from sari_bench.running.runs import Run, find_runs, read_run
from sari_data.errors import AudioError, BenchmarkError, MissingFileError, ResponderError, StorageError
from sari_data.responder import Request, Response, Sampling
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioRef

DIRECT = RunSettings("direct")


def _rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "responses.jsonl").read_text(encoding="utf-8").splitlines()]


def _echo(name: str = "echo") -> ScriptedResponder:
    return ScriptedResponder(lambda request, sample: f"<answer>{request.id}/{sample}</answer>", name=name)


def test_a_run_folder_holds_all_that_a_score_needs(
    benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]
) -> None:
    run = run_of(benchmark_of(12), lambda q: right(q) if q.domain == "sound" else wrong(q))
    assert run.score().overall.correct == 4
    assert run.score().by["task"]["sound"].accuracy == 1
    assert run.meta["finished"] is not None
    assert run.meta["sampling"]["max_new_tokens"] == 256
    assert "question.question" in run.meta["prompt"]["template"]
    assert "What is heard in recording 0?" in run.meta["prompt"]["example"]
    assert run.score() == read_run(run.folder).score()


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_last_line_is_cut_off_and_asked_again(
    benchmark_of: Callable[[int], Benchmark], tmp_path: Path, cut: int
) -> None:
    folder, benchmark = tmp_path / "run", benchmark_of(6)
    run_benchmark(benchmark, _echo(), folder, DIRECT)
    responses = folder / "responses.jsonl"
    whole = responses.read_bytes()
    responses.write_bytes(whole[:-cut])
    assert len(read_run(folder).answers) == 5
    assert responses.read_bytes() == whole[:-cut], "reading changes nothing"
    assert run_benchmark(benchmark, _echo(), folder, DIRECT) == 1
    assert sorted(str(row["id"]) for row in _rows(folder)) == [f"q{index:03d}" for index in range(6)]
    assert run_benchmark(benchmark, _echo(), folder, DIRECT) == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mode": "structured"}, "mode \\(there direct, here structured\\)"),
        ({"sampling": Sampling(temperature=0.7)}, "sampling temperature \\(there 0.0, here 0.7\\)"),
        ({"variant": "no-audio"}, "variant \\(there , here no-audio\\)"),
    ],
)
def test_other_settings_are_refused(
    benchmark_of: Callable[[int], Benchmark], tmp_path: Path, change: dict[str, object], named: str
) -> None:
    folder = tmp_path / "run"
    run_benchmark(benchmark_of(4), _echo(), folder, DIRECT)
    before = (folder / "responses.jsonl").read_bytes()
    with pytest.raises(BenchmarkError, match=named):
        run_benchmark(benchmark_of(4), _echo(), folder, RunSettings(**{"mode": "direct", **change}))  # type: ignore[arg-type]
    with pytest.raises(BenchmarkError, match="model \\(there echo, here other\\)"):
        run_benchmark(benchmark_of(4), _echo("other"), folder, DIRECT)
    with pytest.raises(BenchmarkError, match="benchmark version"):
        run_benchmark(benchmark_of(5), _echo(), folder, DIRECT)
    assert (folder / "responses.jsonl").read_bytes() == before


def test_two_processes_never_write_one_run(benchmark_of: Callable[[int], Benchmark], tmp_path: Path) -> None:
    import fcntl

    folder = tmp_path / "run"
    run_benchmark(benchmark_of(4), _echo(), folder, DIRECT)
    with (folder / "responses.jsonl").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BenchmarkError, match="being written by another process"):
            run_benchmark(benchmark_of(4), _echo(), folder, DIRECT)


def test_audio_that_is_not_there_is_said_before_anything_runs(tmp_path: Path) -> None:
    questions = [q.replace(audio=AudioRef(path=str(tmp_path / f"{q.id}.wav"))) for q in make_questions(3)]
    with pytest.raises(AudioError, match=r"3 of 3 audio files .* --audio"):
        run_benchmark(from_questions("toy", questions), _echo(), tmp_path / "run", DIRECT)
    assert not (tmp_path / "run").exists()


class _Stray:
    name = "stray"

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        yield Response("never asked", 0, "hm", "stop")


def test_an_answer_to_nothing_that_was_asked(benchmark_of: Callable[[int], Benchmark], tmp_path: Path) -> None:
    with pytest.raises(ResponderError, match="'stray' answered \\('never asked', 0\\)"):
        run_benchmark(benchmark_of(2), _Stray(), tmp_path / "run", DIRECT)


class _Silent:
    name = "silent"

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        yield from (Response(request.id, 0, "dog", "stop") for request in list(requests)[:3])


def test_what_is_not_answered_counts_as_missing(benchmark_of: Callable[[int], Benchmark], tmp_path: Path) -> None:
    run_benchmark(benchmark_of(8), _Silent(), tmp_path / "run", DIRECT)
    score = read_run(tmp_path / "run").score()
    assert (score.overall.n, score.overall.outcomes["missing"]) == (8, 5)


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(
    benchmark_of: Callable[[int], Benchmark], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sari_bench.running import runner

    folder, benchmark = tmp_path / "run", benchmark_of(6)
    plain = json.dumps

    def full(row: dict[str, object]) -> str:
        if row["id"] == "q003":
            raise OSError(28, "No space left on device")
        return plain(row)

    with monkeypatch.context() as patch:
        patch.setattr(
            runner, "json", type("J", (), {"dumps": lambda row, **k: full(row) if "text" in row else plain(row, **k)})
        )
        with pytest.raises(StorageError, match=r"No space left on device.*the same command then goes on"):
            run_benchmark(benchmark, _echo(), folder, DIRECT)
    assert run_benchmark(benchmark, _echo(), folder, DIRECT) == 3
    assert read_run(folder).score().overall.n == 6


def test_text_of_any_kind_survives(benchmark_of: Callable[[int], Benchmark], tmp_path: Path) -> None:
    text = 'line\nline\u2028 \x00 "quoted" é 🎵 \ud800'
    run_benchmark(benchmark_of(2), ScriptedResponder(lambda request, sample: text), tmp_path / "run", DIRECT)
    assert read_run(tmp_path / "run").answers["q000"][0].text == text


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("run.json", "{", "not valid JSON"),
        ("run.json", "[]", "lacks keys"),
        ("run.json", "{}", "lacks keys"),
        ("responses.jsonl", '{"id": 3}\n', "line 1"),
        ("responses.jsonl", "hello\n", "line 1: not valid JSON"),
        ("questions.jsonl", "{}\n", "line 1 is not a stored question"),
        ("questions.jsonl", "", "was changed after the run"),
    ],
)
def test_damaged_run_folders(
    benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run], file: str, text: str, message: str
) -> None:
    run = run_of(benchmark_of(2), right)
    (run.folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(BenchmarkError, match=message):
        read_run(run.folder)


def test_a_response_that_stands_twice(benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]) -> None:
    run = run_of(benchmark_of(2), right)
    responses = run.folder / "responses.jsonl"
    responses.write_bytes(responses.read_bytes() * 2)
    with pytest.raises(BenchmarkError, match="line 3: the same id and sample stand twice"):
        read_run(run.folder)


def test_folders_without_runs(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="there is nothing of that name"):
        find_runs([tmp_path / "no"])
    with pytest.raises(MissingFileError, match="holds no run"):
        find_runs([tmp_path])


@pytest.mark.parametrize(
    "change",
    [
        {"model": "x"},
        {"samples": "x"},
        {"samples": 10**20},
        {"samples": 0},
        {"sampling": 3},
        {"prompt": 3},
        {"benchmark": "x"},
        {"benchmark": {"name": "toy", "version": "1", "digest": "d", "notes": 3}},
    ],
)
def test_a_run_json_with_other_values_is_refused_before_it_is_used(
    benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run], change: dict[str, object]
) -> None:
    path = run_of(benchmark_of(3), right).folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BenchmarkError, match="has other values in them"):
        read_run(path.parent)


@pytest.mark.parametrize("change", [{"id": [1]}, {"sample": "x"}, {"text": None}])
def test_a_response_with_values_of_other_types_is_refused(
    benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run], change: dict[str, object]
) -> None:
    folder = run_of(benchmark_of(3), right).folder
    rows = [row | change if index == 0 else row for index, row in enumerate(_rows(folder))]
    (folder / "responses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BenchmarkError, match=r"line 1: its values have the wrong types"):
        read_run(folder)
