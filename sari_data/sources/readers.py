"""Readers of published tables: one row at a time, with its line number; an error names file and line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sari_data.errors import InputError, MissingFileError

_CHUNK = 1 << 20  # characters of a JSON array that are read at a time


def read_csv(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    needs: Sequence[str] = (),
    delimiter: str = ",",
    comment: str | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the fields of each row of a CSV or TSV file in UTF-8, one at a time.

    Spaces after a delimiter and empty lines do not count.

    Args:
        path: The file.
        columns: Names of the columns, where the file has no line with them; else its first line has them.
        needs: Columns that must be among them.
        delimiter: What separates fields; with a tab, quotes are text like any other.
        comment: Lines that begin so are no rows.

    Raises:
        MissingFileError: No such file.
        InputError: Empty, not UTF-8, a column is absent, or a row has another number of fields; names file and line.
    """
    quoting: Any = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    line = 0
    with _open(path) as file:
        lines = file if comment is None else ("\n" if text.startswith(comment) else text for text in file)
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, skipinitialspace=True, strict=True)
        header = None if columns is None else list(columns)
        try:
            for fields in reader:
                line = reader.line_num
                if not fields:
                    continue
                if header is None:
                    header = [name.strip() for name in fields]
                    twice = sorted({name for name in header if name and header.count(name) > 1})
                    if twice:
                        raise InputError(
                            f"{path}, line {line}: expected each column once, found {twice} several times: rename them"
                        )
                    absent = [name for name in needs if name not in header]
                    if absent:
                        raise InputError(f"{path}, line {line}: expected the columns {absent}, found {header}")
                elif len(fields) != len(header):
                    raise InputError(
                        f"{path}, line {line}: expected {len(header)} fields ({', '.join(header)}), found {len(fields)}"
                    )
                else:
                    yield line, dict(zip(header, fields, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}, line {line + 1} or after: not a table in UTF-8: {error}") from error
        if header is None:
            raise InputError(f"{path}: expected a line with the names of the columns, found an empty file")


def read_json_lines(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Yield the line number and the value of each line of a JSON lines file, one at a time; empty lines do not count.

    Raises:
        MissingFileError: No such file.
        InputError: A line is not JSON in UTF-8; names file and line.
    """
    number = 0
    with _open(path) as file:
        try:
            for number, text in enumerate(file, start=1):
                if text.strip():
                    yield number, json.loads(text)
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, line {number + 1} or after: expected UTF-8, found {error}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: expected one JSON value, found {error}") from error


def read_json_array(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Yield the line number and the value of each element of a file that is one JSON array, one at a time.

    A file that does not begin with ``[`` is read as JSON lines: data sets are published in either form, and the name
    does not say which.

    Raises:
        MissingFileError: No such file.
        InputError: The file is not JSON in UTF-8; names file and line.
    """
    with _open(path) as file:
        try:
            begin = file.read(_CHUNK)
            array = begin.lstrip().startswith("[")
            if array:
                yield from _elements(file, begin, path)
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: expected UTF-8, found {error}") from error
    if not begin.strip():
        raise InputError(f"{path}: expected JSON, found an empty file")
    if not array:
        yield from read_json_lines(path)


def _elements(file: Any, text: str, path: str | Path) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    line, at, first = 1, text.index("[") + 1, True
    line += text.count("\n", 0, at)
    while True:
        # One more character than the element is wanted: "12" at the end of what is read may be the half of "1234".
        try:
            begin = _skip(text, at)
            if text[begin] == "]" and first:
                after = begin
            else:
                value, end = decoder.raw_decode(text, begin)
                after = _skip(text, end)
                if text[after] not in ",]":
                    raise ValueError(f"expected ',' or ']', found {text[after]!r}")
        except (IndexError, ValueError, RecursionError) as error:
            # What nests too deep does so whatever follows.
            more = "" if isinstance(error, RecursionError) else file.read(max(_CHUNK, len(text) - at))
            if not more:
                said = "the end of the file" if isinstance(error, IndexError) else error
                line += text.count("\n", at, _skip(text, at))
                raise InputError(f"{path}, line {line} or after: expected a JSON array, found {said}") from error
            text, at = text[at:] + more, 0
            continue
        line += text.count("\n", at, begin)
        if text[begin] != "]":
            yield line, value
        line += text.count("\n", begin, after)
        if text[after] == "]":
            return
        at, first = after + 1, False


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _open(path: str | Path) -> Any:
    if not Path(path).is_file():
        found = "a folder" if Path(path).is_dir() else "none"
        raise MissingFileError(f"{path}: expected a file, found {found}: correct the path or fetch it")
    return open(path, encoding="utf-8-sig", newline="")
