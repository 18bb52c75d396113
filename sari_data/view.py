"""A corpus as one self-contained HTML page: to look at, listen to, filter and search.

The page is written as the corpus is read, some rows at a time: texts as JSON in blocks of 100 rows, clips as base64,
each once, up to a bound. Its script draws only the rows that are in sight and decodes a clip only when its question is
opened. What a model or a data set wrote stays text (see :mod:`sari_data.html_pages`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sari_data.errors import CorpusError, InputError
from sari_data.html_clips import Audio, Clips
from sari_data.html_pages import json_for_script, render_html
from sari_data.schema import from_row
from sari_data.shards import iter_rows, storing
from sari_data.sources.files import Choice, choose
from sari_data.store import read_manifest, read_set_aside
from sari_data.view_rows import page_row

ROWS = 2000
AUDIO_MIB = 64.0  # of clips on a page, before base64 makes them a third larger

ASIDE_ROWS = 500  # of what was set aside, the first are listed

_BLOCK = 100
_DATA = "<!--data-->"
_ELSEWHERE = {
    "none": "The corpus is without this clip, which may not be shared: `sari-data rehydrate` puts it back.",
    "problem": "audio is not in the corpus",
}


@dataclass(frozen=True, slots=True)
class Page:
    """What was written.

    Args:
        path: The page.
        rows: Questions on it.
        total: Questions in the splits that were asked for.
        clips: Clips inside it.
        left_out: Clips that the bound left out.
        unreadable: Clips that could not be decoded.
        size: Its size in bytes.
    """

    path: str
    rows: int
    total: int
    clips: int
    left_out: int
    unreadable: int
    size: int


def write_view(
    folder: str | Path,
    target: str | Path,
    *,
    rows: int = ROWS,
    seed: int = 0,
    splits: Sequence[str] = (),
    audio: Audio = "small",
    audio_mib: float = AUDIO_MIB,
    advance: Callable[[int], None] = lambda count: None,
) -> Page:
    """Write the page of a corpus; an older page of that name is replaced when the new one is complete.

    A hundred rows, one clip and some hundred bytes for each row are in memory.

    Args:
        folder: The corpus.
        target: The page.
        rows: How many questions at most; which ones is decided by ``seed`` and their ids.
        seed: The seed of that choice.
        splits: Which splits, side files such as ``never_passed`` among them; none given means all.
        audio: ``small``: mono MP3 at 16 kHz; ``full``: as it is in the corpus; ``none``.
        audio_mib: Bound on the clips inside the page, in MiB; further questions have no sound and say so.
        advance: Called with the number of rows done.

    Raises:
        MissingFileError: No such folder.
        CorpusError: It is no complete corpus, or a shard cannot be read.
        InputError: It has no such split, no question at all, or a row that is no question.
        StorageError: The page cannot be written.
    """
    manifest = read_manifest(folder)
    wanted = _pick(manifest, splits)
    chosen, total = _choose(Path(folder), manifest, wanted, rows, seed)
    path = Path(target)
    shown = min(rows, total)
    head, tail = _frame(Path(folder), manifest, _facts(manifest, wanted, shown, total, seed, audio))
    clips = Clips(audio, audio_mib)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            for text in chain([head], _data(Path(folder), manifest, wanted, chosen, clips, advance), [tail]):
                with storing(path):
                    file.write(text)
        with storing(path):
            os.chmod(name, 0o644)
            os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    return Page(str(path), shown, total, clips.inside, clips.left_out, clips.unreadable, path.stat().st_size)


def _pick(manifest: Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    there = list(manifest["splits"])
    unknown = [split for split in splits if split not in there]
    if unknown:
        raise InputError(f"expected splits among {there}, found {unknown}")
    return [split for split in there if not splits or split in splits]


def _choose(
    folder: Path, manifest: Mapping[str, Any], splits: Sequence[str], rows: int, seed: int
) -> tuple[Choice, int]:
    total = sum(entry["rows"] for entry in manifest["files"] if entry["split"] in splits)
    if rows < 1 or total == 0:
        raise InputError(f"{folder}: expected one or more questions to show, found {total if rows >= 1 else rows}")
    ids = (id for entry in _files(manifest, splits) for id in _ids(folder / entry["path"]))
    return choose(ids, None if rows >= total else rows, seed), total


def _files(manifest: Mapping[str, Any], splits: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for split in splits:
        yield from (entry for entry in manifest["files"] if entry["split"] == split)


def _ids(path: Path) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["id"]):
                yield from (id or "" for id in batch.column(0).to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise CorpusError(f"{path}: expected a shard of a corpus, found a file that cannot be read: {error}") from error


def _data(
    folder: Path,
    manifest: Mapping[str, Any],
    splits: Sequence[str],
    chosen: Choice,
    clips: Clips,
    advance: Callable[[int], None],
) -> Iterator[str]:
    """The page's data, in its order: clips, and blocks of rows."""
    block: list[dict[str, Any]] = []
    calibrated = bool(manifest.get("calibrated", True))
    for entry in _files(manifest, splits):
        for row in iter_rows(folder / entry["path"]):
            if (row["id"] or "") not in chosen:
                continue
            question = from_row(row)
            said, element = (_ELSEWHERE, "") if row["audio"] is None else clips.place(question.audio)
            yield element
            block.append(page_row(question, entry["split"], said, calibrated=calibrated))
            if len(block) == _BLOCK:
                yield _rows_element(block)
                advance(len(block))
                block = []
    if block:
        yield _rows_element(block)
        advance(len(block))


def _rows_element(block: Sequence[Mapping[str, Any]]) -> str:
    return f'<script type="application/json" class="rows">{json_for_script(block)}</script>\n'


def _frame(folder: Path, manifest: Mapping[str, Any], facts: Sequence[str]) -> tuple[str, str]:
    """What comes before the data and what comes after."""
    from markupsafe import Markup

    name = manifest.get("name") or folder.resolve().name
    page = render_html(
        "view",
        styles=("rowlist",),
        scripts=("rowlist",),
        title=f"Corpus {name}",
        folder=str(folder),
        facts=facts,
        data=Markup(_DATA),
        funnel=_funnel(manifest),
        aside=_aside(folder),
        aside_total=_number(manifest.get("set_aside")),
    )
    head, _, tail = page.partition(_DATA)
    return head, tail


def _facts(
    manifest: Mapping[str, Any], splits: Sequence[str], rows: int, total: int, seed: int, audio: str
) -> list[str]:
    """What the heading says."""
    parts = [
        f"{split} {found['rows']:,}{'' if split in splits else ' (not shown)'}"
        for split, found in manifest["splits"].items()
    ]
    licences = [f"{licence} {count:,}" for licence, count in _counts(manifest.get("licences")).items()]
    heard = {"small": "clips are mono MP3 at 16 kHz", "full": "clips as in the corpus", "none": "without audio"}
    return [
        f"{rows:,} of {total:,} questions, chosen with seed {seed}" if rows < total else f"{total:,} questions",
        ", ".join(parts),
        *([f"audio: {', '.join(licences)}"] if licences else []),
        f"sari {manifest.get('sari_version') or 'of an unknown version'}",
        heard[audio],
    ]


def _funnel(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """The stages of the build, as texts."""
    found = manifest.get("funnel")
    stages = [stage for stage in found if isinstance(stage, Mapping)] if isinstance(found, list) else []
    return [
        {
            "stage": str(stage.get("stage", "")),
            "in": f"{_number(stage.get('in')):,} {stage.get('unit', '')}",
            "out": f"{_number(stage.get('out')):,} {stage.get('made', '')}",
            "dropped": ", ".join(f"{count:,} {reason}" for reason, count in _counts(stage.get("dropped")).items()),
        }
        for stage in stages
    ]


def _aside(folder: Path) -> list[dict[str, str]]:
    """The first of what was set aside, as texts."""
    found = []
    for line in islice(read_set_aside(folder), ASIDE_ROWS):
        try:
            said = json.loads(line)
        except ValueError as error:
            raise CorpusError(f"{folder}: expected JSON lines about what was set aside, found {line[:80]!r}") from error
        source = said.get("provenance") or {}
        names = {"dataset": source.get("dataset", ""), **{key: said.get(key, "") for key in ("reason", "id", "detail")}}
        found.append({key: str(value) for key, value in names.items()})
    return found


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _counts(found: Any) -> dict[str, int]:
    """What a manifest says, where it says it in the form that is known."""
    if not isinstance(found, Mapping):
        return {}
    return {str(key): value for key, value in found.items() if isinstance(value, int)}
