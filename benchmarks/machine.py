"""What the figures were measured on: printed with every table, and part of every ``--json`` object."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe() -> dict[str, str | int]:
    """Return processor, cores, memory, operating system, versions and date."""
    found: dict[str, str | int] = {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for package in ("sari-audio", "torch", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def line(command: str) -> str:
    """Return one line: the machine, the date, and the command that was run."""
    d = describe()
    return (
        f"{d['processor']}, {d['cores']} cores, {d['memory_gib']} GiB, Python {d['python']}, torch {d['torch']}, "
        f"{d['date']}; {command}"
    )


def command() -> str:
    """Return the command line of this run, as it would be typed."""
    module = getattr(sys.modules["__main__"].__spec__, "name", None)
    start = f"python -m {module}" if module else f"python {sys.argv[0]}"
    return " ".join([start, *sys.argv[1:]])


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for row in info.read_text().splitlines():
            if row.startswith("model name"):
                return row.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
