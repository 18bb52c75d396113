"""The model that GRPO's KL penalty measures the distance to: the one that the run started from."""

from __future__ import annotations

import torch
from torch import Tensor

from sari_train.batch import Batch
from sari_train.config import Grpo
from sari_train.logprobs import completion_logprobs
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model


class Reference:
    """Log-probabilities of the starting point: the bare model under adapters, else a second copy of it."""

    def __init__(self, lm: AudioLM, table: Grpo) -> None:
        self._temperature = table.temperature
        self._shared = lm if lm.adapter is not None else None
        self._copy = None if self._shared else load_model(table.model, dtype=table.dtype, device=str(lm.device))

    @torch.no_grad()
    def logprobs(self, batch: Batch) -> Tensor:
        """Return log-probabilities [B, C] of the batch's completions."""
        if self._shared is not None:
            with self._shared.adapter.disable_adapter():
                return self._score(self._shared, batch)
        assert self._copy is not None
        return self._score(self._copy, batch)

    def _score(self, lm: AudioLM, batch: Batch) -> Tensor:
        return completion_logprobs(lm, batch, self._temperature, banned=lm.banned_ids, with_entropy=False)[0]
