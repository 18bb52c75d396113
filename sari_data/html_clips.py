"""Clips inside an HTML page: each once, small, and together no larger than a bound."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any, Literal

from sari_data.audio import decode, encode_wav, load_audio
from sari_data.errors import InputError, SariError
from sari_data.types import AudioRef

Audio = Literal["small", "full", "none"]
SMALL_RATE = 16_000  # samples a second of a clip that is made small

_MP3_LEVEL = 0.6  # of 0 (best) to 1: about 5 kB a second at 16 kHz
_PLAYED = {b"RIFF": "audio/wav", b"fLaC": "audio/flac", b"OggS": "audio/ogg"}


class Clips:
    """Encodes each clip once, up to a bound; counts what became of them.

    Args:
        audio: ``small``: mono MP3 at 16 kHz; ``full``: the file as it is; ``none``: no clip at all.
        audio_mib: Bound on the clips together, in MiB before base64 makes them a third larger.
        option: What the bound is called on the command line.
    """

    def __init__(self, audio: Audio, audio_mib: float, option: str = "--audio-mib") -> None:
        self.audio, self._left = audio, audio_mib * 2**20
        self._full = {"none": f"The page was full: its audio is bounded ({option})."}
        self.inside = self.left_out = self.unreadable = 0
        self._known: dict[str, dict[str, Any]] = {}

    def place(self, ref: AudioRef) -> tuple[dict[str, Any], str]:
        """Return what a row says of its clip, and the clip's own element where it comes for the first time."""
        if self.audio == "none":
            return {"none": "The page was written without audio."}, ""
        if ref.key in self._known:
            return self._known[ref.key], ""
        said, element = self._encode(ref)
        self._known[ref.key] = said
        return said, element

    def _encode(self, ref: AudioRef) -> tuple[dict[str, Any], str]:
        if self._left <= 0:
            self.left_out += 1
            return self._full, ""
        try:
            data, kind = _small(ref) if self.audio == "small" else _full(ref)
        except SariError as error:
            self.unreadable += 1
            return {"none": str(error), "problem": "audio cannot be decoded"}, ""
        if len(data) > self._left:
            self._left = 0  # from here on none: which have sound does not depend on who happens to fit
            self.left_out += 1
            return self._full, ""
        self._left -= len(data)
        self.inside += 1
        number = self.inside
        text = base64.b64encode(data).decode()
        return {"clip": number, "kind": kind}, f'<script type="text/plain" id="clip-{number}">{text}</script>\n'


def _small(ref: AudioRef) -> tuple[bytes, str]:
    import soundfile

    samples = load_audio(ref, SMALL_RATE)
    buffer = io.BytesIO()
    soundfile.write(
        buffer, samples, SMALL_RATE, format="MP3", compression_level=_MP3_LEVEL, bitrate_mode="VARIABLE"
    )  # every browser plays MP3; Ogg not
    return buffer.getvalue(), "audio/mpeg"


def _full(ref: AudioRef) -> tuple[bytes, str]:
    if ref.start or ref.duration is not None:
        return encode_wav(*decode(ref)), "audio/wav"
    data = ref.data if ref.data is not None else _bytes_of(ref)
    return data, _PLAYED.get(data[:4], "audio/mpeg")


def _bytes_of(ref: AudioRef) -> bytes:
    try:
        return Path(str(ref.path)).read_bytes()
    except OSError as error:
        raise InputError(f"audio {ref.path!r}: could not be read ({error.strerror})") from error
