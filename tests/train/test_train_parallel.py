"""Micro-batches side by side give what they give one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor
from train_helpers import make_lm

from sari_data.prompting import render_prompt, render_target
from sari_data.responder import Request, Sampling
from sari_data.types import AudioQuestion
from sari_train.batch import Encoded, Example, collate, encode_example
from sari_train.logprobs import completion_logprobs
from sari_train.models.base import AudioLM
from sari_train.parallel import backward_all, run_all, workers
from sari_train.responder import LocalResponder


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def gradients(lm: AudioLM, chunks: list[list[Encoded]]) -> tuple[list[Tensor], list[int]]:
    def task(rows: list[Encoded]) -> tuple[Tensor, int]:
        logps_BC, _ = completion_logprobs(lm, collate(lm, rows))
        return -logps_BC.sum(), len(rows)

    lm.model.zero_grad()
    sizes = backward_all(lm, [partial(task, rows) for rows in chunks])
    return [p.grad.clone() for p in lm.model.parameters() if p.grad is not None], sizes


def rows_of(lm: AudioLM, questions: list[AudioQuestion]) -> list[Encoded]:
    return [
        encode_example(lm, Example(q.audio, render_prompt(q, "structured"), render_target(q, "structured")))
        for q in questions
    ]


def test_gradients_are_those_of_one_after_the_other(
    processor: object, scene_questions: list[AudioQuestion], two_threads: None
) -> None:
    lm = make_lm(processor)
    rows = rows_of(lm, scene_questions[:7])
    chunks = [rows[:3], rows[3:5], rows[5:]]
    assert workers(lm) == 2
    together, sizes = gradients(lm, chunks)
    torch.set_num_threads(1)
    alone, _ = gradients(lm, chunks)
    assert sizes == [3, 2, 2]
    assert len(together) == len(alone) >= 40
    for a, b in zip(together, alone, strict=True):
        assert torch.equal(a, b)
    # The comparison would show a micro-batch that was lost.
    fewer, _ = gradients(lm, chunks[:2])
    assert not all(torch.allclose(a, b, rtol=1e-3) for a, b in zip(fewer, alone, strict=True))


def test_the_callers_threads_stay_as_they_were(processor: object, two_threads: None) -> None:
    lm = make_lm(processor)
    seen = run_all(lm, [torch.get_num_threads] * 4)
    assert seen == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2


def test_an_error_in_a_micro_batch_is_raised(processor: object, two_threads: None) -> None:
    def fail() -> tuple[Tensor, int]:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError, match="planted"):
        backward_all(make_lm(processor), [fail, fail])


def test_answers_do_not_depend_on_the_threads(
    processor: object, scene_questions: list[AudioQuestion], two_threads: None
) -> None:
    lm = make_lm(processor)
    asked = [Request(q.id, q.audio, render_prompt(q, "direct"), samples=2) for q in scene_questions[:6]]
    sampling = Sampling(temperature=1.0, max_new_tokens=12, seed=5)
    together = {(r.request_id, r.sample): r.text for r in LocalResponder(lm, batch_size=4).respond(asked, sampling)}
    torch.set_num_threads(1)
    alone = {(r.request_id, r.sample): r.text for r in LocalResponder(lm, batch_size=4).respond(asked, sampling)}
    assert together == alone
    assert len(together) == 12
