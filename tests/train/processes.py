"""Two real processes on this machine's CPU, joined by gloo, for the tests of distributed training."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sari_data.errors import SariError
from sari_data.prompting import render_prompt, render_target
from sari_data.responder import Sampling
from sari_data.types import AudioQuestion
from sari_train.batch import Encoded, Example, encode_example
from sari_train.config import Grpo, Sft
from sari_train.distributed import ALONE, World, join
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.optim import make_optimizer, take_step
from sari_train.policy import Experience, learn
from sari_train.reference import Reference
from sari_train.rollout import Rollout, RolloutPrompt
from sari_train.run import prepare_model
from sari_train.sft import accumulate

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["processes", "transformers.models.qwen2_audio.modeling_qwen2_audio"])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def spread(function: Callable[..., Any], *arguments: Any, count: int = 2, **environment: str) -> list[Any]:
    """Return ``function(world, *arguments)`` of each of ``count`` processes; an error of one is raised."""
    queue = _CONTEXT.Queue()
    port = free_port()
    workers = [
        _CONTEXT.Process(target=_work, args=(queue, rank, count, port, environment, function, arguments), daemon=True)
        for rank in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        found = dict(queue.get(timeout=90) for _ in workers)
    finally:
        for worker in workers:
            worker.join(5)
            worker.kill()
    for rank in range(count):
        if isinstance(found[rank], str):
            raise AssertionError(f"process {rank}: {found[rank]}")
    return [found[rank] for rank in range(count)]


def _work(
    queue: Any, rank: int, count: int, port: int, environment: dict[str, str], function: Any, arguments: Any
) -> None:
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()} | environment)
    try:
        queue.put((rank, (function(join("cpu"), *arguments),)[0]))
    except SariError as error:
        queue.put((rank, error))
    except BaseException:
        queue.put((rank, traceback.format_exc()))


def whole(lm: AudioLM) -> dict[str, Any]:
    """The weights as arrays, put together where they are in shards."""
    named = lm.model.named_parameters()
    return {name: getattr(p, "full_tensor", lambda p=p: p)().detach().float().numpy().copy() for name, p in named}


def sft_run(world: World, table: Sft, questions: list[AudioQuestion]) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Some steps of SFT without a run's folder: (metrics, weights)."""
    lm = load_model(table.model, device=world.device("auto"))
    prepare_model(lm, table)
    world.prepare(lm)
    optimizer = make_optimizer(lm, table)
    metrics = []
    for step in range(table.steps):
        drawn = [questions[(step * table.batch_size + i) % len(questions)] for i in range(table.batch_size)]
        rows = [
            # Of different lengths, so that a mean of the processes' means would be another number.
            encode_example(lm, Example(q.audio, render_prompt(q, "direct"), render_target(q, mode)))
            for q, mode in world.share(list(zip(drawn, ["direct", "structured"] * len(drawn), strict=False)))
        ]
        found = accumulate(lm, rows, table, world)
        metrics.append(found | take_step(lm, optimizer, table, step, world))
    return metrics, whole(lm)


def sampled(lm: AudioLM, table: Grpo, questions: list[AudioQuestion], world: World) -> list[Experience]:
    """Groups of this process's prompts, with made-up advantages; one group teaches nothing."""
    engine = Rollout(lm, Sampling(temperature=1.0, max_new_tokens=table.max_new_tokens))
    found = []
    with world.whole_weights(lm):
        for place, q in world.share(list(enumerate(questions[: table.prompts_per_step]))):
            row = encode_example(lm, Example(q.audio, render_prompt(q, "direct")))
            for done in engine.generate([RolloutPrompt(f"{place}", row, range(table.group_size))], seed=7):
                advantage = 0.0 if place == 0 else (-1.0) ** done.sample * (1 + 0.1 * place)
                found.append(Experience(Encoded(row.clip, row.prompt, done.ids), advantage, done))
    return found


def grpo_run(
    world: World, table: Grpo, questions: list[AudioQuestion]
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Some steps of GRPO without a run's folder: (metrics, weights)."""
    lm = load_model(table.model, device=world.device("auto"))
    prepare_model(lm, table)
    world.prepare(lm)
    optimizer = make_optimizer(lm, table)
    reference = Reference(lm, table, world) if table.beta else None
    metrics = []
    for step in range(table.steps):
        experience = sampled(lm, table, questions[step:], world)
        metrics.append(learn(lm, optimizer, experience, reference, step, table, world))
    return metrics, whole(lm)


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """The same in this process."""
    return function(ALONE, *arguments)


def folder_of(path: Path) -> str:
    return str(path)
