"""The first steps of training by this checkout and by an earlier revision of it: the same figures, and how fast.

    python -m benchmarks.loop demo --folder demo
    python -m benchmarks.revisions ca212b1 --from demo

Both take the first SFT steps of the recipe ``demo`` from the embedded base, and its first GRPO steps from the warm-up
in the folder, on the corpus in the folder, one after the other in processes of their own. Each step's figures come
from the metrics that training writes; a step's speed is its tokens a second, without the first step's. The
earlier revision must know the recipe's keys, and have the same templates and embedded base.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks import machine

ROOT = Path(__file__).resolve().parent.parent
FIGURES = {"sft": ("loss", "grad_norm"), "grpo": ("reward", "reward_accuracy", "length", "entropy", "grad_norm")}
COMMAND = "import sys; from sari_train.cli import main; sys.argv[0] = 'sari-train'; main()"


def check_out(revision: str, folder: Path) -> Path:
    """Unpack a revision of this repository."""
    packed = subprocess.run(["git", "archive", revision], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def train(tree: Path, what: str, steps: int, source: Path, out: Path) -> list[dict[str, Any]]:
    """Train ``steps`` steps with the code in ``tree``; return each step's metrics."""
    model = "tiny" if what == "sft" else str(source / "checkpoints" / "sft")
    settings = {"model": json.dumps(model), "corpus": json.dumps(str(source / "corpus")), "out": json.dumps(str(out))}
    settings |= {"steps": str(steps), "warmup_steps": "0" if what == "grpo" else str(min(10, steps - 1))}
    arguments = [part for key, value in settings.items() for part in ("--set", f"{what}.{key}={value}")]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    subprocess.run(
        [sys.executable, "-c", COMMAND, what, str(ROOT / "recipes" / "demo.toml"), *arguments],
        env=environment,
        cwd=out.parent,
        check=True,
        stderr=(out.parent / "log").open("ab"),
        stdout=subprocess.DEVNULL,
    )
    # What a clock says is in a file of its own; earlier revisions have it among the metrics.
    rows: list[dict[str, Any]] = [{} for _ in range(steps)]
    for name in ("metrics.jsonl", "timings.jsonl"):
        if (out / name).is_file():
            for row, line in zip(rows, (out / name).read_text(encoding="utf-8").splitlines(), strict=True):
                row.update(json.loads(line))
    return rows


def compare(revision: str, source: Path, steps: dict[str, int]) -> dict[str, Any]:
    """Train with both, and put their figures side by side."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        trees = {"before": check_out(revision, Path(place) / "before"), "now": ROOT}
        for what, count in steps.items():
            sides = {}
            for name, tree in trees.items():
                print(f"  {what}, {name}", file=sys.stderr, flush=True)
                sides[name] = train(tree, what, count, source, Path(place) / f"{what}-{name}")
            found[what] = {
                "steps": count,
                "tokens_per_second": {
                    name: sum(row["tokens_per_second"] for row in rows[1:]) / (count - 1)
                    for name, rows in sides.items()
                },
                "figures": {
                    figure: [
                        (a[figure], b[figure])
                        for a, b in zip(sides["before"], sides["now"], strict=True)
                        if figure in a and figure in b
                    ]
                    for figure in FIGURES[what]
                },
            }
    return {"machine": machine.describe(), "revision": revision, **found}


def table(figures: dict[str, Any]) -> None:
    """Print the comparison as Markdown."""
    print(machine.line(machine.command()))
    for what in ("sft", "grpo"):
        pace = figures[what]["tokens_per_second"]
        print(
            f"\n{what}, {figures[what]['steps']} steps: {pace['before']:,.0f} tokens/s before, {pace['now']:,.0f} now "
            f"({pace['now'] / pace['before']:.2f}x)\n"
        )
        print("| figure | first step before | now | last step before | now | largest difference |")
        print("|---|---|---|---|---|---|")
        for name, pairs in figures[what]["figures"].items():
            if pairs:
                (a, b), (c, d) = pairs[0], pairs[-1]
                off = max(abs(x - y) for x, y in pairs)
                print(f"| {name} | {a:.6g} | {b:.6g} | {c:.6g} | {d:.6g} | {off:.1e} |")


def main() -> None:
    """Parse the command line, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="of this repository, for instance a commit")
    parser.add_argument("--from", dest="source", type=Path, required=True, help="folder of a finished demo")
    parser.add_argument("--sft-steps", type=int, default=20)
    parser.add_argument("--grpo-steps", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not (arguments.source / "checkpoints" / "sft" / "config.json").is_file():
        parser.error(f"{arguments.source} holds no checkpoints/sft: make it with `benchmarks.loop demo --folder`")
    if min(arguments.sft_steps, arguments.grpo_steps) < 2:
        parser.error("two steps or more of each are needed: the first one's speed does not count")
    steps = {"sft": arguments.sft_steps, "grpo": arguments.grpo_steps}
    figures = compare(arguments.revision, arguments.source.resolve(), steps)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        table(figures)


if __name__ == "__main__":
    main()
