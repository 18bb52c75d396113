"""Put a corpus on the Hugging Face Hub as a dataset repository."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sari_data.errors import CheckpointError, InputError, SariError, StorageError
from sari_data.store import CARD, MANIFEST, read_manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_UNFIT = re.compile(r"[^\w.-]+")


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
    check_repo(found)
    return found


def check_repo(repo: str) -> None:
    """Raise InputError where a text can be neither a repository's ``owner/name`` nor the name alone of an own one."""
    if not _REPO.fullmatch(repo if "/" in repo else f"me/{repo}"):
        raise InputError(f"expected a repository as owner/name, found {repo!r}: correct it")


def push_corpus(
    folder: str | Path,
    repo: str,
    *,
    private: bool = False,
    texts: Mapping[str, bytes] | None = None,
    api: HfApi | None = None,
) -> str:
    """Upload a complete corpus folder as it is; :func:`~sari_data.publishing.publish` decides whether it may go.

    The repository is made where it is not there. Shards go up one at a time and in pieces; card and manifest come last,
    in one commit, in which also go the shards of an earlier push that the corpus no longer has. A push that was stopped
    is gone on with by the same call: what arrived is not sent again.

    Args:
        folder: The corpus.
        repo: ``owner/name``.
        private: Make a new repository private; one that is there must be.
        texts: Name to content of files to upload in place of the folder's card and manifest.
        api: How to reach the Hub; default: its usual address with the stored token.

    Returns:
        The dataset's address.

    Raises:
        MissingFileError: No such folder.
        CorpusError: It is no complete corpus, or a shard changed after it was written.
        InputError: The repository is public although ``private`` was asked for, or the Hub does not accept the card.
        StorageError: The Hub refused or cannot be reached.
    """
    from sari_data.uploading import persistently, upload_errors, upload_files

    manifest, root = read_manifest(folder), Path(folder)
    hub = api or hub_api()
    names = [name for name in (CARD, MANIFEST) if (root / name).is_file()]
    small = {name: (root / name).read_bytes() for name in names} | dict(texts or {})
    message = f"Upload corpus {manifest.get('name', repo)}"
    try:
        persistently(
            f"making {repo}",
            lambda: hub.create_repo(repo, repo_type="dataset", private=private or None, exist_ok=True),
        )
        if private and persistently(repo, lambda: hub.dataset_info(repo).private) is False:
            raise InputError(
                f"{repo} is there already and is public: make it private in its settings on the Hub, or name another"
            )
        upload_files(hub, repo, root, manifest["files"], small, message)
    except SariError:
        raise
    except upload_errors() as error:
        raise StorageError(
            f"corpus {folder} could not be pushed to {repo} ({first_line(error.__cause__ or error)}); it is complete "
            "on disk: push it again with `sari-data push` when the Hub can be reached and the token may write there; "
            "what has arrived is not sent again"
        ) from error
    return f"{hub.endpoint}/datasets/{repo}"


def hub_api() -> HfApi:
    """Return the Hub's client, at its usual address with the stored token."""
    from huggingface_hub import HfApi

    return HfApi()


def check_model_name(name: str) -> None:
    """Raise CheckpointError unless a name is ``tiny``, a folder that is there, or of the form of a hub id."""
    if name == "tiny" or Path(name).is_dir():
        return
    if Path(name).is_absolute() or name.startswith(".") or name.count("/") != 1:
        raise CheckpointError(
            f"model {name!r} is neither 'tiny', nor a folder, nor a hub id (owner/name): correct the name"
        )


def check_token() -> None:
    """Raise InputError where no token for the Hub is stored or set; the Hub is not asked."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise InputError(_NO_TOKEN)


_NO_TOKEN = "pushing to the Hub needs a token, found none: run `hf auth login` or set HF_TOKEN"


def _user(api: HfApi) -> str:
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        return str(api.whoami()["name"])
    except LocalTokenNotFoundError as error:
        raise InputError(_NO_TOKEN) from error
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
