"""Any table of questions or clips: CSV, TSV, JSON lines, JSON, Parquet, or a data set on the Hub, through a column map.

The recipe says which column is what and in which form the gold is given; nothing of it is guessed. Columns that the
table lacks are told before the first row is read. A row that cannot be read so is set aside with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from sari_data.errors import InputError
from sari_data.resources import cache_folder
from sari_data.sources.base import About, Item
from sari_data.sources.files import choose
from sari_data.sources.hub_tables import HUB
from sari_data.sources.rows import Row
from sari_data.sources.rows import Table as Rows
from sari_data.sources.table_audio import TableAudio
from sari_data.sources.table_options import Options
from sari_data.sources.table_reader import Reader

__all__ = ["ABOUT", "EXAMPLE", "Options", "generate", "open_reader", "read_items"]

EXAMPLE = """\
path = "questions.csv"
audio = "audio"
domain = "sound"
answer_form = "letter"

[build.table.columns]
audio = "file"
question = "question"
choices = ["A", "B", "C", "D"]
answer = "gold"
"""

ABOUT = About(
    name="table",
    title="Any table",
    gives="questions from rows with options and a gold answer; clips from rows without options",
    needs=(
        "path: a .csv, .tsv, .jsonl, .json or .parquet file, a folder that `datasets` reads, or hub:owner/name",
        "columns: which column is what, or a preset",
        "audio: the folder that the audio column's paths are relative to (not for embedded audio)",
    ),
    licence="the table's own: state it with build.table.licence",
    audio_licence="the table's own: state it with build.table.licence",
    share_audio=False,
    get=("nothing to fetch for a local table; hub:owner/name is streamed from the Hub",),
)


def generate(options: Options, seed: int) -> Iterator[Item]:
    """Yield the table's questions and clips in its order, and what is set aside.

    The columns are checked at once, before the first item is asked for. At most 16 rows of Parquet, or one of another
    format, are in memory.

    Raises:
        MissingFileError: The table or the audio folder is not there.
        InputError: A column is not in the table, a file cannot be read, or none of the audio is there.
        StorageError: The Hub cannot be reached, or embedded audio cannot be stored.
    """
    return read_items(*open_reader(options), seed)


def open_reader(options: Options, rows: Rows | None = None) -> tuple[Rows, Reader]:
    """Open a table, unless it is open, and check that it has the columns that are named; raises as :func:`generate`."""
    rows = rows or Rows(options.path, config=options.config, split=options.split, revision=options.revision)
    columns, there = options.all_columns(), rows.names()
    absent = [name for name in columns.used() if name not in there]
    if absent:
        raise InputError(f"{options.path}: expected the columns {absent}, found {there}: correct build.table.columns")
    audio = TableAudio(rows.files[0], options.audio, _spool(options))
    return rows, Reader(options, columns, options.dataset or rows.name, audio)


def read_items(
    rows: Rows,
    reader: Reader,
    seed: int,
    *,
    wanted: Callable[[Row], bool] = lambda row: True,
    needs: Sequence[str] = (),
) -> Iterator[Item]:
    """Yield the items of a table's rows, of at most ``limit`` rows whose audio is there.

    Audio inside the table, and on the Hub, is taken to be there when rows are chosen: to look would be to read it all.

    Args:
        rows: The table.
        reader: Makes items of its rows.
        seed: The seed of the choice.
        wanted: Whether a row is asked for at all; of others nothing is said.
        needs: Columns that ``wanted`` and the reader look at besides those of the map.

    Raises:
        InputError: None of the audio is there; or as :func:`generate`.
    """
    audio, limit = str(reader.columns.audio), reader.options.limit
    used = list(dict.fromkeys(chain(reader.columns.used(), needs)))
    inside = limit is not None and rows.embeds(audio)
    examples: list[Any] = []

    def read(names: list[str]) -> Iterator[Row]:
        return filter(wanted, rows.rows(names))

    def present() -> Iterator[str]:
        for row in read([name for name in used if name != audio] if inside else used):
            if inside or reader.audio.is_there(row.values.get(audio)):
                yield reader.source_id(row)
            elif not examples:
                examples.append(row.values.get(audio))

    chosen = choose(present(), limit, seed)
    if not chosen.size and limit != 0 and examples:
        raise reader.audio.nothing_found(examples[0])
    for row in read(used):
        if reader.source_id(row) in chosen or not reader.audio.is_there(row.values.get(audio)):
            yield reader.item(row)


def _spool(options: Options) -> Path:
    if options.spool is not None:
        return Path(options.spool)
    if options.path.startswith(HUB):
        return cache_folder() / "audio" / options.path.removeprefix(HUB).replace("/", "--")
    path = Path(options.path)
    return path.with_name(f"{path.name}.audio")
