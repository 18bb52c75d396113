"""Keys and values while tokens are sampled: the prompts' once, the samples' own in room that grows.

transformers' DynamicCache concatenates, so every decoded token copies everything before it, and it holds the
prompt once for each sample. Here a prompt is there once however many samples it has, and a token is
written in place; the samples' room doubles when it is full.

Shapes: P prompts, L longest prompt, B rows (samples), k key heads, d head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from sari_train.kernels.decode import Sharing
from sari_train.kernels.packing import Packing

# Columns that the samples' room has at first.
FIRST_COLUMNS = 32


class SharedLayer(DynamicLayer):
    """One layer: ``prompt_keys`` and ``prompt_values`` [P, k, L, d], own keys and values up to ``length``."""

    prompt_keys: Tensor
    prompt_values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Take a packed sequence of prompts first, then the rows' new columns; returns what is to be attended to."""
        if not self.is_initialized:
            self.is_initialized = True
            self.keys, self.values = key_states, value_states
            return key_states, value_states
        assert self.keys is not None
        assert self.values is not None
        start, end = self.length, self.length + key_states.shape[-2]
        if end > self.keys.shape[2]:
            self._grow(max(end, 2 * self.keys.shape[2], FIRST_COLUMNS))
        self.keys[:, :, start:end] = key_states
        self.values[:, :, start:end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def share(self, packing: Packing, rows: int) -> None:
        """Put the packed prompts side by side, padded on the right, and make room for the samples' own."""
        assert self.keys is not None
        assert self.values is not None
        longest = max(group.prompt for group in packing.groups)
        for name, packed in (("prompt_keys", self.keys), ("prompt_values", self.values)):
            b, k, _, d = packed.shape
            assert b == 1
            side_by_side = packed.new_zeros(len(packing.groups), k, longest, d)
            for prompt, (begin, end, _) in zip(side_by_side, packing.spans, strict=True):
                prompt[:, : end - begin] = packed[0, :, begin:end]
            setattr(self, name, side_by_side)
        self.keys = self.prompt_keys.new_empty(rows, self.prompt_keys.shape[1], 0, self.prompt_keys.shape[3])
        self.values = self.prompt_values.new_empty(rows, self.prompt_values.shape[1], 0, self.prompt_values.shape[3])

    def take(self, rows: Tensor, prompts: Tensor | None) -> None:
        """Keep these rows, and where given these prompts."""
        assert self.keys is not None
        assert self.values is not None
        self.keys, self.values = self.keys.index_select(0, rows), self.values.index_select(0, rows)
        if prompts is not None:
            self.prompt_keys = self.prompt_keys.index_select(0, prompts)
            self.prompt_values = self.prompt_values.index_select(0, prompts)

    def _grow(self, columns: int) -> None:
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty(*old.shape[:2], columns, old.shape[3])
            new[:, :, : self.length] = old[:, :, : self.length]
            setattr(self, name, new)

    def get_seq_length(self) -> int:
        """Return the number of the rows' own columns."""
        return self.length


class SharedCache(Cache):
    """All layers' caches, with the prompts' lengths and who shares which."""

    sharing: Sharing

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[SharedLayer() for _ in range(layers)])
        self.lengths_P = torch.empty(0)
        self.prompt_of_row: list[int] = []
        self.width = 0

    def share(self, packing: Packing, prompt_of_row: Sequence[int]) -> None:
        """After the prompts went through the model packed: make room for rows that sample from them."""
        for layer in self.layers:
            assert isinstance(layer, SharedLayer)
            layer.share(packing, len(prompt_of_row))
        self.lengths_P = torch.tensor([group.prompt for group in packing.groups], device=packing.device)
        self.prompt_of_row = list(prompt_of_row)
        self.width = int(self.lengths_P.max())
        self.sharing = Sharing.of(self.prompt_of_row, self.lengths_P, self.width)

    def take_rows(self, rows: Sequence[int]) -> None:
        """Keep these rows, and the prompts that still have one."""
        left = [self.prompt_of_row[row] for row in rows]
        prompts = sorted(set(left))
        fewer = len(prompts) < len(self.lengths_P)
        device = self.lengths_P.device
        kept_rows, kept_prompts = torch.tensor(list(rows), device=device), torch.tensor(prompts, device=device)
        for layer in self.layers:
            assert isinstance(layer, SharedLayer)
            layer.take(kept_rows, kept_prompts if fewer else None)
        rank = {prompt: at for at, prompt in enumerate(prompts)}
        self.prompt_of_row = [rank[prompt] for prompt in left]
        self.lengths_P = self.lengths_P[kept_prompts]
        self.sharing = Sharing.of(self.prompt_of_row, self.lengths_P, self.width)
