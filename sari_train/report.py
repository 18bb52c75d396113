"""What became of a run, read from its folder: the figures behind ``sari-train report``, and its page.

Nothing here needs torch: a run can be looked at where none is installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sari_data.errors import InputError, MissingFileError
from sari_train.completions import read_completions
from sari_train.metric_names import LABELS, label, ordered, panels_of
from sari_train.progress import read_metrics, read_timings
from sari_train.run_files import COMPLETIONS, METRICS, RECIPE, TIMINGS, TROUBLES, read_lines

KINDS = {"grpo": "GRPO", "sft": "SFT"}
WINDOW = 10  # values in the means at a run's beginning and end
MOST_POINTS = 1000  # of one curve on the page
Rows = list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder, read.

    Args:
        folder: The folder as it was named.
        kind: ``grpo`` or ``sft``.
        recipe: The effective recipe table.
        metrics: metrics.jsonl, one mapping a step.
        timings: timings.jsonl.
        troubles: troubles.jsonl: ``step``, ``kind``, ``message``.
        completions: All kept questions with their samples (see :mod:`sari_train.completions`), each with its ``step``.
    """

    folder: Path
    kind: str
    recipe: dict[str, Any]
    metrics: Rows
    timings: Rows
    troubles: list[dict[str, Any]]
    completions: list[dict[str, Any]]

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.metrics[-1]["step"])

    @property
    def steps(self) -> int:
        """Steps asked for."""
        return int(self.recipe["steps"])

    @property
    def finished(self) -> bool:
        """Whether the run took all its steps."""
        return self.step >= self.steps

    @property
    def seconds(self) -> float | None:
        """Wall-clock seconds of all recorded steps; ``None`` where none were timed."""
        found = [row["step_seconds"] for row in self.timings if "step_seconds" in row]
        return sum(found) if found else None


def read_run(folder: str | Path) -> Run:
    """Read the folder of a run, finished or not.

    Raises:
        MissingFileError: No such folder.
        InputError: It is no run's folder, it has no recorded step yet, or a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(
            f"run {str(folder)!r}: expected the folder of a run (the recipe's out), found none: correct the path, or "
            "train first"
        )
    kind, recipe = _read_recipe(folder)
    metrics, timings = _numbers(folder, METRICS), _numbers(folder, TIMINGS)
    if not metrics:
        raise InputError(f"{folder}: expected the steps of a run in {METRICS}, found none yet: look again after a step")
    completions = read_completions(folder)
    if not all(isinstance(row.get("samples"), list) for row in completions):
        raise InputError(f"{folder / COMPLETIONS}: expected questions with samples, found one without: no run wrote it")
    return Run(folder, kind, recipe, metrics, timings, list(read_lines(folder / TROUBLES)), completions)


def _numbers(folder: Path, name: str) -> Rows:
    """The rows of a log of numbers, checked."""
    rows = read_metrics(folder) if name == METRICS else read_timings(folder)
    for row in rows:
        if not isinstance(row.get("step"), int) or not all(isinstance(value, int | float) for value in row.values()):
            raise InputError(f"{folder / name}: expected a step and numbers in each line, found {row}: no run wrote it")
    return rows


def _read_recipe(folder: Path) -> tuple[str, dict[str, Any]]:
    path = folder / RECIPE
    if not path.is_file():
        raise InputError(
            f"{folder}: expected the folder of a training run, found no {RECIPE} in it: name the folder that the "
            "recipe calls out"
        )
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        kind = next(name for name in KINDS if name in body)
        table = dict(body[kind])
        int(table["steps"])
    except (ValueError, TypeError, KeyError, StopIteration) as error:
        raise InputError(
            f"{path}: expected the table of an SFT or GRPO run with its steps, found something else: name the folder "
            "of a training run"
        ) from error
    return kind, table


def summary(run: Run) -> dict[str, Any]:
    """Return the run's figures as JSON: where it stands, each number at its beginning and end, troubles, phases."""
    return {
        "run": str(run.folder),
        "kind": run.kind,
        "status": "finished" if run.finished else "unfinished",
        "step": run.step,
        "steps": run.steps,
        "seconds": run.seconds,
        **{key: run.recipe.get(key) for key in ("model", "corpus", "mode")},
        "metrics": _figures(run.metrics),
        "timings": _figures(run.timings),
        "phases": phase_shares(run.timings),
        "troubles": run.troubles,
        "completions": {
            "questions": len(run.completions),
            "samples": sum(len(row["samples"]) for row in run.completions),
            "steps": sorted({row["step"] for row in run.completions}),
        },
    }


def phase_shares(timings: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return each phase's share of the time of all steps that were timed, the largest first."""
    whole = sum(row.get("step_seconds", 0.0) for row in timings)
    sums: dict[str, float] = {}
    for row in timings:
        for name, value in row.items():
            if name.startswith("seconds/"):
                sums[name.removeprefix("seconds/")] = sums.get(name.removeprefix("seconds/"), 0.0) + value
    return {name: value / whole for name, value in sorted(sums.items(), key=lambda item: -item[1])} if whole else {}


def _figures(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float | int | None]]:
    """``first`` and ``last`` are means of up to WINDOW values, ``latest`` is the last value (null: not finite)."""
    found: dict[str, dict[str, float | int | None]] = {}
    for name in _names(rows):
        values = [row[name] for row in rows if name in row]
        finite = [v for v in values if math.isfinite(v)]
        latest = values[-1] if math.isfinite(values[-1]) else None
        found[name] = {"latest": latest, "not_finite": len(values) - len(finite)}
        if finite:
            found[name] |= {
                "first": _mean(finite[:WINDOW]),
                "last": _mean(finite[-WINDOW:]),
                "min": min(finite),
                "max": max(finite),
            }
    return found


def panels(run: Run) -> list[dict[str, Any]]:
    """Return the page's curves, panel by panel: title, section, and each number's steps and values (null: a gap)."""
    timings = _with_rest(run.timings)
    found = []
    for panel, names in panels_of([*_names(run.metrics), *_names(timings)]):
        series = [_series(name, run.metrics, timings) for name in names]
        found.append(
            {
                "title": panel.title,
                "section": panel.section,
                "stacked": panel.stacked,
                "log": panel.log,
                "series": [one for one in series if one["x"]],
            }
        )
    return found


def points_per_mean(run: Run) -> int:
    """Return how many steps a point of the page's curves stands for."""
    return max(1, math.ceil(len(run.metrics) / MOST_POINTS))


def _series(name: str, *tables: Rows) -> dict[str, Any]:
    pairs = [(int(row["step"]), row[name]) for rows in tables for row in rows if name in row]
    size = max(1, math.ceil(len(pairs) / MOST_POINTS))
    chunks = [pairs[i : i + size] for i in range(0, len(pairs), size)]
    values = [[v for _, v in chunk if math.isfinite(v)] for chunk in chunks]
    return {
        "name": name,
        "label": label(name) if name in LABELS else label(name).removeprefix("seconds of "),
        "x": [chunk[-1][0] for chunk in chunks],
        "y": [float(f"{_mean(finite):.6g}") if finite else None for finite in values],
    }


def _with_rest(timings: Rows) -> Rows:
    """Give every step all phases (0 where it had none) and what no phase counted, so that they stack up to the step."""
    phases = [name for name in _names(timings) if name.startswith("seconds/")]
    found = []
    for row in timings:
        if phases and "step_seconds" in row:
            spent = {name: row.get(name, 0.0) for name in phases}
            rest = max(0.0, row["step_seconds"] - sum(spent.values()))
            row = row | spent | {"seconds/the rest": rest}
        found.append(row)
    return found


def _names(rows: Sequence[dict[str, float]]) -> list[str]:
    return ordered(name for row in rows for name in row if name != "step")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
