"""Decoding against exact sines and scipy, windows read by seeking, and one clear error for each bad file."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
import scipy.signal
import soundfile

from sari_data import audio
from sari_data.audio import decode, encode_wav, load_audio, probe
from sari_data.errors import AudioError, InputError, MissingFileError
from sari_data.types import AudioRef

RATE = 16000
TOLERANCE = 2e-3


def sine(hertz: float, rate: int, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def encoded(samples: np.ndarray, rate: int = RATE, form: str = "WAV", subtype: str | None = None) -> AudioRef:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return AudioRef(data=buffer.getvalue(), path=f"clip.{form.lower()}")


def middle(samples: np.ndarray) -> np.ndarray:
    """Without the tenth at either end, where a resampling filter meets the edge."""
    cut = len(samples) // 10
    return samples[cut:-cut]


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_lossless_forms_are_exact(form):
    samples = np.round(sine(440, RATE) * 32768) / 32768
    found = load_audio(encoded(samples, form=form), RATE)
    assert found.dtype == np.float32
    assert found.shape == (RATE,)
    np.testing.assert_array_equal(found, samples.astype(np.float32))


@pytest.mark.parametrize("form", ["OGG", "MP3"])
def test_lossy_forms_keep_the_tone(form):
    samples = sine(440, RATE)
    found = load_audio(encoded(samples, form=form), RATE)
    assert len(found) == pytest.approx(RATE, abs=1200)
    spectrum = np.abs(np.fft.rfft(middle(found) * np.hanning(len(middle(found)))))
    assert np.argmax(spectrum) * RATE / len(middle(found)) == pytest.approx(440, abs=2)
    assert np.sqrt(2 * np.mean(middle(found) ** 2)) == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("source", [8000, 11025, 22050, 44100, 48000])
def test_resampling_keeps_frequency_and_amplitude(source):
    ref = encoded(sine(1000, source), source, subtype="FLOAT")
    found, expected = load_audio(ref, RATE), sine(1000, RATE)
    assert abs(len(found) - RATE) <= 1
    error = np.abs(middle(found[:15900]) - middle(expected[:15900])).max()
    assert error < TOLERANCE
    # The tolerance finds a tone that is half a hertz or half a per cent off, or a sample late.
    for wrong in (sine(1000.5, RATE), sine(1000, RATE, amplitude=0.5025), np.roll(expected, 1)):
        assert np.abs(middle(found[:15900]) - middle(wrong[:15900])).max() > TOLERANCE


def test_resampling_agrees_with_scipy():
    random = np.random.default_rng(0)
    low = scipy.signal.firwin(257, 5000, fs=48000)
    noise = scipy.signal.lfilter(low, 1, 0.1 * random.standard_normal(48000))
    found = load_audio(encoded(noise, 48000, subtype="FLOAT"), RATE)
    expected = scipy.signal.resample_poly(noise, 1, 3)
    assert np.abs(middle(found) - middle(expected)).max() < TOLERANCE
    # Taking every third sample of noise that reaches higher is not resampling; the tolerance tells.
    white = 0.1 * random.standard_normal(48000)
    found = load_audio(encoded(white, 48000, subtype="FLOAT"), RATE)
    assert np.abs(middle(found) - middle(white[::3])).max() > 10 * TOLERANCE


def test_what_is_above_the_new_nyquist_goes():
    found = load_audio(encoded(sine(12000, 48000), 48000, subtype="FLOAT"), RATE)
    assert np.abs(middle(found)).max() < TOLERANCE


def test_mono_is_the_mean_of_the_channels():
    left, right = sine(300, RATE), sine(700, RATE, amplitude=0.25)
    ref = encoded(np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(load_audio(ref, RATE), (left + right) / 2, atol=1e-6)
    info = probe(ref)
    assert (info.sampling_rate, info.frames, info.channels, info.seconds) == (RATE, RATE, 2, 1.0)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_a_window_equals_the_slice(form):
    ramp = np.linspace(-0.5, 0.5, 2 * RATE)
    whole = encoded(ramp, form=form)
    everything = load_audio(whole, RATE)
    part = load_audio(AudioRef(data=whole.data, start=0.5, duration=0.25), RATE)
    np.testing.assert_allclose(part, everything[8000:12000], atol=1e-4)
    rest = load_audio(AudioRef(data=whole.data, start=1.5, duration=99), RATE)
    np.testing.assert_allclose(rest, everything[24000:], atol=1e-4)


def test_a_window_of_a_long_file_is_read_alone(tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(RATE * 30), RATE)
    read, asked = soundfile.SoundFile.read, []
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **kw: asked.append(n) or read(self, n, **kw))
    assert len(load_audio(AudioRef(path=str(path), start=20, duration=2), 8000)) == 16000
    assert asked == [2 * RATE]


def test_too_long_is_refused_before_decoding(tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(8000 * 20), 8000)
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    with pytest.raises(AudioError, match="at most 10 s of audio, found 20 s"):
        load_audio(AudioRef(path=str(path)), RATE, max_seconds=10)


def test_encode_wav_is_exact_and_clips():
    steps = np.arange(-32768, 32768) / 32768
    found, rate = decode(AudioRef(data=encode_wav(steps, 8000)))
    assert rate == 8000
    np.testing.assert_array_equal(found, steps.astype(np.float32))
    loud, _ = decode(AudioRef(data=encode_wav(np.array([2.0, -2.0, 1.0]), 8000)))
    np.testing.assert_array_equal(loud, np.float32([32767 / 32768, -1.0, 32767 / 32768]))
    assert encode_wav(steps, 8000) == encode_wav(steps.astype(np.float32), 8000)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros(0), np.array([0.0, np.nan]), np.array([np.inf])])
def test_encode_wav_refuses(bad):
    with pytest.raises(AudioError, match="expected"):
        encode_wav(bad, 8000)
    with pytest.raises(InputError, match="sampling_rate"):
        encode_wav(np.zeros(4), 0)


def one_line(error: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("data", [b"", b"x", b"RIFF\x00\x00\x00\x00WAVE", b"<html>404</html>" * 99, bytes(5000)])
def test_what_is_no_audio(data, tmp_path):
    path = tmp_path / "bad.wav"
    path.write_bytes(data)
    for ref in (AudioRef(data=data), AudioRef(path=str(path))):
        for call in (lambda r: load_audio(r, RATE), decode, probe):
            with pytest.raises(AudioError) as error:
                call(ref)
            assert "audio" in one_line(error)
    assert "bad.wav" in one_line(error)


def test_a_raw_file_has_no_header(tmp_path):
    (tmp_path / "noise.raw").write_bytes(b"abcd")
    with pytest.raises(AudioError, match="WAV, FLAC, OGG or MP3"):
        probe(AudioRef(path=str(tmp_path / "noise.raw")))


def test_no_samples():
    with pytest.raises(AudioError, match="no samples"):
        load_audio(encoded(np.zeros(0)), RATE)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_file_that_is_cut_off(form):
    whole = encoded(sine(440, RATE, 3.0), form=form)
    with pytest.raises(AudioError) as error:
        load_audio(AudioRef(data=whole.data[: len(whole.data) // 2]), RATE)
    one_line(error)


def test_a_wav_written_to_a_pipe_ends_where_it_ends():
    body = bytearray(encode_wav(sine(440, RATE), RATE))
    body[4:8] = body[40:44] = struct.pack("<I", 0xFFFFFFFF)
    assert len(load_audio(AudioRef(data=bytes(body)), RATE)) == RATE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers(value):
    samples = sine(440, RATE)
    samples[100] = value
    ref = encoded(samples, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        load_audio(ref, RATE)
    assert len(load_audio(AudioRef(data=ref.data, start=0.5), RATE)) == 8000


def test_a_start_past_the_end(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(encode_wav(sine(440, RATE), RATE))
    with pytest.raises(AudioError, match=r"starts at 1 s, but the audio is only 1 s long"):
        load_audio(AudioRef(path=str(path), start=1.0), RATE)


def test_missing_files(tmp_path):
    for path in (tmp_path / "gone.wav", tmp_path):
        with pytest.raises(MissingFileError, match="expected an audio file there"):
            load_audio(AudioRef(path=str(path)), RATE)
    with pytest.raises(InputError, match="sampling_rate"):
        load_audio(AudioRef(path="x.wav"), 0)


def test_too_few_samples_to_resample():
    with pytest.raises(AudioError, match="too few"):
        load_audio(encoded(np.zeros(1), 48000), 100)


def test_import_is_light():
    heavy = "soundfile soxr librosa scipy torch"
    code = f"import sys, {audio.__name__}; print(*(m for m in '{heavy}'.split() if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_real_recordings(shared_data):
    paths = sorted((shared_data / "fsdd" / "recordings").glob("7_*_0.wav"))
    assert paths
    for path in paths:
        reference, rate = soundfile.read(path)
        found = load_audio(AudioRef(path=str(path)), 16000)
        np.testing.assert_allclose(decode(AudioRef(path=str(path)))[0], reference, atol=1e-6)
        assert len(found) == pytest.approx(2 * len(reference), abs=1)
        # Below the old Nyquist frequency the energy is that of the recording.
        assert np.mean(found**2) == pytest.approx(np.mean(reference**2), rel=0.02)
        assert rate == 8000
