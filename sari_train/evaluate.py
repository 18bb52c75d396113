"""Greedy accuracy on questions, through the same rollout, reader and grader as everything else."""

from __future__ import annotations

from collections.abc import Sequence

from sari_data.answers import grade
from sari_data.errors import InputError
from sari_data.prompting import render_prompt
from sari_data.responder import Request, Sampling
from sari_data.store import read_split
from sari_data.types import AudioQuestion
from sari_train.config import Training
from sari_train.models.base import AudioLM
from sari_train.responder import LocalResponder


def read_dev(table: Training) -> list[AudioQuestion]:
    """Return the dev questions that a run evaluates on; none where it does not evaluate.

    Raises:
        InputError: It is to evaluate, but the corpus has no dev questions.
    """
    if not table.eval_every:
        return []
    questions = read_split(table.corpus, "dev")[: table.eval_questions]
    if not questions:
        raise InputError(
            f"eval_every is {table.eval_every}, but split 'dev' of corpus {table.corpus} is empty: set eval_every to 0 "
            "or build a corpus with dev questions"
        )
    return questions


def evaluate(
    lm: AudioLM, questions: Sequence[AudioQuestion], *, mode: str, max_new_tokens: int, batch_size: int = 128
) -> dict[str, float]:
    """Return ``eval_accuracy``: the share answered right, out of all (a response that cannot be read is not right)."""
    by_id = {question.id: question for question in questions}
    requests = [Request(q.id, q.audio, render_prompt(q, mode)) for q in by_id.values()]
    right = 0
    for response in LocalResponder(lm, batch_size).respond(requests, Sampling(max_new_tokens=max_new_tokens)):
        question = by_id[response.request_id]
        right += grade(response.text, question, finish_reason=response.finish_reason).correct
    return {"eval_accuracy": right / len(by_id)}
