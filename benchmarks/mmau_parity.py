"""The official scorer against MMAU's own ``evaluation.py``, and the honest score beside it.

    python -m benchmarks.mmau_parity ../shared/data/mmau --json

The folder holds the questions (``mmau-test-mini.<revision>.json``), real predictions
(``predictions/<model>.json``) and what ``evaluation.py`` printed for each pair (``expected_official_scores.json``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine

GROUPINGS = ("task", "difficulty", "sub-category")


def score(folder: Path, model: str, revision: str, scorer: str) -> dict[str, Any]:
    """Run ``sari-bench score`` as a user would."""
    command = [str(Path(sys.executable).parent / "sari-bench"), "score", "--benchmark", "mmau-test-mini"]
    command += ["--questions", str(folder / f"mmau-test-mini.{revision}.json")]
    command += ["--predictions", str(folder / "predictions" / f"{model}.json"), "--scorer", scorer, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return every figure that is not equal to the digit."""
    found = []
    for name, a, b in (
        ("correct", ours["correct"], theirs["correct"]),
        ("n", ours["n"], theirs["total"]),
        ("accuracy", ours["accuracy"], theirs["accuracy"]),
    ):
        if a != b:
            found.append(f"{name}: {a} for {b}")
    for grouping in GROUPINGS:
        mine = {k: (v["correct"], v["n"]) for k, v in ours["by"][grouping].items() if v["n"]}
        official = {k: (v["correct"], v["total"]) for k, v in theirs[grouping].items() if v["total"]}
        found += [f"{grouping}/{k}" for k in sorted(mine.keys() | official.keys()) if mine.get(k) != official.get(k)]
    return found


def main() -> None:
    """Compare every pair and print; exit code 1 where a figure differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    expected = json.loads((arguments.folder / "expected_official_scores.json").read_text())
    rows = []
    for pair, theirs in expected.items():
        model, revision = pair.split("@")
        ours = score(arguments.folder, model, revision, "official")
        honest = score(arguments.folder, model, revision, "answer")
        rows.append(
            {
                "model": model,
                "revision": revision,
                "official": [ours["correct"], ours["n"], ours["accuracy"]],
                "evaluation.py": [theirs["correct"], theirs["total"], theirs["accuracy"]],
                "differences": differences(ours, theirs),
                "honest": [honest["correct"], honest["n"], honest["accuracy"]],
                "outcomes": honest["outcomes"],
            }
        )
    if arguments.json:
        print(json.dumps({"machine": machine.describe(), "rows": rows}, indent=2))
    else:
        print(machine.line(machine.command()))
        print("\n| predictions | revision | evaluation.py | sari, official | figures that differ | sari, honest |")
        print("|---|---|---|---|---|---|")
        for r in rows:
            cells = ["{} / {} = {:.2f}".format(*r[k]) for k in ("evaluation.py", "official", "honest")]
            print(
                f"| {r['model']} | {r['revision']} | {cells[0]} | {cells[1]} | {len(r['differences'])} | {cells[2]} |"
            )
    sys.exit(1 if any(r["differences"] for r in rows) else 0)


if __name__ == "__main__":
    main()
