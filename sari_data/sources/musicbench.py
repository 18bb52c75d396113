"""MusicBench: clips of music with captions, keys, tempi, beats and chords, and questions that follow from them.

A row's audio is a file of the data set's own, named ``<YouTube id>_<version>.wav``: the versions of one recording are
what augmentation made of it (another pitch, another tempo, a change within the clip). Where in the video the recording
begins is not in the name; MusicCaps' table knows it (``musiccaps``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import Field

from sari_data.config import Table
from sari_data.errors import InputError
from sari_data.sources.base import About, Clip, Item, SetAside
from sari_data.sources.fetching import fetched
from sari_data.sources.files import AudioIndex, seeded_hash, take
from sari_data.sources.music_theory import parse_key
from sari_data.sources.musicbench_rules import RULES, Music
from sari_data.sources.phrasing import NO_RULE, Draft, choose_drafts, write
from sari_data.sources.readers import read_csv, read_json_array
from sari_data.types import Provenance, hash_path

ABOUT = About(
    name="musicbench",
    title="MusicBench",
    gives="clips of music with captions; questions by rule about key, mode, tempo, metre and chords",
    needs=(
        "rows: the released JSON files, for instance MusicBench_train.json",
        "audio: the folder into which MusicBench.tar.gz is unpacked",
        "musiccaps (optional): MusicCaps' CSV file, for the segments of the videos",
    ),
    licence="CC-BY-SA-3.0",
    audio_licence="CC-BY-SA-3.0 as published; the recordings are from YouTube and may have other owners",
    share_audio=False,
    get=(
        "hf download amaai-lab/MusicBench --repo-type dataset --local-dir MusicBench",
        "tar -xzf MusicBench/MusicBench.tar.gz -C MusicBench",
        "MusicCaps' table: https://huggingface.co/datasets/google/MusicCaps",
    ),
    homepage="https://huggingface.co/datasets/amaai-lab/MusicBench",
    paper="Melechovsky et al. 2023, Mustango, arXiv 2311.08355",
)

Rule = Literal["key", "mode", "tempo", "marking", "metre", "progression", "first_chord", "absent_chord"]
_NAME = re.compile(r"([A-Za-z0-9_-]{11})(?:_\d+)?")
# What the sentence about an augmentation speaks of. One that speaks of neither may mean anything.
_CHANGES = {
    "pitch": re.compile(r"pitch|transpos|octave|semitone", re.IGNORECASE),
    "tempo": re.compile(r"tempo|sped|speed|slow|fast", re.IGNORECASE),
    "volume": re.compile(r"volume|crescendo|loud|quiet|soft|fad", re.IGNORECASE),
}


class Options(Table):
    """What to take from MusicBench.

    Args:
        rows: The released JSON files.
        audio: Folder with the audio; a row's ``location`` is looked for below it, and its bare name too.
        limit: How many clips to take, by seeded choice; absent for all.
        make: ``rules``: finished questions; ``clips``: clips for annotation; ``both``.
        rules: Which questions to ask.
        questions_per_clip: Most questions by rule about a clip, each by another rule, by seeded choice.
        min_key_probability: Smallest ``keyprob`` with which a key is asked about, where a row has one.
        leave_out_eval: Leave out rows whose recording is in MusicCaps' evaluation set.
        musiccaps: MusicCaps' CSV file: where in its video each recording begins and ends.
    """

    rows: tuple[str, ...] = Field(default=("MusicBench/MusicBench_train.json",), min_length=1)
    audio: str = "MusicBench"
    limit: int | None = Field(default=None, ge=0)
    make: Literal["rules", "clips", "both"] = "both"
    rules: tuple[Rule, ...] = Field(default=tuple(RULES), min_length=1)  # type: ignore[arg-type]
    questions_per_clip: int = Field(default=2, ge=1)
    min_key_probability: float = Field(default=0.5, ge=0, le=1)
    leave_out_eval: bool = True
    musiccaps: str | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that could be read: its music, and what the provenance and the facts are made from."""

    music: Music
    facts: Mapping[str, Any]
    youtube_id: str
    segment: tuple[float, float] | None

    @property
    def provenance(self) -> Provenance:
        start, end = self.segment or (None, None)
        return Provenance(
            dataset=ABOUT.title,
            source_id=self.music.id,
            licence=ABOUT.audio_licence,
            made_by={"caption": f"dataset:{ABOUT.title}"} if self.music.caption else {},
            youtube_id=self.youtube_id,
            segment_start=start,
            segment_end=end,
        )


def generate(options: Options, seed: int) -> Iterator[Item]:
    """Yield questions by rule, clips for annotation, and what is left out, row by row.

    Raises:
        MissingFileError: A file or the folder is not there.
        InputError: A file is not what it should be, or the folder holds none of the audio.
    """
    options = fetched(options, ("rows", "musiccaps"), "audio")
    segments = _segments(options.musiccaps)
    index = AudioIndex(options.audio, ("<YouTube id>_<version>.wav", "<YouTube id>.wav"))

    def rows() -> Iterator[_Row | SetAside]:
        return _read(options, segments)

    found = take(
        rows,
        index,
        names=lambda row: _names(row.music.id),
        clip=lambda row: row.music.id,
        provenance=lambda row: row.provenance,
        limit=options.limit,
        seed=seed,
    )
    for item in found:
        if isinstance(item, SetAside):
            yield item
            continue
        row, path, _ = item
        audio, provenance = hash_path(path), row.provenance
        by = provenance.made_by.get("caption", f"template:{ABOUT.name}")
        if options.make != "clips":
            drafts, refused = _drafts(row.music, options, seed)
            for draft in drafts:
                yield write(draft, ABOUT.name, audio, "music", provenance, by, seed)
            if not drafts and options.make == "rules":
                yield SetAside(stage="collect", reason=NO_RULE, id=row.music.id, provenance=provenance, detail=refused)
        if options.make != "rules":
            caption = row.music.caption or None
            yield Clip(audio=audio, domain="music", facts=row.facts, caption=caption, provenance=provenance)


def _drafts(music: Music, options: Options, seed: int) -> tuple[list[Draft], str]:
    """The questions that a row allows, and why it allows no others."""
    results = {name: RULES[name](music, seed) for name in dict.fromkeys(options.rules)}
    return choose_drafts(results, options.questions_per_clip, seed, music.id)


def _names(location: str) -> tuple[str, ...]:
    path = PurePosixPath(location).with_suffix("")
    return tuple(dict.fromkeys((path.as_posix(), path.name)))


def _segments(path: str | None) -> dict[str, tuple[float, float]]:
    """Read where in its video each recording of MusicCaps lies: some 5,500 rows."""
    if path is None:
        return {}
    found = {}
    for line, row in read_csv(path, needs=("ytid", "start_s", "end_s")):
        try:
            start, end = float(row["start_s"]), float(row["end_s"])
        except ValueError as error:
            raise InputError(f"{path}, line {line}: expected start_s and end_s in seconds, found {error}") from error
        found[row["ytid"]] = (start, end)
    return found


def _read(options: Options, segments: Mapping[str, tuple[float, float]]) -> Iterator[_Row | SetAside]:
    seen: set[int] = set()
    for path in options.rows:
        for line, value in read_json_array(path):
            where = f"{path}, line {line}"
            try:
                row = _parse(value, options, segments)
            except InputError as error:
                id = str(value.get("location", where)) if isinstance(value, dict) else where
                yield _aside("row is malformed", id, f"{where}: {error}")
                continue
            # Eight bytes a row: the train file has each clip twice, with two captions.
            mark = seeded_hash(0, row.music.id) % 2**64
            if mark in seen:
                yield _aside("row repeats a clip", row.music.id, where)
                continue
            seen.add(mark)
            if value.get("is_audioset_eval_mcaps") is True and options.leave_out_eval:
                yield _aside("clip is in MusicCaps' evaluation set", row.music.id, where)
                continue
            yield row


def _aside(reason: str, id: str, detail: str) -> SetAside:
    provenance = Provenance(dataset=ABOUT.title, source_id=id, licence=ABOUT.audio_licence, youtube_id=_youtube(id))
    return SetAside(stage="collect", reason=reason, id=id, provenance=provenance, detail=detail)


def _youtube(location: str) -> str:
    match = _NAME.fullmatch(PurePosixPath(location).stem)
    return match[1] if match else ""


def _parse(value: Any, options: Options, segments: Mapping[str, tuple[float, float]]) -> _Row:
    """Check a row's types and put it into our terms.

    Raises:
        InputError: It is none of MusicBench's rows.
    """
    if not isinstance(value, dict):
        raise InputError(f"expected an object, found {value!r:.80}")
    location = value.get("location")
    if not isinstance(location, str) or not PurePosixPath(location).stem:
        raise InputError(f"expected a location such as 'data/<name>.wav', found {location!r}")
    texts = {name: value.get(name) or "" for name in ("alt_caption", "prompt_key", "prompt_aug")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise InputError(f"expected {name} to be a text, found {text!r:.80}")
    music = Music(
        id=location,
        caption=" ".join(texts["alt_caption"].split()),
        key=parse_key(_list(value, "key")) if value.get("key") else None,
        sure_of_key=_sure(value, texts["prompt_key"], options.min_key_probability),
        bpm=_number(value["bpm"], "bpm") if value.get("bpm") is not None else None,
        **_beats(value),
        chords=[_text(chord) for chord in _list(value, "chords")],
        chord_times=[_number(time, "chords_time") for time in _list(value, "chords_time")],
        changes=_changes(texts["prompt_aug"]),
    )
    if len(music.chords) != len(music.chord_times):
        raise InputError(f"expected a time for each chord, found {len(music.chord_times)} for {len(music.chords)}")
    if music.bpm is not None and music.bpm <= 0:
        raise InputError(f"expected bpm above 0, found {music.bpm}")
    youtube_id = _youtube(location)
    return _Row(music, _facts(music, texts["prompt_aug"]), youtube_id, segments.get(youtube_id))


def _facts(music: Music, change: str) -> dict[str, Any]:
    """What an annotator is told beside the caption: only what the row does not itself call in question."""
    facts = {
        "key": str(music.key) if music.key is not None and music.sure_of_key and "pitch" not in music.changes else None,
        "bpm": None if "tempo" in music.changes else music.bpm,
        "beats_per_bar": max(music.counts, default=None),
        "chords": list(music.chords),
        "change": change,
    }
    return {name: fact for name, fact in facts.items() if fact}


def _sure(value: Mapping[str, Any], sentence: str, least: float) -> bool:
    """Whether the row's key is one, and likely enough where its probability is given (a number, or a list of one)."""
    given = value.get("keyprob")
    if isinstance(given, list):
        given = given[0] if given else None
    probability = None if given in (None, "") else _number(given, "keyprob")
    return re.search(r"\bor\b", sentence) is None and (probability is None or probability >= least)


def _beats(value: Mapping[str, Any]) -> dict[str, Any]:
    """Times and places in the bar, from the two rows of ``beats``."""
    beats = _list(value, "beats")
    if not beats:
        return {"beats": [], "counts": []}
    if len(beats) != 2 or not all(isinstance(row, list) for row in beats) or len(beats[0]) != len(beats[1]):
        raise InputError("expected beats to be two lists of the same length: times and places in the bar")
    times = [_number(time, "beats") for time in beats[0]]
    counts = [_number(count, "beats") for count in beats[1]]
    if any(count != int(count) or count < 1 for count in counts):
        raise InputError(f"expected places in the bar to be 1, 2, 3 and so on, found {counts!r:.80}")
    return {"beats": times, "counts": [int(count) for count in counts]}


def _changes(sentence: str) -> frozenset[str]:
    if not sentence.strip():
        return frozenset()
    found = frozenset(name for name, pattern in _CHANGES.items() if pattern.search(sentence))
    return found or frozenset(_CHANGES)


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    found = value.get(name) or []
    if not isinstance(found, list):
        raise InputError(f"expected {name} to be a list, found {found!r:.80}")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"expected a chord's symbol, found {value!r:.80}")
    return value


def _number(value: Any, name: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"expected a number in {name}, found {value!r:.80}")
    return number
