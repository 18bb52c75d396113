"""A corpus without some of its audio, and the way back: for data sets whose audio may not be shared.

A row without audio keeps everything else, and of the audio what finds it again: the file's name, its
SHA-256 and its length in seconds; ``provenance`` has the item's id and, where known, the YouTube video and
segment. The column ``audio`` is empty as a whole, not a path, which ``datasets`` and the Hub's viewer would
try to open. Ids stay, so pass rates and results of either form can be compared.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sari_data.audio import decode, encode_wav, probe
from sari_data.card import card_of
from sari_data.counting import Tally
from sari_data.errors import AudioError, CorpusError
from sari_data.schema import from_row, to_row
from sari_data.shards import iter_rows, sha256_of
from sari_data.sources.files import AudioIndex
from sari_data.store import _RESERVED, read_manifest, write_corpus
from sari_data.types import AudioRef

# Splits of rows whose audio was not found are side files under this name.
MISSING = "_without_audio"
FORMS = ("<its name>", "<source id>", "<YouTube id>", "<YouTube id>_<start>_<end>", "<YouTube id>_<start in ms>")

_NAMED = ("audio_name", "audio_sha256", "audio_seconds")
# Columns that are long, and not needed to know where a row is from.
_HEAVY = ("audio", "question", "choices", "answer", "caption", "reasoning", "pass_rates")


@dataclass(slots=True)
class Rehydrated:
    """What :func:`rehydrate` found.

    Args:
        manifest: The manifest of the corpus that was written.
        same: Rows whose audio was found byte for byte.
        other: Rows whose audio was found with the right length but in other bytes, for instance encoded anew.
        missing: Id to why its audio was not found.
    """

    manifest: dict[str, Any] = field(default_factory=dict)
    same: int = 0
    other: int = 0
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, int]:
        """Why audio is missing, to the number of rows."""
        return dict(Counter(self.missing.values()).most_common())


@dataclass(frozen=True, slots=True)
class _Match:
    path: Path
    same: bool
    start: float | None = None  # where the part begins, in a file that is longer


def without_audio(
    folder: str | Path, target: str | Path, withheld: Callable[[str], bool], *, overwrite: bool = False
) -> dict[str, Any]:
    """Write a corpus without the audio of some data sets; a few rows are in memory.

    Args:
        folder: The corpus.
        target: Where to write the other one.
        withheld: Whether a data set's audio is left out, by its name in ``provenance`` (empty where it has none).
        overwrite: Replace a corpus that is there.

    Returns:
        The manifest of what was written; its ``without_audio`` is the number of rows without.

    Raises:
        MissingFileError, CorpusError: As :func:`~sari_data.store.read_manifest`.
        MissingFileError: A corpus that keeps paths, and a file that is not there.
        StorageError: The disk is full, or the folder cannot be written.
    """
    manifest, root = read_manifest(folder), Path(folder)

    def rows(split: str) -> Iterator[dict[str, Any]]:
        for row in _rows(root, manifest, split):
            if row["audio"] is None:
                yield row
                continue
            whole = row if manifest["embedded"] else to_row(from_row(row), embed=True)
            dataset = (row["provenance"] or {}).get("dataset") or ""
            yield _stripped(whole) if withheld(dataset) else whole | dict.fromkeys(_NAMED)

    splits = {split: rows(split) for split in manifest["splits"]}
    about = {key: value for key, value in manifest.items() if key not in _RESERVED}
    return write_corpus(target, splits, about, card=card_of(root, manifest), overwrite=overwrite, named=True)


def rehydrate(
    folder: str | Path,
    audio: Sequence[str | Path],
    target: str | Path,
    *,
    exact: bool = False,
    overwrite: bool = False,
) -> Rehydrated:
    """Find the audio of rows that are without it, and write the corpus with it inside.

    A file is taken if its bytes are those that the corpus was built from. Otherwise, unless ``exact``, it must have the
    same length (to half a second or 2 %); of a longer file that is named for a YouTube video, the row's segment is cut
    out. Rows whose audio is not found go to side files ``<split>_without_audio``, from where a later call takes them
    again.

    Args:
        folder: The corpus.
        audio: Folders with audio files; earlier ones are preferred.
        target: Where to write the corpus.
        exact: Take the same bytes only.
        overwrite: Replace a corpus that is there.

    Raises:
        MissingFileError: No such folder.
        InputError: A folder without any audio.
        CorpusError: No row is without audio, or none of the audio is in the folders.
        StorageError: The disk is full, or the folder cannot be written.
    """
    manifest, root = read_manifest(folder), Path(folder)
    if not manifest.get("without_audio"):
        raise CorpusError(f"{folder}: expected rows without audio, found none: it is whole already")
    indexes = [AudioIndex(place, FORMS) for place in audio]
    found: dict[str, _Match] = {}
    result = Rehydrated()
    tally = Tally(split for split in manifest["splits"] if not split.endswith(MISSING))
    for split in manifest["splits"]:
        for row in _rows(root, manifest, split, leave_out=("audio",)):
            if row["audio_name"] is not None:
                match = _find(row, indexes, exact)
                if isinstance(match, str):
                    result.missing[row["id"]] = match
                    continue
                found[row["id"]] = match
                result.same += match.same
                result.other += not match.same
            shown = row["audio_name"] or row["id"]
            tally.add(split.removesuffix(MISSING), from_row(row | {"audio": None, "audio_name": shown}))
    if not found:
        raise CorpusError(
            f"{folder}: expected audio of its {manifest['without_audio']} rows without in "
            f"{', '.join(map(str, audio))}, found none of it ({_told(result.reasons)}); names looked for are "
            f"{', '.join(FORMS)}: name the folder with the data sets' audio"
        )
    about = {key: value for key, value in manifest.items() if key not in _RESERVED}
    known = manifest.get("sources") or {}
    if "counts" in manifest:  # which rows have audio changes the counts, and not what is known of the data sets
        about |= tally.to_manifest()
        about["sources"] = {name: counts | _facts(known.get(name)) for name, counts in about["sources"].items()}
    named = bool(result.missing)
    splits = _splits(root, manifest, found, result.missing, named)
    result.manifest = write_corpus(
        target, splits, about, card=card_of(root, manifest), overwrite=overwrite, named=named
    )
    return result


def datasets_of(folder: str | Path) -> dict[str, int]:
    """Return the data sets of a corpus's rows by name, with the number of rows that have audio."""
    root, manifest = Path(folder), read_manifest(folder)
    counts: Counter[str] = Counter()
    for split in manifest["splits"]:
        for row in _rows(root, manifest, split, leave_out=_HEAVY):
            counts[(row["provenance"] or {}).get("dataset") or ""] += row.get("audio_name") is None
    return dict(counts)


def _rows(
    root: Path, manifest: Mapping[str, Any], split: str, leave_out: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    for entry in manifest["files"]:
        if entry["split"] == split:
            yield from iter_rows(root / entry["path"], leave_out=leave_out)


def _stripped(row: dict[str, Any]) -> dict[str, Any]:
    ref = AudioRef(path=row["audio"]["path"], data=row["audio"]["bytes"])
    return row | {
        "audio": None,
        "audio_name": Path(ref.path or f"{row['id']}.wav").name,
        "audio_sha256": hashlib.sha256(ref.data or b"").hexdigest(),
        "audio_seconds": round(probe(ref).seconds, 3),
    }


def _splits(
    root: Path, manifest: Mapping[str, Any], found: Mapping[str, _Match], missing: Mapping[str, str], named: bool
) -> dict[str, Iterator[dict[str, Any]]]:
    """The splits with the audio that was found, and side splits of the rows whose audio was not."""
    bases = list(dict.fromkeys(split.removesuffix(MISSING) for split in manifest["splits"]))

    def parts(base: str) -> Iterator[dict[str, Any]]:
        for split in manifest["splits"]:
            if split.removesuffix(MISSING) == base:
                yield from _rows(root, manifest, split)

    def whole(base: str) -> Iterator[dict[str, Any]]:
        for row in parts(base):
            if row["id"] not in missing:
                match = found.get(row["id"])
                audio = row["audio"] if match is None else _read(match, row["audio_seconds"])
                rest = {key: value for key, value in row.items() if key not in _NAMED}
                yield rest | {"audio": audio} | (dict.fromkeys(_NAMED) if named else {})

    splits = {base: whole(base) for base in bases}
    if named:
        splits |= {
            base + MISSING: (row for row in parts(base) if row["id"] in missing)
            for base in bases
            if any(row["id"] in missing for row in _ids(root, manifest, base))
        }
    return splits


def _ids(root: Path, manifest: Mapping[str, Any], base: str) -> Iterator[dict[str, Any]]:
    for split in manifest["splits"]:
        if split.removesuffix(MISSING) == base:
            yield from _rows(root, manifest, split, leave_out=_HEAVY)


def _read(match: _Match, seconds: float) -> dict[str, Any]:
    if match.start is None:
        return {"bytes": match.path.read_bytes(), "path": match.path.name}
    samples, rate = decode(AudioRef(path=str(match.path), start=match.start, duration=seconds))
    return {"bytes": encode_wav(samples, rate), "path": f"{match.path.stem}.wav"}


def _find(row: Mapping[str, Any], indexes: Sequence[AudioIndex], exact: bool) -> _Match | str:
    """The file that is a row's audio, or why there is none."""
    reason, loose = "audio is missing", None
    match: _Match | str
    for name in names_of(row):
        for index in indexes:
            path = index.find([name])
            if path is None:
                continue
            try:
                match = _fits(path, row, exact)
            except AudioError:
                match = "audio cannot be read"
            if isinstance(match, str):
                reason = match
            elif match.same:
                return match
            else:
                loose = loose or match
    return loose or reason


def _fits(path: Path, row: Mapping[str, Any], exact: bool) -> _Match | str:
    if sha256_of(path) == row["audio_sha256"]:
        return _Match(path, True)
    if exact:
        return "audio has other bytes"
    wanted, length = row["audio_seconds"] or 0.0, probe(AudioRef(path=str(path))).seconds
    allowed = max(0.5, 0.02 * wanted)
    if abs(length - wanted) <= allowed:
        return _Match(path, False)
    source = row["provenance"] or {}
    start, video = source.get("segment_start"), source.get("youtube_id")
    if video and path.stem in (video, f"Y{video}") and start is not None and length >= start + wanted - allowed:
        return _Match(path, False, start)
    return "audio has another length"


def names_of(row: Mapping[str, Any]) -> list[str]:
    """Return the names, without suffix, that a row's audio file may have, the most telling first."""
    source = row["provenance"] or {}
    names = [_stem(source.get("source_id") or ""), _stem(row["audio_name"] or "")]
    video, start, end = (source.get(key) for key in ("youtube_id", "segment_start", "segment_end"))
    if video:
        times = []
        if start is not None:
            times = [f"_{round(1000 * start)}", f"_{start:.3f}", f"_{start:g}"]
            if end is not None:
                times = [f"_{start:.3f}_{end:.3f}", f"_{start:g}_{end:g}", f"_{start:.1f}_{end:.1f}", *times]
        names += [f"{mark}{video}{time}" for time in (*times, "") for mark in ("", "Y")]
    return list(dict.fromkeys(name for name in names if name))


def _stem(name: str) -> str:
    head, dot, suffix = name.rpartition(".")
    return head if dot and suffix.isalnum() and not suffix.isdigit() and len(suffix) <= 5 else name


def _facts(source: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (source or {}).items() if key not in ("questions", "licences")}


def _told(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{number} times {why}" for why, number in reasons.items())
