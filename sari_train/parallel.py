"""Micro-batches side by side on the cores of one machine.

A small model's operations are too short to be split among threads: two threads on one operation save a
tenth, two micro-batches on one thread each save nearly half. On a CPU, as many run at once as torch
has threads (``OMP_NUM_THREADS``), each on one; on a GPU, and with one thread, they run one after the
other. Gradients are added in the order of the micro-batches, so the result does not depend on which
of them is done first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from sari_train.models.base import AudioLM

T = TypeVar("T")


def workers(lm: AudioLM) -> int:
    """Return how many micro-batches run at once."""
    return torch.get_num_threads() if lm.device.type == "cpu" else 1


def run_all(lm: AudioLM, tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Return the tasks' results in their order; the first error is raised."""
    count = min(workers(lm), len(tasks))
    if count <= 1:
        return [task() for task in tasks]
    return list(_pool(count).map(lambda task: task(), tasks))


def backward_all(lm: AudioLM, tasks: Sequence[Callable[[], tuple[Tensor, T]]]) -> list[T]:
    """Add the gradient of every task's loss to the weights.

    Args:
        lm: The model whose weights learn.
        tasks: Each computes a loss with its graph, and whatever else is wanted of the micro-batch.

    Returns:
        What else each task returned, in their order.
    """
    if min(workers(lm), len(tasks)) <= 1:
        extras = []
        for task in tasks:
            with torch.enable_grad():
                loss, extra = task()
                loss.backward()
            extras.append(extra)
        return extras
    weights = [p for p in lm.model.parameters() if p.requires_grad]

    def gradients(task: Callable[[], tuple[Tensor, T]]) -> tuple[tuple[Tensor | None, ...], T]:
        with torch.enable_grad():
            loss, extra = task()
            return torch.autograd.grad(loss, weights, allow_unused=True), extra

    extras = []
    for found, extra in _pool(min(workers(lm), len(tasks))).map(gradients, tasks):
        for weight, gradient in zip(weights, found, strict=True):
            if gradient is not None:
                weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        extras.append(extra)
    return extras


@lru_cache(maxsize=1)
def _pool(count: int) -> ThreadPoolExecutor:
    # torch's number of threads is a setting of each thread; the caller's own stays as it is.
    return ThreadPoolExecutor(count, thread_name_prefix="sari", initializer=torch.set_num_threads, initargs=(1,))
