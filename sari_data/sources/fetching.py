"""Files that a data set has on the Hub, for adapters that otherwise read folders.

In place of a path a recipe may say ``hub:owner/name/path`` (or ``hub:owner/name@revision/path``), where
the path may be a pattern such as ``data/bal_train*.tar``. Files are fetched into the Hub's own cache,
archives are unpacked once, below sari's.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sari_data.config import Table
from sari_data.console import note
from sari_data.errors import InputError, MissingFileError, StorageError
from sari_data.resources import cache_folder
from sari_data.sources.hub_tables import HUB, fetch
from sari_data.sources.unpacking import ARCHIVES, unpack

_FORM = re.compile(r"hub:(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?/(?P<path>.+)")

OptionsT = TypeVar("OptionsT", bound=Table)


def fetched(options: OptionsT, files: Sequence[str], folder: str) -> OptionsT:
    """Return options in which every ``hub:`` is the local path of what was fetched.

    Args:
        options: A source's options.
        files: Names of the keys that hold a file or several.
        folder: Name of the key that holds the folder of audio: archives, which are unpacked.

    Raises:
        InputError: Something after ``hub:`` that is not owner/name/path, or audio that is no archive.
        MissingFileError: The repository is not there, or has no such file.
        StorageError: The Hub cannot be reached, or the disk is full.
    """
    changes: dict[str, Any] = {}
    for key in files:
        value = getattr(options, key)
        if isinstance(value, tuple):
            changes[key] = tuple(path for item in value for path in _files(item))
        elif isinstance(value, str) and value.startswith(HUB):
            found = _files(value)
            if len(found) > 1:
                raise InputError(f"{value}: expected one file for {key}, found {len(found)}: name one of them")
            changes[key] = found[0]
    audio = getattr(options, folder)
    if audio.startswith(HUB):
        changes[folder] = unpacked(audio, _addresses(audio))
    return options.model_copy(update=changes)


def _files(place: str) -> list[str]:
    if not place.startswith(HUB):
        return [place]
    return [str(fetch(address)) for address in _addresses(place)]


def list_repository(repo: str, revision: str | None, place: str) -> tuple[str, list[str]]:
    """Return the commit of a data set on the Hub and the names of its files, sorted; messages call it ``place``.

    Raises:
        MissingFileError: No such data set or revision.
        StorageError: The Hub cannot be reached.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    from sari_data.hub import first_line, hub_api, transport_errors

    try:
        about = hub_api().dataset_info(repo, revision=revision)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise MissingFileError(f"{place}: expected a data set on the Hub, found none ({first_line(error)})") from error
    except transport_errors() as error:
        raise StorageError(f"{place}: the Hub cannot be reached ({first_line(error)}): try again later") from error
    return str(about.sha), sorted(sibling.rfilename for sibling in about.siblings or ())


def _addresses(place: str) -> list[str]:
    """Return the addresses, with the commit, of the files that a place means."""
    parts = _FORM.fullmatch(place)
    if parts is None:
        raise InputError(f"expected hub:owner/name/path (or hub:owner/name@revision/path), found {place!r}")
    commit, names = list_repository(parts["repo"], parts["revision"], place)
    wanted = [name for name in names if name == parts["path"]] or fnmatch.filter(names, parts["path"])
    if not wanted:
        some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise MissingFileError(f"{place}: expected such a file in the repository, found only {some or 'none at all'}")
    return [f"hf://datasets/{parts['repo']}@{commit}/{name}" for name in wanted]


@dataclass(frozen=True, slots=True)
class HubArchive:
    """An archive on the Hub, of one commit of a data set.

    Args:
        address: ``hf://datasets/owner/name@commit/path``.
        repo: ``owner/name``.
        name: Its path in the repository.
        base: Where what was in the archives of that commit is kept.
    """

    address: str
    repo: str
    name: str
    base: Path

    @property
    def folder(self) -> Path:
        """The folder that has all that was in it, once it is unpacked."""
        return self.base / self.name


def archives_of(place: str, addresses: Sequence[str]) -> list[HubArchive]:
    """Return archives by their addresses; messages call them ``place``.

    Raises:
        InputError: One is no archive.
    """
    odd = next((address for address in addresses if not address.endswith(ARCHIVES)), None)
    if odd is not None:
        raise InputError(f"{place}: expected archives ({', '.join(ARCHIVES)}), found {odd.rpartition('/')[2]!r}")
    found = []
    for address in addresses:
        repo, _, rest = address.removeprefix("hf://datasets/").partition("@")
        commit, _, name = rest.partition("/")
        found.append(HubArchive(address, repo, name, cache_folder() / "hub" / repo.replace("/", "--") / commit))
    return found


def unpacked(place: str, addresses: Sequence[str]) -> str:
    """Fetch archives and unpack them, once; returns the folder that has what was in them.

    Args:
        place: What they are called in messages.
        addresses: ``hf://datasets/owner/name@commit/path`` of archives of one repository and commit.

    Raises:
        InputError: One is no archive, or would write outside its folder.
        MissingFileError: The repository has no such file.
        StorageError: The Hub cannot be reached, or the disk is full.
    """
    found = archives_of(place, addresses)
    for one in found:
        if not one.folder.is_dir():
            note(f"fetching and unpacking {one.name} of {one.repo} into {one.folder}")
            unpack(fetch(one.address), one.folder)
    # Of several archives the folder that has them all and no others.
    return str(found[0].folder) if len(found) == 1 else str(_together(found))


def _together(archives: Sequence[HubArchive]) -> Path:
    names = sorted(one.name for one in archives)
    folder = archives[0].base / f"set-{hashlib.sha256(repr(names).encode()).hexdigest()[:12]}"
    folder.mkdir(exist_ok=True)
    for one in archives:
        link = folder / one.name.replace("/", "--")
        if not link.is_symlink():
            link.symlink_to(one.folder, target_is_directory=True)
    return folder
