"""A corpus on disk: Parquet shards, a dataset card, and a manifest that is written last.

``data/<split>-00000.parquet`` holds the splits ``sft``, ``rl`` and ``dev``; any other split, such as
``never_passed``, is a side file below ``side/``, which ``datasets.load_dataset(folder)`` leaves out.
Everything is written into a hidden folder beside the target, which takes the target's name only when
it is complete: a folder with a ``manifest.json`` is whole. The same questions give the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sari_data.audio import decode
from sari_data.card_head import with_data_files
from sari_data.errors import CorpusError, InputError, MissingFileError, SariError
from sari_data.schema import from_row, row_bytes, to_row
from sari_data.shards import check_file, iter_rows, open_shard, row_groups, sha256_of, storing
from sari_data.types import AudioQuestion

FORMAT = "sari-corpus"
FORMAT_VERSION = 2
MANIFEST = "manifest.json"
CARD = "README.md"
ASIDE = "side/set_aside.jsonl"
SPLITS = ("sft", "rl", "dev")
SHARD_BYTES = 256 * 2**20

_RESERVED = ("format", "format_version", "embedded", "splits", "files", "set_aside", "without_audio")
_GROUP_BYTES = 8 * 2**20
_SPLIT_NAME = re.compile(r"[a-z][a-z0-9_]*")


def write_corpus(
    folder: str | Path,
    splits: Mapping[str, Iterable[AudioQuestion] | Iterable[dict[str, Any]]],
    manifest: Mapping[str, Any],
    *,
    card: str | Callable[[dict[str, Any]], str],
    overwrite: bool = False,
    embed: bool = True,
    named: bool = False,
    shard_bytes: int = SHARD_BYTES,
    set_aside: Iterable[str] = (),
) -> dict[str, Any]:
    """Write a corpus folder; on any error nothing is left of it and an older corpus there stays.

    The questions are streamed: at most one row group (about 8 MiB of audio) is in memory.

    Args:
        folder: Where to; it must not exist, be empty, or with ``overwrite`` be a corpus.
        splits: Split name to its questions, or to rows as :func:`~sari_data.schema.to_row` lays them out.
        manifest: What the manifest says besides the format, the splits and the files.
        card: The dataset card (``README.md``), or a function of the whole manifest that returns it. The
            list of data files is put into its YAML head where that has no ``configs``.
        overwrite: Replace a corpus that is there.
        embed: Put the audio inside; otherwise keep paths and the part meant.
        named: Rows may be without audio (:mod:`sari_data.rehydrate`); the manifest says how many are.
        shard_bytes: Size at which a new shard is begun.
        set_aside: What did not become part of the corpus, as lines of JSON for ``side/set_aside.jsonl``.

    Returns:
        The manifest as written, ``set_aside`` with its number of lines included.

    Raises:
        CorpusError: The folder holds something that may not be replaced.
        InputError: A split's or manifest key's name that cannot be used, or an id that comes twice.
        StorageError: The disk is full, or the folder cannot be written.
    """
    target = check_target(folder, overwrite=overwrite)
    _check_names(splits, manifest)
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        ids: set[str] = set()
        files: list[dict[str, Any]] = []
        for split, given in splits.items():
            files += _write_split(work, split, _rows(given, ids, embed), embed, named, shard_bytes, target)
        aside = _write_lines(work / ASIDE, set_aside, target)
        rows = {split: sum(entry["rows"] for entry in files if entry["split"] == split) for split in splits}
        body = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "embedded": embed,
            **manifest,
            "splits": {split: {"rows": count} for split, count in rows.items()},
            "files": files,
            "set_aside": aside,
        }
        if named:
            body["without_audio"] = sum(entry["without_audio"] for entry in files)
        text = with_data_files(card(body) if callable(card) else card, [s for s in SPLITS if rows.get(s)])
        with storing(target):
            _write_text(work / CARD, text)
            _write_text(work / MANIFEST, json.dumps(body, indent=2, ensure_ascii=False, sort_keys=False) + "\n")
            check_target(target, overwrite=overwrite)  # another process may have filled it since
            _move(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return body


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return a corpus folder's manifest.

    Raises:
        MissingFileError: No such folder.
        CorpusError: It has no manifest (it is incomplete, or no corpus), or one that is not ours.
    """
    path = Path(folder)
    if not path.is_dir():
        raise MissingFileError(f"corpus {str(folder)!r}: expected a folder there, found none: build it first")
    if not (path / MANIFEST).is_file():
        raise CorpusError(
            f"{folder}: expected a corpus, found no {MANIFEST}: it is incomplete or no corpus: build it again"
        )
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorpusError(f"{path / MANIFEST}: expected JSON, found text that is not: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CorpusError(
            f"{path / MANIFEST}: expected a manifest with format {FORMAT!r}, found another: name a corpus"
        )
    if manifest.get("format_version") != FORMAT_VERSION:
        raise CorpusError(
            f"{path / MANIFEST}: expected format_version {FORMAT_VERSION}, found {manifest.get('format_version')!r}: "
            "use the version of sari that wrote it, or build it again"
        )
    if not _has_its_shape(manifest):
        raise CorpusError(
            f"{path / MANIFEST}: expected the keys 'embedded', 'splits' and 'files' as a corpus is written with, "
            "found others: restore the file, or build the corpus again"
        )
    return manifest


def _has_its_shape(manifest: Mapping[str, Any]) -> bool:
    """Return whether what the readers of a corpus rely on is there, with its types."""
    splits, files = manifest.get("splits"), manifest.get("files")
    return (
        isinstance(manifest.get("embedded"), bool)
        and isinstance(splits, dict)
        and all(isinstance(split, dict) and isinstance(split.get("rows"), int) for split in splits.values())
        and isinstance(files, list)
        and all(isinstance(e, dict) and {"path", "split", "rows", "sha256"} <= e.keys() for e in files)
        and all(e["split"] in splits and isinstance(e["path"], str) for e in files)
    )


def iter_split(folder: str | Path, split: str) -> Iterator[AudioQuestion]:
    """Yield a split's questions in their order, a few rows in memory at a time.

    Raises:
        CorpusError: The folder is no complete corpus, has no such split, or a shard cannot be read.
        InputError: A row that is not a valid question.
    """
    manifest = read_manifest(folder)
    if split not in manifest["splits"]:
        raise CorpusError(f"{folder}: expected one of the splits {list(manifest['splits'])}, found {split!r}")
    for entry in manifest["files"]:
        if entry["split"] == split:
            yield from (from_row(row) for row in iter_rows(Path(folder) / entry["path"]))


def read_split(folder: str | Path, split: str) -> list[AudioQuestion]:
    """Return a split's questions in their order; raises as :func:`iter_split`."""
    return list(iter_split(folder, split))


def check_corpus(folder: str | Path) -> list[str]:
    """Return what is wrong with a corpus, one line each; an empty list means that it is sound.

    Checks the files against the manifest (presence, hash, rows, schema), every row against the contract
    of a question, that ids are unique over all splits, that all audio decodes, that no clip of ``dev``
    occurs in ``sft`` or ``rl``, and that the dataset card is there.

    Raises:
        MissingFileError: No such folder.
        CorpusError: It has no manifest of ours.
    """
    root, manifest = Path(folder), read_manifest(folder)
    problems: list[str] = []
    homes: dict[str, str] = {}
    clips: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = dict.fromkeys(manifest["splits"], 0)
    without = 0
    for entry in manifest["files"]:
        path, split = root / entry["path"], entry["split"]
        readable, found = check_file(path, entry, embed=manifest["embedded"], named="without_audio" in manifest)
        problems += found
        if not readable:
            continue
        for row in iter_rows(path):
            counts[split] += 1
            where = f"{split}: question {row['id']!r}"
            if row["id"] in homes:
                problems.append(f"{where}: its id is also in {homes[row['id']]}")
            homes.setdefault(row["id"], split)
            try:
                question = from_row(row)
                if row["audio"] is None:
                    without += 1  # told in the manifest, not broken
                else:
                    decode(question.audio, max_seconds=math.inf)
            except SariError as error:
                # Most of these sentences name the question themselves.
                problems.append(f"{where}: {str(error).removeprefix(where.removeprefix(f'{split}: ') + ': ')}")
                continue
            clips.setdefault(question.audio.key, {}).setdefault(split, row["id"])
    for split, count in counts.items():
        if count != manifest["splits"][split]["rows"]:
            problems.append(f"{split}: the manifest says {manifest['splits'][split]['rows']} rows, found {count}")
    if without != manifest.get("without_audio", 0):
        problems.append(f"the manifest says {manifest.get('without_audio', 0)} rows without audio, found {without}")
    for users in clips.values():
        problems += [
            f"audio of question {users['dev']!r} in dev is also that of {users[split]!r} in {split}"
            for split in ("sft", "rl")
            if "dev" in users and split in users
        ]
    if not (root / CARD).is_file():
        problems.append(f"{CARD}: is missing: without the list of splits in it `datasets` guesses them wrong")
    known = {entry["path"] for entry in manifest["files"]}
    found_files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.parquet"))
    return problems + [f"{path}: is not in the manifest" for path in found_files if path not in known]


def check_target(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Return the absolute path of a folder that a corpus may be written to; cheap, so ask before long work.

    Raises:
        CorpusError: It holds something that may not be replaced.
    """
    target = Path(os.path.abspath(folder))
    with storing(target):
        there = target.exists()
    if not there:
        above = next(parent for parent in target.parents if parent.exists())
        if not above.is_dir():
            raise CorpusError(f"{target}: expected a folder to write to, found that {above} is a file: name another")
        return target
    if not target.is_dir():
        raise CorpusError(f"{target}: expected a folder to write a corpus to, found a file: name another")
    if not any(target.iterdir()):
        return target
    if not (target / MANIFEST).is_file():
        raise CorpusError(f"{target}: holds files that are no corpus and is left as it is: name another folder")
    read_manifest(target)
    if not overwrite:
        raise CorpusError(
            f"{target}: a corpus is there already: allow it to be overwritten (--overwrite), or name another folder"
        )
    return target


def _check_names(splits: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    bad = [split for split in splits if not _SPLIT_NAME.fullmatch(split)]
    if bad:
        raise InputError(f"a split's name must be lower-case letters, digits and _; found {bad}")
    taken = [key for key in manifest if key in _RESERVED]
    if taken:
        raise InputError(f"the manifest writes the keys {list(_RESERVED)} itself; found {taken} among yours")


def _rows(
    questions: Iterable[AudioQuestion] | Iterable[dict[str, Any]], ids: set[str], embed: bool
) -> Iterator[dict[str, Any]]:
    for question in questions:
        row = question if isinstance(question, dict) else to_row(question, embed=embed)
        if row["id"] in ids:
            raise InputError(f"question {row['id']!r} comes twice in the corpus: drop one of the two")
        ids.add(row["id"])
        yield row


def _write_split(
    work: Path, split: str, rows: Iterator[dict[str, Any]], embed: bool, named: bool, shard_bytes: int, target: Path
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    groups = row_groups(rows, min(_GROUP_BYTES, shard_bytes))
    group = next(groups, None)
    while group is not None:
        name = f"{'data' if split in SPLITS else 'side'}/{split}-{len(entries):05d}.parquet"
        path, count, size, without = work / name, 0, 0, 0
        with open_shard(path, embed, target, named=named) as write:
            while group is not None and size < shard_bytes:
                write(group)
                size, count = size + sum(map(row_bytes, group)), count + len(group)
                without += sum(row["audio"] is None for row in group)
                group = next(groups, None)
        entries.append(
            {"path": name, "split": split, "rows": count, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
            | ({"without_audio": without} if named else {})
        )
    return entries


def _write_lines(path: Path, lines: Iterable[str], target: Path) -> int:
    """Write lines as they come; returns how many there were, and without any leaves no file."""
    count = 0
    with contextlib.ExitStack() as stack:
        for line in lines:
            with storing(target):
                if count == 0:
                    path.parent.mkdir(exist_ok=True)
                    file = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
                file.write(line + "\n")
            count += 1
    return count


def read_set_aside(folder: str | Path) -> Iterator[str]:
    """Yield the lines of JSON about what did not become part of a corpus; none where nothing was set aside."""
    path = Path(folder) / ASIDE
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            yield from (line.rstrip("\n") for line in lines)


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _move(work: Path, target: Path) -> None:
    work.chmod(0o755)  # mkdtemp's folders are private
    if not (target / MANIFEST).is_file():
        os.replace(work, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    os.replace(target, old)
    try:
        os.replace(work, target)
    except OSError:
        os.replace(old, target)
        raise
    shutil.rmtree(old)
