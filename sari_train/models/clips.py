"""A clip's features, and a cache of tensors that is bounded in bytes.

Shapes: M mel bands, F frames.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """Audio that is one span of the prompt.

    Args:
        mel_MF: Features of its true frames, and as much behind them as the tower sees.
        frames: Number of its true frames.
        tokens: Number of its audio tokens.
    """

    mel_MF: Tensor
    frames: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Clip:
    """What a prompt hears, as a rule one clip: its key and its spans in order.

    There is one span unless the clip is longer than the model hears, and none in a prompt without audio:
    :data:`SILENT`. The recordings of a prompt about several are one clip too, whose spans are theirs in order:
    :meth:`of`.
    """

    key: str
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, recordings: Sequence[Clip]) -> Clip:
        """Return what a prompt hears: the one recording, or several as one clip."""
        if len(recordings) == 1:
            return recordings[0]
        return cls("+".join(clip.key for clip in recordings), tuple(s for clip in recordings for s in clip.spans))

    @property
    def tokens(self) -> int:
        """Audio tokens of all spans."""
        return sum(span.tokens for span in self.spans)

    @property
    def frames(self) -> int:
        """True frames of all spans."""
        return sum(span.frames for span in self.spans)

    @property
    def mel_MF(self) -> Tensor:
        """Features of a clip that is one span."""
        (span,) = self.spans
        return span.mel_MF

    @property
    def bytes(self) -> int:
        """Memory of the features."""
        return sum(span.mel_MF.numel() * span.mel_MF.element_size() for span in self.spans)


SILENT = Clip("", ())


class BoundedCache:
    """Least-recently-used cache of tensors, bounded in bytes."""

    def __init__(self, max_bytes: int = 512 * 2**20) -> None:
        self.max_bytes = max_bytes
        self._items: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()  # micro-batches may run side by side

    def get(self, key: Any) -> Any:
        """Return the value and mark it as used, or ``None``."""
        with self._lock:
            item = self._items.get(key)
            if item is None:
                return None
            self._items.move_to_end(key)
            return item[0]

    def put(self, key: Any, value: Any, size: int) -> None:
        """Keep ``value`` (``size`` bytes) and drop the least recently used beyond the bound."""
        with self._lock:
            if key in self._items:
                self._bytes -= self._items.pop(key)[1]
            self._items[key] = (value, size)
            self._bytes += size
            while self._bytes > self.max_bytes and len(self._items) > 1:
                self._bytes -= self._items.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()
            self._bytes = 0
