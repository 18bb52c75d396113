"""Read published rows from a file: TOML tables as those that ship with sari, or a JSON list of rows."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

from sari_bench.jsonfiles import read_objects
from sari_bench.published.rows import PublishedRow
from sari_data.errors import BenchmarkError, MissingFileError

NOT_PRINTED = "-"
_TEXTS = ("benchmark", "version", "source")
_TABLE_KEYS = {"benchmark", "version", "split", "source", "url", "tasks", "counts", "exact", "rows", "parts", "notes"}
_ROW_KEYS = {
    "model",
    "method",
    "benchmark",
    "version",
    "split",
    "source",
    "url",
    "figures",
    "average",
    "counts",
    "exact",
    "parts",
    "note",
}


def read_published(path: Path) -> list[PublishedRow]:
    """Read published rows, not yet checked.

    A TOML file has ``[[table]]`` tables: ``benchmark``, ``version``, ``source``, ``tasks`` and ``rows`` (each a list
    of model, method, a figure for each task, average), and where known ``split``, ``url``, ``counts``, ``exact``,
    ``parts`` (the tasks that the average is of, where not of all) and ``notes`` (model to a sentence about its row). A
    JSON file is a list of objects: ``model``, ``benchmark``, ``version``, ``source``, ``average`` and ``figures`` (task
    to percent or null), and where known ``method``, ``split``, ``url``, ``counts`` (task to number), ``exact``,
    ``parts`` and ``note``.

    Raises:
        MissingFileError: There is no such file.
        BenchmarkError: It is not such a file, or a row lacks its source or version.
    """
    if path.suffix.lower() != ".toml":
        return [_json_row(row, f"{path}: row {i}") for i, row in enumerate(read_objects(path, "published rows"))]
    if not path.is_file():
        raise MissingFileError(f"published rows {str(path)!r} do not exist: give the path of a TOML or JSON file")
    try:
        loaded = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path}: expected published rows as TOML, found text that is not ({error})") from error
    tables = loaded.get("table")
    if set(loaded) != {"table"} or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise BenchmarkError(f"{path}: expected [[table]] tables of published rows, found keys {sorted(loaded)}")
    return [row for number, table in enumerate(tables) for row in _table_rows(table, f"{path}: table {number}")]


def _table_rows(table: dict[str, Any], where: str) -> list[PublishedRow]:
    _check_keys(table, _TABLE_KEYS, {*_TEXTS, "tasks", "rows"}, where)
    tasks, counts, rows = table["tasks"], table.get("counts", []), table["rows"]
    if not (isinstance(tasks, list) and tasks and all(isinstance(task, str) and task for task in tasks)):
        raise BenchmarkError(f"{where}: expected 'tasks' to be a list of names, found {tasks!r}")
    parts, notes = table.get("parts", tasks), table.get("notes", {})
    if not isinstance(parts, list):
        raise BenchmarkError(f"{where}: expected 'parts' to be tasks out of {tasks}, found {parts!r}")
    if not isinstance(counts, list) or len(counts) not in (0, len(parts)):
        raise BenchmarkError(f"{where}: expected 'counts' to have a number for each of {parts}, found {counts!r}")
    if not isinstance(rows, list):
        raise BenchmarkError(f"{where}: expected 'rows' to be a list of rows, found {rows!r}")
    named = {row[0] for row in rows if isinstance(row, list) and row and isinstance(row[0], str)}
    if not isinstance(notes, dict) or not notes.keys() <= named:
        raise BenchmarkError(f"{where}: expected 'notes' to name models of the table's rows, found {notes!r}")
    found = []
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(tasks) + 3:
            raise BenchmarkError(
                f"{where}, row {number}: expected model, method, {', '.join(tasks)}, average, found {row!r}"
            )
        model, method, *figures, average = row
        shared: dict[str, Any] = {
            key: table[key]
            for key in ("benchmark", "version", "source", "split", "url", "exact", "parts")
            if key in table
        }
        body = {"model": model, "method": method, "average": average, "figures": dict(zip(tasks, figures, strict=True))}
        body |= {"counts": dict(zip(parts, counts, strict=False)), "note": notes.get(model, "")}
        found.append(_json_row({**shared, **body}, f"{where}, {number}"))
    return found


def _json_row(row: dict[str, Any], where: str) -> PublishedRow:
    _check_keys(row, _ROW_KEYS, {*_TEXTS, "model", "average", "figures"}, where)
    for key in (*_TEXTS, "model"):
        if not isinstance(row[key], str) or not row[key].strip():
            raise BenchmarkError(f"{where}: expected text in {key!r}, found {row[key]!r}: a row needs it to be shown")
    for key in ("method", "split", "url", "note"):
        if not isinstance(row.get(key, ""), str):
            raise BenchmarkError(f"{where}: expected text in {key!r}, found {row[key]!r}")
    figures, counts, exact = row["figures"], row.get("counts", {}), row.get("exact", False)
    if not isinstance(figures, dict):
        raise BenchmarkError(f"{where}: expected 'figures' to be an object of task and percent, found {figures!r}")
    parts = row.get("parts", [])
    if not isinstance(parts, list) or not all(part in figures for part in parts):
        raise BenchmarkError(f"{where}: expected 'parts' to be tasks out of {sorted(figures)}, found {parts!r}")
    valid = isinstance(counts, dict) and all(type(n) is int and n > 0 for n in counts.values())
    weighed = set(parts or figures)
    if not valid or (counts and set(counts) != weighed) or not isinstance(exact, bool) or (exact and not counts):
        raise BenchmarkError(
            f"{where}: expected 'counts' to have a number of questions for each of {sorted(weighed)}, "
            f"and 'exact' only beside it, found {counts!r} and {exact!r}"
        )
    return PublishedRow(
        model=row["model"],
        method=row.get("method", ""),
        benchmark=row["benchmark"],
        version=row["version"],
        split=row.get("split", ""),
        figures={str(task): _figure(value, f"{where}, {task}") for task, value in figures.items()},
        average=_figure(row["average"], f"{where}, average"),
        source=row["source"],
        url=row.get("url", ""),
        counts=counts,
        exact=exact,
        parts=tuple(parts),
        note=row.get("note", ""),
    )


def _figure(value: Any, where: str) -> float | None:
    if value is None or value == NOT_PRINTED:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not 0 <= value <= 100
    ):
        raise BenchmarkError(f"{where}: expected percent from 0 to 100, or {NOT_PRINTED!r} or null, found {value!r}")
    return value


def _check_keys(found: dict[str, Any], known: set[str], needed: set[str], where: str) -> None:
    unknown, absent = sorted(set(found) - known), sorted(needed - set(found))
    if unknown or absent:
        raise BenchmarkError(
            f"{where}: expected the keys {sorted(needed)}, found "
            + " and ".join([*([f"no {absent}"] if absent else []), *([f"the unknown {unknown}"] if unknown else [])])
            + ": correct the file"
        )
