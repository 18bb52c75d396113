"""Read files of JSON objects, as a JSON list or one object a line; write files whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sari_data.errors import BenchmarkError, MissingFileError, StorageError


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all, and have it on the disk when this returns.

    Raises:
        OSError: It cannot be written; what was there is as it was.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def keep_text(path: Path, text: str) -> None:
    """Write a file of the cache, whole or not at all.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise StorageError(
            f"{path} could not be written ({error.strerror or error}): free some space, or name another cache folder "
            "in SARI_CACHE"
        ) from error


def read_objects(path: Path, what: str) -> list[dict[str, Any]]:
    """Read a JSON list of objects, or JSONL; ``what`` names the content in messages.

    Raises:
        MissingFileError: There is no such file.
        BenchmarkError: Not UTF-8, not JSON, or JSON that is not a list of objects.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise MissingFileError(f"{what} file {str(path)!r} {found}: give the path of a JSON or JSONL file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchmarkError(
            f"{path}: expected {what} as UTF-8 JSON, found bytes that are not UTF-8: give a JSON file"
        ) from error
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        loaded = _read_lines(text, path, what, error)
    if isinstance(loaded, dict) and "id" in loaded:
        loaded = [loaded]  # JSONL with a single line
    if _has_surrogates(loaded):
        raise BenchmarkError(f"{path}: found half a character (a lone surrogate such as \\ud800) in a text: correct it")
    if not isinstance(loaded, list):
        raise BenchmarkError(
            f"{path}: expected {what} as a JSON list of objects or as one object a line, "
            f"found a JSON {_kind(loaded)}: give such a list"
        )
    for index, row in enumerate(loaded):
        if not isinstance(row, dict):
            raise BenchmarkError(
                f"{path}: expected {what} as a list of objects, found a {_kind(row)} at position {index}: "
                "every entry must be an object with an id"
            )
    return loaded


def _read_lines(text: str, path: Path, what: str, first: Exception) -> list[Any]:
    # Not splitlines: a text in JSON may hold other line ends, such as U+2028, as they are.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    rows = []
    for number, line in lines:
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            # A first line that parses makes it JSONL with a bad line; otherwise it is no JSON at all.
            problem = f"line {number}: {error}" if rows else str(first)
            raise BenchmarkError(
                f"{path}: expected {what} as JSON or JSONL, found text that is neither ({problem}): give a JSON file"
            ) from error
    if not rows:
        raise BenchmarkError(f"{path}: expected {what} as JSON or JSONL, found an empty file: give a JSON file")
    return rows


def _has_surrogates(loaded: Any) -> bool:
    # Such text is JSON, but no UTF-8 file or terminal can take it.
    try:
        json.dumps(loaded, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
