"""Where a step's time goes, and how much memory the process holds.

None of these numbers follow from the recipe, so they belong in ``timings.jsonl``, never in
``metrics.jsonl``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What a step's rate leaves out: they are not part of every step.
NOW_AND_THEN = ("evaluate", "save")


class Phases:
    """A stopwatch for the phases of a step: ``with phases("rollout"): ...``.

    A phase inside another one counts alone: the outer one stands still meanwhile, so the phases add
    up to no more than the step. For one thread.

    Args:
        synchronise: Called at every boundary, for instance ``torch.cuda.synchronize``: without it, work that a
            GPU still has to do is counted in the phase that waits for it.
    """

    def __init__(self, synchronise: Callable[[], None] | None = None) -> None:
        self._synchronise = synchronise
        self._seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._mark = self._start = time.perf_counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time until the block ends (also by an exception) as the phase ``name``."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def take(self, tokens: int | None = None) -> dict[str, float]:
        """Return the times since the last call, and start anew.

        Args:
            tokens: Tokens of the step.

        Returns:
            ``seconds/<phase>`` of each phase, ``step_seconds`` of all since the last call, and with ``tokens``
            ``tokens_per_second`` over the step without evaluating and saving.
        """
        self._turn()
        now, seconds = self._mark, self._seconds
        whole = now - self._start
        self._start, self._seconds = now, {}
        found = {f"seconds/{name}": value for name, value in seconds.items()} | {"step_seconds": whole}
        if tokens is not None:
            work = whole - sum(seconds.get(name, 0.0) for name in NOW_AND_THEN)
            found["tokens_per_second"] = tokens / work if work > 0 else 0.0
        return found

    def _turn(self) -> None:
        """Give the time since the last boundary to the innermost open phase."""
        if self._synchronise is not None:
            self._synchronise()
        now = time.perf_counter()
        if self._open:
            self._seconds[self._open[-1]] = self._seconds.get(self._open[-1], 0.0) + now - self._mark
        self._mark = now


def memory_mib(device: Any = "cpu") -> dict[str, float]:
    """Return what is held now and was at most, in MiB.

    Args:
        device: A torch device or its name.

    Returns:
        ``memory_mib`` and ``memory_peak_mib``: on a GPU what torch's allocator has given out (and
        ``memory_reserved_mib``, what it holds at most, which is what runs out); else the process's resident memory.
        Empty where the system does not say.
    """
    if str(device).startswith("cuda"):
        import torch

        found = {
            "memory_mib": torch.cuda.memory_allocated(device),
            "memory_peak_mib": torch.cuda.max_memory_allocated(device),
            "memory_reserved_mib": torch.cuda.max_memory_reserved(device),
        }
    else:
        found = {"memory_mib": resident(), "memory_peak_mib": _peak_resident()}
    return {name: round(value / 2**20, 1) for name, value in found.items() if value}


def resident() -> int:
    """Return the bytes that this process has in memory; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.is_file() else 0


def _peak_resident() -> int:
    """Return the most bytes that this process has had in memory; 0 where the system does not say.

    Linux's own counter is read first: what getrusage says there includes the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # not a Unix
        return 0
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
