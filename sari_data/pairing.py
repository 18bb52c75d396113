"""Which other clip a question is heard with: the pairing that calibration and benchmarks share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence


def pair_clips(clips: Sequence[bytes], groups: Sequence[str], seed: int) -> dict[int, bytes]:
    """Return for each row the other clip that it is heard with; rows for which there is none are left out.

    The clips of a group stand in a ring, ordered by a seeded hash of their content; each row hears the next one. So
    no row hears its own clip, and inside a group every clip is heard by the rows of exactly one other. Where a group
    has one clip only, the ring is that of all clips.

    Args:
        clips: Content key of each row's clip; rows about one clip have the same.
        groups: Each row's group, for instance its task.
        seed: Another seed gives another ring.
    """
    everywhere = _ring(set(clips), seed)
    rings: dict[str, dict[bytes, bytes]] = {}
    for group in set(groups):
        members = {clip for clip, of in zip(clips, groups, strict=True) if of == group}
        rings[group] = _ring(members, seed) if len(members) > 1 else everywhere
    pairs = {row: rings[group][clip] for row, (clip, group) in enumerate(zip(clips, groups, strict=True))}
    return {row: clip for row, clip in pairs.items() if clip != clips[row]}


def ring_order(clips: Iterable[bytes], seed: int) -> list[bytes]:
    """Return the distinct clips ordered by a seeded hash of their content; in the ring the first follows the last."""
    return sorted(set(clips), key=lambda clip: (hashlib.sha256(b"%d|" % seed + clip).digest(), clip))


def _ring(clips: set[bytes], seed: int) -> dict[bytes, bytes]:
    order = ring_order(clips, seed)
    return {clip: order[(at + 1) % len(order)] for at, clip in enumerate(order)}
