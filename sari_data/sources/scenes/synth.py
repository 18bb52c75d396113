"""The built-in synthesizer: sound events, notes and vowel-like speech from a few lines of signal processing.

Everything is mono float32 at ``RATE`` and drawn from the generator that is passed in, so a seed fixes
every sample. The signals are simple on purpose: distinct enough to be told apart by a model of a
million parameters, varied enough (pitch, timing, colour, level) that it has to listen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # samples a second

Signal = NDArray[np.float32]
Maker = Callable[[np.random.Generator, float], NDArray[np.float64]]


def _time(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE


def _tone(frequency: NDArray[np.float64] | float, seconds: float) -> NDArray[np.float64]:
    """A sine whose frequency (Hz) may change from sample to sample."""
    track = np.broadcast_to(np.asarray(frequency, dtype=float), _time(seconds).shape)
    return np.sin(2 * np.pi * np.cumsum(track) / RATE)


def _band(noise: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Keep the band between ``low`` and ``high`` Hz by zeroing the rest of the spectrum."""
    spectrum = np.fft.rfft(noise)
    frequency = np.fft.rfftfreq(noise.size, 1 / RATE)
    spectrum[(frequency < low) | (frequency > high)] = 0
    return np.fft.irfft(spectrum, noise.size)


def _pulses(t: NDArray[np.float64], every: float, decay: float) -> NDArray[np.float64]:
    """An envelope that jumps to 1 every ``every`` seconds and falls with time constant ``decay``."""
    return np.exp(-(t % every) / decay)


def _bark(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    every = rng.uniform(0.17, 0.21)
    base = rng.uniform(380, 520) * (1 - 0.35 * np.minimum((t % every) / every, 1))
    voiced = sum(_tone(base * k, seconds) / k for k in (1, 2, 3, 4))
    rough = _band(rng.standard_normal(t.size), 300, 1800)
    return (voiced + 0.8 * rough) * _pulses(t, every, 0.05)


def _chirp(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    every = rng.uniform(0.09, 0.12)
    sweep = rng.uniform(2600, 3000) + rng.uniform(1800, 2300) * (t % every) / every
    return _tone(sweep, seconds) * np.sin(np.pi * (t % every) / every)


def _bell(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    base = rng.uniform(620, 760)
    partials = ((1.0, 1.0), (2.76, 0.7), (5.4, 0.4), (8.93, 0.2))
    return np.sum([a * _tone(base * r, seconds) * np.exp(-t * (1.2 + r / 2)) for r, a in partials], axis=0)


def _siren(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    track = rng.uniform(850, 950) + 380 * np.sin(2 * np.pi * rng.uniform(2.6, 3.4) * t + rng.uniform(0, 6))
    return _tone(track, seconds) + 0.4 * _tone(2 * track, seconds)


def _knock(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    thud = _tone(rng.uniform(110, 150), seconds) + 0.6 * _band(rng.standard_normal(t.size), 80, 500)
    return thud * _pulses(t, rng.uniform(0.13, 0.16), 0.02)


def _engine(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    base = rng.uniform(55, 80)
    harmonics = sum(_tone(base * k, seconds) / k**0.7 for k in range(1, 9))
    return harmonics * (1 + 0.4 * np.sin(2 * np.pi * 11 * t)) + 0.3 * _band(rng.standard_normal(t.size), 50, 600)


def _whistle(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    track = rng.uniform(1700, 2100) * (1 + 0.012 * np.sin(2 * np.pi * 6 * t))
    return _tone(track, seconds) + 0.02 * rng.standard_normal(t.size)


def _rain(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    return _band(rng.standard_normal(t.size), rng.uniform(1500, 2200), 7800)


def _clap(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    return _band(rng.standard_normal(t.size), 700, 3800) * _pulses(t, rng.uniform(0.15, 0.18), 0.012)


def _ring(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    pair = _tone(rng.uniform(1250, 1350), seconds) + _tone(rng.uniform(1480, 1580), seconds)
    return pair * (np.sin(2 * np.pi * 22 * t) > 0)


def _beep(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    square = np.sign(_tone(rng.uniform(950, 1050), seconds))
    return square * ((t % rng.uniform(0.11, 0.13)) < 0.06)


def _drip(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    every = rng.uniform(0.14, 0.17)
    sweep = rng.uniform(500, 600) + rng.uniform(9000, 11000) * (t % every)
    return _tone(sweep, seconds) * _pulses(t, every, 0.03)


def _cricket(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    carrier = _tone(rng.uniform(5200, 6000), seconds)
    return carrier * (np.sin(2 * np.pi * rng.uniform(28, 34) * t) > 0) * ((t % 0.16) < 0.11)


def _horn(rng: np.random.Generator, seconds: float) -> NDArray[np.float64]:
    base = rng.uniform(290, 330)
    return np.sum([_tone(base * r * k, seconds) / k for r in (1.0, 1.26) for k in range(1, 7)], axis=0)


SOUNDS: dict[str, Maker] = {
    "bark": _bark,
    "chirp": _chirp,
    "bell": _bell,
    "siren": _siren,
    "knock": _knock,
    "engine": _engine,
    "whistle": _whistle,
    "rain": _rain,
    "clap": _clap,
    "ring": _ring,
    "beep": _beep,
    "drip": _drip,
    "cricket": _cricket,
    "horn": _horn,
}

# Relative strength of each harmonic, attack in seconds, decay rate per second.
TIMBRES: dict[str, tuple[tuple[float, ...], float, float]] = {
    "flute": ((1.0, 0.25, 0.06), 0.04, 0.3),
    "piano": ((1.0, 0.6, 0.45, 0.3, 0.2, 0.12), 0.004, 5.0),
    "organ": ((1.0, 0.1, 0.9, 0.1, 0.8, 0.1, 0.6, 0.1, 0.4), 0.015, 0.0),
    "brass": ((0.5, 0.8, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3), 0.05, 0.5),
    "marimba": ((1.0, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.3), 0.002, 11.0),
}

# Fundamental ranges in Hz; wide gaps between them, so that a register is a fact and not an opinion.
REGISTERS: dict[str, tuple[float, float]] = {"low": (196, 247), "middle": (392, 466), "high": (784, 932)}


def note(timbre: str, register: str, rng: np.random.Generator, seconds: float) -> Signal:
    """A note in ``timbre`` (see TIMBRES) with its fundamental drawn from ``register`` (see REGISTERS)."""
    harmonics, attack, decay = TIMBRES[timbre]
    t = _time(seconds)
    base = rng.uniform(*REGISTERS[register]) * (1 + 0.004 * np.sin(2 * np.pi * rng.uniform(4.5, 6) * t))
    # Harmonics above half the sampling rate would fold back as wrong pitches.
    heard = [(k, a) for k, a in enumerate(harmonics, start=1) if a > 0 and k * base.max() < RATE / 2]
    wave = np.sum([a * _tone(base * k, seconds) for k, a in heard], axis=0)
    return _finish(wave * np.minimum(t / attack, 1) * np.exp(-decay * t))


# Formant targets (F1, F2, F3 in Hz) of vowels, and of voiced consonants as the places vowels glide from and to.
_FORMANTS = {
    "i": (290, 2300, 3000),
    "I": (400, 2000, 2600),
    "e": (530, 1850, 2500),
    "a": (750, 1250, 2500),
    "V": (640, 1200, 2400),
    "o": (500, 850, 2400),
    "O": (580, 900, 2400),
    "u": (310, 850, 2250),
    "w": (290, 610, 2150),
    "r": (420, 1150, 1500),
    "n": (270, 1500, 2300),
    "v": (300, 1100, 2200),
}

# Each word: an optional noise onset (low Hz, high Hz, share of the word), formant targets, an optional noise to end.
_Noise = tuple[float, float, float] | None
WORDS: dict[str, tuple[_Noise, str, _Noise]] = {
    "0": ((3800, 7500, 0.22), "irOu", None),
    "1": (None, "wVVn", None),
    "2": ((2500, 6000, 0.12), "uuu", None),
    "3": ((5500, 7800, 0.15), "rii", None),
    "4": ((1500, 7800, 0.22), "OOr", None),
    "5": ((1500, 7800, 0.20), "aaIv", None),
    "6": ((4200, 7800, 0.25), "I", (4200, 7800, 0.35)),
    "7": ((4200, 7800, 0.25), "eveVn", None),
    "8": (None, "eIi", (2500, 6000, 0.15)),
    "9": (None, "naaIn", None),
}

# Fundamental range in Hz and the factor by which a shorter vocal tract raises every formant.
VOICES: dict[str, tuple[float, float, float]] = {
    "man": (95, 125, 1.0),
    "woman": (190, 230, 1.15),
    "child": (290, 350, 1.32),
}


def word(text: str, voice: str, rng: np.random.Generator, seconds: float) -> Signal:
    """A vowel-like spoken number: a glottal pulse train through gliding formants, with noise for s, f and t."""
    onset, targets, ending = WORDS[text]
    low, high, tract = VOICES[voice]
    t = _time(seconds)
    x = t / seconds
    start = onset[2] if onset else 0.0
    stop = 1 - (ending[2] if ending else 0.0)
    inside = np.clip((x - start) / (stop - start), 0, 1)
    base = rng.uniform(low, high) * (1.08 - 0.16 * x) * (1 + 0.01 * np.sin(2 * np.pi * 5 * t))
    tract *= rng.uniform(0.97, 1.03)
    points = np.linspace(0, 1, len(targets)) if len(targets) > 1 else np.array([0.5])
    formants = [np.interp(inside, points, [_FORMANTS[s][k] * tract for s in targets]) for k in range(3)]
    phase = 2 * np.pi * np.cumsum(base) / RATE
    voiced = np.zeros_like(t)
    for k in range(1, int(4200 / low) + 1):
        frequency = k * base
        # The response of three resonances with bandwidths of about 90 Hz, on a source that falls 6 dB an octave.
        gain = sum(a / (1 + ((frequency - f) / 90.0) ** 2) for f, a in zip(formants, (1.0, 0.7, 0.35), strict=True))
        voiced += np.where(frequency < 4200, (gain + 0.01) / np.sqrt(k), 0) * np.sin(k * phase)
    voiced *= ((x >= start) & (x <= stop)) * np.sin(np.pi * np.clip(inside, 0.02, 0.98)) ** 0.5
    wave = voiced
    for noise, where in ((onset, x < start), (ending, x > stop)):
        if noise:
            hiss = _band(rng.standard_normal(t.size), noise[0], noise[1])
            wave = wave + 0.5 * np.std(voiced) / (np.std(hiss) + 1e-9) * hiss * where
    return _finish(wave)


def sound(label: str, rng: np.random.Generator, seconds: float) -> Signal:
    """A sound event of the class ``label`` (see SOUNDS)."""
    return _finish(SOUNDS[label](rng, seconds))


def _finish(wave: NDArray[np.float64]) -> Signal:
    """Fade 5 ms in and out, remove the mean."""
    wave = np.asarray(wave, dtype=np.float64) - np.mean(wave)
    n = min(80, wave.size // 2)
    ramp = np.linspace(0, 1, n)
    wave[:n] *= ramp
    wave[wave.size - n :] *= ramp[::-1]
    return wave.astype(np.float32)
