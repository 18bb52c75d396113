"""Benchmarks to compare a corpus with: MMAU, MMAR, any table, a corpus folder, or a folder of audio.

A reference is whatever of a benchmark's question can be compared: its text, the part of a video that it is from, and
its audio. What a file has not is not made up: without the audio only text and segments are compared.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sari_data.config import Table
from sari_data.errors import BenchmarkError, InputError, MissingFileError
from sari_data.segments import Segment, of_provenance, parse_address, parse_name, parse_times
from sari_data.sources.readers import read_json_array
from sari_data.sources.rows import read_parquet
from sari_data.types import AudioRef

SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")
TABLES = (".json", ".jsonl", ".csv", ".tsv", ".parquet")
# The usual names of columns, the first one that is there counts.
QUESTION_COLUMNS = ("question", "question_text", "query", "prompt", "instruction")
CHOICES_COLUMNS = ("choices", "options", "multi_choice", "multi-choice", "candidates")
ANSWER_COLUMNS = ("answer", "answer_gt", "correct_answer", "gold", "label", "answer_text")
ID_COLUMNS = ("id", "question_id", "uid", "qid", "audio_id", "file_name", "filename")
AUDIO_COLUMNS = (
    "audio_path", "audio_id", "audio", "audio_file", "path", "file_name", "filename", "location", "wav", "file",
)  # fmt: skip
_VIDEO = ("youtube_id", "ytid", "yt_id", "YTID", "video_id", "video_name", "segment_id", "url", "video_url", "link")
_START = ("segment_start", "start_time", "start_seconds", "start_s", "start", "timestamp_start")
_END = ("segment_end", "end_time", "end_seconds", "end_s", "end", "timestamp_end")
_TIMES = ("timestamp", "timestamps", "time")
_LETTERED = tuple("ABCDEFGH")
# As `datasets` and this package name the shards of a split.
_SHARD = re.compile(r"-\d{5}(-of-\d{5})?(-[0-9a-f]+)?\.parquet$")


class Against(Table):
    """A benchmark to compare with.

    Args:
        path: Its questions (JSON, JSON lines, CSV, TSV, Parquet), a corpus folder, a folder of Parquet shards, or one
            of audio.
        audio: The folder that the audio's paths in ``path`` are relative to; absent: the folder of ``path``.
        name: Its name in reports; absent: the file's or folder's.
    """

    path: str
    audio: str | None = None
    name: str | None = None

    @property
    def title(self) -> str:
        """The name to report under."""
        if self.name:
            return self.name
        path = Path(self.path)
        return path.name.removesuffix(path.suffix) if path.suffix.lower() in TABLES else path.resolve().name


@dataclass(frozen=True, slots=True)
class Reference:
    """What can be compared of one question or recording of a benchmark.

    Args:
        id: Its id there, or its row.
        question: Its text; empty where it has none.
        choices: Its options.
        answer: The text of the right one; ``None`` where unknown.
        segment: The part of a video that it is from; ``None`` where unknown.
        audio: Its audio; ``None`` where it is not at hand.
        named: What its row calls its audio, at hand or not; empty where it says nothing.
        further: Whether it is one more recording of the question before it, and no question of its own.
    """

    id: str
    question: str = ""
    choices: tuple[str, ...] = ()
    answer: str | None = None
    segment: Segment | None = None
    audio: AudioRef | None = None
    named: str = ""
    further: bool = False


def check_against(against: Against, what: str = "benchmark") -> None:
    """Find out at once what would fail after hours: a benchmark that is not there, is empty, or of no known kind.

    Args:
        against: What to compare with.
        what: What it is, for the sentence.

    Raises:
        MissingFileError: The path or the audio folder is not there.
        BenchmarkError: It is nothing that can be read, or has no question.
        CorpusError: It is a corpus folder that is not complete.
    """
    path = Path(against.path)
    if not path.exists():
        raise MissingFileError(
            f"{what} {against.path!r}: expected a file or folder there, found none: correct the path or fetch it"
        )
    if against.audio is not None and not Path(against.audio).is_dir():
        raise MissingFileError(
            f"{what} {against.path!r}: expected its audio in the folder {against.audio!r}, found no such folder: "
            "correct the path, or leave it out to compare text and segments alone"
        )
    if path.is_file() and path.suffix.lower() not in TABLES:
        raise BenchmarkError(
            f"{what} {str(path)!r}: expected one of {', '.join(TABLES)} or a folder, found "
            f"{path.suffix or 'no suffix'}: name another file"
        )
    next(read_references(against))


def read_references(against: Against) -> Iterator[Reference]:
    """Yield what can be compared of a benchmark, in its order, a few rows in memory at a time.

    Raises:
        MissingFileError: The file or folder is not there.
        BenchmarkError: It cannot be read, or has neither questions, videos nor audio.
        CorpusError: It is a corpus folder that is not complete.
    """
    path = Path(against.path)
    if path.is_file():
        root = Path(against.audio) if against.audio else path.parent
        found = _table(path, "", root)
    elif (path / "manifest.json").is_file():
        found = _corpus(path)
    else:
        found = _folder(path, Path(against.audio) if against.audio else path)
    empty = True
    for reference in found:
        empty = False
        yield reference
    if empty:
        raise BenchmarkError(f"{path}: expected questions, found none: name another file or folder")


def _corpus(folder: Path) -> Iterator[Reference]:
    from sari_data.store import iter_split, read_manifest

    for split in read_manifest(folder)["splits"]:
        for q in iter_split(folder, split):
            yield Reference(q.id, q.question, q.choices, q.answer, of_provenance(q.provenance), q.audio)


def _folder(folder: Path, root: Path) -> Iterator[Reference]:
    """Yield a folder's recordings, or the rows of its Parquet shards; names may say which video they are from."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SOUNDS and p.is_file())
    shards = sorted(p for p in folder.rglob("*.parquet") if _SHARD.search(p.name) and p.is_file())
    if shards and not files:
        # What a part of a dataset repository has, without the manifest of a corpus of ours.
        for shard in shards:
            yield from _table(shard, f"{shard.relative_to(folder).as_posix()}:", root)
        return
    if not files:
        tables = [p.name for p in sorted(folder.iterdir()) if p.suffix.lower() in TABLES]
        hint = f"; its questions may be in {tables[0]}: name that file" if tables else ""
        raise BenchmarkError(f"{folder}: expected a corpus or a folder of audio, found no audio below it{hint}")
    for path in files:
        yield Reference(path.relative_to(folder).as_posix(), segment=parse_name(path.name), audio=AudioRef(str(path)))


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            for _, row in read_parquet(str(path)):
                yield row
        elif suffix in (".csv", ".tsv"):
            # Laxer than the sources' reader: quotes count in a TSV file too, and a row may be short.
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",")
        else:
            for row in _json(path):
                if not isinstance(row, dict):
                    raise BenchmarkError(
                        f"{path}: expected rows as JSON objects, found {type(row).__name__}: name another file"
                    )
                yield row
    except (MissingFileError, BenchmarkError):
        raise
    except (csv.Error, ValueError, RecursionError) as error:
        raise BenchmarkError(
            f"{path}: expected a benchmark's rows, found a file that does not read: {error}"
        ) from error


def _json(path: Path) -> Iterator[Any]:
    """Yield the rows of an array, of JSON lines, or of the list that one object holds."""
    rows = (row for _, row in read_json_array(path))
    try:
        head = next(rows, None)
    except MissingFileError:
        raise
    except InputError:
        # One object over several lines, or nothing.
        text = path.read_text(encoding="utf-8-sig")
        head = json.loads(text) if text.strip() else None
    held = next((v for v in head.values() if isinstance(v, list)), None) if isinstance(head, dict) else None
    if isinstance(head, dict) and held and isinstance(held[0], dict) and not _first(head, QUESTION_COLUMNS):
        yield from held
        return
    if head is not None:
        yield head
    yield from rows


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "", [])), None)


def _table(path: Path, prefix: str, root: Path) -> Iterator[Reference]:
    """Yield a table's rows, numbered after the prefix; of a list of audio, as MMAU-Pro's, each recording by one id."""
    for number, row in enumerate(_rows(path)):
        where, own = f"{path}: row {number}", f"{prefix}{number}"
        column = next((name for name in AUDIO_COLUMNS if isinstance(row.get(name), list) and row[name]), "")
        reference = _reference({**row, column: row[column][0]} if column else row, where, own, root)
        yield reference
        further = row[column][1:] if column else ()  # a table may have a column without a name
        for other in ({column: recording} for recording in further):  # the text is compared once
            yield Reference(reference.id, segment=_segment(other), audio=_audio(other, root), further=True)


def _reference(row: Mapping[str, Any], where: str, number: str, root: Path) -> Reference:
    question, choices = _first(row, QUESTION_COLUMNS), _read_choices(row)
    segment, audio = _segment(row), _audio(row, root)
    if not isinstance(question, str) or not question.strip():
        question = ""
    if not question and segment is None and audio is None:
        raise BenchmarkError(
            f"{where}: expected a question ({', '.join(QUESTION_COLUMNS)}), a video ({', '.join(_VIDEO[:4])}, ...) or "
            f"audio that is there ({', '.join(AUDIO_COLUMNS[:4])}, ...), found the columns {sorted(map(str, row))}: "
            "rename them"
        )
    name = _first(row, ID_COLUMNS)
    answer = _answer(_first(row, ANSWER_COLUMNS), choices, row)
    own = number if name is None or isinstance(name, Mapping) else str(name)
    return Reference(own, question, choices, answer, segment, audio, _named(row))


def _read_choices(row: Mapping[str, Any]) -> tuple[str, ...]:
    found = _first(row, CHOICES_COLUMNS)
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            found = [part for part in found.replace(" | ", "\n").splitlines() if part.strip()]
    if isinstance(found, Mapping):
        found = list(found.values())
    if isinstance(found, list | tuple):
        return tuple(str(choice) for choice in found if choice is not None)
    for pattern in ("{}", "choice_{}", "option_{}", "option {}", "Option {}"):
        lettered = [row.get(pattern.format(c)) or row.get(pattern.format(c.lower())) for c in _LETTERED]
        if sum(map(bool, lettered)) >= 2:
            return tuple(str(choice) for choice in lettered if choice)
    return ()


def _answer(value: Any, choices: tuple[str, ...], row: Mapping[str, Any]) -> str | None:
    """Return the answer's text; a number or a lone letter that is no option is the option's place."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    if str(value) in choices:
        return str(value)
    text = str(value).strip()
    if not choices:
        return text
    if isinstance(value, int):
        return choices[value] if 0 <= value < len(choices) else None
    letter = text.strip("().").upper()
    if len(letter) == 1 and letter in _LETTERED[: len(choices)]:
        return choices[_LETTERED.index(letter)]
    return text


def _segment(row: Mapping[str, Any]) -> Segment | None:
    found: Segment | None = None
    own = row.get("provenance")
    if isinstance(own, Mapping) and own.get("youtube_id"):
        row = {**own, **{k: v for k, v in row.items() if k != "provenance"}}
    for name in _VIDEO:
        value = row.get(name)
        if isinstance(value, str) and value:
            address = parse_address(value)
            if address is None and name in _VIDEO[:4] and len(value) == 11:
                address = value  # a column of ids: any that could be one
            found = Segment(address) if address else parse_name(value)
            if found is not None:
                break
    audio = _first(row, AUDIO_COLUMNS)
    named = parse_name(str(audio.get("path") or "") if isinstance(audio, Mapping) else str(audio or ""))
    if found is None or (named is not None and named.video == found.video and not found.known):
        found = named or found
    if found is None:
        return None
    times = parse_times(str(_first(row, _TIMES) or ""))
    if times[1] is None:
        times = (_seconds(_first(row, _START)), _seconds(_first(row, _END)))
    # Times that the row states are more sure than those in a file's name, which are mistyped in some.
    known = times[0] is not None and times[1] is not None and times[1] > times[0]
    return Segment(found.video, *times) if known else found


def _seconds(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _named(row: Mapping[str, Any]) -> str:
    """What the row calls its audio."""
    for name in AUDIO_COLUMNS:
        value = row.get(name)
        text = value.get("path") if isinstance(value, Mapping) else value
        if isinstance(text, str) and text:
            return text
    return ""


def _audio(row: Mapping[str, Any], root: Path) -> AudioRef | None:
    for name in AUDIO_COLUMNS:
        value = row.get(name)
        if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
            return AudioRef(path=value.get("path"), data=value["bytes"])
        text = value.get("path") if isinstance(value, Mapping) else value
        if not isinstance(text, str) or not text:
            continue
        # As given, or its bare name in the folder: archives are unpacked with and without their own folder.
        for path in (root / text.removeprefix("./"), root / Path(text).name):
            tries = [path] if path.suffix else [path.with_name(path.name + suffix) for suffix in SOUNDS]
            there = next((p for p in tries if p.is_file()), None)
            if there is not None and there.suffix.lower() in SOUNDS:
                return AudioRef(str(there))
    return None
