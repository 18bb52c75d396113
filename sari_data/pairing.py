"""Which other clip a question is heard with: the pairing that calibration and benchmarks share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence


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
    everywhere, members = Ring(clips, seed), dict[str, list[bytes]]()
    for clip, group in zip(clips, groups, strict=True):
        members.setdefault(group, []).append(clip)
    rings = {group: Ring(those, seed) for group, those in members.items()}
    found = (next(others(clip, rings[group], everywhere), None) for clip, group in zip(clips, groups, strict=True))
    return {row: other for row, other in enumerate(found) if other is not None}


class Ring:
    """Distinct keys in the order of a seeded hash; the first follows the last.

    Args:
        keys: What stands in it, for instance the content keys of clips.
        seed: Another seed gives another order.
    """

    def __init__(self, keys: Iterable[bytes], seed: int) -> None:
        self._order = sorted(set(keys), key=lambda key: (hashlib.sha256(b"%d|" % seed + key).digest(), key))
        self._at = {key: at for at, key in enumerate(self._order)}

    def after(self, key: bytes) -> Iterator[bytes]:
        """Yield all others, beginning with the next one."""
        for step in range(1, len(self._order)):
            yield self._order[(self._at[key] + step) % len(self._order)]


def others(key: bytes, *rings: Ring) -> Iterator[bytes]:
    """Yield what may stand in for a key, the best first: all others of the first ring, then of the next one, ..."""
    for ring in rings:
        yield from ring.after(key)
