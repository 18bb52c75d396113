"""The official scorer against the program that MMAR (or MMAU) publishes, on made-up predictions of every shape.

    python -m benchmarks.mmar_parity MMAR-meta.jsonl --script evaluation.py --count 5000 --json

``evaluation.py`` is the benchmark's own (code/evaluation.py of github.com/ddlBoJack/MMAR, or that of
github.com/Sakshi113/MMAU); it is run as it is on a file with the predictions, and both its printed figures and its
verdict on each prediction are compared with ours. ``--record FILE`` writes its verdicts down, for tests without it.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import io
import json
import re
import runpy
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.made_predictions import Asked, make
from sari_bench.benchmarks.base import Gold
from sari_bench.scoring import Answer, BenchmarkGolds, Score, score

# What the programs call a grouping, and what we do.
SECTIONS = {"Task": "task", "Modality": "task", "Category": "category", "Sub-category": "sub-category"}
SECTIONS |= {"Difficulty": "difficulty"}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the published questions, JSON or JSONL."""
    text = path.read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text) if text.startswith("[") else list(map(json.loads, text.splitlines()))
    return rows


def predictions(rows: list[dict[str, Any]], count: int, seed: int) -> list[tuple[str, str | None]]:
    """Return made-up predictions with their shapes, the i-th about question ``i % len(rows)``."""
    return make([Asked(tuple(row["choices"]), row["answer"]) for row in rows], count, seed)


def digest(made: list[tuple[str, str | None]]) -> str:
    """Return the hash of made-up predictions, which tells whether others made the same ones."""
    return hashlib.sha256(json.dumps(made).encode()).hexdigest()


def published(script: Path, rows: list[dict[str, Any]], made: list[tuple[str, str | None]]) -> tuple[str, list[int]]:
    """Run the published program; return what it prints and, of each prediction that it counts, 1 where it is right."""
    named = re.search(r"output_key = '(\w+)'", script.read_text(encoding="utf-8"))
    if named is None:
        raise SystemExit(f"{script} names no output_key: give the evaluation.py of MMAR or MMAU")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.json"
        # A question without a prediction lacks the key: at a null the program ends with an AttributeError.
        asked = [
            rows[index % len(rows)] | ({} if text is None else {named[1]: text}) for index, (_, text) in enumerate(made)
        ]
        path.write_text(json.dumps(asked), encoding="utf-8")
        printed = io.StringIO()
        before, sys.argv = sys.argv, [str(script), "--input", str(path)]
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
                after = runpy.run_path(str(script), run_name="__main__")
        finally:
            sys.argv = before
    return printed.getvalue(), [row["match"] for row in after["new_data"]]


def ours(rows: list[dict[str, Any]], made: list[tuple[str, str | None]]) -> Score:
    """Score the same predictions: every question was due as many answers as there are predictions about it."""
    golds = tuple(_gold(row) for row in rows)
    answers: dict[str, list[Answer]] = {}
    for index, (_, text) in enumerate(made):
        gold, sample = golds[index % len(golds)], index // len(golds)
        answers.setdefault(gold.id, []).append(Answer(gold.id, text, sample, raw=False))
    return score(BenchmarkGolds("made", "made", "", golds), answers, "official", -(-len(made) // len(golds)))


def _gold(row: dict[str, Any]) -> Gold:
    category = row.get("category") or ""
    return Gold(
        id=row["id"],
        question=row["question"],
        choices=tuple(row["choices"]),
        answer=row["answer"],
        task=row.get("modality") or row["task"],
        category=category if isinstance(category, str) else " + ".join(category),
        sub_category=row.get("sub-category") or "",
        difficulty=row.get("difficulty") or "",
    )


def verdicts(result: Score, count: int) -> list[int]:
    """Return our verdicts on the predictions that there are, in the order in which they were made."""
    samples = max(item.answer.sample for item in result.items) + 1
    questions = len(result.items) // samples
    ordered = sorted(range(len(result.items)), key=lambda i: (i % samples) * questions + i // samples)[:count]
    return [int(result.items[i].outcome == "correct") for i in ordered if result.items[i].answer.text is not None]


def figures(printed: str) -> dict[str, str]:
    """Return the printed figures by section and name: ``59.62% over 52 samples``."""
    found, section = {}, ""
    for line in printed.splitlines():
        heading = re.fullmatch(r"([\w-]+)-wise Accuracy:", line)
        section = heading[1] if heading else section
        group = re.fullmatch(r"(.+?) ?: ([\d.]+% over \d+ samples)", line)
        if group:
            name = "total" if group[1] == "Total Accuracy" else f"{SECTIONS[section]}/{group[1]}"
            found[name] = group[2]
    return found


def our_figures(result: Score) -> dict[str, str]:
    """Return ours in the same words."""
    parts = {f"{dimension}/{name}": part for dimension, by in result.by.items() for name, part in by.items()}
    parts["total"] = result.overall
    return {name: f"{(part.accuracy or 0) * 100:.2f}% over {part.n} samples" for name, part in parts.items()}


def compare(script: Path, rows: list[dict[str, Any]], count: int, seed: int) -> dict[str, Any]:
    """Return both programs' totals and everything in which they differ."""
    made = predictions(rows, count, seed)
    printed, theirs = published(script, rows, made)
    result = ours(rows, made)
    mine, said, wanted = verdicts(result, count), our_figures(result), figures(printed)
    given = [shape for shape, text in made if text is not None]
    differ = [i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b]
    return {
        "script_sha256": hashlib.sha256(script.read_bytes()).hexdigest(),
        "seed": seed,
        "predictions": count,
        "predictions_sha256": digest(made),
        "shapes": dict(sorted(Counter(shape for shape, _ in made).items())),
        "right_by_shape": dict(sorted(Counter(s for s, right in zip(given, theirs, strict=True) if right).items())),
        "evaluation.py": wanted["total"],
        "sari": said["total"],
        "verdicts": len(theirs),
        "verdicts_that_differ": len(differ),
        "figures": len(wanted),
        # A group without any prediction is printed by neither or as "0.00% over 0 samples".
        "figures_that_differ": sorted(
            name for name in wanted if wanted[name] != said.get(name, "0.00% over 0 samples")
        ),
        "record": {"figures": wanted, "right": base64.b64encode(_bits(theirs)).decode()},
    }


def _bits(values: list[int]) -> bytes:
    return int("1" + "".join(map(str, values)), 2).to_bytes(len(values) // 8 + 1, "big")


def unpack(text: str) -> list[int]:
    """Return the verdicts that a record keeps, one bit each after a leading 1."""
    return [int(bit) for bit in bin(int.from_bytes(base64.b64decode(text), "big"))[3:]]


def main() -> None:
    """Compare and print; exit code 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = compare(arguments.script, read_rows(arguments.questions), arguments.count, arguments.seed)
    record = found.pop("record")
    if arguments.record is not None:
        kept = {key: found[key] for key in ("script_sha256", "seed", "predictions", "predictions_sha256")} | record
        arguments.record.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps({"machine": machine.describe(), **found}, indent=2))
    else:
        print(machine.line(machine.command()))
        print(f"\n{found['predictions']} predictions, seed {found['seed']}; script {found['script_sha256'][:12]}")
        print("\n| | total | verdicts that differ | figures that differ |\n|---|---|---|---|")
        print(f"| evaluation.py | {found['evaluation.py']} | | |")
        print(
            f"| sari, official | {found['sari']} | {found['verdicts_that_differ']} of {found['verdicts']} "
            f"| {len(found['figures_that_differ'])} of {found['figures']} |"
        )
    sys.exit(1 if found["verdicts_that_differ"] or found["figures_that_differ"] else 0)


if __name__ == "__main__":
    main()
