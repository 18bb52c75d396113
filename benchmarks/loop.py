"""The whole loop of a recipe, timed: seconds and peak memory of every command, and what the models reached.

    python -m benchmarks.loop demo
    python -m benchmarks.loop demo --control
    python -m benchmarks.loop spoken-digits --recordings ../shared/data/fsdd/recordings --json

Runs the commands of ``recipes/loop.sh`` one after the other in an empty folder, each in a process of its own whose peak
resident memory the operating system reports. Base, SFT and SARI are measured side by side on the same held-out
questions. With ``--control`` the base is also trained for SFT's steps on SFT's questions, but on the direct
answers: what that gains is due to more training, and what SFT gains beyond it to thinking.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine

NAMES = ("base", "SFT", "SARI")
CONTROL = "direct again"


def stages(recipe: str) -> list[tuple[str, list[str]]]:
    """Return (name, command) of every step."""
    digits = recipe == "spoken-digits"
    base = "checkpoints/base" if digits else "tiny"
    first = [("base", ["sari-train", "tiny", recipe])] if digits else []
    runs = [
        ("base", base, "direct"),
        ("SFT", "checkpoints/sft", "structured"),
        ("SARI", "checkpoints/grpo", "structured"),
    ]
    return [
        *first,
        ("build", ["sari-data", "build", recipe]),
        ("sft", ["sari-train", "sft", recipe]),
        ("grpo", ["sari-train", "grpo", recipe]),
        *(
            (f"run {name}", ["sari-bench", "run", recipe, "--model", model, "--mode", mode, "--name", name])
            for name, model, mode in runs
        ),
        ("report", ["sari-bench", "report", "--leaderboard", "--html", "report.html"]),
    ]


def control_stages(recipe: str) -> list[tuple[str, list[str]]]:
    """Return (name, command) of the steps of the control; they do not count as the loop's."""
    out = "checkpoints/control"
    run = ["--model", out, "--mode", "direct", "--name", CONTROL]
    return [
        (f"sft {CONTROL}", ["sari-train", "sft", recipe, "--set", "sft.mode=direct", "--set", f"sft.out={out}"]),
        (f"run {CONTROL}", ["sari-bench", "run", recipe, *run]),
    ]


def timed(command: list[str], folder: Path, log: Path) -> dict[str, float]:
    """Run a command in ``folder``; return its wall seconds, processor seconds and peak resident memory in MiB."""
    program = Path(sys.executable).parent / command[0]
    started = time.monotonic()
    with log.open("ab") as file:
        # An answer cache of its own: what an earlier run was answered must not make this one quick.
        environment = os.environ | {"SARI_CACHE": str(folder.resolve() / "cache")}
        process = subprocess.Popen([str(program), *command[1:]], cwd=folder, stdout=file, stderr=file, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} ended with exit code {os.waitstatus_to_exitcode(status)}; see {log}")
    return {
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
    }


def result(folder: Path, program: str, *arguments: str) -> Any:
    """Return what a command with ``--json`` prints."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / program), *arguments, "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def measure(recipe: str, folder: Path, *, control: bool = False) -> dict[str, Any]:
    """Run every stage and collect the figures."""
    times = {}
    names = (NAMES[0], *([CONTROL] if control else []), *NAMES[1:])
    beside = control_stages(recipe) if control else []
    for name, command in [*stages(recipe), *beside]:
        times[name] = timed(command, folder, folder / "commands.log")
        print(
            f"{name:<16} {times[name]['seconds']:>7.1f} s  {times[name]['peak_mib']:>5} MiB",
            file=sys.stderr,
            flush=True,
        )
    loop = {name: t for name, t in times.items() if name not in dict(beside)}
    scores = {
        name: result(folder, "sari-bench", "score", "--benchmark", "scenes", "--run", f"runs/scenes/{name}")
        for name in names
    }
    gains = {
        other: result(folder, "sari-bench", "compare", "runs/scenes/base", f"runs/scenes/{other}")
        for other in names[1:]
    }
    return {
        "recipe": recipe,
        "machine": machine.describe(),
        "stages": times,
        "seconds": round(sum(t["seconds"] for t in loop.values()), 1),
        "peak_mib": max(t["peak_mib"] for t in loop.values()),
        "scores": scores,
        "gain_over_base": gains,
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=["demo", "spoken-digits"])
    parser.add_argument("--recordings", type=Path, help="folder of the Free Spoken Digit Dataset, for spoken-digits")
    parser.add_argument("--folder", type=Path, help="keep everything in this new folder (else a temporary one)")
    parser.add_argument("--control", action="store_true", help="also train the base on with direct answers")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.recipe == "spoken-digits" and arguments.recordings is None:
        parser.error("spoken-digits needs --recordings")
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="sari-loop-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        parser.error(f"{folder} is not empty: a timing needs a new folder")
    if arguments.recordings is not None:
        (folder / "recordings").symlink_to(arguments.recordings.resolve(), target_is_directory=True)
    figures = measure(arguments.recipe, folder, control=arguments.control)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        table(figures)
    if arguments.folder is None:
        shutil.rmtree(folder)


def table(figures: dict[str, Any]) -> None:
    """Print the figures as Markdown, as they stand in docs/performance.md."""
    print(machine.line(machine.command()))
    print("\n| step | seconds | processor seconds | peak MiB |\n|---|---|---|---|")
    for name, t in figures["stages"].items():
        print(f"| {name} | {t['seconds']} | {t['processor_seconds']} | {t['peak_mib']} |")
    print(f"| **the loop** | **{figures['seconds']}** | | **{figures['peak_mib']}** |")
    groups = sorted(figures["scores"]["base"]["by"]["task"])
    print(f"\n| model | all | {' | '.join(groups)} | gain over base [95 % interval] |\n|{'---|' * (len(groups) + 3)}")
    for name in figures["scores"]:
        score = figures["scores"][name]
        cells = " | ".join(
            f"{score['by']['task'][g]['accuracy']:.2f} (n = {score['by']['task'][g]['n']})" for g in groups
        )
        print(f"| {name} | {score['accuracy']:.2f} (n = {score['n']}) | {cells} | {gain(figures, name)} |")


def gain(figures: dict[str, Any], name: str) -> str:
    """Return a model's gain in points with its paired interval."""
    if name not in figures["gain_over_base"]:
        return ""
    overall = figures["gain_over_base"][name]["overall"]
    low, high = overall["interval"]
    return f"{overall['points']:+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    main()
