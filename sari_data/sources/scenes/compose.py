"""A scene: which events, when, how long and how loud, and the waveform that holds just these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sari_data.errors import InputError
from sari_data.sources.scenes import synth
from sari_data.sources.scenes.clips import Clips

LEVEL_DB = -23.0  # root mean square of an event of ordinary loudness, relative to full scale


@dataclass(frozen=True)
class Event:
    """One clip in a scene.

    Args:
        label: Event class, timbre, or spoken word.
        voice: Speaker, or register of a note; ``None`` where it does not matter or is not known.
        long: Whether it is meant to be clearly longer than the others; ``None`` where length is left free.
        loud: Whether it is meant to be clearly louder than the others; ``None`` where loudness is left free.
    """

    label: str
    voice: str | None = None
    long: bool | None = None
    loud: bool | None = None


@dataclass(frozen=True)
class Placement:
    """Where an event came to lie: start and length in seconds, level in dB of full scale."""

    event: Event
    start: float
    seconds: float
    level_db: float


@dataclass(frozen=True)
class Acoustics:
    """Ranges that a scene is drawn from. The benchmark uses other ranges than the corpus."""

    short: tuple[float, float] = (0.24, 0.34)  # seconds
    long: tuple[float, float] = (0.70, 0.85)
    gap: tuple[float, float] = (0.10, 0.22)
    jitter_db: float = 1.5  # spread of levels where loudness is left free
    loud_db: tuple[float, float] = (10.0, 13.0)  # how far a loud event stands above a soft one
    noise_db: tuple[float, float] = (-58.0, -46.0)


def compose(
    clips: Clips,
    domain: str,
    events: Sequence[Event],
    acoustics: Acoustics,
    rng: np.random.Generator,
    *,
    seconds: float,
    gap: tuple[float, float] | None = None,
) -> tuple[synth.Signal, list[Placement]]:
    """Mix ``events`` one after the other.

    Returns:
        The waveform [samples] at ``synth.RATE``, at most ``seconds`` long, and where each event lies.

    Raises:
        InputError: The events do not fit into ``seconds``.
    """
    waves = [_draw(clips, domain, event, acoustics, rng) for event in events]
    low, high = gap or acoustics.gap
    gaps = rng.uniform(low, high, size=len(events) + 1)
    gaps[0], gaps[-1] = rng.uniform(0.05, 0.15, size=2)
    sounding = sum(w.size for w in waves) / synth.RATE
    room = seconds - sounding
    if room < 0.05 * len(gaps):
        raise InputError(f"{len(events)} events of {sounding:.2f} s in all do not fit into a scene of {seconds:g} s")
    gaps *= min(1.0, room / gaps.sum())
    total = int((sounding + gaps.sum()) * synth.RATE)
    mix = np.zeros(total, dtype=np.float64)
    placements, position = [], gaps[0]
    for event, wave, after in zip(events, waves, gaps[1:], strict=True):
        level = _level(event, acoustics, rng)
        scaled = wave * (10 ** (level / 20) / (np.sqrt(np.mean(np.square(wave, dtype=np.float64))) + 1e-9))
        start = int(position * synth.RATE)
        mix[start : start + wave.size] += scaled[: total - start]
        length = wave.size / synth.RATE
        placements.append(Placement(event, position, length, level))
        position += length + after
    mix += rng.standard_normal(total) * 10 ** (rng.uniform(*acoustics.noise_db) / 20)
    peak = np.max(np.abs(mix))
    return (mix / max(1.0, peak / 0.98)).astype(np.float32), placements


def _draw(clips: Clips, domain: str, event: Event, acoustics: Acoustics, rng: np.random.Generator) -> synth.Signal:
    length = rng.uniform(*(acoustics.long if event.long else acoustics.short))
    if domain == "speech":
        length = rng.uniform(0.30, 0.40)
    return clips.draw(domain, event.label, event.voice, float(length), rng)


def _level(event: Event, acoustics: Acoustics, rng: np.random.Generator) -> float:
    if event.loud is None:
        return float(LEVEL_DB + rng.uniform(-acoustics.jitter_db, acoustics.jitter_db))
    above = rng.uniform(*acoustics.loud_db) if event.loud else 0.0
    return float(LEVEL_DB - 7 + above + rng.uniform(-0.5, 0.5))
