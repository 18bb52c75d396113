"""Where the clips of a scene come from: the built-in synthesizer, or a labelled folder of recordings."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from sari_data.errors import InputError, MissingFileError
from sari_data.sources.scenes import synth
from sari_data.types import AudioRef

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}


class Clips(Protocol):
    """A supply of labelled clips for the scenes of one domain."""

    def labels(self, domain: str) -> Sequence[str]:
        """What a clip can be labelled: event classes, timbres, or spoken words."""
        ...

    def voices(self, domain: str, label: str | None = None) -> Sequence[str]:
        """Who can produce it: speakers in speech, registers in music; empty where that is not known.

        With ``label`` only those of whom there is a clip of it.
        """
        ...

    def draw(
        self, domain: str, label: str, voice: str | None, seconds: float, rng: np.random.Generator
    ) -> synth.Signal:
        """Return one clip [samples] at ``synth.RATE``; recordings keep their own length."""
        ...

    @property
    def licence(self) -> str:
        """Licence of the audio."""
        ...


class Synthesizer:
    """Clips made on the spot: sound events, notes in three registers, numbers in three voices."""

    licence = "CC0-1.0"

    def labels(self, domain: str) -> Sequence[str]:
        return {"sound": list(synth.SOUNDS), "music": list(synth.TIMBRES), "speech": list(synth.WORDS)}[domain]

    def voices(self, domain: str, label: str | None = None) -> Sequence[str]:
        return {"sound": [], "music": list(synth.REGISTERS), "speech": list(synth.VOICES)}[domain]

    def draw(
        self, domain: str, label: str, voice: str | None, seconds: float, rng: np.random.Generator
    ) -> synth.Signal:
        if domain == "sound":
            return synth.sound(label, rng, seconds)
        voice = voice or str(rng.choice(self.voices(domain)))
        if domain == "music":
            return synth.note(label, voice, rng, seconds)
        return synth.word(label, voice, rng, seconds)


@dataclass(frozen=True)
class Recording:
    """One file of a labelled folder."""

    path: Path
    label: str
    voice: str | None


class Folder:
    """Clips from a folder of recordings, labelled by file name or by a CSV.

    Args:
        folder: Folder that is searched, with its subfolders, for WAV, FLAC, OGG and MP3 files.
        domain: The one domain the recordings belong to.
        pattern: Regular expression on the file's stem with a group ``label`` and optionally ``voice``.
        labels_csv: CSV with columns ``file``, ``label`` and optionally ``voice``, instead of ``pattern``.
        only_voices: Keep these voices alone (all where empty).
        without_voices: Leave these voices out (held-out speakers).
        licence: Licence of the recordings.
    """

    def __init__(
        self,
        folder: str | Path,
        domain: str,
        *,
        pattern: str | None = None,
        labels_csv: str | Path | None = None,
        only_voices: Sequence[str] = (),
        without_voices: Sequence[str] = (),
        licence: str = "",
    ) -> None:
        self.folder, self.domain, self.licence = Path(folder), domain, licence
        if not self.folder.is_dir():
            raise MissingFileError(f"folder of recordings {str(folder)!r} does not exist: name one that does")
        if (pattern is None) == (labels_csv is None):
            raise InputError("recordings need either a file-name pattern or a labels CSV; give exactly one of the two")
        found = self._by_name(pattern) if pattern is not None else self._by_csv(Path(str(labels_csv)))
        heard = {r.voice for r in found if r.voice}
        missing = [v for v in (*only_voices, *without_voices) if v not in heard]
        if missing:
            raise InputError(f"{self.folder}: no recordings of {missing}; found the voices {sorted(heard)}")
        kept = [r for r in found if (not only_voices or r.voice in only_voices) and r.voice not in without_voices]
        self._by_label: dict[tuple[str, str | None], list[Recording]] = defaultdict(list)
        for recording in kept:
            self._by_label[recording.label, None].append(recording)
            if recording.voice is not None:
                self._by_label[recording.label, recording.voice].append(recording)
        self._labels = sorted({r.label for r in kept}, key=_natural)
        self._voices = sorted({r.voice for r in kept if r.voice})
        _check_labels(self._labels, str(self.folder))
        if len(self._labels) < 4:
            raise InputError(f"{self.folder}: four or more labels are needed to ask about; found {self._labels}")

    def _by_name(self, pattern: str) -> list[Recording]:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise InputError(f"label pattern {pattern!r} is not a regular expression: {error}") from error
        if "label" not in expression.groupindex:
            raise InputError(f"label pattern {pattern!r} needs a group (?P<label>...)")
        files = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
        found = []
        for path in files:
            match = expression.fullmatch(path.stem)
            if match:
                found.append(_recording(path, match["label"], match.groupdict().get("voice")))
        if not found:
            raise InputError(f"{self.folder}: none of {len(files)} audio files has a name that fits {pattern!r}")
        return found

    def _by_csv(self, path: Path) -> list[Recording]:
        if not path.is_file():
            raise MissingFileError(f"labels CSV {str(path)!r} does not exist")
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file)
                columns = list(rows.fieldnames or [])
                table = list(rows)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}: expected a CSV in UTF-8, found a file that is not ({error})") from error
        if "file" not in columns or "label" not in columns:
            raise InputError(f"{path}: expected the columns file and label (voice is optional); found {columns}")
        short = next((n for n, row in enumerate(table, start=2) if not row["file"] or not row["label"]), None)
        if short is not None:
            raise InputError(f"{path}: row {short} needs a file and a label; found an empty one: correct the row")
        found = [_recording(self.folder / r["file"], r["label"], r.get("voice")) for r in table]
        absent = [r.path for r in found if not r.path.is_file()]
        if absent:
            raise MissingFileError(f"{path}: {len(absent)} of {len(found)} files are missing, the first is {absent[0]}")
        return found

    def labels(self, domain: str) -> Sequence[str]:
        return self._labels if domain == self.domain else []

    def voices(self, domain: str, label: str | None = None) -> Sequence[str]:
        if domain != self.domain:
            return []
        return self._voices if label is None else [v for v in self._voices if (label, v) in self._by_label]

    def draw(
        self, domain: str, label: str, voice: str | None, seconds: float, rng: np.random.Generator
    ) -> synth.Signal:
        pool = self._by_label.get((label, voice)) or []
        if not pool:
            raise InputError(f"{self.folder}: no recording of {label!r} by {voice!r}")
        return _trimmed(str(pool[int(rng.integers(len(pool)))].path))


def _recording(path: Path, label: str, voice: str | None) -> Recording:
    # White space at the ends and line breaks come with the file; they are no part of a name.
    return Recording(path, " ".join(label.split()), " ".join((voice or "").split()) or None)


def _check_labels(labels: Sequence[str], where: str) -> None:
    """Raise InputError for labels that no question could be asked with."""
    for label in labels:
        if not label or not label.isprintable() or set(label) & set("<>"):
            raise InputError(f"{where}: a label must be text without '<' and '>' (they mark sections); found {label!r}")
    folded: dict[str, str] = {}
    for label in labels:
        other = folded.setdefault(label.casefold(), label)
        if other != label:
            raise InputError(f"{where}: the labels {other!r} and {label!r} read the same: write them alike")


def _natural(label: str) -> tuple[int, int | str]:
    return (0, int(label)) if label.isdecimal() else (1, label)


@lru_cache(maxsize=4096)
def _trimmed(path: str) -> synth.Signal:
    """Load a recording and cut the silence (40 dB below its peak) before and after."""
    from sari_data.audio import load_audio

    wave = load_audio(AudioRef(path=path), synth.RATE)
    loud = np.flatnonzero(np.abs(wave) > 0.01 * np.max(np.abs(wave)))
    return wave[loud[0] : loud[-1] + 1] if loud.size else wave
