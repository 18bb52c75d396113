"""Put a corpus on the Hugging Face Hub as a dataset repository."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sari_data.errors import InputError, StorageError
from sari_data.store import read_manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Licence names that the Hub knows, of those that audio corpora carry; any other is "other" there.
_KNOWN_LICENCES = (
    "apache-2.0",
    "cc0-1.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "gpl-3.0",
    "mit",
)
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_UNFIT = re.compile(r"[^\w.-]+")


def licence_id(licences: Iterable[str]) -> str:
    """Return the Hub's id of a corpus's licence; ``other`` where there are several or an unknown one."""
    found = {re.sub(r"[\s_]+", "-", licence.strip().lower()) for licence in licences}
    only = found.pop() if len(found) == 1 else ""
    return only if only in _KNOWN_LICENCES else "other"


def find_repo(repo: str | None, name: str, api: HfApi | None = None) -> str:
    """Return the repository to push to, after asking the Hub who we are; so ask before long work.

    Args:
        repo: ``owner/name``; or a name alone, or ``None`` for the corpus's own: then the owner is the token's user.
        name: The corpus's name.
        api: How to reach the Hub; default: its usual address with the stored token.

    Raises:
        InputError: The repository's name is malformed, or there is no token that the Hub accepts.
        StorageError: The Hub cannot be reached.
    """
    user = _user(api or hub_api())
    found = repo if repo is not None and "/" in repo else f"{user}/{repo or _UNFIT.sub('-', name)}"
    if not _REPO.fullmatch(found):
        raise InputError(f"expected a repository as owner/name, found {found!r}: correct it")
    return found


def push_corpus(folder: str | Path, repo: str, *, private: bool = False, api: HfApi | None = None) -> str:
    """Upload a complete corpus folder in one commit; the repository is made where it is not there.

    Shards of an earlier push that the corpus no longer has are removed in the same commit.

    Args:
        folder: The corpus.
        repo: ``owner/name``.
        private: Make a new repository private.
        api: How to reach the Hub; default: its usual address with the stored token.

    Returns:
        The dataset's address.

    Raises:
        MissingFileError: No such folder.
        CorpusError: It is no complete corpus.
        StorageError: The Hub refused or cannot be reached.
    """
    manifest = read_manifest(folder)
    hub = api or hub_api()
    try:
        hub.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=str(folder),
            commit_message=f"Upload corpus {manifest.get('name', repo)}",
            delete_patterns=["data/*.parquet", "side/*.parquet"],
        )
    except transport_errors() as error:
        raise StorageError(
            f"corpus {folder} could not be pushed to {repo} ({first_line(error)}); it is complete on disk: "
            "push it again when the Hub can be reached and the token may write there"
        ) from error
    return f"{hub.endpoint}/datasets/{repo}"


def hub_api() -> HfApi:
    """Return the Hub's client, at its usual address with the stored token."""
    from huggingface_hub import HfApi

    return HfApi()


def _user(api: HfApi) -> str:
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        return str(api.whoami()["name"])
    except LocalTokenNotFoundError as error:
        raise InputError("pushing to the Hub needs a token, found none: run `hf auth login` or set HF_TOKEN") from error
    except OfflineModeIsEnabled as error:
        raise StorageError("pushing needs the Hub, but HF_HUB_OFFLINE is set: unset it") from error
    except HfHubHTTPError as error:
        raise InputError(f"the Hub does not accept the token ({first_line(error)}): run `hf auth login`") from error
    except transport_errors() as error:
        raise StorageError(f"the Hub at {api.endpoint} cannot be reached ({first_line(error)}): try later") from error


def transport_errors() -> tuple[type[Exception], ...]:
    """Return what the Hub's client raises where the Hub refuses or cannot be reached."""
    from huggingface_hub.errors import HfHubHTTPError

    # Its bases are OSError and the HTTP client's own error, which a lost connection raises (httpx in version 1).
    return (HfHubHTTPError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)))


def first_line(error: BaseException) -> str:
    """Return an error's first line, of at most 200 characters; its type where it says nothing."""
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
