"""Audio in and out: decode a file or bytes, take the part that is meant, mix to mono, resample.

libsndfile (through soundfile) reads WAV, FLAC, OGG and MP3 and seeks in all of them, so a window of
a long file is read without decoding the rest. Resampling is soxr's HQ setting (the one that librosa
uses): a linear-phase filter whose passband ends at 0.91 of the lower Nyquist frequency.
"""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sari_data.errors import AudioError, InputError, MissingFileError
from sari_data.types import AudioRef

if TYPE_CHECKING:
    from soundfile import SoundFile

MAX_SECONDS = 600.0

# The frame count of an MP3 without a Xing header is an estimate; other formats know theirs.
_TOLERATED = {"MP3": 0.05}
# Programs that write to a pipe leave a length near 2^31 or 2^32 in the header: then the file's end is the end.
_PIPED_BYTES = 0x7FFFF000
_SHORT_DATA = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says: of the whole file, whichever part a reference means.

    Args:
        sampling_rate: Samples a second.
        frames: Samples in each channel.
        channels: Number of channels.
        seconds: Length of the file in seconds.
    """

    sampling_rate: int
    frames: int
    channels: int
    seconds: float


def load_audio(ref: AudioRef, sampling_rate: int, *, max_seconds: float = MAX_SECONDS) -> NDArray[np.float32]:
    """Decode the part that ``ref`` means, mixed to mono (the channels' mean) at ``sampling_rate``.

    A duration that reaches past the end of the file is cut there.

    Args:
        ref: The audio.
        sampling_rate: Samples a second of the result.
        max_seconds: A longer part is refused before any of it is decoded.

    Returns:
        float32 samples, shape [samples], full scale is 1.

    Raises:
        MissingFileError: The path is not a file.
        AudioError: Empty, not audio, cut off, too long, a start past the end, or NaN or infinite samples.
        InputError: ``sampling_rate`` is not positive.
    """
    if sampling_rate < 1:
        raise InputError(f"sampling_rate must be 1 Hz or more; found {sampling_rate}")
    samples, rate = decode(ref, max_seconds=max_seconds)
    if rate == sampling_rate:
        return samples
    import soxr

    resampled = np.asarray(soxr.resample(samples, rate, sampling_rate, quality="HQ"), dtype=np.float32)
    if resampled.size == 0:
        raise AudioError(
            f"{_name(ref)}: {samples.size} samples at {rate} Hz are too few to resample to {sampling_rate} Hz"
        )
    return resampled


def decode(ref: AudioRef, *, max_seconds: float = MAX_SECONDS) -> tuple[NDArray[np.float32], int]:
    """Decode the part that ``ref`` means, mixed to mono, at the file's own sampling rate.

    Returns:
        float32 samples, shape [samples], and the sampling rate in Hz.

    Raises:
        MissingFileError: The path is not a file.
        AudioError: As :func:`load_audio`.
    """
    name = _name(ref)
    with _opened(ref) as file:
        info = _info(file)
        if info.frames == 0:
            raise AudioError(f"{name}: expected audio, found a file with no samples in it: record or fetch it again")
        first = round(ref.start * info.sampling_rate)
        if first >= info.frames:
            raise AudioError(
                f"{name}: the part starts at {ref.start:g} s, but the audio is only {info.seconds:g} s long"
            )
        wanted = info.frames - first
        if ref.duration is not None:
            wanted = min(wanted, max(1, round(ref.duration * info.sampling_rate)))
        seconds = wanted / info.sampling_rate
        if seconds > max_seconds:
            raise AudioError(
                f"{name}: expected at most {max_seconds:g} s of audio, found {seconds:.0f} s: "
                "give a start and a duration, or raise the limit"
            )
        file.seek(first)
        samples = file.read(wanted, dtype="float32", always_2d=True)
        missing = max(wanted - len(samples), _missing_frames(file))
        if len(samples) == 0 or missing > _TOLERATED.get(file.format, 0.0) * wanted:
            raise AudioError(f"{name}: the file is cut off: {missing} samples are missing from it: fetch it again")
    if not np.isfinite(samples).all():
        raise AudioError(f"{name}: found NaN or infinite samples: write the file again from its source")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    return np.ascontiguousarray(mono), info.sampling_rate


def probe(ref: AudioRef) -> AudioInfo:
    """Read a file's header without decoding it.

    Raises:
        MissingFileError: The path is not a file.
        AudioError: Empty or not audio.
    """
    with _opened(ref) as file:
        return _info(file)


def encode_wav(samples: NDArray[np.floating], sampling_rate: int) -> bytes:
    """Encode mono samples as a 16-bit PCM WAV file; beyond full scale they are clipped.

    One step is 1/32768, as in decoding: samples that came from 16-bit audio survive exactly.

    Args:
        samples: Shape [samples], full scale is 1.
        sampling_rate: Samples a second.

    Raises:
        AudioError: Not one-dimensional, empty, or with NaN or infinite samples.
        InputError: ``sampling_rate`` is not positive.
    """
    array = np.asarray(samples)
    if array.ndim != 1 or array.size == 0:
        raise AudioError(f"expected mono samples of shape [samples], at least one; found shape {list(array.shape)}")
    if not np.isfinite(array).all():
        raise AudioError("expected finite samples to encode; found NaN or infinite ones")
    if sampling_rate < 1:
        raise InputError(f"sampling_rate must be 1 Hz or more; found {sampling_rate}")
    scaled = np.clip(np.rint(array.astype(np.float64) * 32768), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sampling_rate)
        file.writeframes(scaled.tobytes())
    return buffer.getvalue()


def _name(ref: AudioRef) -> str:
    return f"audio {ref.path!r}" if ref.path is not None else f"embedded audio ({len(ref.data or b'')} bytes)"


def _info(file: SoundFile) -> AudioInfo:
    frames = max(0, file.frames)
    return AudioInfo(file.samplerate, frames, file.channels, frames / file.samplerate)


def _missing_frames(file: SoundFile) -> int:
    # libsndfile takes a WAV file that is shorter than its header says for a short one; its log tells.
    found = _SHORT_DATA.search(file.extra_info) if file.format in ("WAV", "WAVEX") else None
    if found is None or int(found[1]) >= _PIPED_BYTES or int(found[1]) <= int(found[2]):
        return 0
    return round(file.frames * (int(found[1]) / max(1, int(found[2])) - 1))


@contextmanager
def _opened(ref: AudioRef) -> Iterator[SoundFile]:
    # Decoding happens inside the `with` of the caller, so that an error of libsndfile there is caught here too.
    import soundfile

    name = _name(ref)
    source: str | io.BytesIO
    if ref.data is None:
        path = Path(str(ref.path))
        if not path.is_file():
            raise MissingFileError(f"{name}: expected an audio file there, found none: correct the path or fetch it")
        size, source = path.stat().st_size, str(path)
    else:
        size, source = len(ref.data), io.BytesIO(ref.data)
    if size == 0:
        raise AudioError(f"{name}: expected audio, found 0 bytes: fetch it again")
    try:
        with soundfile.SoundFile(source) as file:
            yield file
    except (soundfile.SoundFileError, TypeError) as error:
        # TypeError: a name that ends in .raw, which soundfile takes for audio without a header.
        reason = getattr(error, "error_string", None) or str(error)
        raise AudioError(
            f"{name}: expected WAV, FLAC, OGG or MP3, found data that does not decode: {reason}"
        ) from error
