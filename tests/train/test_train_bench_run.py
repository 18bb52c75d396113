"""A whole run of a benchmark with a model in this process: the answers are the same whatever the batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from train_helpers import make_clip

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.benchmarks.scenes import HeldOut, load
from sari_bench.running.runner import RunSettings, run_benchmark
from sari_bench.running.runs import read_run
from sari_data.errors import AudioError
from sari_data.responder import Request, Sampling
from sari_data.types import AudioQuestion, AudioRef
from sari_train import responder as responding
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.responder import LocalResponder


@pytest.fixture(scope="module")
def tiny() -> AudioLM:
    return load_model("tiny")


def _texts(lm: AudioLM, benchmark: Benchmark, folder: Path, batch: int, settings: RunSettings) -> dict[str, str | None]:
    run_benchmark(benchmark, LocalResponder(lm, batch_size=batch), folder, settings)
    answers = read_run(folder).answers
    assert len(answers) == len(benchmark.questions)
    return {identifier: given[0].text for identifier, given in answers.items()}


def _check(lm: AudioLM, benchmark: Benchmark, tmp_path: Path, settings: RunSettings, distinct: int) -> None:
    one = _texts(lm, benchmark, tmp_path / "1", 1, settings)
    sixteen = _texts(lm, benchmark, tmp_path / "16", 16, settings)
    assert sixteen == one
    assert len(set(one.values())) >= distinct, "answers that are all the same would prove nothing"
    lines = (tmp_path / "16" / "responses.jsonl").read_text().splitlines()
    order = [json.loads(line)["id"] for line in lines]
    assert order != [q.id for q in benchmark.questions], "batches are made by length, not by the benchmark's order"


def test_batch_1_equals_batch_16_for_the_tiny_model(tiny: AudioLM, tmp_path: Path) -> None:
    benchmark = load(None, None, scenes=HeldOut(questions={"sound": 14, "music": 13, "speech": 13}))
    _check(tiny, benchmark, tmp_path, RunSettings("direct", Sampling(max_new_tokens=24)), distinct=10)


def _uneven(count: int) -> Benchmark:
    """Questions of very different lengths, about clips of 0.3 to 2.8 seconds."""
    return from_questions(
        "uneven",
        [
            AudioQuestion(
                id=f"q{index}",
                audio=make_clip(index, 0.3 + (index * 7 % 11) * 0.25),
                question="Which of these is heard" + ", all in all" * (index * 5 % 7) + "?",
                choices=("a bell", "rain", f"{index} dogs"),
                answer="rain",
                domain="sound",
            )
            for index in range(count)
        ],
    )


def test_batch_1_equals_batch_16_for_a_small_qwen2_audio(small_lm: AudioLM, tmp_path: Path) -> None:
    _check(small_lm, _uneven(33), tmp_path, RunSettings("direct", Sampling(max_new_tokens=32, stop=())), distinct=15)


def test_batch_1_equals_batch_16_where_answers_are_begun_and_some_have_no_audio(
    small_lm: AudioLM, tmp_path: Path
) -> None:
    def build(question: AudioQuestion, prompt: str) -> Request:
        number = int(question.id[1:])
        return Request("", question.audio if number % 4 else None, prompt, prefix="<think>so " * (number % 3))

    settings = RunSettings("direct", Sampling(max_new_tokens=16, stop=()), variant="mixed", requests=build)
    _check(small_lm, _uneven(24), tmp_path, settings, distinct=12)


def test_a_fault_of_padding_would_be_seen(small_lm: AudioLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison sees a model whose next token depends on what else is in the batch, by very little."""
    decoder = small_lm.decoder

    def leaky() -> object:
        made = decoder()
        plain: Callable[..., torch.Tensor] = made.logits
        made.logits = lambda hidden: plain(hidden + 0.02 * (hidden.mean(0) - hidden))  # type: ignore[method-assign]
        return made

    monkeypatch.setattr(small_lm, "decoder", leaky)
    settings = RunSettings("direct", Sampling(max_new_tokens=32, stop=()))
    one = _texts(small_lm, _uneven(33), tmp_path / "1", 1, settings)
    assert _texts(small_lm, _uneven(33), tmp_path / "16", 16, settings) != one


def test_a_clip_that_does_not_decode_is_missing_with_its_reason_and_the_run_goes_on(
    small_lm: AudioLM, tmp_path: Path
) -> None:
    questions = list(_uneven(7).questions)
    for at in (0, 1, 5):
        questions[at] = questions[at].replace(audio=AudioRef(path=f"bad{at}.wav", data=b"no audio at all"))
    benchmark, settings = from_questions("bad", questions), RunSettings("direct", Sampling(max_new_tokens=4))
    with pytest.raises(AudioError):
        run_benchmark(benchmark, LocalResponder(small_lm), tmp_path / "strict", settings)
    # A window in which nothing decodes is not the end.
    responder = LocalResponder(small_lm, batch_size=1, on_error="skip")
    assert run_benchmark(benchmark, responder, tmp_path / "run", settings) == 4
    run = read_run(tmp_path / "run")
    assert {name: why.partition(":")[0] for name, why in run.failed.items()} == dict.fromkeys(
        ("q0", "q1", "q5"), "its audio cannot be read"
    )
    assert run.score().overall.outcomes["missing"] == 3


def test_a_window_is_as_long_as_its_audio_allows(
    small_lm: AudioLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark, sampling = _uneven(24), Sampling(max_new_tokens=4, stop=())

    def taken_before_the_first_answer(batch: int) -> int:
        taken = 0

        def requests() -> Iterator[Request]:
            nonlocal taken
            for question in benchmark.questions:
                taken += 1
                yield Request(question.id, question.audio, question.question)

        next(LocalResponder(small_lm, batch_size=batch).respond(requests(), sampling))
        return taken

    assert [taken_before_the_first_answer(batch) for batch in (1, 2, 8)] == [8, 16, 24]
    two = sum(small_lm.clip(question.audio).bytes for question in benchmark.questions[:2])
    monkeypatch.setattr(responding, "WINDOW_BYTES", two)
    assert [taken_before_the_first_answer(batch) for batch in (1, 2, 8)] == [3, 3, 8]
