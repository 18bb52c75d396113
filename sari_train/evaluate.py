"""Greedy accuracy on dev questions, by the rollout, reader and grader of everything else; the loss of their chains."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sari_data.answers import grade
from sari_data.console import note
from sari_data.errors import InputError
from sari_data.prompting import missing_need, render_prompt, render_target
from sari_data.responder import Request, Sampling
from sari_data.store import read_split
from sari_data.types import AudioQuestion
from sari_train.batch import Example, collate, encode_example
from sari_train.config import Training
from sari_train.distributed import ALONE, World
from sari_train.logprobs import autocast, completion_loss
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


def with_chains(questions: Sequence[AudioQuestion], mode: str) -> list[AudioQuestion]:
    """Return the questions that have what the mode's target needs; where some lack it, say how many."""
    found = [q for q in questions if missing_need(q, mode) is None]
    if len(found) < len(questions):
        note(f"evaluation loss on {len(found)} of {len(questions)} dev questions: the others have no chain for {mode}")
    return found


def evaluate(
    lm: AudioLM,
    questions: Sequence[AudioQuestion],
    *,
    mode: str,
    max_new_tokens: int,
    batch_size: int = 128,
    cache_mib: int = 4096,
    world: World = ALONE,
) -> dict[str, float]:
    """Return ``eval_accuracy``: the share answered right, out of all (a response that cannot be read is not right).

    ``cache_mib`` bounds the keys and values kept at once, in MiB.
    """
    by_id = {question.id: question for question in world.share(list({q.id: q for q in questions}.values()))}
    requests = [Request(q.id, q.audio, render_prompt(q, mode)) for q in by_id.values()]
    right = 0
    with world.whole_weights(lm):
        responder = LocalResponder(lm, batch_size, cache_mib=cache_mib)
        for response in responder.respond(requests, Sampling(max_new_tokens=max_new_tokens)):
            question = by_id[response.request_id]
            right += grade(response.text, question, finish_reason=response.finish_reason).correct
    found = world.total({"right": right, "asked": len(by_id)})
    return {"eval_accuracy": found["right"] / found["asked"]}


@torch.no_grad()
def evaluate_loss(
    lm: AudioLM, questions: Sequence[AudioQuestion], table: Training, world: World = ALONE
) -> dict[str, float]:
    """Return ``eval_loss``: the mean cross entropy of the chains' tokens in nats; nothing without chains."""
    if not questions:
        return {}
    loss, tokens = 0.0, 0
    mine = world.share(questions)
    with world.whole_weights(lm):
        for at in range(0, len(mine), table.micro_batch):
            rows = [
                encode_example(lm, Example(q.audio, render_prompt(q, table.mode), render_target(q, table.mode)))
                for q in mine[at : at + table.micro_batch]
            ]
            with autocast(lm, table):
                loss += completion_loss(lm, collate(lm, rows)).item()
            tokens += sum(len(row.completion) for row in rows)
    found = world.total({"loss": loss, "tokens": tokens})
    return {"eval_loss": found["loss"] / found["tokens"]}
