"""Seconds and peak memory of one piece of work, in a process of its own.

Memory is resident memory above what the process held when the work began (the model's weights, the
interpreter), at its highest, as Linux counts it (VmHWM); on a GPU, what torch's allocator had
allocated at most above that. glibc hands back freed blocks of a MiB and more at once
(MALLOC_MMAP_THRESHOLD_), so that what is counted is what is alive.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "1"}


def child(module: str, arguments: dict[str, Any], *, threads: int) -> dict[str, Any]:
    """Run ``python -m module --child JSON`` and return the JSON object of its last line."""
    environment = os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", module, "--child", json.dumps(arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


class Meter:
    """Measures what runs inside ``with``: ``seconds`` and ``mib`` above the level at the start."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.seconds = self.mib = 0.0

    def __enter__(self) -> Meter:
        gc.collect()
        if self.device == "cpu":
            start_anew()
            self._before = status("VmRSS") / 2**20
        else:
            import torch

            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated() / 2**20
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        if self.device == "cpu":
            self.seconds = time.perf_counter() - self._started
            self.mib = status("VmHWM") / 2**20 - self._before
            return
        import torch

        torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self._started
        self.mib = torch.cuda.max_memory_allocated() / 2**20 - self._before

    @property
    def figures(self) -> dict[str, float]:
        """Both figures, rounded."""
        return {"seconds": round(self.seconds, 3), "mib": round(self.mib, 1)}


def measured(work: Callable[[], Any], device: str = "cpu") -> dict[str, float]:
    """Run ``work`` and return its figures."""
    with Meter(device) as meter:
        work()
    return meter.figures


def status(field: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    if found is None:
        raise SystemExit(f"/proc/self/status has no {field}: this benchmark needs Linux")
    return int(found[1]) * 1024


def start_anew() -> None:
    """Give back what the C library holds, and measure the peak from here."""
    # Another C library has nothing to hand back that it keeps.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
