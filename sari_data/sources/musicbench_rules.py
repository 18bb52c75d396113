"""Questions about key, tempo, metre and chords that follow from a MusicBench row, and when a row allows none.

The truth is what the beat tracker, the chord recogniser and the key detector of MusicBench's makers found in the audio,
so a rule asks only where the row does not contradict itself, and offers no two options that such a tool, or a
listener, is likely to take for each other. Each margin is a constant here and is explained in
``docs/sources-musicbench.md``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median

from sari_data.errors import InputError
from sari_data.sources.files import seeded_hash
from sari_data.sources.music_theory import (
    KEYS,
    MODES,
    TEMPO_WORDS,
    Chord,
    Key,
    keys_are_close,
    parse_chord,
    shared_notes,
    tempo_word,
    tempos_apart,
    words_apart,
)
from sari_data.sources.phrasing import Draft, Refused, pick_apart

TEMPO_MARGIN = 0.2  # listeners notice a change of tempo of some 5 to 8 %; an estimate is off by about as much again
OCTAVE_MARGIN = 0.12  # beats are often found at half, twice or three times the rate that is tapped
WORD_MARGIN = 0.04  # how far inside its word's range a tempo must lie
TEMPI = (45, 215)  # beats a minute that are asked for
OFFERED = (30, 320)  # beats a minute that are offered
SPREAD = 3.0  # times as fast as the slowest option the fastest may be
LONGEST_SHARE = Fraction(1, 3)  # of their notes that two chords offered together may share
SHORTEST_CHORD = 0.5  # seconds; what is shorter is a flicker of the detector
AFTER_BEATS = 1.0  # seconds; some rows have chords of a longer recording than the clip that was published
MOST_CHORDS = 6  # in a progression that is asked for
UNEVEN = 0.2  # how far an interval between beats may be from their median, as a share
# The tempi that a caption's word allows, in beats a minute: beyond them tempo or word is off, often by an octave.
SAID_TEMPI = {"slow": (0, 110), "medium": (70, 150), "moderate": (70, 150), "mid": (70, 150), "fast": (90, 400)}
METRES = {2: (3, 5, 7), 3: (5, 7), 4: (3, 5, 7)}  # never 2 and 4 together: the one is the other counted twice as fast

RHYTHM = ("Information Extraction", "Rhythm and Tempo Understanding")
HARMONY = ("Information Extraction", "Harmony and Chord Progressions")
_SAID_TEMPO = re.compile(
    r"\b(slow|medium|moderate|mid|fast)(?:er)?(?:[ -]to[ -]\w+)?[ -]?tempo"
    r"|\btempo\s+(?:is\s+)?(?:very |quite |rather |a bit )?(slow|medium|moderate|fast)",
    re.IGNORECASE,
)
_SAID_MODE = re.compile(
    r"\b(major|minor)[ -](?:key|scale|mode)|\b(?:key|scale) (?:of|in) \S+ (major|minor)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Music:
    """What a row says of its clip.

    Args:
        id: The row's location.
        caption: What there is to hear, without control sentences.
        key: Its key; ``None`` where none is given.
        sure_of_key: Whether the row names no second key and its probability is high enough.
        bpm: Beats a minute; ``None`` where none is given.
        beats: Times of the beats, in seconds.
        counts: Place of each beat in its bar, from 1.
        chords: Symbols, ``N`` for none.
        chord_times: When each begins, in seconds.
        changes: What the row's augmentation changes within the clip: some of ``pitch``, ``tempo``, ``volume``.
    """

    id: str
    caption: str
    key: Key | None
    sure_of_key: bool
    bpm: float | None
    beats: Sequence[float]
    counts: Sequence[int]
    chords: Sequence[str]
    chord_times: Sequence[float]
    changes: frozenset[str]


def _key(music: Music) -> Key | Refused:
    """The key, where it can be asked for."""
    if music.key is None:
        return Refused("no key is given")
    if not music.sure_of_key:
        return Refused("the key is unsure")
    if "pitch" in music.changes:
        return Refused("the pitch changes within the clip")
    said = {(a or b).lower() for a, b in _SAID_MODE.findall(music.caption)}
    if said - {music.key.mode}:
        return Refused("the caption names another mode")
    return music.key


def key(music: Music, seed: int) -> Draft | Refused:
    """In which key is it? No two options are related keys."""
    gold = _key(music)
    if isinstance(gold, Refused):
        return gold
    wrong = pick_apart(gold, KEYS, 3, keys_are_close, seed, f"{music.id}/key")
    values = {**_key_values(music, gold), "others": {str(k): k.scale[0] for k in wrong}}
    return _draft("key", str(gold), [str(k) for k in wrong], values, HARMONY)


def mode(music: Music, seed: int) -> Draft | Refused:
    """Major or minor?"""
    gold = _key(music)
    if isinstance(gold, Refused):
        return gold
    return _draft("mode", gold.mode, [m for m in MODES if m != gold.mode], _key_values(music, gold), HARMONY)


def _key_values(music: Music, gold: Key) -> dict[str, object]:
    try:
        chords = [chord for chord in map(parse_chord, music.chords) if chord is not None]
    except InputError:
        chords = []
    return {
        "caption": music.caption,
        "tonic": gold.scale[0],
        "third": gold.scale[2],
        "mode": gold.mode,
        "scale": gold.scale,
        "home": any((chord.root, chord.mode) == (gold.tonic, gold.mode) for chord in chords),
    }


def _pulse(music: Music) -> dict[str, object] | Refused:
    """How the beats follow one another, where they and the tempo agree."""
    if music.bpm is None:
        return Refused("no tempo is given")
    if "tempo" in music.changes:
        return Refused("the tempo changes within the clip")
    if not _even(music.beats):
        return Refused("the beats are uneven")
    for words in _SAID_TEMPO.findall(music.caption):
        low, high = SAID_TEMPI[(words[0] or words[1]).lower()]
        if not low < music.bpm < high:
            return Refused("the caption names another tempo")
    steps = len(music.beats) - 1
    interval = round((music.beats[-1] - music.beats[0]) / steps, 2)
    if interval <= 0 or abs(60 / interval / music.bpm - 1) > TEMPO_MARGIN / 3:
        return Refused("the beats and the tempo disagree")
    return {
        "caption": music.caption,
        "steps": steps,
        "first": f"{music.beats[0]:.1f}",
        "last": f"{music.beats[-1]:.1f}",
        "interval": f"{interval:.2f}",
        "rate": round(60 / interval),
    }


def _even(beats: Sequence[float]) -> bool:
    steps = [b - a for a, b in pairwise(beats)]
    if len(steps) < 4:
        return False
    usual = median(steps)
    return usual > 0 and sum(abs(step / usual - 1) <= UNEVEN for step in steps) >= 0.9 * len(steps)


def _share(seed: int, id: str) -> float:
    """A number in [0, 1) that seed and id decide."""
    return seeded_hash(seed, id) % 10**6 / 10**6


def tempo(music: Music, seed: int) -> Draft | Refused:
    """How many beats a minute? Options differ by a fifth or more, and none is twice or three times another."""
    values = _pulse(music)
    if isinstance(values, Refused) or music.bpm is None:
        return values if isinstance(values, Refused) else Refused("no tempo is given")
    gold = round(music.bpm)
    if not TEMPI[0] <= gold <= TEMPI[1]:
        return Refused("the tempo is outside of what is asked for")
    # The tempi offered lie anywhere about the right one, evenly in the logarithm, as tempi are heard: were the range
    # the same for all, the slowest option would hardly ever be right.
    id, wide = f"{music.id}/tempo", math.log(SPREAD)
    low = math.log(gold) - wide * _share(seed, f"{id}/low")
    low = min(max(low, math.log(OFFERED[0])), math.log(OFFERED[1]) - wide)
    candidates = {round(math.exp(low + wide * _share(seed, f"{id}/{i}"))) for i in range(60)}

    def clash(a: int, b: int) -> bool:
        return not tempos_apart(a, b, margin=TEMPO_MARGIN, octave_margin=OCTAVE_MARGIN)

    wrong = pick_apart(gold, sorted(candidates), 3, clash, seed, id)
    if len(wrong) < 2:
        return Refused("too few tempi are far enough from it")
    return _draft("tempo", f"{gold} BPM", [f"{bpm} BPM" for bpm in wrong], values, RHYTHM)


def marking(music: Music, seed: int) -> Draft | Refused:
    """Which tempo marking? No two options are neighbours."""
    values = _pulse(music)
    if isinstance(values, Refused) or music.bpm is None:
        return values if isinstance(values, Refused) else Refused("no tempo is given")
    bpm = music.bpm
    gold = tempo_word(bpm, margin=WORD_MARGIN)
    if gold is None or tempo_word(round(60 / float(str(values["interval"])))) != gold:
        return Refused("the tempo lies between two markings")
    words = list(TEMPO_WORDS)

    def clash(a: str, b: str) -> bool:
        return abs(words.index(a) - words.index(b)) < 2

    candidates = [word for word in words if words_apart(bpm, word, octave_margin=OCTAVE_MARGIN)]
    wrong = pick_apart(gold, candidates, 3, clash, seed, f"{music.id}/marking")
    if len(wrong) < 2:
        return Refused("too few markings are far enough from it")
    low, high = TEMPO_WORDS[gold]
    return _draft("marking", gold, wrong, {**values, "low": low, "high": high}, RHYTHM)


def metre(music: Music, seed: int) -> Draft | Refused:
    """How many beats in a bar?"""
    if "tempo" in music.changes:
        return Refused("the tempo changes within the clip")
    gold = max(music.counts, default=0)
    if gold not in METRES or len(music.counts) < 2 * gold or not _even(music.beats):
        return Refused("the beats are too few, or uneven")
    if any(b != a % gold + 1 for a, b in pairwise(music.counts)):
        return Refused("the bars differ in length")
    # Beside 3, half of the questions offer 2 and half 4, so that neither tells that the answer is another.
    other = (2, 4)[seeded_hash(seed, f"{music.id}/metre") % 2]
    wrong = (*METRES[gold], *((other,) if gold == 3 else ()))
    strong = [f"{t:.1f}" for t, count in zip(music.beats, music.counts, strict=True) if count == 1]
    values = {"caption": music.caption, "strong": strong, "counts": [str(i + 1) for i in range(gold)], "number": gold}
    return _draft("metre", f"{gold} beats", [f"{n} beats" for n in wrong], values, RHYTHM)


def _chords(music: Music) -> list[tuple[Chord, float]] | Refused:
    """The chords that are heard one after another and when each begins, with stretches of one chord as one."""
    if any(b - a < SHORTEST_CHORD for a, b in pairwise(music.chord_times)):
        return Refused("a chord is too short")
    if music.beats and max(music.chord_times, default=0.0) > music.beats[-1] + AFTER_BEATS:
        return Refused("chords come long after the last beat")
    found: list[tuple[Chord, float]] = []
    for symbol, begin in zip(music.chords, music.chord_times, strict=True):
        try:
            chord = parse_chord(symbol)
        except InputError:
            return Refused("a chord is unknown")
        if chord is not None and not (found and found[-1][0] == chord):
            found.append((chord, begin))
    return found


def _too_alike(a: Chord, b: Chord) -> bool:
    return shared_notes(a, b) > LONGEST_SHARE


def progression(music: Music, seed: int) -> Draft | Refused:
    """Which chords, in this order? The options have the same chords in other orders."""
    heard = _chords(music)
    if isinstance(heard, Refused):
        return heard
    gold = tuple(chord for chord, _ in heard)
    if not 3 <= len(gold) <= MOST_CHORDS:
        return Refused("there are too few chords, or too many")
    orders = set()
    for turn in range(40):
        order = sorted(range(len(gold)), key=lambda i: seeded_hash(seed, f"{music.id}/progression/{turn}/{i}"))
        orders.add(tuple(gold[i] for i in order))

    def clash(a: tuple[Chord, ...], b: tuple[Chord, ...]) -> bool:
        return sum(_too_alike(x, y) for x, y in zip(a, b, strict=True)) > len(a) - 2

    some = [order for order in orders if all(a != b for a, b in pairwise(order))]
    # Sorted by their text, for a set has no order of its own.
    wrong = pick_apart(gold, sorted(some, key=_symbols), 3, clash, seed, f"{music.id}/progression")
    if len(wrong) < 2:
        return Refused("too few orders of the chords differ enough")
    values = {"caption": music.caption, "heard": [(str(c), f"{t:.1f}") for c, t in heard]}
    return _draft("progression", _symbols(gold), [_symbols(order) for order in wrong], values, HARMONY)


def first_chord(music: Music, seed: int) -> Draft | Refused:
    """Which chord comes first? All options are heard."""
    heard = _chords(music)
    if isinstance(heard, Refused):
        return heard
    if not heard:
        return Refused("no chords are given")
    gold = heard[0][0]
    others = list(dict.fromkeys(chord for chord, _ in heard))[1:]
    wrong = pick_apart(gold, others, 3, _too_alike, seed, f"{music.id}/first_chord")
    if len(wrong) < 2:
        return Refused("too few chords differ enough")
    values = {"caption": music.caption, "heard": [(str(c), f"{t:.1f}") for c, t in heard]}
    return _draft("first_chord", str(gold), [str(c) for c in wrong], values, HARMONY)


def absent_chord(music: Music, seed: int) -> Draft | Refused:
    """Which chord is not heard? It shares few notes with every chord that is, and has the quality of one of them."""
    heard = _chords(music)
    if isinstance(heard, Refused):
        return heard
    present = list(dict.fromkeys(chord for chord, _ in heard))
    apart = [c for i, c in enumerate(present) if all(shared_notes(c, other) < 1 for other in present[:i])]
    if len(apart) < 3:
        return Refused("there are too few chords, or too many")
    everyone = [Chord(root, quality) for root in range(12) for quality in sorted({c.quality for c in present})]
    absent = [c for c in everyone if not any(_too_alike(c, other) for other in present)]
    if not absent:
        return Refused("every other chord is too much like one that is heard")
    order = f"{music.id}/absent_chord"
    gold = min(absent, key=lambda c: seeded_hash(seed, f"{order}/{c}"))
    wrong = sorted(apart, key=lambda c: seeded_hash(seed, f"{order}/{c}"))[:3]
    values = {"caption": music.caption, "heard": [(str(c), f"{t:.1f}") for c, t in heard]}
    return _draft("absent_chord", str(gold), [str(c) for c in wrong], values, HARMONY)


def _symbols(chords: Sequence[Chord]) -> str:
    return ", ".join(chord.symbol for chord in chords)


def _draft(rule: str, answer: str, wrong: Sequence[str], values: Mapping[str, object], skill: tuple[str, str]) -> Draft:
    return Draft(rule=rule, answer=answer, wrong=tuple(wrong), values=values, category=skill[0], sub_category=skill[1])


RULES: dict[str, Callable[[Music, int], Draft | Refused]] = {
    "key": key,
    "mode": mode,
    "tempo": tempo,
    "marking": marking,
    "metre": metre,
    "progression": progression,
    "first_chord": first_chord,
    "absent_chord": absent_chord,
}
