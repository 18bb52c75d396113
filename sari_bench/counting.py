"""Counts as words in sentences."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is one: ``1 clip``, ``1,200 clips``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def are(count: int) -> str:
    """Return the verb that goes with a count."""
    return "is" if count == 1 else "are"
