"""One Parquet file of a corpus: written row group by row group, read a few rows at a time, checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sari_data.errors import CorpusError, InputError, SariError, StorageError
from sari_data.schema import DICTIONARY_COLUMNS, STATISTICS_COLUMNS, arrow_schema, row_bytes

_BATCH_ROWS = 64
_GROUP_ROWS = 512


def iter_rows(path: Path, *, leave_out: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield a shard's rows as plain values, at most one row group in memory.

    Args:
        path: The shard.
        leave_out: Columns that are not read.

    Raises:
        CorpusError: The file is missing or is no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name not in leave_out]
            # One row group at a time: they were cut to a size in bytes, whatever their number of rows.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=columns):
                    yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{path}: expected a shard of a corpus, found a file that cannot be read: {error}") from error


def check_file(path: Path, entry: Mapping[str, Any], *, embed: bool, named: bool = False) -> tuple[bool, list[str]]:
    """Compare a shard with its entry in the manifest.

    Returns:
        Whether its rows can be read at all, and what is wrong, one line each.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = entry["path"]
    if not path.is_file():
        return False, [f"{name}: is in the manifest but not in the folder"]
    problems = []
    if sha256_of(path) != entry["sha256"]:
        problems.append(f"{name}: its SHA-256 is not the manifest's: the file changed after it was written")
    try:
        with pq.ParquetFile(path) as file:
            rows, schema = file.metadata.num_rows, file.schema_arrow
            for group in range(file.num_row_groups):
                file.read_row_group(group).validate(full=True)
    except (OSError, pa.ArrowException) as error:
        return False, [*problems, f"{name}: cannot be read as Parquet: {error}"]
    if rows != entry["rows"]:
        problems.append(f"{name}: the manifest says {entry['rows']} rows, found {rows}")
    if not schema.equals(arrow_schema(embed=embed, named=named), check_metadata=False):
        return False, [*problems, f"{name}: its columns are not those of a corpus: found {schema.names}"]
    return True, problems


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def row_groups(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield rows in lists of about ``size`` bytes, and of at most 512 rows."""
    group: list[dict[str, Any]] = []
    held = 0
    for row in rows:
        group.append(row)
        held += row_bytes(row)
        if held >= size or len(group) == _GROUP_ROWS:
            yield group
            group, held = [], 0
    if group:
        yield group


@contextmanager
def open_shard(
    path: Path, embed: bool, target: Path, *, named: bool = False
) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """Open a new shard; yields a function that writes a list of rows as one row group.

    Args:
        path: The file.
        embed: Which of the two schemas.
        named: The schema for rows that may be without audio.
        target: The corpus folder that an error names.

    Raises:
        StorageError: A write failed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(embed=embed, named=named)
    with storing(target):
        path.parent.mkdir(exist_ok=True)
        file = open(path, "wb")  # noqa: SIM115 (closed below, after the writer that uses it)
    try:
        with storing(target):
            writer = pq.ParquetWriter(
                file,
                schema,
                compression="zstd",
                use_dictionary=DICTIONARY_COLUMNS,
                write_statistics=STATISTICS_COLUMNS,
            )

        def write(rows: list[dict[str, Any]]) -> None:
            try:
                table = pa.Table.from_pylist(rows, schema=schema)
            except (pa.ArrowException, UnicodeError) as error:
                first, last = rows[0]["id"], rows[-1]["id"]
                raise InputError(
                    f"questions {first!r} to {last!r}: one of them has text that Parquet cannot hold: {error}"
                ) from error
            with storing(target):
                writer.write_table(table)

        try:
            yield write
        except BaseException:
            # The error that is on its way matters, not that the footer cannot be written either.
            with suppress(OSError):
                writer.close()
            raise
        with storing(target):
            writer.close()
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            file.close()


@contextmanager
def storing(target: Path) -> Iterator[None]:
    """Turn an OSError of the calls inside, which write to ``target``, into a StorageError."""
    # Only calls that write are inside: an error while reading a source keeps its own name.
    try:
        yield
    except SariError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"{target}: the corpus could not be written ({reason}); nothing of it is left there: "
            "free some space or name another folder"
        ) from error
