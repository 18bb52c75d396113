"""Write results into the evaluation metadata of a model's card on the Hugging Face Hub.

The card's metadata has a list ``model-index`` (https://huggingface.co/docs/hub/model-cards#evaluation-results). Only
that list is written anew, and in it only results that this program wrote before for the same benchmark, version and
mode are replaced: other metadata, other people's results and the card's text stay as they are, byte for byte.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sari_bench.counting import counted
from sari_bench.scoring import Score
from sari_bench.statistics.metrics import Tally, percent
from sari_data.errors import InputError, StorageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from sari_bench.reporting.leaderboard import Entry

TOOL = "sari-bench"
CARD = "README.md"
# Where each benchmark is on the Hub, its name for people, and its split.
DATASETS = {
    "mmau-test-mini": ("gamma-lab-umd/MMAU-test-mini", "MMAU", "test-mini"),
    "mmau-test": ("gamma-lab-umd/MMAU-test", "MMAU", "test"),
    "mmau-pro": ("gamma-lab-umd/MMAU-Pro", "MMAU-Pro", "test"),
    "mmar": ("BoJack/MMAR", "MMAR", "test"),
    "mmsu": ("ddwang2000/MMSU", "MMSU", "test"),
}
_TASK = {"type": "audio-text-to-text", "name": "Audio question answering"}
_INDEX = "model-index"
_HEAD = re.compile(r"\A(\s*---[ \t]*\r?\n)(.*?)(^---[ \t]*(?:\r?\n|\Z))", re.DOTALL | re.MULTILINE)
_HASH = re.compile(r"[0-9a-f]{12}(?![\w.])")
_UNFIT = re.compile(r"[^\w.-]+")
_TOP_KEY = re.compile(r"^(?=[^\s#-])", re.MULTILINE)


def result_of(entry: Entry) -> dict[str, Any]:
    """Return a run's result as an item of ``results`` in a card's model index.

    Values are percent with two decimals; counts and the 95 % interval stand in ``args``. ``revision`` is the
    benchmark's version by its content: a part of it (``--limit``) and an unregistered revision are called so there.

    Raises:
        InputError: The run is not finished, or lacks answers.
    """
    run = entry.run
    missing = entry.score.honest.outcomes["missing"]
    if run.meta.get("finished") is None or missing:
        raise InputError(
            f"run {run.name} is not finished ({counted(missing, 'answer')} missing), so its figures are not published: "
            "give the command that made it again"
        )
    about = run.benchmark
    dataset, name, split = DATASETS.get(about.name, (about.name, about.name, "test"))
    version = about.version
    if about.name in DATASETS and _HASH.match(version):
        version = f"unregistered revision {version}"
    metrics = []
    for scorer, score in (entry.scores or {entry.score.scorer: entry.score}).items():
        metrics += _metrics(scorer, score)
    return {
        "task": dict(_TASK),
        "dataset": {
            "name": f"{name} {split} ({version})",
            "type": dataset,
            "config": run.mode,
            "split": split,
            "revision": version,
            "args": {
                "measured_by": TOOL,
                "questions": len(about.golds),
                "samples": run.samples,
                "content_hash": about.digest,
            },
        },
        "metrics": metrics,
    }


def _metrics(scorer: str, score: Score) -> list[dict[str, Any]]:
    parts: list[tuple[str, Tally]] = [("overall", score.overall), *score.by.get("task", {}).items()]
    return [
        {
            "type": "accuracy",
            "name": f"accuracy, {part}" if scorer == "answer" else f"accuracy, {part}, scorer {scorer}",
            "value": percent(tally.accuracy),
            "verified": False,
            "args": {
                "scorer": scorer,
                "n": tally.n,
                "correct": tally.correct,
                "interval": [percent(bound) for bound in tally.best_interval or ()],
            },
        }
        for part, tally in parts
        if tally.accuracy is not None
    ]


def merge_index(index: Any, results: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return a card's model index with results added, in place of earlier ones of ours for the same thing.

    Args:
        index: The index as the card has it, or ``None``.
        results: What :func:`result_of` returned.
        name: Name of the model where the card names none.

    Raises:
        InputError: The card's index is not a list of models.
    """
    merged = copy.deepcopy(index) if index else [{"name": name, "results": []}]
    if not isinstance(merged, list) or not all(isinstance(model, dict) for model in merged):
        raise InputError(f"the card's {_INDEX} is not a list of models with results: correct it on the Hub first")
    replaced = {_identity(result) for result in results}
    kept = merged[0].get("results") or []
    if not isinstance(kept, list):
        raise InputError(f"the card's {_INDEX} has results that are no list: correct it on the Hub first")
    merged[0]["results"] = [one for one in kept if not (_is_ours(one) and _identity(one) in replaced)]
    merged[0]["results"] += [copy.deepcopy(dict(result)) for result in results]
    return merged


def _is_ours(result: Any) -> bool:
    dataset = result.get("dataset") if isinstance(result, dict) else None
    args = dataset.get("args") if isinstance(dataset, dict) else None
    return isinstance(args, dict) and args.get("measured_by") == TOOL


def _identity(result: Mapping[str, Any]) -> tuple[str, ...]:
    dataset = result["dataset"]
    return tuple(str(dataset.get(key)) for key in ("type", "config", "split", "revision"))


def update_card(text: str, results: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return a card with results in its metadata; everything but the model index stays byte for byte.

    Raises:
        InputError: The card's metadata cannot be read.
    """
    head = _HEAD.match(text)
    opening, block, closing = head.groups() if head else ("---\n", "", "---\n")
    rest = text[head.end() :] if head else ("\n" + text if text else "")
    known = _parse(block)
    index = merge_index(known.get(_INDEX), results, name)
    block = _without_index(block)
    changed = f"{opening}{block}{index_yaml(index)}{closing}"
    found = _HEAD.match(changed)
    assert found is not None, "a card's head that was just written cannot be found"
    if _parse(found.group(2)) != {**known, _INDEX: index}:
        raise InputError(
            f"the card's metadata is written in a way that cannot be kept while its {_INDEX} changes (an anchor that "
            "is used elsewhere, perhaps): write it plainly on the Hub first"
        )
    return changed + rest


def _parse(block: str) -> dict[str, Any]:
    """Read a card's metadata with the Hub's own client."""
    from huggingface_hub import repocard

    try:
        card = repocard.RepoCard(f"---\n{block}\n---\n")
    except (ValueError, TypeError, repocard.yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the card's metadata is not YAML keys ({reason}): correct it on the Hub first") from error
    return dict(vars(card.data))


def _without_index(block: str) -> str:
    """The metadata's text less the top-level key ``model-index``."""
    start = re.search(rf"^{_INDEX}[ \t]*:", block, re.MULTILINE)
    if start is None:
        return block
    following = _TOP_KEY.search(block, start.end())
    return block[: start.start()] + (block[following.start() :] if following else "")


def index_yaml(index: Sequence[Mapping[str, Any]]) -> str:
    """Return a model index as the YAML that a card holds."""
    from huggingface_hub.utils import yaml_dump

    return str(yaml_dump({_INDEX: list(index)}, sort_keys=False))


def card_diff(before: str, after: str, repo: str) -> str:
    """Return what changes in a card, as a unified diff."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{repo}/{CARD} now", f"{repo}/{CARD} then", lineterm=""
    )
    return "\n".join(lines)


def fetch_card(repo: str, api: HfApi) -> tuple[str, str]:
    """Return a model repository's card (empty where it has none) and the commit that it was read at.

    Raises:
        InputError: There is no such model repository.
        StorageError: The Hub refused or cannot be reached.
    """
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    from sari_data.hub import first_line, transport_errors

    try:
        commit = str(api.model_info(repo).sha)
        with TemporaryDirectory() as folder:
            path = api.hf_hub_download(repo, CARD, revision=commit, cache_dir=folder)
            # Line ends as they are: a card is given back byte for byte.
            return Path(path).read_bytes().decode(), commit
    except EntryNotFoundError:
        return "", commit
    except UnicodeDecodeError as error:
        raise InputError(f"the card of {repo} is not UTF-8 text: correct it on the Hub first") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"the Hub has no model {repo!r} that this token can see: results go into the card of a model that is "
            "there, so upload the model first"
        ) from error
    except transport_errors() as error:
        raise StorageError(f"the card of {repo} could not be read ({first_line(error)}): try later") from error


def eval_file(entry: Entry, task_id: str) -> tuple[str, str]:
    """Return path and text of a run's file of the newer form ``.eval_results/*.yaml``, which feeds a data set's board.

    It holds one value, the overall accuracy in percent (https://huggingface.co/docs/hub/eval-results).

    Args:
        entry: A run that :func:`result_of` accepts.
        task_id: Id of the task in the benchmark's data set on the Hub; its authors choose it.

    Raises:
        InputError: The benchmark has no data set on the Hub, or the run is not on a whole registered version.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump

    about = entry.run.benchmark
    if about.name not in DATASETS or _HASH.match(about.version) or "," in about.version:
        raise InputError(
            f"run {entry.run.name} is on {about.name} ({about.version}): a board of the Hub takes a whole registered "
            "version of a published benchmark, so leave --eval-task out"
        )
    result = EvalResultEntry(
        dataset_id=DATASETS[about.name][0],
        task_id=task_id,
        value=percent(entry.score.overall.accuracy),
        date=str(entry.run.meta["finished"]),
        notes=f"{about.version}, mode {entry.run.mode}, scorer {entry.score.scorer} of {TOOL}",
    )
    text = str(yaml_dump(eval_result_entries_to_yaml([result]), sort_keys=False))
    return f".eval_results/{TOOL}-{about.name}-{_UNFIT.sub('-', entry.run.mode)}.yaml", text


def push_files(repo: str, files: Mapping[str, str], commit: str, api: HfApi) -> str:
    """Upload files in one commit on top of the one that the card was read at; returns the model's address.

    Raises:
        InputError: The Hub does not accept the card's metadata.
        StorageError: The model was changed meanwhile, or the Hub refused or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd

    from sari_data.hub import first_line, transport_errors

    try:
        api.create_commit(
            repo,
            [CommitOperationAdd(path_in_repo=path, path_or_fileobj=text.encode()) for path, text in files.items()],
            commit_message=f"Evaluation results measured by {TOOL}",
            parent_commit=commit,
        )
    except ValueError as error:
        raise InputError(f"the Hub does not accept the metadata of {repo}'s card: {first_line(error)}") from error
    except transport_errors() as error:
        raise StorageError(
            f"the card of {repo} could not be written ({first_line(error)}): give the command again when the Hub can "
            "be reached, the token may write there, and nobody else is changing the model"
        ) from error
    return f"{api.endpoint}/{repo}"
