"""Shortcuts of a model: planted listeners and guessers are told apart, and a stopped measuring goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from heard_toys import (
    OPTIONS,
    RATE,
    Respond,
    heard_benchmark,
    heard_questions,
    listen,
    model_of,
    row_of,
    run_model,
    shown_options,
)

from sari_bench.benchmarks.base import from_questions
from sari_bench.running.runs import find_runs, read_run
from sari_bench.shortcuts import Shortcuts, read_shortcuts
from sari_bench.shortcuts.asking import measure_shortcuts
from sari_bench.shortcuts.variants import VARIANTS, make_variant, rotate, silence
from sari_data.audio import decode, encode_wav
from sari_data.errors import BenchmarkError, InputError
from sari_data.responder import Request, Response, Sampling
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioRef

GAINS = ("no-audio", "other-audio", "silence")


def _measure(tmp_path: Path, respond: Respond, count: int = 24, names: Iterable[str] = VARIANTS) -> Shortcuts:
    benchmark, model = heard_benchmark(count), model_of(respond)
    run = run_model(benchmark, model, tmp_path / "run")
    return measure_shortcuts(run, tuple(names), responder=model, benchmark=benchmark)


def _accuracy(found: Shortcuts, name: str) -> float:
    return row_of(found, name).accuracy


def test_a_model_that_listens_gains_and_keeps_its_answer_in_every_rotation(tmp_path: Path) -> None:
    found = _measure(tmp_path, listen)
    assert _accuracy(found, "own audio") == _accuracy(found, "circular") == 1
    assert [_accuracy(found, name) for name in ("no-audio", "silence")] == [0, 0]
    other = row_of(found, "other-audio")
    heard = {q.id: q for q in heard_questions(24)}
    assert 0 < other.accuracy < 0.6, "some other clips say the same word"
    assert all(heard[i].id == i for i in other.right)
    assert len(other.right) == other.correct
    for name in GAINS:
        row = row_of(found, name)
        assert row.verdict == "listens"
        assert row.sentence.endswith("the model listens")
        assert {task: part.n for task, part in row.by.items()} == {"sound": 8, "music": 8, "speech": 8}
    circular = found.circular
    assert circular is not None
    assert (circular.mean, circular.consistent, circular.bias, circular.rotations) == (1, 1, 0, 96)
    rule = row_of(found, "always the first")
    assert rule.gain is not None
    assert rule.gain.difference == pytest.approx(0.75)


def test_a_model_that_does_not_listen_gains_nothing(tmp_path: Path) -> None:
    found = _measure(tmp_path, lambda request: "dog" if int(request.id[1:4]) % 3 else "cat")
    for name in GAINS:
        row = row_of(found, name)
        assert row.gain is not None
        assert (row.gain.difference, row.gain.won, row.gain.lost, row.verdict) == (0, 0, 0, "undecided")
    assert "cannot be told from answering without audio" in found.sentences[0]
    assert "cannot be told from answering with silence" in found.sentences[2]


def test_a_model_that_hears_worse_with_its_own_audio_is_said(tmp_path: Path) -> None:
    def contrary(request: Request) -> str:
        index = int(request.id[1:4])
        return OPTIONS[index % 4] if request.audio is None else OPTIONS[(index + 1) % 4]

    found = _measure(tmp_path, contrary, names=["no-audio"])
    assert "the model does worse with its own audio than answering without audio" in found.sentences[0]


def test_always_the_first_is_right_in_no_question_in_all_rotations(tmp_path: Path) -> None:
    found = _measure(tmp_path, lambda request: "A", names=["circular"])
    circular, row = found.circular, row_of(found, "circular")
    assert circular is not None
    assert (row.accuracy, row.correct, row.n, row.right) == (0, 0, 24, ())
    assert (circular.mean, circular.consistent, circular.bias) == (0.25, 0, 0.75)
    assert [(p.letter, p.right, p.n, p.chosen, p.expected) for p in circular.positions] == [
        ("A", 24, 24, 96, 24), ("B", 0, 24, 0, 24), ("C", 0, 24, 0, 24), ("D", 0, 24, 0, 24),
    ]  # fmt: skip
    assert row.gain is not None
    assert row.gain.won == 6, "the own audio is right where the answer stands first"
    assert "(A) is answered 96 times where 24 would be even, position bias 75.00 %" in circular.sentence


def test_a_model_that_never_takes_the_last_option_shows_it(tmp_path: Path) -> None:
    def shy(request: Request) -> str:
        shown, word = shown_options(request), listen(request)
        return shown[0] if word == shown[-1] else word

    circular = _measure(tmp_path, shy, names=["circular"]).circular
    assert circular is not None
    assert [p.right / p.n for p in circular.positions] == [1, 1, 1, 0]
    assert [p.chosen for p in circular.positions] == [48, 24, 24, 0]
    assert (circular.mean, circular.bias) == (0.75, 0.25)


def test_with_several_samples_a_rotation_is_judged_sample_by_sample(tmp_path: Path) -> None:
    benchmark = heard_benchmark(4)

    def answers(request: Request, sample: int) -> str:
        word = "no option" if sample == 0 and "#r2" in request.id else listen(request)
        return f"<answer>{word}</answer>"

    model = ScriptedResponder(answers, name="toy@1")
    run = run_model(benchmark, model, tmp_path / "run", samples=2)
    found = measure_shortcuts(run, ("circular",), responder=model, benchmark=benchmark)
    row = row_of(found, "circular")
    assert (row.n, row.correct, row.right) == (8, 4, ()), "the first sample is wrong in one rotation"
    assert row.gain is not None
    assert (row.gain.difference, row.gain.p_value) == (0.5, None)
    assert found.circular is not None
    assert (found.circular.rotations, found.circular.mean) == (32, 7 / 8)


def test_rotations_of_two_to_five_options_with_repeats(tmp_path: Path) -> None:
    base = heard_questions(4)
    sets = [("dog", "cat"), ("dog", "cat", "rain", "bell", "owl"), ("dog", "cat", "dog"), ("cat", "dog", "owl", "dog")]
    questions = [q.replace(choices=c, answer=c[0]) for q, c in zip(base, sets, strict=True)]
    benchmark = from_questions("mixed", questions)
    turned = rotate(benchmark)
    assert [g.id for g in turned.golds][:3] == ["q000#r1", "q001#r1", "q001#r2"]
    assert len(turned.golds) == 1 + 4 + 2 + 3
    assert turned.golds[1].choices == ("cat", "rain", "bell", "owl", "dog")
    assert turned.digest != benchmark.digest
    answers = {q.id: str(q.answer) for q in questions}
    model = model_of(lambda request: answers[request.id.partition("#")[0]])
    run = run_model(benchmark, model, tmp_path / "run")
    circular = measure_shortcuts(run, ("circular",), responder=model, benchmark=benchmark).circular
    assert circular is not None
    assert (circular.mean, circular.consistent, circular.repeats) == (1, 1, 2)
    assert [p.n for p in circular.positions] == [2, 2, 1, 1, 1], "without the two that repeat an option"


def test_the_variants_ask_the_same_questions_with_other_ears() -> None:
    benchmark = heard_benchmark(24)
    own = {q.id: q.audio for q in benchmark.questions}
    for name in GAINS:
        variant = make_variant(name, benchmark)
        assert variant.benchmark is benchmark
        assert variant.requests is not None
        requests = [variant.requests(q, "prompt") for q in benchmark.questions]
        assert {r.prompt for r in requests} == {"prompt"}
        if name == "no-audio":
            assert {r.audio for r in requests} == {None}
        if name == "other-audio":
            keys = {audio.key: q.domain for q, audio in zip(benchmark.questions, own.values(), strict=True)}
            for question, request in zip(benchmark.questions, requests, strict=True):
                assert request.audio is not None
                assert request.audio.key != own[question.id].key
                assert keys[request.audio.key] == question.domain
            again = make_variant(name, benchmark, seed=1)
            assert again.requests is not None
            assert [again.requests(q, "prompt") for q in benchmark.questions] != requests
        if name == "silence":
            for question, request in zip(benchmark.questions, requests, strict=True):
                assert request.audio is not None
                samples, rate = decode(request.audio)
                assert (len(samples), rate) == (len(decode(own[question.id])[0]), RATE)
                assert not samples.any()


def test_silence_is_as_long_as_the_part_that_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encode_wav(np.full(RATE * 3, 0.1), RATE))
    for start, duration, seconds in ((0.0, None, 3.0), (1.0, None, 2.0), (1.0, 0.5, 0.5), (2.5, 9.0, 0.5)):
        own = AudioRef(path=str(path), start=start, duration=duration)
        assert len(decode(silence(own))[0]) == len(decode(own)[0]) == round(seconds * RATE)


def test_one_clip_under_two_names_is_not_anothers(tmp_path: Path) -> None:
    questions = heard_questions(3)
    for name, question in zip("abc", questions, strict=True):
        body = questions[0].audio.data if name != "c" else question.audio.data
        (tmp_path / f"{name}.wav").write_bytes(body or b"")
    moved = [q.replace(audio=AudioRef(path=str(tmp_path / f"{n}.wav"))) for n, q in zip("abc", questions, strict=True)]
    variant = make_variant("other-audio", from_questions("files", moved))
    assert variant.requests is not None
    heard = [str(variant.requests(q, "").audio.path)[-5] for q in moved]  # type: ignore[union-attr]
    assert heard == ["c", "c", "a"]
    alone = from_questions("alone", [questions[0], questions[0].replace(id="again")])
    with pytest.raises(BenchmarkError, match="are about one clip"):
        make_variant("other-audio", alone)


class _Stopping:
    """A model that is stopped after so many answers; it remembers what it was asked."""

    name = "toy@1"

    def __init__(self, after: int) -> None:
        self.after = after
        self.asked: list[str] = []

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        for request in requests:
            if len(self.asked) == self.after:
                raise KeyboardInterrupt
            self.asked.append(f"{request.id}|{request.audio.key if request.audio else None}")
            yield Response(request.id, 0, f"<answer>{listen(request)}</answer>", "stop")


def test_a_stopped_measuring_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    whole = _measure(tmp_path / "whole", listen)
    benchmark = heard_benchmark(24)
    asked: list[str] = []
    run = run_model(benchmark, model_of(listen), tmp_path / "run")
    for after in (30, 30, 30, 500):
        model = _Stopping(after)
        try:
            found = measure_shortcuts(run, VARIANTS, responder=model, benchmark=benchmark)
        except KeyboardInterrupt:
            asked += model.asked
            assert read_shortcuts(run.folder) is None
        else:
            asked += model.asked
    assert len(asked) == len(set(asked)) == 24 * 3 + 24 * 3
    assert replace(found, digests={}) == replace(whole, digests={}), "answers carry the time that they took"
    kept = (run.folder / "shortcuts" / "shortcuts.json").read_bytes()
    idle = _Stopping(0)
    assert measure_shortcuts(run, ("silence",), responder=idle, benchmark=benchmark) == found
    assert not idle.asked
    assert (run.folder / "shortcuts" / "shortcuts.json").read_bytes() == kept
    assert [one.folder for one in find_runs([tmp_path / "run"])] == [run.folder]
    back = read_shortcuts(run.folder)
    assert back is not None
    assert back.to_json() == found.to_json() == json.loads(kept)


def test_results_that_are_stale_or_broken_are_said(tmp_path: Path) -> None:
    _measure(tmp_path, listen, count=8)
    folder = tmp_path / "run"
    with (folder / "responses.jsonl").open("a", encoding="utf-8") as sink:
        sink.write('{"id": "q000", "sample": 1, "text": "", "finish_reason": "stop", "tokens": 0}\n')
    stale = read_shortcuts(folder)
    assert stale is not None
    assert "the run has other answers since" in stale.notes[-1]
    for body in ("[]", "{", '{"rows": 1}'):
        (folder / "shortcuts" / "shortcuts.json").write_text(body, encoding="utf-8")
        with pytest.raises(BenchmarkError, match="delete it and run that command again"):
            read_shortcuts(folder)


def test_another_model_is_refused_and_a_refusal_without_audio_is_said(tmp_path: Path) -> None:
    benchmark = heard_benchmark(8)
    run = run_model(benchmark, model_of(listen), tmp_path / "run")
    with pytest.raises(BenchmarkError, match="another model"):
        measure_shortcuts(run, ("silence",), responder=model_of(listen, "toy@2"), benchmark=benchmark)

    def needs_audio(request: Request) -> str:
        if request.audio is None:
            raise InputError("this model hears audio only")
        return listen(request)

    with pytest.raises(InputError, match=r"answered nothing without audio \(this model hears audio only\).*--only sil"):
        measure_shortcuts(run, ("no-audio",), responder=model_of(needs_audio), benchmark=benchmark)
    assert read_run(run.folder).score().overall.correct == 8


def test_a_gain_rests_on_clips_where_they_repeat(tmp_path: Path) -> None:
    questions = [q.replace(id=f"{q.id}.{turn}") for q in heard_questions(8) for turn in range(4)]
    benchmark, model = from_questions("repeats", questions), model_of(listen)
    run = run_model(benchmark, model, tmp_path / "run")
    row = row_of(measure_shortcuts(run, ("silence",), responder=model, benchmark=benchmark), "silence")
    assert row.gain is not None
    assert (row.gain.n, row.gain.clusters, row.gain.by_clip) == (32, 8, True)
    assert "32 questions about 8 clips" in row.sentence
    assert row.gain.flip_p == pytest.approx(2 / 2**8), "eight clips, all on one side"
    assert {task: part.adjusted_p is not None for task, part in row.by.items()} == {"sound": True, "music": True}
