"""Question rows of Parquet files, and the audio that they embed, as ``datasets`` publishes them.

Without audio only the other columns are read, from the Hub by ranges of bytes, and kept, so that scoring needs
neither audio nor, the second time, the Hub. With audio each clip is put into the cache under the hash of its bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sari_bench.jsonfiles import keep_text
from sari_data.errors import BenchmarkError, InputError
from sari_data.resources import cache_folder


def read_parquet_rows(
    files: Sequence[str], columns: Sequence[str], audio_column: str | None, *, audio: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each row is, for messages, and its columns; columns that are not there are left out.

    Where audio is embedded, its cell is a mapping with ``path`` (the name it had) and, if it was asked for, ``file``
    (where it lies now) and ``sha256``; of several recordings a list of such.

    Args:
        files: Local paths, or addresses on the Hub with the commit.
        columns: Columns to read.
        audio_column: The column that may embed audio.
        audio: Whether to take the audio out.

    Raises:
        BenchmarkError: A file is not Parquet.
        StorageError: The Hub cannot be reached, or the disk is full.
    """
    from sari_data.sources.hub_tables import is_remote

    key = hashlib.sha256(json.dumps([[_state(file) for file in files], list(columns), audio_column]).encode())
    folder = cache_folder() / "benchmarks" / "questions" / key.hexdigest()[:16]
    kept = folder / ("with-audio.jsonl" if audio and audio_column else "questions.jsonl")
    wanted = [*columns, *([] if audio_column is None else [audio_column] if audio else _names_in(audio_column))]
    if not audio and not any(map(is_remote, files)):
        yield from _read(files, wanted, whole=False)
        return
    rows = _kept(kept)
    if rows is None:
        rows = [
            {"where": where, "row": _without_bytes(row, audio_column, folder / "audio")}
            for where, row in _read(files, wanted, whole=audio)
        ]
        keep_text(kept, "".join(json.dumps(entry, default=str) + "\n" for entry in rows))
    for entry in rows:
        yield entry["where"], entry["row"]


def _names_in(column: str) -> list[str]:
    """Where the names of a column's clips are: of one clip, and of lists as Arrow calls their parts now or before."""
    return [f"{column}.{part}path" for part in ("", "list.element.", "list.item.")]


def _state(file: str) -> list[Any]:
    """What tells a file from another of its name."""
    from sari_data.sources.hub_tables import is_remote

    if is_remote(file):
        return [file]
    status = os.stat(file)
    return [str(Path(file).resolve()), status.st_size, status.st_mtime_ns]


def _kept(path: Path) -> list[dict[str, Any]] | None:
    """The rows of an earlier reading, unless the cache was tidied meanwhile."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    cells = (cell for entry in rows for value in entry["row"].values() for cell in cells_of(value))
    files = (cell["file"] for cell in cells if is_taken_out(cell))
    return rows if all(map(os.path.isfile, files)) else None


def cells_of(cell: Any) -> list[Any]:
    """Return the cell of each of a row's recordings: of a list its parts, else the one."""
    return cell if isinstance(cell, list) else [cell]


def is_taken_out(cell: Any) -> bool:
    """Return whether a cell has embedded audio that was stored, as :func:`read_parquet_rows` yields it."""
    return isinstance(cell, dict) and {"path", "file", "sha256"} == cell.keys()


def _read(files: Sequence[str], columns: Sequence[str], *, whole: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    from sari_data.sources.hub_tables import fetch, is_remote
    from sari_data.sources.rows import read_parquet

    for file in files:
        title = file.removeprefix("hf://datasets/")
        try:
            # With its audio a file is read from end to end, so it is fetched; without, the small part by ranges.
            for number, row in read_parquet(str(fetch(file)) if whole and is_remote(file) else file, columns):
                yield f"{title}: row {number - 1}", row
        except InputError as error:
            raise BenchmarkError(str(error)) from error


def _without_bytes(row: Mapping[str, Any], audio_column: str | None, spool: Path) -> dict[str, Any]:
    """The row with its embedded audio stored, under the hash of its bytes, in place of the bytes themselves."""
    cell = row.get(audio_column) if audio_column else None
    stored = [_stored(one, spool) for one in cells_of(cell)]
    return {**row, **({} if audio_column is None else {audio_column: stored if isinstance(cell, list) else stored[0]})}


def _stored(cell: Any, spool: Path) -> Any:
    from sari_data.sources.table_audio import TableAudio

    data = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if not isinstance(data, bytes) or not data:
        return cell
    ref = TableAudio("", None, spool).ref(cell, 0.0, None)
    name = cell.get("path") if isinstance(cell, Mapping) else None
    return {"path": name, "file": ref.path, "sha256": ref.sha256}
