"""The processes that share one run. This is a world of one: every operation is the obvious one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from sari_train.models.base import AudioLM

T = TypeVar("T")


class World:
    """What a training loop asks of the processes that it runs in; ``rank`` of ``size``.

    A step's prompts are divided among the processes (:meth:`share`), what each found out is told to all
    (:meth:`gather`), and gradients are added up (:meth:`sum_gradients`): losses are normalised by totals of the
    whole step, so the sum over processes is the step's gradient, however the work was divided.
    """

    rank = 0
    size = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes and shows."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Return this process's items."""
        return list(items[self.rank :: self.size])

    def gather(self, items: Iterable[T]) -> list[T]:
        """Return the items of all processes, process after process, in all of them."""
        return list(items)

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return each value summed over the processes; all give the same names."""
        return dict(values)

    def sum_gradients(self, lm: AudioLM) -> None:
        """Add up the processes' gradients, in place."""

    def clip_gradients(self, weights: Sequence[Tensor], bound: float) -> float:
        """Scale the gradients down to norm ``bound`` where it is larger; return the norm before."""
        return float(torch.nn.utils.clip_grad_norm_(weights, bound))

    @contextmanager
    def whole_weights(self, lm: AudioLM) -> Iterator[None]:
        """Have every weight whole in this process while it samples."""
        yield

    def states(self, lm: AudioLM, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor] | None, Any]:
        """Return (weights, optimizer state by the weights' names), whole, for a checkpoint; ``None``: as they are."""
        return None, None

    def barrier(self) -> None:
        """Wait for all processes."""


ALONE = World()
