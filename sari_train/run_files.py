"""What a run records in its folder besides checkpoints: the files' names, and how their lines are written and read.

``metrics.jsonl`` holds only numbers that follow from recipe, data and weights, so that a run that was
killed and went on ends with the same bytes. Whatever a clock or the machine says is in
``timings.jsonl``. This module imports no torch: the report reads runs where none is installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sari_data.errors import InputError

RECIPE = "recipe.json"
METRICS = "metrics.jsonl"
TIMINGS = "timings.jsonl"
TROUBLES = "troubles.jsonl"
COMPLETIONS = "completions"
CURVES = "curves.png"
REPORT = "report.html"
TRACKERS = "trackers.json"
TENSORBOARD = "tensorboard"
# One JSON object a line, each with its step.
LOGS = (METRICS, TIMINGS, TROUBLES)

_STEP_FILE = re.compile(r"step-(\d+)\.jsonl")


def completion_files(folder: str | Path) -> list[tuple[int, Path]]:
    """Return the steps whose completions were kept, each with its file, in order."""
    found = (Path(folder) / COMPLETIONS).glob("step-*.jsonl")
    return sorted((int(match[1]), path) for path in found if (match := _STEP_FILE.fullmatch(path.name)))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a log; a last line that was cut in the middle of writing is left out.

    Raises:
        InputError: Another line is not a JSON object.
    """
    if not path.is_file():
        return
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            return
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: expected a JSON object, found something else: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
        yield row


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append one JSON object as a line."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
