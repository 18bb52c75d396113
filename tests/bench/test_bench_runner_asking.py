"""What a run asks for: only what is not there, one request at a time, and the same answers whatever the batch."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_toys import make_questions, right
from hypothesis import given
from hypothesis import strategies as st

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.running.run_meta import Plan
from sari_bench.running.runner import RunSettings, run_benchmark
from sari_bench.running.runs import Run, find_runs, read_run
from sari_bench.running.timing import Timing, timing_of
from sari_data.errors import AudioError, BenchmarkError, ResponderError
from sari_data.responder import Request, Response, Sampling, Usage
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioQuestion, AudioRef

DRAWN = Sampling(temperature=1.0)


class Recorder:
    """Answers everything but the ids in ``failing``, and keeps what it was asked."""

    name = "recorder"

    def __init__(self, failing: Iterable[str] = ()) -> None:
        self.asked: list[Request] = []
        self.failing, self.failed = set(failing), {"earlier": "of another run"}
        self.usage = Usage(requests=100, cost=1.0)

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield every sample of every request."""
        for request in requests:
            self.asked.append(request)
            if request.id in self.failing:
                self.failed[request.id] = "the server withheld its answer: content filter"
                continue
            for sample in request.wanted:
                self.usage.requests += 1
                self.usage.cost = (self.usage.cost or 0) + 0.5
                text = f"{request.prefix}{request.id}/{sample}"
                yield Response(request.id, sample, text, "stop", 4, seconds=0.01 * (sample + 1))


def _asked(responder: Recorder) -> list[tuple[str, int, int]]:
    return [(r.id, r.first_sample, r.samples) for r in responder.asked]


def _texts(folder: Path) -> dict[str, list[str | None]]:
    return {identifier: [a.text for a in given] for identifier, given in read_run(folder).answers.items()}


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 6))), st.integers(1, 7))
def test_what_is_left_is_exactly_what_is_not_there(there: set[tuple[int, int]], samples: int) -> None:
    plan = Plan(from_questions("toy", make_questions(4)), RunSettings("direct", samples=samples))
    done = {(f"q{index:03d}", sample) for index, sample in there}
    left = [(index, first + more) for index, first, count in plan.left(done) for more in range(count)]
    assert left == [(i, s) for i in range(4) for s in range(samples) if (i, s) not in there]
    assert all(count > 0 for _, _, count in plan.left(done))


def test_more_samples_go_on_and_only_what_is_not_there_is_asked(
    benchmark_of: Callable[[int], Benchmark], tmp_path: Path
) -> None:
    folder, benchmark = tmp_path / "run", benchmark_of(3)
    assert run_benchmark(benchmark, Recorder(), folder, RunSettings("direct", DRAWN)) == 3
    more = Recorder()
    assert run_benchmark(benchmark, more, folder, RunSettings("direct", DRAWN, samples=4)) == 9
    assert _asked(more) == [(f"q{i:03d}", 1, 3) for i in range(3)]
    run = read_run(folder)
    assert (run.samples, run.meta["finished"] is None) == (4, False)
    # Answers in the middle are lost: just they are asked for again.
    path = folder / "responses.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [row for row in rows if (row["id"], row["sample"]) not in {("q001", 0), ("q001", 2), ("q002", 3)}]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    again = Recorder()
    assert run_benchmark(benchmark, again, folder, RunSettings("direct", DRAWN, samples=4)) == 3
    assert _asked(again) == [("q001", 0, 1), ("q001", 2, 1), ("q002", 3, 1)]
    assert {i: sorted(map(str, t)) for i, t in _texts(folder).items()} == {
        f"q{i:03d}": [f"q{i:03d}/{s}" for s in range(4)] for i in range(3)
    }
    before = path.read_bytes()
    with pytest.raises(BenchmarkError, match="4 samples of each question, and 2 are asked for: samples may grow"):
        run_benchmark(benchmark, Recorder(), folder, RunSettings("direct", DRAWN, samples=2))
    with pytest.raises(BenchmarkError, match=r"sampling temperature \(there 1.0, here 0.0\)"):
        run_benchmark(benchmark, Recorder(), folder, RunSettings("direct", samples=8))
    assert path.read_bytes() == before
    assert read_run(folder).samples == 4


def test_a_sampled_run_that_grew_is_the_run_that_was_long_at_once(
    benchmark_of: Callable[[int], Benchmark], tmp_path: Path
) -> None:
    benchmark = benchmark_of(4)
    for samples in (1, 3, 8):
        run_benchmark(benchmark, Recorder(), tmp_path / "grown", RunSettings("direct", DRAWN, samples=samples))
    run_benchmark(benchmark, Recorder(), tmp_path / "whole", RunSettings("direct", DRAWN, samples=8))
    grown, whole = read_run(tmp_path / "grown"), read_run(tmp_path / "whole")
    assert {i: sorted(map(str, t)) for i, t in _texts(grown.folder).items()} == {
        i: sorted(map(str, t)) for i, t in _texts(whole.folder).items()
    }
    assert grown.score().overall == whole.score().overall


class _Puller:
    """Takes ``ahead`` requests before it answers one, and looks how many were made."""

    name = "puller"

    def __init__(self, ahead: int, made: list[str]) -> None:
        self.ahead, self.made, self.most = ahead, made, 0

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield an answer to the oldest request."""
        waiting: list[Request] = []
        answered = 0
        for request in requests:
            waiting.append(request)
            self.most = max(self.most, len(self.made) - answered)
            if len(waiting) >= self.ahead:
                answered += 1
                yield Response(waiting.pop(0).id, 0, "dog", "stop")
        for request in waiting:
            yield Response(request.id, 0, "dog", "stop")


def test_requests_are_made_when_they_are_taken_and_nothing_waits_for_a_chunk(tmp_path: Path) -> None:
    benchmark = from_questions("toy", make_questions(3000))
    made: list[str] = []

    def build(question: AudioQuestion, prompt: str) -> Request:
        made.append(question.id)
        return Request(question.id, AudioRef(path="big.wav", data=bytes(10)), prompt)

    class Fresh(_Puller):
        def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
            made.clear()  # once each for the digest, before anything is asked
            yield from super().respond(requests, sampling)

    puller = Fresh(40, made)
    assert (
        run_benchmark(benchmark, puller, tmp_path / "run", RunSettings("direct", variant="x", requests=build)) == 3000
    )
    assert made == [q.id for q in benchmark.questions], "each is made once for asking"
    assert puller.most == 40, "never more than the responder has taken, and never fewer at the end of a chunk"


def test_what_failed_is_missing_with_its_reason_and_asked_again(
    benchmark_of: Callable[[int], Benchmark], tmp_path: Path
) -> None:
    folder, benchmark = tmp_path / "run", benchmark_of(5)
    assert run_benchmark(benchmark, Recorder({"q001", "q003"}), folder, RunSettings("direct")) == 3
    run = read_run(folder)
    assert set(run.failed) == {"q001", "q003"}
    assert run.failed["q001"] == "the server withheld its answer: content filter"
    assert (run.sittings[0]["failed"], run.sittings[0]["answers"]) == (2, 3)
    assert run.score().overall.outcomes["missing"] == 2
    again = Recorder({"q003"})
    assert run_benchmark(benchmark, again, folder, RunSettings("direct")) == 1
    assert [r.id for r in again.asked] == ["q001", "q003"]
    assert set(read_run(folder).failed) == {"q003"}
    assert run_benchmark(benchmark, Recorder(), folder, RunSettings("direct")) == 1
    assert read_run(folder).failed == {}
    (folder / "failed.json").write_text("[1]")
    with pytest.raises(BenchmarkError, match=r"failed.json is not what a run writes"):
        _ = read_run(folder).failed


def test_run_json_tells_each_sitting(benchmark_of: Callable[[int], Benchmark], tmp_path: Path) -> None:
    folder, benchmark = tmp_path / "run", benchmark_of(4)
    run_benchmark(benchmark, Recorder({"q002"}), folder, RunSettings("direct", DRAWN, samples=2))

    class Broken(Recorder):
        def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
            yield next(super().respond(requests, sampling))
            raise ResponderError("the server is gone")

    with pytest.raises(ResponderError, match="the server is gone"):
        run_benchmark(benchmark, Broken(), folder, RunSettings("direct", DRAWN, samples=2))
    run = read_run(folder)
    first, second = run.sittings
    assert (first["answers"], first["tokens"], second["answers"]) == (6, 24, 1)
    usage = {**dataclasses.asdict(Usage()), "requests": 6, "cost": 3.0}
    assert first["usage"] == usage, "what this sitting used, not what the responder ever did"
    assert {"cpu", "cores", "python", "system"} <= set(first["machine"])
    assert run.meta["finished"] is None, "the second did not come to its end"
    assert all(sitting["started"] <= sitting["ended"] for sitting in run.sittings)
    rows = [json.loads(line) for line in (folder / "responses.jsonl").read_text().splitlines()]
    assert [row["sitting"] for row in rows] == [1] * 6 + [2]
    assert all(row["at"] >= row["seconds"] >= 0 for row in rows)
    assert sum(row["seconds"] for row in rows[:6]) == pytest.approx(rows[5]["at"], abs=1e-3)
    assert [row["took"] for row in rows[:2]] == [0.01, 0.02]
    assert (run.timing().answers, run.timing(1).answers, run.timing(2).took) == (7, 6, (0.01,))
    nothing_due = (folder / "run.json").read_bytes()
    run_benchmark(benchmark, Recorder(), folder, RunSettings("direct", DRAWN, samples=2))
    assert (folder / "run.json").read_bytes() != nothing_due
    finished = (folder / "run.json").read_bytes()
    assert run_benchmark(benchmark, Recorder(), folder, RunSettings("direct", DRAWN, samples=2)) == 0
    assert (folder / "run.json").read_bytes() == finished


def test_timing_is_throughput_of_all_and_latency_where_it_is_known() -> None:
    rows: list[dict[str, Any]] = [{"tokens": 5, "seconds": 0.5, "took": took} for took in (4.0, 1.0, 3.0, 2.0)]
    timing = timing_of(rows)
    assert timing == Timing(4, 20, 2.0, (1.0, 2.0, 3.0, 4.0))
    assert (timing.quantile(0.5), timing.quantile(0.95), timing.quantile(0.75)) == (2.0, 4.0, 3.0)
    assert timing.to_json()["answers_per_second"] == 2.0
    assert str(timing) == (
        "4 answers in 2.0 s, 2.0 a second, 10 tokens/s, a request took 2.00 s (median), 4.00 s (95 %)"
    )
    old = timing_of([{"id": "q", "seconds": 60.5}, {"id": "r"}])
    assert old.to_json()["request_seconds_p50"] is None
    assert str(old) == "2 answers in 1 min 0 s, 0.0 a second"
    assert str(timing_of([])) == "no answers"
    assert str(Timing(1, 0, 59.96)).startswith("1 answer in 1 min 0 s"), "not 60.0 s"
    assert str(Timing(1, 0, 119.7)).startswith("1 answer in 2 min 0 s"), "not 1 min 60 s"


@pytest.fixture
def plain(benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]) -> Run:
    """A run of six questions, all right."""
    return run_of(benchmark_of(6), right)


def test_a_variant_is_a_run_inside_the_run_with_settings_of_its_own(plain: Run) -> None:
    benchmark = from_questions("toy", make_questions(6))
    folder = plain.folder / "shortcuts" / "silence"

    def without(question: AudioQuestion, prompt: str) -> Request:
        return Request("any", None, f"{prompt}!", prefix="so: ")

    def other(question: AudioQuestion, prompt: str) -> Request:
        return Request("any", None, f"{prompt}!", prefix="thus: ")

    settings = RunSettings("direct", variant="silence", requests=without)
    responder = Recorder()
    assert run_benchmark(benchmark, responder, folder, settings) == 6
    assert {r.id for r in responder.asked} == {q.id for q in benchmark.questions}, "the ids are the benchmark's own"
    assert {(r.audio, r.prefix, r.prompt[-1]) for r in responder.asked} == {(None, "so: ", "!")}
    run = read_run(folder)
    assert run.variant == run.meta["variant"]["name"] == "silence"
    assert run.answers["q000"][0].text == "so: q000/0"
    replayed = ScriptedResponder(path=folder)
    assert [r.text for r in replayed.respond(responder.asked[:1], Sampling())] == ["so: q000/0"]
    assert run_benchmark(benchmark, Recorder(), folder, settings) == 0
    for change, named in (
        ({"variant": "noise"}, r"variant \(there silence, here noise\)"),
        ({"requests": other}, "another variant's requests"),
        ({"variant": "", "requests": None}, "prompts"),
    ):
        with pytest.raises(BenchmarkError, match=named):
            run_benchmark(benchmark, Recorder(), folder, dataclasses.replace(settings, **change))
    assert [found.folder for found in find_runs([plain.folder.parent.parent])] == [plain.folder]
    assert [found.folder for found in find_runs([folder.parent])] == [folder], "unless it is asked for itself"


def test_a_variant_needs_only_the_audio_that_it_asks_with(tmp_path: Path) -> None:
    questions = [q.replace(audio=AudioRef(path=str(tmp_path / f"{q.id}.wav"))) for q in make_questions(3)]
    benchmark = from_questions("toy", questions)
    silent = RunSettings("direct", variant="none", requests=lambda question, prompt: Request("", None, prompt))
    assert run_benchmark(benchmark, Recorder(), tmp_path / "run", silent) == 3
    moved = AudioRef(path=str(tmp_path / "elsewhere" / "a.wav"))
    heard = RunSettings("direct", variant="other", requests=lambda question, prompt: Request("", moved, prompt))
    with pytest.raises(AudioError, match="3 of 3 audio files"):
        run_benchmark(benchmark, Recorder(), tmp_path / "run2", heard)


def test_a_responder_that_ignores_what_was_asked_is_found_out(
    benchmark_of: Callable[[int], Benchmark], tmp_path: Path
) -> None:
    class Forgetful(Recorder):
        def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
            plain = (dataclasses.replace(r, prefix="", first_sample=0) for r in requests)
            yield from super().respond(plain, sampling)

    benchmark = benchmark_of(2)
    begun = RunSettings("direct", variant="begun", requests=lambda q, p: Request("", q.audio, p, prefix="so: "))
    with pytest.raises(ResponderError, match="does not begin with the prefix"):
        run_benchmark(benchmark, Forgetful(), tmp_path / "begun", begun)
    run_benchmark(benchmark, Recorder(), tmp_path / "run", RunSettings("direct", DRAWN))
    with pytest.raises(ResponderError, match=r"answered \('q000', 0\), which was not asked or was answered already"):
        run_benchmark(benchmark, Forgetful(), tmp_path / "run", RunSettings("direct", DRAWN, samples=2))


def test_a_run_folder_of_an_earlier_version_is_read_and_goes_on(plain: Run) -> None:
    path, meta_path = plain.folder / "responses.jsonl", plain.folder / "run.json"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    old = ("id", "sample", "text", "finish_reason", "tokens", "seconds")
    path.write_text("".join(json.dumps({key: row[key] for key in old}) + "\n" for row in rows[:4]))
    meta = json.loads(meta_path.read_text())
    del meta["sittings"]
    meta_path.write_text(json.dumps(meta))
    (plain.folder / "failed.json").unlink()
    run = read_run(plain.folder)
    assert (run.sittings, run.failed, run.variant) == ([], {}, "")
    assert run.score().overall.outcomes["missing"] == 2
    responder = ScriptedResponder(lambda request, sample: "dog", name=plain.name)
    assert run_benchmark(from_questions("toy", make_questions(6)), responder, plain.folder, RunSettings("direct")) == 2
    assert len(read_run(plain.folder).sittings) == 1


def test_ten_thousand_answers_are_read_quickly(plain: Run) -> None:
    path = plain.folder / "responses.jsonl"
    row = json.loads(path.read_text().splitlines()[0]) | {"text": "<think>" + "a word and " * 90 + "</think>"}
    path.write_text("".join(json.dumps(row | {"sample": sample}) + "\n" for sample in range(10_000)))
    meta = json.loads((plain.folder / "run.json").read_text())
    (plain.folder / "run.json").write_text(json.dumps(meta | {"samples": 10_000}))
    began = time.process_time()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    parsed = time.process_time() - began
    assert len(read_run(plain.folder).answers["q000"]) == len(rows) == 10_000
    read = time.process_time() - began - parsed
    # Twice as long as the parsing of JSON alone here; anything quadratic takes a thousand times as long.
    assert read < 15 * parsed
