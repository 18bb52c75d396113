"""The rows of a table in any of the formats that data sets are published in, a few at a time.

CSV, TSV, JSON lines and a JSON array are read row by row (:mod:`sari_data.sources.readers`), Parquet 16 rows at a time
from one row group after another, with only the columns that are asked for. Of Parquet at most one row group is in
memory, twice over where pyarrow wrote it with a dictionary; ``datasets`` writes groups of 100 rows with audio.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from sari_data.errors import InputError, MissingFileError
from sari_data.sources.hub_tables import HUB, fetch, find_files, is_remote, open_remote
from sari_data.sources.readers import read_csv, read_json_array, read_json_lines

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")

# The rows whose keys are taken for the columns of a file that has no list of them.
_FIRST_ROWS = 1000
# A row of embedded audio is some megabytes.
_BATCH_ROWS = 16
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Args:
        file: The name of its file.
        number: Its line there, or in Parquet its number, counted from 1.
        values: Column to cell.
    """

    file: str
    number: int
    values: Mapping[str, Any]


class Table:
    """A table that can be read several times.

    Args:
        path: A file of one of FORMATS, a folder that ``datasets`` can read, or ``hub:owner/name``.
        config: Configuration of a folder or a data set on the Hub.
        split: Split of it; may be left out where there is one.
        revision: Commit, tag or branch of a data set on the Hub.

    Raises:
        MissingFileError: It is not there.
        InputError: A format that is not read, or as :func:`~sari_data.sources.hub_tables.find_files`.
        StorageError: The Hub cannot be reached.
    """

    def __init__(
        self, path: str, *, config: str | None = None, split: str | None = None, revision: str | None = None
    ) -> None:
        self.path = path
        if path.startswith(HUB) or Path(path).is_dir():
            found = find_files(path, config=config, split=split, revision=revision)
            self.name, self.files = found.name, found.files
        elif (config, split, revision) != (None, None, None):
            raise InputError(f"{path}: config, split and revision are for folders and the Hub: leave them out")
        elif not Path(path).is_file():
            raise MissingFileError(f"{path}: expected a table, a folder or hub:owner/name, found nothing there")
        else:
            self.name, self.files = Path(path).stem, (path,)
        other = sorted({PurePosixPath(f).suffix or "none" for f in self.files} - {*FORMATS})
        if other:
            raise InputError(f"{path}: expected files of {', '.join(FORMATS)}, found {', '.join(other)}")

    def names(self) -> list[str]:
        """Return the columns: of the schema, or those that occur in the first 1,000 rows.

        Raises:
            InputError: There is no row, or the first file cannot be read.
        """
        first = self.files[0]
        if first.endswith(".parquet"):
            with _parquet(first) as file:
                return list(file.schema_arrow.names)
        found: dict[str, None] = {}
        for row in islice(self.rows(), _FIRST_ROWS):
            found |= dict.fromkeys(row.values)
        if not found:
            raise InputError(f"{self.path}: expected rows, found an empty table")
        return list(found)

    def embeds(self, column: str) -> bool:
        """Return whether the audio of a column is inside the table: a Parquet struct with bytes, bytes, or a list."""
        first = self.files[0]
        if not first.endswith(".parquet"):
            return False
        import pyarrow as pa

        with _parquet(first) as file:
            kind = file.schema_arrow.field(column).type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):  # a question about several recordings
            kind = kind.value_type
        binary = (pa.types.is_binary, pa.types.is_large_binary)
        inner = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
        return any(is_binary(inner) for is_binary in binary)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Yield the rows in their order; of Parquet only these columns are read, where they are given.

        Raises:
            InputError: A file that cannot be read; names the file, and the line where there is one.
            StorageError: The Hub cannot be reached.
        """
        for file in self.files:
            name = PurePosixPath(file).name
            for number, values in _read(file, columns):
                if not isinstance(values, dict):
                    raise InputError(f"{file}, line {number}: expected a JSON object, found {str(values)[:80]!r}")
                yield Row(name, number, values)


def _read(file: str, columns: Sequence[str] | None) -> Iterator[tuple[int, Any]]:
    suffix = PurePosixPath(file).suffix
    if suffix == ".parquet":
        yield from read_parquet(file, columns)
        return
    path = fetch(file) if is_remote(file) else Path(file)
    if suffix in (".csv", ".tsv"):
        yield from read_csv(path, delimiter="\t" if suffix == ".tsv" else ",")
    elif suffix == ".json":
        yield from read_json_array(path)
    else:
        yield from read_json_lines(path)


def read_parquet(file: str, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Any]]:
    """Yield the number, from 1, and the cells of each row of a Parquet file, here or on the Hub, 16 rows at a time.

    Raises:
        InputError: Not Parquet.
        StorageError: The Hub cannot be reached.
    """
    number = 0
    with _parquet(file) as opened:
        for group in range(opened.num_row_groups):
            for batch in opened.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns):
                for values in batch.to_pylist():
                    number += 1
                    yield number, values


@contextmanager
def _parquet(file: str) -> Iterator[Any]:
    """Open a Parquet file, here or on the Hub; what Arrow says of a broken one becomes an InputError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place: AbstractContextManager[Any] = open_remote(file) if is_remote(file) else nullcontext(file)
    try:
        # Buffered and without reading ahead: a page of it at a time, where its writer cut it into pages.
        with place as source, pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER) as opened:
            yield opened
    except pa.ArrowException as error:
        raise InputError(f"{file}: expected Parquet, found a file that cannot be read: {error}") from error
