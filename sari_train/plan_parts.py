"""What the planner's phases are made of: how much a question is, who shares the work, and sums of bytes by part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# What memory is spent on, in the order of the table.
PARTS = (
    *("weights", "gathered", "reference", "gradients", "optimizer", "audio", "text", "decoder"),
    *("cache", "head", "sent", "data", "process"),
)

Parts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Load:
    """How much one question is.

    Args:
        prompt: Tokens of a prompt, audio included.
        audio: Audio tokens of a clip.
        frames: Frames of a clip, or of the longest of its spans.
        completion: Tokens of a completion.
        mixed: Clips differ in length, so that some are padded where several run together.
        clips: Distinct clips that are met, whose features stay in a cache.
        corpus: Bytes of encoded audio that the questions hold.
        extraction: Bytes that the features of one clip take while they are made, on the CPU.
        process: Bytes of the process before it loads a model.
        spans: Frames of each span of a clip; none: it is one span of ``frames``.
    """

    prompt: int
    audio: int
    frames: int
    completion: int
    mixed: bool = False
    clips: int = 1
    corpus: int = 0
    extraction: int = 0
    process: int = 0
    spans: tuple[int, ...] = ()

    @property
    def heard(self) -> tuple[int, ...]:
        """Frames of each span."""
        return self.spans or (self.frames,)


@dataclass(frozen=True, slots=True)
class Share:
    """Rows that run together, the prompts that they come from, and whether some prompt has one row only."""

    rows: int
    prompts: int
    single: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase at its highest: bytes by part."""

    name: str
    parts: Parts

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class Division:
    """The processes that share a run (``distributed.py``, ``sharding.py``).

    Args:
        count: How many there are.
        sharded: Each holds a part of every weight, gradient and optimizer state; else each holds all.
    """

    count: int = 1
    sharded: bool = False

    def share(self, items: int) -> int:
        """Most items of a step that one process gets."""
        return -(-items // self.count)

    def shard(self, size: int) -> int:
        """Bytes that one process holds of ``size``."""
        return -(-size // self.count) if self.sharded else size


ONE = Division()


def add(many: Iterable[Parts]) -> Parts:
    """Return the sum, part by part."""
    total = dict.fromkeys(PARTS, 0)
    for parts in many:
        for name, size in parts.items():
            total[name] += size
    return total


def total_bytes(parts: Parts) -> int:
    """Return the bytes of all parts."""
    return sum(parts.values())
