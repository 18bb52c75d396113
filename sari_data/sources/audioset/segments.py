"""AudioSet's published tables: segments with weak labels (CSV) and events with strong labels (TSV)."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sari_data.sources.base import SetAside
from sari_data.sources.readers import read_csv
from sari_data.types import Provenance

SECONDS = 10.0  # length of the clips that were given strong labels
# Names without suffix under which clips are stored, the most telling first.
FORMS = (
    "<YTID>_<start in ms>",
    "<YTID>_<start>",
    "<YTID>_<start>_<end>",
    "<YTID>_<start in ms>_<end in ms>",
    "Y<YTID>_<start>_<end>",
    "<YTID>",
    "Y<YTID>",
)
DATASET = "audioset"
LICENCE = "the YouTube uploader's (AudioSet publishes no audio)"


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a YouTube video.

    Args:
        youtube_id: The video, 11 characters.
        start_ms: Where the part begins, in milliseconds.
        end_ms: Where it ends.
        labels: Weak labels: ids of classes heard somewhere in it; empty where only strong ones are known.
    """

    youtube_id: str
    start_ms: int
    end_ms: int
    labels: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Its id in the strong tables: ``YTID_startms``."""
        return f"{self.youtube_id}_{self.start_ms}"

    def names(self) -> Sequence[str]:
        """The names that its file may have, as in FORMS."""
        video, start, end = self.youtube_id, self.start_ms, self.end_ms
        found = [f"{video}_{start}"]
        for a, b in zip(_seconds(start), _seconds(end), strict=True):
            found += [f"{video}_{a}", f"{video}_{a}_{b}"]
        found.append(f"{video}_{start}_{end}")
        found += [f"Y{video}_{a}_{b}" for a, b in zip(_seconds(start), _seconds(end), strict=True)]
        return [*found, video, f"Y{video}"]

    def provenance(self) -> Provenance:
        """Where it is from."""
        return Provenance(
            dataset=DATASET,
            source_id=self.id,
            licence=LICENCE,
            youtube_id=self.youtube_id,
            segment_start=self.start_ms / 1000,
            segment_end=self.end_ms / 1000,
        )


def _seconds(ms: int) -> tuple[str, ...]:
    """Seconds as programs write them: 30, 30.0, 30.000, 000030."""
    whole = ms / 1000
    return (f"{whole:g}" if ms % 1000 else str(ms // 1000), str(whole), f"{whole:.3f}", f"{ms // 1000:06d}")


Event = tuple[str, float, float]


class StrongLabels:
    """The events of all clips with strong labels: 20 bytes an event and some 100 a clip.

    Args:
        paths: The tables, with the columns ``segment_id``, ``start_time_seconds``, ``end_time_seconds`` and ``label``.

    Raises:
        MissingFileError: No such file.
        InputError: Not such a table; names file and line.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.clips: dict[str, int] = {}
        self.refused: list[SetAside] = []
        self._mids: dict[str, int] = {}
        self._wrong: set[int] = set()
        clip, label, bounds = array("I"), array("I"), array("d")
        needs = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
        for path in paths:
            for line, row in read_csv(path, needs=needs, delimiter="\t"):
                id, start, end, mid = (row[name] for name in needs)
                if _clip_of(id) is None:
                    self._refuse("segment id cannot be read", id, f"{path}, line {line}: {id!r}")
                    continue
                number = self.clips.setdefault(id, len(self.clips))
                begin, stop = _number(start), _number(end)
                if not 0 <= begin < stop:  # also where either is no number
                    self._refuse("strong label has no length", id, f"{path}, line {line}: {start} to {end} s, {mid}")
                    self._wrong.add(number)
                    continue
                clip.append(number)
                label.append(self._mids.setdefault(mid, len(self._mids)))
                bounds.extend((begin, stop))
        self._label, self._bounds = label, bounds
        # Rows of a clip need not stand together.
        homes = np.frombuffer(clip, dtype=np.uint32) if clip else np.empty(0, np.uint32)
        self._order = np.argsort(homes, kind="stable")
        self._first = np.searchsorted(homes[self._order], np.arange(len(self.clips) + 1))
        self._names = list(self._mids)

    def _refuse(self, reason: str, id: str, detail: str) -> None:
        self.refused.append(
            SetAside(
                stage="collect",
                reason=reason,
                id=id,
                detail=detail,
                provenance=Provenance(dataset=DATASET, source_id=id),
            )
        )

    def events(self, id: str) -> tuple[Event, ...]:
        """The label, beginning and end (in seconds of the clip) of a clip's events; none where it is not known."""
        number = self.clips.get(id)
        if number is None:
            return ()
        rows = self._order[self._first[number] : self._first[number + 1]]
        found = ((self._names[self._label[i]], self._bounds[2 * i], self._bounds[2 * i + 1]) for i in rows)
        return tuple(sorted(found, key=lambda event: (event[1], event[2], event[0])))

    def counts(self) -> dict[str, int]:
        """How many events each label has."""
        return (
            {name: int(n) for name, n in zip(self._names, np.bincount(self._label), strict=True)} if self._label else {}
        )

    def whole(self, id: str) -> bool:
        """Whether all that the tables say of a clip could be read: else nothing can be told from what is absent."""
        return id in self.clips and self.clips[id] not in self._wrong


def read_segments(paths: Sequence[str | Path], strong: StrongLabels) -> Iterator[Segment | SetAside]:
    """Yield the segments of the CSV files in their order, then those that only the strong labels know.

    Raises:
        MissingFileError: No such file.
        InputError: Not such a table; names file and line.
    """
    listed = bytearray(len(strong.clips))
    for path in paths:
        for line, row in read_csv(path, columns=("id", "start", "end", "labels"), comment="#"):
            start, end = _number(row["start"]), _number(row["end"])
            if not row["id"] or not 0 <= start < end:
                text = ", ".join(row.values())
                id = row["id"] or f"line {line}"
                yield SetAside(
                    stage="collect", reason="segment cannot be read", id=id, detail=f"{path}, line {line}: {text}"
                )
                continue
            labels = tuple(dict.fromkeys(mid.strip() for mid in row["labels"].split(",") if mid.strip()))
            segment = Segment(row["id"], round(start * 1000), round(end * 1000), labels)
            if segment.id in strong.clips:
                listed[strong.clips[segment.id]] = 1
            yield segment
    for id, number in strong.clips.items():
        clip = _clip_of(id)
        if not listed[number] and clip is not None:
            yield Segment(clip[0], clip[1], clip[1] + round(SECONDS * 1000))
    yield from strong.refused


def _clip_of(id: str) -> tuple[str, int] | None:
    """The video and the beginning in milliseconds of ``YTID_startms``; the YouTube id may itself have underscores."""
    video, _, start = id.rpartition("_")
    return (video, int(start)) if video and start.isascii() and start.isdigit() else None


def _number(text: str) -> float:
    """A finite number of seconds, or NaN."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
