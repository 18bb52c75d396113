"""Two real processes on this machine's CPU, joined by gloo, for the tests of distributed training."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch

from sari_data.errors import InputError
from sari_data.prompting import render_prompt, render_target
from sari_data.responder import Sampling
from sari_data.types import AudioQuestion
from sari_train.batch import Encoded, Example, encode_example
from sari_train.config import Grpo, Sft
from sari_train.distributed import World, join
from sari_train.grpo import train_grpo
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.optim import make_optimizer, take_step
from sari_train.policy import Experience, learn
from sari_train.reference import Reference
from sari_train.rollout import Rollout, RolloutPrompt
from sari_train.rollouts.engine import make_engine
from sari_train.run import prepare_model
from sari_train.sft import accumulate, train_sft

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["processes", "transformers.models.qwen2_audio.modeling_qwen2_audio"])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def spread(
    function: Callable[..., Any], *arguments: Any, count: int = 2, patience: float = 90, **environment: str
) -> list[Any]:
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
        found = sorted((queue.get(timeout=patience) for _ in workers), key=lambda item: item[0])
    finally:
        for worker in workers:
            worker.join(5)
            worker.kill()
    for rank, well, result in found:
        assert well, f"process {rank}: {result}"
    return [result for _, _, result in found]


def _work(
    queue: Any, rank: int, count: int, port: int, environment: dict[str, str], function: Any, arguments: Any
) -> None:
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()} | environment)
    try:
        queue.put((rank, True, function(join("cpu"), *arguments)))
    except BaseException:
        queue.put((rank, False, traceback.format_exc()))


def whole(lm: AudioLM) -> dict[str, Any]:
    """The weights as arrays, put together where they are in shards."""
    named = lm.model.named_parameters()
    return {name: getattr(p, "full_tensor", lambda p=p: p)().detach().float().numpy().copy() for name, p in named}


def sft_run(world: World, table: Sft, questions: list[AudioQuestion]) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Some steps of SFT without a run's folder: (metrics, weights)."""
    lm = load_model(table.model, device=world.device("auto"))
    prepare_model(lm, table)
    world.prepare(lm)
    optimizer = world.adopt(lm, make_optimizer(lm, table))
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
    optimizer = world.adopt(lm, make_optimizer(lm, table))
    reference = Reference(lm, table, world) if table.beta else None
    metrics = []
    for step in range(table.steps):
        experience = sampled(lm, table, questions[step:], world)
        metrics.append(learn(lm, optimizer, experience, reference, step, table, world))
    return metrics, whole(lm)


def several(world: World, runs: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]) -> dict[str, Any]:
    """Several of these, one after another in the same processes."""
    return {name: function(world, *arguments) for name, (function, arguments) in runs.items()}


def mean_of_means(world: World, table: Sft, questions: list[AudioQuestion]) -> Any:
    """SFT as it must not be: each process normalises by its own tokens, and the gradients are averaged."""
    share, total = world.sum_gradients, world.total

    def average(lm: AudioLM) -> None:
        share(lm)
        for weight in lm.model.parameters():
            if weight.grad is not None:
                weight.grad /= world.size

    world.sum_gradients, world.total = average, lambda values: dict(values)  # type: ignore[method-assign]
    try:
        return sft_run(world, table, questions)
    finally:
        world.sum_gradients, world.total = share, total  # type: ignore[method-assign]


def trained(world: World, table: Sft | Grpo) -> Any:
    """A whole run: (steps done, the last step's metrics)."""
    run = train_sft if isinstance(table, Sft) else train_grpo
    outcome = run(table, world=world)  # type: ignore[arg-type, operator]
    return outcome.step, outcome.metrics


def served(world: World, table: Grpo, questions: list[AudioQuestion]) -> list[tuple[int, ...]]:
    """Weights sent to a rollout server, and samples of this process's prompts from it."""
    lm = load_model(table.model, device=world.device("auto"))
    prepare_model(lm, table)
    world.prepare(lm)
    engine = make_engine(lm, table, world)
    engine.update_weights(lm, 4)
    asked = world.share(list(enumerate(questions)))
    rows = [encode_example(lm, Example(q.audio, render_prompt(q, "direct"))) for _, q in asked]
    prompts = [RolloutPrompt(str(place), row, range(2)) for (place, _), row in zip(asked, rows, strict=True)]
    return [done.ids for done in engine.sample(prompts, [q for _, q in asked], seed=1)]


def disagree(world: World) -> str:
    try:
        world.agree("recipe", f"r{world.rank}")
    except InputError as error:
        return str(error)
    return ""
