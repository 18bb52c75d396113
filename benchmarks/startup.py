"""How long it takes until a command answers: processor and wall seconds of imports and of ``--help``.

    python -m benchmarks.startup --json

Each line is a fresh process, run several times; the median is what counts. ``torch`` must be absent.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import machine

BIN = Path(sys.executable).parent
CASES = {
    "import sari_data": [sys.executable, "-c", "import sari_data"],
    "import sari_data.types, prompting, answers, store": [
        sys.executable,
        "-c",
        "import sari_data.types, sari_data.prompting, sari_data.answers, sari_data.store",
    ],
    "sari-data --help": [str(BIN / "sari-data"), "--help"],
    "sari-train --help": [str(BIN / "sari-train"), "--help"],
    "sari-bench --help": [str(BIN / "sari-bench"), "--help"],
    "python -c pass (floor)": [sys.executable, "-c", "pass"],
}


def once(command: list[str]) -> tuple[float, float]:
    """Return (wall seconds, processor seconds) of one fresh process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = {}
    for name, command in CASES.items():
        once(command)  # the first run fills the file cache
        runs = [once(command) for _ in range(arguments.runs)]
        rows[name] = {
            "wall_seconds": round(statistics.median(w for w, _ in runs), 3),
            "processor_seconds": round(statistics.median(p for _, p in runs), 3),
        }
    if arguments.json:
        print(json.dumps({"machine": machine.describe(), "runs": arguments.runs, "median": rows}, indent=2))
        return
    print(machine.line(machine.command()))
    print("\n| process | wall s (median) | processor s (median) |\n|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row['wall_seconds']:.3f} | {row['processor_seconds']:.3f} |")


if __name__ == "__main__":
    main()
