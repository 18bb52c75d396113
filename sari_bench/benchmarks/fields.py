"""Reading the fields of published rows: each function reads one and says in a sentence what is wrong with it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.embedded import cells_of
from sari_bench.benchmarks.places import Found
from sari_bench.jsonfiles import read_objects
from sari_data.errors import BenchmarkError

Row = Mapping[str, Any]


def read_rows(
    found: Found, what: str, columns: Sequence[str], audio_column: str | None, *, audio: bool
) -> Iterator[tuple[str, Row]]:
    """Yield where each row is, for messages, and the row: of JSON, JSON lines or Parquet files.

    Args:
        found: The files.
        what: What they hold, for messages.
        columns: Columns that are read of Parquet.
        audio_column: The column in which Parquet may embed audio.
        audio: Whether to take that audio out.

    Raises:
        BenchmarkError: A file cannot be read as that.
        StorageError: The Hub cannot be reached, or the disk is full.
    """
    from sari_bench.benchmarks.embedded import read_parquet_rows
    from sari_data.sources.hub_tables import fetch, is_remote

    if all(file.endswith(".parquet") for file in found.files):
        yield from read_parquet_rows(found.files, columns, audio_column, audio=audio)
        return
    for file in found.files:
        path = fetch(file) if is_remote(file) else Path(file)
        for index, row in enumerate(read_objects(path, what)):
            yield f"{file.removeprefix('hf://datasets/')}: row {index}", row


def read_text(row: Row, key: str, where: str, expected: str) -> str:
    """Return a text that must be there and say something; ``expected`` says what the row should be, and of which file.

    Raises:
        BenchmarkError: Absent, empty or no text.
    """
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BenchmarkError(
            f"{where}: expected {expected} with text in {key!r}, found {value!r} there (keys: {sorted(map(str, row))})"
        )
    return value


def read_choices(row: Row, key: str, where: str) -> tuple[str, ...]:
    """Return the options as they stand, repeated ones too; empty ones, which MMAR has, are no options.

    Raises:
        BenchmarkError: Not a list of texts.
    """
    choices = row.get(key)
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise BenchmarkError(f"{where}: expected {key!r} to be a list of texts, found {choices!r}: correct the row")
    return tuple(choice for choice in choices if choice.strip())


def read_names(cell: Any, where: str) -> tuple[str, ...]:
    """Return the names of a row's recordings: of a name, embedded audio, or a list of either (its JSON form too).

    One recording may have no name, and so may embedded ones.

    Raises:
        BenchmarkError: One of several is neither a name nor embedded.
    """
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # a name may begin with a bracket
            cell = json.loads(cell)
    cells = cells_of(cell) or [None]
    names = []
    for one in cells:
        name = one.get("path") if isinstance(one, dict) else one if isinstance(one, str) else None
        names.append((name or "").strip().removeprefix("./"))
        if len(cells) > 1 and not names[-1] and not isinstance(one, dict | bytes):
            raise BenchmarkError(
                f"{where}: expected a name for each of {len(cells)} recordings, found {one!r} for number {len(names)}: "
                "correct the row"
            )
    return tuple(names)


def read_label(row: Row, key: str, where: str) -> str:
    """Return a label, empty where there is none; ``category`` is a list in some published rows.

    Raises:
        BenchmarkError: Neither text nor a list of texts.
    """
    value = row.get(key)
    if value is None:
        return ""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str) for part in parts):
        raise BenchmarkError(f"{where}: expected text in {key!r}, found {value!r}: correct the row")
    return " + ".join(parts)


def read_domain(row: Row, key: str, where: str) -> str:
    """Return a domain, mixes joined by ``+``: ``mix-sound-speech`` becomes ``sound+speech``.

    Raises:
        BenchmarkError: No domain.
    """
    from sari_data.sources.cells import UnfitError
    from sari_data.sources.cells import read_domain as read

    try:
        return read(row.get(key), {})
    except UnfitError as error:
        raise BenchmarkError(
            f"{where}: expected 'sound', 'music', 'speech' or a mix such as 'mix-sound-speech' in {key!r}, found "
            f"{row.get(key)!r}: correct the row"
        ) from error
