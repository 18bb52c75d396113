"""Put a run's model on the Hugging Face Hub, with its card, its curves and its recipe."""

from __future__ import annotations

import fnmatch
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sari_data.console import note
from sari_data.errors import CheckpointError, MissingFileError, StorageError
from sari_data.hub import first_line, hub_api, transport_errors
from sari_train.model_card import BENCH, read_results, read_rows, render_card
from sari_train.publication import has_own_card
from sari_train.run_files import CURVES, METRICS
from sari_train.run_folder import (
    CARD,
    CHECKPOINTS,
    MANIFEST,
    TRAINING,
    Checkpoint,
    best_of,
    is_run,
    list_checkpoints,
    read_manifest,
    verify,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# What a push replaces as a whole: weights of another number of files, or an adapter where a model was, must not stay.
_REPLACED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
)


def find_model(folder: str | Path, *, best: bool = False) -> tuple[Path, Checkpoint]:
    """Return the run's folder and the checkpoint that is meant by a folder.

    Args:
        folder: A run's folder, which means its newest checkpoint, or one of its ``checkpoints/step-*``.
        best: Of a run's folder, take the best checkpoint by dev accuracy.

    Raises:
        MissingFileError: No such folder.
        CheckpointError: It is no run's, has no checkpoint (or none that was evaluated), or a damaged one.
    """
    path = Path(os.path.realpath(folder))
    if not path.is_dir():
        raise MissingFileError(f"run {str(folder)!r}: expected a folder there, found none: train it first")
    if is_run(path):
        found = list_checkpoints(path)
        if not found:
            raise CheckpointError(f"run {folder} has no checkpoint yet: train it further first")
        chosen = best_of(found) if best else found[-1]
        if chosen is None:
            raise CheckpointError(
                f"run {folder} has no checkpoint with a dev accuracy: set eval_every, or leave it out"
            )
    elif path.parent.name == CHECKPOINTS and is_run(path.parent.parent) and (path / MANIFEST).is_file():
        chosen = Checkpoint(path, read_manifest(path))
        path = path.parent.parent
    else:
        raise CheckpointError(
            f"{folder}: expected the folder of a training run or one of its checkpoints/step-* folders, found another: "
            "name one that `sari-train sft` or `sari-train grpo` wrote"
        )
    verify(chosen)
    return path, chosen


def push_run(
    folder: str | Path,
    repo: str,
    *,
    best: bool = False,
    private: bool = False,
    dataset: str | None = None,
    api: HfApi | None = None,
) -> str:
    """Upload a run's model in one commit; the repository is made where it is not there.

    The model goes with its processor, the card (with the benchmark results in the run's ``bench/`` that are newer
    than the model; somebody's own card is taken as it is), the recipe, the metrics up to its step and the curves.
    The training state stays here. Weights of an earlier push that the model no longer has are removed in the same
    commit.

    Args:
        folder: See :func:`find_model`.
        repo: ``owner/name``.
        best: Push the best checkpoint by dev accuracy, not the newest.
        private: Make a new repository private.
        dataset: The corpus's repository on the Hub, to link to.
        api: How to reach the Hub; default: its usual address with the stored token.

    Returns:
        The model's address.

    Raises:
        MissingFileError, CheckpointError: See :func:`find_model`.
        StorageError: The Hub refused or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    out, chosen = find_model(folder, best=best)
    hub = api or hub_api()
    content = _content(out, chosen, repo, dataset)
    try:
        hub.create_repo(repo, repo_type="model", private=private, exist_ok=True)
        there = hub.list_repo_files(repo, repo_type="model")
        stale = [name for name in there if name not in content and any(fnmatch.fnmatch(name, p) for p in _REPLACED)]
        operations: list[Any] = [
            CommitOperationAdd(name, str(c) if isinstance(c, Path) else c) for name, c in content.items()
        ]
        operations += [CommitOperationDelete(name) for name in stale]
        hub.create_commit(repo, operations, commit_message=f"Upload {out.name} after {chosen.step} steps")
    except transport_errors() as error:
        raise StorageError(
            f"run {folder} could not be pushed to {repo} ({first_line(error)}); it is complete on disk: push it again "
            "with `sari-train push` when the Hub can be reached and the token may write there"
        ) from error
    return f"{hub.endpoint}/{repo}"


def _content(out: Path, chosen: Checkpoint, repo: str, dataset: str | None) -> dict[str, Path | bytes]:
    """The files of a push by their name there: a path, or the bytes."""
    found: dict[str, Path | bytes] = {
        name: chosen.path / name for name in chosen.manifest["files"] if not name.startswith(f"{TRAINING}/")
    }
    if (out / CURVES).is_file():
        found[CURVES] = out / CURVES
    rows = [row for row in read_rows(out) if row["step"] <= chosen.step]
    if rows:
        found[METRICS] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    results = _results(out, chosen)
    found |= {f"{BENCH}/{file.name}": file for file in results}
    flat = [result for several in results.values() for result in several]
    if has_own_card(out):
        found[CARD] = out / CARD
    else:
        card = render_card(out, chosen.path, step=chosen.step, repo=repo, dataset=dataset, results=flat)
        found[CARD] = card.encode()
    return found


def _results(out: Path, chosen: Checkpoint) -> dict[Path, list[dict[str, Any]]]:
    """The benchmark results that can be the checkpoint's: those that were made after it."""
    made = max(file.stat().st_mtime for file in chosen.path.glob("*.safetensors"))
    found = {}
    for file, several in read_results(out).items():
        if not several:
            note(f"{file} is no result of `sari-bench score --json`: left out")
        elif file.stat().st_mtime < made:
            note(f"{file} is older than the model of step {chosen.step}, so it is another's: left out")
        else:
            found[file] = several
    return found
