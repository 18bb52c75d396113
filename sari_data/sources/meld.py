"""MELD: utterances from a television series, with emotion, sentiment and speaker, and questions that follow from them.

A row's audio is ``dia<D>_utt<U>``. The numbers begin anew in each split, so clips of several splits lie in one folder
for each, named as published (``train_splits``, ``dev_splits_complete``, ``output_repeated_splits_test``) or ``train``,
``dev``, ``test``; the clips of a single table may lie flat in the audio folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from sari_data.config import Table
from sari_data.errors import InputError
from sari_data.sources.base import About, Clip, Item, SetAside
from sari_data.sources.fetching import fetched
from sari_data.sources.files import AudioIndex, seeded_hash, take
from sari_data.sources.meld_rules import EMOTIONS, RULES, SENTIMENTS, Line, Script, words_of
from sari_data.sources.phrasing import NO_RULE, Draft, Refused, choose_drafts, write
from sari_data.sources.readers import read_csv
from sari_data.types import Provenance, hash_path

ABOUT = About(
    name="meld",
    title="MELD",
    gives="utterances with speaker and emotion; questions by rule about emotion, sentiment, speaker and words",
    needs=(
        "tables: the CSV files, for instance train_sent_emo.csv",
        "audio: the folder with the clips dia<D>_utt<U>, turned from MP4 into WAV, one subfolder for each split",
    ),
    licence="GPL-3.0",
    audio_licence="none given; the clips are from a television series and belong to its owners",
    share_audio=False,
    get=(
        "tables: https://github.com/declare-lab/MELD/tree/master/data/MELD",
        "clips: http://web.eecs.umich.edu/~mihalcea/downloads/MELD.Raw.tar.gz",
        "for each clip: ffmpeg -i dia0_utt0.mp4 -vn -ac 1 -ar 16000 dia0_utt0.wav",
    ),
    homepage="https://affective-meld.github.io",
    paper="Poria et al. 2019, MELD, ACL, arXiv 1810.02508",
)

Rule = Literal["emotion", "sentiment", "speaker", "words"]
# The folders of a split, as published and as people name them.
FOLDERS = {
    "train": ("train_splits", "train"),
    "dev": ("dev_splits_complete", "dev"),
    "test": ("output_repeated_splits_test", "test"),
}
# Clips whose published file is damaged (declare-lab/MELD, issue 39).
DAMAGED = {"train/dia125_utt3"}
FASTEST = 8.0  # words a second; beyond that, the times are wrong: people speak 2 to 5
_NEEDS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
_TIME = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d)(?:[,.](\d{1,3}))?")
# Some copies of the tables have Windows' quotes and dashes as control characters.
_WINDOWS = {
    code: bytes([code]).decode("cp1252") for code in range(0x80, 0xA0) if code not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}


class Options(Table):
    """What to take from MELD.

    Args:
        tables: The CSV files; the first word of a file's name (``train_sent_emo.csv``) is its split.
        audio: Folder with the clips.
        limit: How many clips to take, by seeded choice; absent for all.
        make: ``rules``: finished questions; ``clips``: clips for annotation; ``both``.
        rules: Which questions to ask.
        questions_per_clip: Most questions by rule about a clip, each by another rule, by seeded choice.
        shortest: Least length of a clip, in seconds by the table's times.
        longest: Greatest length, in seconds: some clips are cut wrongly and go on for minutes.
        even_out_neutral: Ask about emotion and sentiment for only so many neutral utterances as there are of the next
            label (nearly half of all are neutral).
    """

    tables: tuple[str, ...] = Field(default=("MELD/train_sent_emo.csv",), min_length=1)
    audio: str = "MELD"
    limit: int | None = Field(default=None, ge=0)
    make: Literal["rules", "clips", "both"] = "both"
    rules: tuple[Rule, ...] = Field(default=tuple(RULES), min_length=1)  # type: ignore[arg-type]
    questions_per_clip: int = Field(default=2, ge=1)
    shortest: float = Field(default=0.5, ge=0)
    longest: float = Field(default=30.0, gt=0)
    even_out_neutral: bool = True


def generate(options: Options, seed: int) -> Iterator[Item]:
    """Yield questions by rule, clips for annotation, and what is left out, row by row.

    Raises:
        MissingFileError: A file or the folder is not there.
        InputError: A file is not what it should be, or the folder holds none of the clips.
    """
    options = fetched(options, ("tables",), "audio")
    items = list(_read(options))
    script = Script(item for item in items if isinstance(item, Line))
    kept = {label: script.share_kept(label) if options.even_out_neutral else 1.0 for label in ("emotion", "sentiment")}
    index = AudioIndex(options.audio, ("train_splits/dia<D>_utt<U>.wav (and so on)", "dia<D>_utt<U>.wav"))
    flat = _is_flat(script.lines, index)

    def names(line: Line) -> list[str]:
        name = line.id.rpartition("/")[2]
        return [name] if flat else [f"{folder}/{name}" for folder in FOLDERS.get(line.split, (line.split,))]

    found = take(
        lambda: iter(items),
        index,
        names=names,
        clip=lambda line: line.id,
        provenance=_provenance,
        limit=options.limit,
        seed=seed,
    )
    for item in found:
        if isinstance(item, SetAside):
            yield item
            continue
        line, path, _ = item
        audio, provenance = hash_path(path), _provenance(line)
        if options.make != "clips":
            drafts, refused = _drafts(line, script, kept, options, seed)
            for draft in drafts:
                made = f"rule:{ABOUT.name}/{draft.rule}"
                yield write(draft, ABOUT.name, audio, "speech", provenance, made, seed)
            if not drafts and options.make == "rules":
                yield SetAside(stage="collect", reason=NO_RULE, id=line.id, provenance=provenance, detail=refused)
        if options.make != "rules":
            yield Clip(audio=audio, domain="speech", facts=_facts(line), provenance=provenance, category="Speech")


def _drafts(
    line: Line, script: Script, kept: Mapping[str, float], options: Options, seed: int
) -> tuple[list[Draft], str]:
    """The questions that a row allows, and why it allows no others."""
    results: dict[str, Draft | Refused] = {}
    for name in dict.fromkeys(options.rules):
        share = kept.get(name, 1.0) if getattr(line, name, "") == "neutral" else 1.0
        if seeded_hash(seed, f"{line.id}/{name}/neutral") % 10**6 < share * 10**6:
            results[name] = RULES[name](line, script, seed)
        else:
            results[name] = Refused("there are enough neutral ones")
    return choose_drafts(results, options.questions_per_clip, seed, line.id)


def _is_flat(lines: Sequence[Line], index: AudioIndex) -> bool:
    """Whether the clips lie in no split's folder; then they can only be those of one split."""
    if len({line.split for line in lines}) > 1:
        return False
    known = {name for names in FOLDERS.values() for name in names} | {line.split for line in lines}
    stems = (line.id.rpartition("/")[2] for line in lines)
    return not any(index.find([f"{folder}/{stem}" for folder in sorted(known)]) for stem in stems)


def _split(path: str) -> str:
    """The split that a table is of: the first word of its name."""
    return re.split(r"[_.]", Path(path).name, maxsplit=1)[0].lower()


def _provenance(line: Line) -> Provenance:
    return Provenance(dataset=ABOUT.title, source_id=line.id, licence=ABOUT.audio_licence)


def _facts(line: Line) -> dict[str, str | int]:
    """What an annotator is told; a caption made from it may name the labels, for it is no question about them."""
    return {
        "utterance": line.text,
        "speaker": line.speaker,
        "emotion": line.emotion,
        "sentiment": line.sentiment,
        "dialogue": f"{line.split}/dia{line.dialogue}",
        **({"season": line.season, "episode": line.episode} if line.season else {}),
    }


def _read(options: Options) -> Iterator[Line | SetAside]:
    seen: set[str] = set()
    for path in options.tables:
        for number, row in read_csv(path, needs=_NEEDS):
            where = f"{path}, line {number}"
            try:
                line = _parse(row, _split(path))
            except InputError as error:
                yield _aside("row is malformed", where, f"{where}: {error}")
                continue
            speed = len(words_of(line.text)) / max(line.seconds, 0.01)
            if line.id in seen:
                yield _aside("row repeats a clip", line.id, where)
            elif line.id in DAMAGED:
                yield _aside("clip is damaged as published", line.id, where)
            elif line.seconds > options.longest:
                yield _aside("clip is too long", line.id, f"{where}: {line.seconds:.1f} s")
            elif line.seconds < options.shortest:
                yield _aside("clip is too short", line.id, f"{where}: {line.seconds:.2f} s")
            elif speed > FASTEST:
                yield _aside("words do not fit the times", line.id, f"{where}: {speed:.1f} words a second")
            else:
                yield line
            seen.add(line.id)


def _aside(reason: str, id: str, detail: str) -> SetAside:
    provenance = Provenance(dataset=ABOUT.title, source_id=id, licence=ABOUT.audio_licence)
    return SetAside(stage="collect", reason=reason, id=id, provenance=provenance, detail=detail)


def _parse(row: Mapping[str, str], split: str) -> Line:
    """Put a row into our terms.

    Raises:
        InputError: A field is none of MELD's.
    """
    dialogue, utterance = _whole(row, "Dialogue_ID"), _whole(row, "Utterance_ID")
    emotion, sentiment = row["Emotion"].strip().lower(), row["Sentiment"].strip().lower()
    for name, label, known in (("Emotion", emotion, EMOTIONS), ("Sentiment", sentiment, SENTIMENTS)):
        if label not in known:
            raise InputError(f"expected {name} to be one of {', '.join(known)}, found {label!r}")
    text, speaker = _clean(row["Utterance"]), _clean(row["Speaker"])
    if not words_of(text) or not speaker:
        raise InputError(f"expected words and a speaker, found {text!r} by {speaker!r}")
    seconds = _seconds(row["EndTime"]) - _seconds(row["StartTime"])
    if seconds < 0:
        raise InputError(f"expected EndTime after StartTime, found {row['StartTime']} to {row['EndTime']}")
    return Line(
        id=f"{split}/dia{dialogue}_utt{utterance}",
        split=split,
        dialogue=dialogue,
        utterance=utterance,
        text=text,
        speaker=speaker,
        emotion=emotion,
        sentiment=sentiment,
        season=_whole(row, "Season") if row.get("Season") else 0,
        episode=_whole(row, "Episode") if row.get("Episode") else 0,
        seconds=seconds,
    )


def _clean(text: str) -> str:
    """Text with Windows' characters as what they stand for, and single spaces."""
    return " ".join(text.translate(_WINDOWS).split())


def _whole(row: Mapping[str, str], name: str) -> int:
    text = row[name].strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(f"expected {name} to be a whole number, found {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    """Seconds of a time such as ``00:16:16,059``."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise InputError(f"expected a time such as '00:16:16,059', found {text!r}")
    hours, minutes, seconds = (int(match[i]) for i in (1, 2, 3))
    return hours * 3600 + minutes * 60 + seconds + int((match[4] or "0").ljust(3, "0")) / 1000
