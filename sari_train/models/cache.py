"""A key/value cache with its whole capacity allocated at the first write.

transformers' DynamicCache concatenates, so every decoded token copies everything before it. Here a
token is written in place and attention reads a view: one step costs one column.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class PreallocatedLayer(DynamicLayer):
    """One layer's keys and values, [B, heads, capacity, head size], filled up to ``length``."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate for the batch, heads and sizes of the first states."""
        b, h, _, d = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty(b, h, self.capacity, d)
        self.values = value_states.new_empty(b, h, self.capacity, value_states.shape[-1])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the new columns and return views of all columns so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        start, end = self.length, self.length + key_states.shape[-2]
        assert end <= self.capacity, f"cache of {self.capacity} columns cannot hold {end}"
        self.keys[:, :, start:end] = key_states
        self.values[:, :, start:end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Return the number of columns that are filled."""
        return self.length


class PreallocatedCache(Cache):
    """All layers' caches; rows can be repeated for the samples of a prompt and dropped when finished."""

    def __init__(self, layers: int, capacity: int) -> None:
        super().__init__(layers=[PreallocatedLayer(capacity) for _ in range(layers)])

    def take_rows(self, rows: Tensor, capacity: int | None = None) -> None:
        """Keep the rows named by index, in that order (an index may occur again), and resize where asked."""
        for layer in self.layers:
            assert isinstance(layer, PreallocatedLayer)
            layer.capacity = layer.capacity if capacity is None else capacity
            for name in ("keys", "values"):
                old = getattr(layer, name)
                new = old.new_empty(len(rows), old.shape[1], layer.capacity, old.shape[3])
                new[:, :, : layer.length] = old[:, :, : layer.length].index_select(0, rows)
                setattr(layer, name, new)
