"""Which part of which video a recording is: read from addresses, times and file names as data sets write them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from sari_data.types import Provenance

# An id is eleven characters of base64url for 64 bits, so the last one has two bits that are always zero.
_YOUTUBE = re.compile(r"[0-9A-Za-z_-]{10}[AEIMQUYcgkosw048]")
_ADDRESS = re.compile(
    r"(?:youtube(?:-nocookie)?\.com/(?:watch/?\?(?:[^#\s]*&)?v=|shorts/|embed/|live/|v/)|youtu\.be/)([0-9A-Za-z_-]{11})"
)
_BILIBILI = re.compile(r"(?<![0-9A-Za-z])(BV[0-9A-Za-z]{10})(?![0-9A-Za-z])")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_DASHED = re.compile(r"(\d\d)-(\d\d)-(\d\d)_(\d\d)-(\d\d)-(\d\d)")
_NUMBER = r"\d+(?:\.\d+)?"
# VGG-Sound and AVQA name a clip by its start, six digits, and all are ten seconds long; so are AudioSet's segments.
_CLIP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a video.

    Args:
        video: The video's id at YouTube or Bilibili.
        start: Where the part begins, in seconds; ``None`` where unknown.
        end: Where it ends, in seconds; ``None`` where unknown.
    """

    video: str
    start: float | None = None
    end: float | None = None

    @property
    def known(self) -> bool:
        """Whether both ends are known."""
        return self.start is not None and self.end is not None


def overlap(one: Segment, other: Segment) -> float | None:
    """Return how many seconds two parts of videos share; ``None`` where an unknown end leaves that open."""
    if one.video != other.video:
        return 0.0
    if one.start is None or one.end is None or other.start is None or other.end is None:
        return None
    return max(0.0, min(one.end, other.end) - max(one.start, other.start))


def shorter(one: Segment, other: Segment) -> float:
    """Return the length of the shorter of two parts in seconds; infinite where no length is known."""
    return min([s.end - s.start for s in (one, other) if s.start is not None and s.end is not None], default=math.inf)


def of_provenance(provenance: Provenance) -> Segment | None:
    """Return the part of a video that a question's provenance names, or ``None`` where it names no video."""
    if not provenance.youtube_id:
        return None
    return _sensible(Segment(provenance.youtube_id, provenance.segment_start, provenance.segment_end))


def parse_address(address: str) -> str | None:
    """Return the YouTube or Bilibili id in an address, or ``None`` where there is none in it."""
    found = _ADDRESS.search(address) or _BILIBILI.search(address)
    return found[1] if found else None


def parse_times(text: str) -> tuple[float | None, float | None]:
    """Read the first and last second from ``00:01:32,00:02:02`` and the like, in seconds.

    Of several parts (``0:00,0:05;0:34,0:39``) it is the span from the first to the last.
    """
    times = [
        int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds) for hours, minutes, seconds in _CLOCK.findall(text)
    ]
    if len(times) < 2 or max(times) <= min(times):
        return (times[0], None) if len(times) == 1 else (None, None)
    return min(times), max(times)


def parse_name(name: str) -> Segment | None:
    """Read the part of a video from a file's name as AudioSet, VGG-Sound, AVQA, MusicBench or MMAR write it.

    Understood are ``ID``, ``YID``, ``ID_30`` (the part is unknown: MusicBench counts versions there), ``ID_000030``,
    ``ID_30000`` (milliseconds), ``ID_30_40``, ``ID_30.000_40.000``, ``ID_30000_40000`` and ``ID_00-01-32_00-02-02``,
    with any folder before and suffix behind. A name is only taken for an id that could be YouTube's and mixes upper
    and lower case, which 99 in 100 ids do and hardly a word does; or for a Bilibili id.
    """
    stem = PurePosixPath(name.replace("\\", "/")).name
    stem = re.sub(r"\.(?:wav|flac|mp3|ogg|opus|m4a|mp4|webm|mkv)$", "", stem, flags=re.IGNORECASE)
    video, rest = _split_name(stem)
    if video is None:
        return None
    dashed = _DASHED.fullmatch(rest)
    if dashed:
        h1, m1, s1, h2, m2, s2 = map(int, dashed.groups())
        return _sensible(Segment(video, h1 * 3600 + m1 * 60 + s1, h2 * 3600 + m2 * 60 + s2))
    pair = re.fullmatch(rf"({_NUMBER})[_-]({_NUMBER})", rest)
    if pair:
        start, end = float(pair[1]), float(pair[2])
        # Clips are seconds long: a thousand and more between the ends are milliseconds.
        scale = 1000.0 if end - start >= 1000 else 1.0
        return _sensible(Segment(video, start / scale, end / scale))
    if re.fullmatch(r"\d{6}", rest):
        # Six digits with leading zeros are seconds; without, as 120000, AudioSet-strong's milliseconds.
        start = float(rest) if rest.startswith("00") else float(rest) / 1000
        return Segment(video, start, start + _CLIP_SECONDS)
    if re.fullmatch(r"[1-9]\d*000", rest):
        return Segment(video, float(rest) / 1000, float(rest) / 1000 + _CLIP_SECONDS)
    return Segment(video)


def _split_name(stem: str) -> tuple[str | None, str]:
    for begin in (0, 1) if stem[:1] == "Y" else (0,):
        video, rest = stem[begin : begin + 11], stem[begin + 11 :]
        if _YOUTUBE.fullmatch(video) and re.search("[a-z]", video) and re.search("[A-Z]", video):
            if not rest:
                return video, ""
            if rest[0] in "_-." and re.fullmatch(r"[\d_.-]*", rest[1:]):
                return video, rest[1:]
    found = _BILIBILI.match(stem)
    return (found[1], stem[12:].lstrip("_-")) if found else (None, "")


def _sensible(segment: Segment) -> Segment:
    """Forget ends that are no part of a video, such as the mistyped times in some published rows."""
    if segment.start is not None and segment.end is not None and segment.end <= segment.start:
        return Segment(segment.video)
    return segment
