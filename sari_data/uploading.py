"""Send a corpus's files to the Hub: one shard at a time, in bounded memory, and not what is there already.

The Hub keeps large files as objects under their SHA-256 and makes them part of a repository by a commit.
Shards go up first, each read in small pieces; card and manifest come with the one commit at the end, which
also takes away what an earlier push left. A push that was stopped is done again by the same call: files that
the repository has are left alone, and objects that arrived without a commit are known to the Hub.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sari_data.console import note, progress
from sari_data.errors import CorpusError, InputError, SariError
from sari_data.shard_reader import MEGABYTE, Megabytes, ShardReader

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.hf_api import RepoFile

TRIES = 6
# Seconds: the first wait after a fault, the longest of our own, the longest that the Hub may ask for, and how long a
# connection may stand still.
_FIRST_WAIT, _LONGEST_WAIT, _LONGEST_ASKED, _STALL = 1.0, 30.0, 900.0, 300.0
# Statuses after which the same request may succeed; beside them all from 500 on.
_PASSING = {408, 409, 412, 425, 429}
_STALE = re.compile(r"(data|side)/[^/]+\.parquet")
_PIECE = 2**20

T = TypeVar("T")


def upload_files(
    hub: HfApi, repo: str, folder: Path, entries: Sequence[Mapping[str, Any]], texts: Mapping[str, bytes], message: str
) -> int:
    """Upload shards and small files to a dataset repository in one commit.

    Args:
        hub: The client.
        repo: ``owner/name``, which is there.
        folder: Where the shards lie.
        entries: The manifest's files: ``path``, ``sha256``.
        texts: Name to content of the small files, which come last.
        message: The commit's message.

    Returns:
        Number of shards that were sent or were known to the Hub without being part of the repository.

    Raises:
        CorpusError: A shard is not as the manifest says.
        InputError: The Hub does not accept the card's head.
        OSError: Faults did not pass, or the Hub refused; what arrived is kept for the next try.
    """
    there = _tree(hub, repo)
    todo = [entry for entry in entries if not _has(there, entry["path"], folder / entry["path"], entry["sha256"])]
    if len(todo) < len(entries):
        note(f"push: {len(entries) - len(todo)} of {len(entries)} shards are in {repo} already")
    xet = _offers_xet(hub, repo) if todo else False
    total = sum((folder / entry["path"]).stat().st_size for entry in todo)
    additions: list[CommitOperationAdd] = []
    with _quiet_client(), progress("push (MB)", total=-(-total // MEGABYTE)) as advance:
        moved = Megabytes(advance)
        for number, entry in enumerate(todo, start=1):
            place = f"{number} of {len(todo)}"
            additions.append(_send(hub, repo, folder, entry, xet=xet, moved=moved, place=place))
        _commit(hub, repo, additions, entries, folder, texts, message)
    return len(todo)


def _send(
    hub: HfApi, repo: str, folder: Path, entry: Mapping[str, Any], *, xet: bool, moved: Megabytes, place: str
) -> CommitOperationAdd:
    from huggingface_hub import CommitOperationAdd

    name, path = entry["path"], folder / entry["path"]
    reader: Any = ShardReader(path)
    # The client sends a file object by the LFS protocol, and a path by Xet.
    addition = CommitOperationAdd(name, str(path) if xet else reader)
    if addition.upload_info.sha256.hex() != entry["sha256"]:
        raise CorpusError(
            f"{path}: expected the file that the manifest names, found another SHA-256: it changed after it was "
            "written: build the corpus again"
        )
    size, sent = path.stat().st_size, 0

    def count(number: int) -> None:
        nonlocal sent
        sent += number
        if sent <= size:  # what is sent a second time is no progress
            moved(number)

    reader.advance = count

    def upload() -> None:
        reader.seek(0)  # a try that broke off left it in the middle
        hub.preupload_lfs_files(repo, [addition], repo_type="dataset", num_threads=1)

    persistently(name, upload)
    reader.rest()
    reader.advance = lambda number: None
    moved(max(0, size - sent))
    how = "sent" if sent or xet else "is there already"
    note(f"push: {name} ({place}, {size / MEGABYTE:.1f} MB) {how}")
    return addition


def _commit(
    hub: HfApi,
    repo: str,
    additions: Sequence[CommitOperationAdd],
    entries: Sequence[Mapping[str, Any]],
    folder: Path,
    texts: Mapping[str, bytes],
    message: str,
) -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    wanted = {entry["path"] for entry in entries}

    def commit() -> None:
        # Asked each time: of a commit that was made, the reply may have been lost.
        there = _tree(hub, repo)
        shas = {entry["path"]: entry["sha256"] for entry in entries}
        missing = [
            a for a in additions if not _has(there, a.path_in_repo, folder / a.path_in_repo, shas[a.path_in_repo])
        ]
        stale = [name for name in there if _STALE.fullmatch(name) and name not in wanted]
        changed = [name for name, text in texts.items() if not _has_text(there.get(name), text)]
        if not missing and not stale and not changed:
            return
        operations: list[Any] = [*missing, *map(CommitOperationDelete, stale)]
        operations += [CommitOperationAdd(name, texts[name]) for name in changed]
        try:
            hub.create_commit(repo, operations, commit_message=message, repo_type="dataset", num_threads=1)
        except ValueError as error:
            if "README.md" not in str(error) or isinstance(error, OSError):
                raise
            raise InputError(f"the Hub does not accept the card's head ({error}): correct README.md") from error

    persistently("the commit", commit)


def persistently(what: str, call: Callable[[], T]) -> T:
    """Call until it succeeds, at most TRIES times, with growing waits or those that the Hub asks for.

    Args:
        what: What is being done, for the note about a fault.
        call: What to call; it must be able to begin again.

    Raises:
        SariError: At once.
        Exception: The last fault, where it does not pass.
    """
    from huggingface_hub.utils import get_session

    from sari_data.hub import first_line

    wait = _FIRST_WAIT
    for left in reversed(range(TRIES)):
        get_session().timeout = _STALL
        try:
            return call()
        except SariError:
            raise
        except upload_errors() as error:
            cause = _http_error(error) or error
            asked = _asked_wait(cause)
            if left == 0 or not _may_pass(error, cause) or (asked or 0) > _LONGEST_ASKED:
                raise
            seconds = wait if asked is None else asked
            note(f"push: {what}: {first_line(cause)}; again in {seconds:g} s, {left} tries left")
            time.sleep(seconds)
            wait = min(2 * wait, _LONGEST_WAIT)
    raise AssertionError("the last try returns or raises")


def upload_errors() -> tuple[type[Exception], ...]:
    """Return what the client raises where an upload fails."""
    from sari_data.hub import transport_errors

    # An upload's own error comes inside a RuntimeError, a reply that is none as a ValueError.
    return (*transport_errors(), RuntimeError, ValueError)


def _may_pass(error: BaseException, cause: BaseException) -> bool:
    if isinstance(cause, FileNotFoundError | PermissionError | IsADirectoryError):
        return False  # a file of this machine
    status = getattr(getattr(cause, "response", None), "status_code", None)
    # An upload's address expires (400 or 403 there); the next try asks for another.
    return status is None or status in _PASSING or status >= 500 or cause is not error


def _http_error(error: BaseException) -> BaseException | None:
    """The error with the Hub's response, which may be the cause of the one that the client raises."""
    found: BaseException | None = error
    while found is not None:
        if getattr(found, "response", None) is not None:
            return found
        found = found.__cause__
    return None


def _asked_wait(error: BaseException) -> float | None:
    value = getattr(getattr(error, "response", None), "headers", {}).get("retry-after", "")
    return float(value) if re.fullmatch(r"\d+(\.\d+)?", value.strip()) else None


def _tree(hub: HfApi, repo: str) -> dict[str, RepoFile]:
    """The files of a repository by name."""

    def ask() -> dict[str, RepoFile]:
        found: Any = hub.list_repo_tree(repo, repo_type="dataset", recursive=True)
        return {item.path: item for item in found if hasattr(item, "blob_id")}

    return persistently(f"the list of files in {repo}", ask)


def _has(there: Mapping[str, RepoFile], name: str, path: Path, sha256: str) -> bool:
    found = there.get(name)
    if found is None:
        return False
    if found.lfs is not None:
        return bool(found.lfs.sha256 == sha256)
    return bool(found.size == path.stat().st_size) and found.blob_id == _blob_id(path)


def _has_text(found: RepoFile | None, text: bytes) -> bool:
    if found is None:
        return False
    if found.lfs is not None:
        return bool(found.lfs.sha256 == hashlib.sha256(text).hexdigest())
    return bool(found.blob_id == hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest())


def _blob_id(path: Path) -> str:
    """The name that git gives a file's content."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _offers_xet(hub: HfApi, repo: str) -> bool:
    """Whether files go up by Xet: the client does not ask, and fails where a Hub has none."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session

    if constants.HF_HUB_DISABLE_XET or importlib.util.find_spec("hf_xet") is None:
        return False
    address = f"{hub.endpoint}/api/datasets/{repo}/xet-write-token/main"

    def ask() -> bool:
        return bool(get_session().get(address, headers=build_hf_headers(token=hub.token)).status_code == 200)

    return persistently(f"how {repo} takes files", ask)


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Keep the client's own bars away, and its warning that a file object does not go by Xet: that is meant."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("huggingface_hub._commit_api")

    def meant(record: logging.LogRecord) -> bool:
        return "binary IO buffer" not in record.getMessage()

    shown = not are_progress_bars_disabled()
    logger.addFilter(meant)
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.removeFilter(meant)
        if shown:
            enable_progress_bars()
