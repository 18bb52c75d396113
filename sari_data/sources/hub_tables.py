"""Where the files of a Hugging Face data set are: on the Hub, or in a folder laid out as one.

``datasets`` reads the data set's own list of configurations and splits and says which files each has; the rows are
then read by :mod:`sari_data.sources.rows`, Parquet by ranges of bytes and all else from the Hub's file cache. Files
from the Hub are named with the commit that was found first: a data set that changes meanwhile changes nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sari_data.errors import InputError, MissingFileError, StorageError
from sari_data.hub import first_line, transport_errors

HUB = "hub:"
_REMOTE = "hf://"
_ADDRESS = re.compile(r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)@(?P<revision>[^/]+)(?:/(?P<path>.+))?")


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one split.

    Args:
        name: The data set's name: ``owner/name``, or the folder's.
        files: Local paths, or ``hf://datasets/owner/name@commit/path``.
    """

    name: str
    files: tuple[str, ...]


def find_files(target: str, *, config: str | None, split: str | None, revision: str | None) -> Files:
    """Return the files of a split of ``hub:owner/name`` or of a folder.

    Raises:
        MissingFileError: No such data set, revision or folder.
        InputError: No such configuration or split, several where none is named, or no files that can be read.
        StorageError: The Hub cannot be reached.
    """
    from datasets import load_dataset_builder
    from datasets.exceptions import DatasetNotFoundError

    remote = target.startswith(HUB)
    name = target.removeprefix(HUB) if remote else str(Path(target).resolve())
    if not remote and revision is not None:
        raise InputError(f"{target}: expected no revision for a folder, found {revision!r}: leave it out")
    # Without the prefix a folder of that name in the working folder would be taken.
    place = f"{_REMOTE}datasets/{name}" if remote else name
    try:
        with _reaching(target):
            builder = load_dataset_builder(place, config, revision=revision)
    except DatasetNotFoundError as error:
        raise MissingFileError(
            f"{target}: expected a data set on the Hub, found none ({first_line(error)}): correct the name, or log in "
            "with `hf auth login` where it is private or gated"
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"{target}: expected files of a table, found none ({first_line(error)})") from error
    except ValueError as error:
        # A configuration that is not there, or must be named: the message lists them.
        raise InputError(f"{target}: {_one_line(error)}: name the configuration with `config`") from error
    found: dict[str, Any] = dict(builder.config.data_files or {})
    if split is None and len(found) == 1:
        split = next(iter(found))
    if split not in found:
        asked = "none named" if split is None else repr(split)
        raise InputError(f"{target}: expected `split` to be one of {list(map(str, found))}, found {asked}")
    return Files(name if remote else Path(name).name, tuple(map(str, found[split])))


def is_remote(file: str) -> bool:
    """Return whether a file lies on the Hub."""
    return file.startswith(_REMOTE)


@contextmanager
def open_remote(file: str) -> Iterator[Any]:
    """Open a file on the Hub for reading by ranges.

    Raises:
        StorageError: The Hub cannot be reached.
    """
    from huggingface_hub import HfFileSystem

    with _reaching(file), HfFileSystem().open(file, "rb") as opened:
        yield opened


def fetch(file: str) -> Path:
    """Return the local copy of a file on the Hub, fetched where it is not in the cache yet.

    Raises:
        MissingFileError: The repository has no such file.
        StorageError: The Hub cannot be reached, or the disk is full.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    where = _parsed(file)
    try:
        with _reaching(file):
            return Path(hf_hub_download(where["repo"], where["path"], repo_type="dataset", revision=where["revision"]))
    except (EntryNotFoundError, FileNotFoundError) as error:
        raise MissingFileError(f"{file}: expected a file in the repository, found none") from error


def root_of(file: str) -> str:
    """Return the address of the repository that a file on the Hub lies in, with its commit."""
    where = _parsed(file)
    return f"{_REMOTE}datasets/{where['repo']}@{where['revision']}"


def _parsed(file: str) -> re.Match[str]:
    found = _ADDRESS.fullmatch(file)
    assert found is not None, f"not as datasets writes it: {file}"
    return found


@contextmanager
def _reaching(what: str) -> Iterator[None]:
    """Turn the errors of a Hub that refuses or is out of reach into a StorageError; let those through that say more."""
    from huggingface_hub.errors import EntryNotFoundError

    refused: tuple[type[Exception], ...] = (*transport_errors(), ConnectionError)
    try:
        yield
    except (EntryNotFoundError, FileNotFoundError):  # what datasets itself does not find is a FileNotFoundError too
        raise
    except refused as error:
        # datasets names the client's error only in the text of its own.
        if "OfflineModeIsEnabled" in f"{type(error).__name__} {error}":
            raise StorageError(f"{what}: the Hub is needed, but HF_HUB_OFFLINE is set: unset it") from error
        raise StorageError(f"{what}: the Hub could not be read ({first_line(error)}): try again later") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
