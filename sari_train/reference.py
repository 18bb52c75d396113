"""The model that GRPO's KL penalty measures the distance to: the one that the run started from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sari_train.batch import Batch
from sari_train.config import Grpo
from sari_train.distributed import ALONE, World
from sari_train.logprobs import autocast, completion_logprobs
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model


class Reference:
    """Log-probabilities of the starting point: the bare model under adapters, else a second copy of it.

    With ``reference_offload`` the copy lies in the CPU's memory and is on the device only while it runs.
    """

    def __init__(self, lm: AudioLM, table: Grpo, world: World = ALONE) -> None:
        self._table, self._world = table, world
        self._device = lm.device
        self._shared = lm if lm.adapter is not None else None
        self._copy: AudioLM | None = None
        if self._shared is None:
            place = "cpu" if table.reference_offload else str(lm.device)
            self._copy = load_model(table.model, dtype=table.dtype, device=place)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have its weights on the device, and whole, for as long as it runs; every process comes here."""
        if self._shared is not None:
            with self._world.whole_weights(self._shared):
                yield
            return
        assert self._copy is not None
        moved = self._copy.device != self._device
        if moved:
            self._copy.model.to(self._device)
        try:
            yield
        finally:
            if moved:
                self._copy.forget_states()
                self._copy.model.to("cpu")

    @torch.no_grad()
    def logprobs(self, batch: Batch) -> Tensor:
        """Return log-probabilities [B, C] of the batch's completions."""
        if self._shared is not None:
            with self._shared.adapter.disable_adapter():
                return self._score(self._shared, batch)
        assert self._copy is not None
        return self._score(self._copy, batch)

    def _score(self, lm: AudioLM, batch: Batch) -> Tensor:
        with autocast(lm, self._table):
            return completion_logprobs(lm, batch, self._table.temperature, banned=lm.banned_ids, with_entropy=False)[0]
