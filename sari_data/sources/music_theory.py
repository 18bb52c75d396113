"""Pitch classes, keys, chords and tempo words: enough music theory to tell which options are the same to the ear.

Everything here is pure: names in, numbers or names out. Pitch classes count semitones above C, 0 to 11. A name is
spelled one way only, so that two options never differ by spelling alone (A# major is B flat major: "Bb major").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sari_data.errors import InputError

MODES = ("major", "minor")
_NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_LETTERS = "CDEFGAB"
# How tonics and roots are usually spelled: the signature with fewer accidentals, as musicians write it.
_TONICS = {
    "major": ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    "minor": ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
}
_ROOTS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_STEPS = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
# Chord qualities as MusicBench writes them: semitones above the root, and the quality in words.
QUALITIES = {
    "": ((0, 4, 7), "major"),
    "m": ((0, 3, 7), "minor"),
    "7": ((0, 4, 7, 10), "dominant seventh"),
    "maj7": ((0, 4, 7, 11), "major seventh"),
    "m7": ((0, 3, 7, 10), "minor seventh"),
    "6": ((0, 4, 7, 9), "major sixth"),
    "m6": ((0, 3, 7, 9), "minor sixth"),
    "m7b5": ((0, 3, 6, 10), "half-diminished seventh"),
    "dim": ((0, 3, 6), "diminished"),
    "dim7": ((0, 3, 6, 9), "diminished seventh"),
    "aug": ((0, 4, 8), "augmented"),
}
_CHORD = re.compile(r"([A-G][b#]?)([^/]*)(?:/([A-G][b#]?))?")
# Lowest and highest tempo of each word in beats a minute, each bound part of the next word. These are MusicBench's own:
# its rows name the tempo in these words, and the tests hold the table against them.
TEMPO_WORDS = {
    "Grave": (20, 40),
    "Largo": (40, 60),
    "Adagio": (60, 70),
    "Andante": (70, 90),
    "Moderato": (90, 110),
    "Allegro": (110, 140),
    "Vivace": (140, 160),
    "Presto": (160, 210),
    "Prestissimo": (210, 300),
}


def note_class(name: str) -> int:
    """Return the pitch class of a note's name such as ``G``, ``G#`` or ``Bbb``.

    Raises:
        InputError: Not a note's name.
    """
    match = re.fullmatch(r"([A-G])(#*|b*)", name.strip().replace("♯", "#").replace("♭", "b"))
    if match is None:
        raise InputError(f"expected a note such as 'G', 'G#' or 'Bb', found {name!r}")
    shift = len(match[2]) if match[2].startswith("#") else -len(match[2])
    return (_NATURAL[match[1]] + shift) % 12


@dataclass(frozen=True, slots=True)
class Key:
    """A major or minor key.

    Args:
        tonic: Pitch class of the tonic.
        mode: ``major`` or ``minor``.
    """

    tonic: int
    mode: str

    def __str__(self) -> str:
        """The key's usual name: ``Bb major``, never ``A# major``."""
        return f"{_TONICS[self.mode][self.tonic]} {self.mode}"

    @property
    def scale(self) -> tuple[str, ...]:
        """The seven notes of the (natural) scale, each letter once."""
        start = _TONICS[self.mode][self.tonic]
        names = []
        for degree, step in enumerate(_STEPS[self.mode]):
            letter = _LETTERS[(_LETTERS.index(start[0]) + degree) % 7]
            shift = (self.tonic + step - _NATURAL[letter] + 6) % 12 - 6
            names.append(letter + "#" * shift + "b" * -shift)
        return tuple(names)

    @property
    def relative(self) -> Key:
        """The key of the other mode with the same notes."""
        if self.mode == "major":
            return Key((self.tonic + 9) % 12, "minor")
        return Key((self.tonic + 3) % 12, "major")

    @property
    def parallel(self) -> Key:
        """The key of the other mode with the same tonic."""
        return Key(self.tonic, "minor" if self.mode == "major" else "major")


KEYS = tuple(Key(tonic, mode) for mode in MODES for tonic in range(12))


def parse_key(key: Sequence[str]) -> Key:
    """Return the key of a pair such as ``["G#", "major"]``.

    Raises:
        InputError: Not a note and a mode.
    """
    if len(key) != 2 or not all(isinstance(part, str) for part in key) or key[1].strip().lower() not in MODES:
        raise InputError(f"expected a key such as ['G#', 'major'], found {list(key)!r}")
    return Key(note_class(key[0]), key[1].strip().lower())


def keys_are_close(a: Key, b: Key) -> bool:
    """Whether two keys are the same to the ear, or so near that an estimate of one is often the other.

    Near are the relative and the parallel key and those a perfect fifth up or down: what MIREX's evaluation of key
    detection counts as half right, because estimators and listeners mix them up.
    """
    fifth = a.mode == b.mode and (a.tonic - b.tonic) % 12 in (5, 7)
    return a == b or fifth or b in (a.relative, a.parallel)


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord, whichever of its notes lies lowest.

    Args:
        root: Pitch class of the root.
        quality: One of QUALITIES.
    """

    root: int
    quality: str

    @property
    def notes(self) -> frozenset[int]:
        """The pitch classes that sound."""
        return frozenset((self.root + step) % 12 for step in QUALITIES[self.quality][0])

    @property
    def mode(self) -> str:
        """``major`` or ``minor``, by its third."""
        return "major" if 4 in QUALITIES[self.quality][0] else "minor"

    @property
    def symbol(self) -> str:
        """The short name, for instance ``Bbm7``."""
        return _ROOTS[self.root] + self.quality

    def __str__(self) -> str:
        """The name in words, for instance ``Bb minor seventh``."""
        return f"{_ROOTS[self.root]} {QUALITIES[self.quality][1]}"


def parse_chord(text: str) -> Chord | None:
    """Return the chord of a symbol such as ``Ebmaj7`` or ``Dm7b5/C``, without its bass; ``None`` for ``N``: no chord.

    Raises:
        InputError: Not a chord's symbol, or a quality that is not in QUALITIES.
    """
    if text == "N":
        return None
    match = _CHORD.fullmatch(text)
    if match is None or match[2] not in QUALITIES:
        raise InputError(f"expected a chord such as 'Ebmaj7' or 'Dm/A', found {text!r}")
    return Chord(note_class(match[1]), match[2])


def shared_notes(a: Chord, b: Chord) -> Fraction:
    """Return the share of two chords' notes that both have: 1 for C6 and Am7, 1/2 for C and Am, 1/5 for C and G."""
    return Fraction(len(a.notes & b.notes), len(a.notes | b.notes))


def tempo_word(bpm: float, *, margin: float = 0.0) -> str | None:
    """Return the word for a tempo in beats a minute; ``None`` outside all, or nearer to a bound than ``margin``."""
    for word, (low, high) in TEMPO_WORDS.items():
        if low * (1 + margin) <= bpm < high * (1 - margin):
            return word
    return None


def tempos_apart(a: float, b: float, *, margin: float, octave_margin: float) -> bool:
    """Whether two tempos differ by ``margin`` (a share) and neither is about twice or three times the other.

    Args:
        a: A tempo in beats a minute.
        b: Another.
        margin: How far apart they must be: 0.2 means that the faster is at least 1.2 times the slower.
        octave_margin: How far the ratio must be from 2 and from 3, as a share of them.
    """
    ratio = max(a, b) / min(a, b)
    return ratio >= 1 + margin and all(abs(ratio / whole - 1) > octave_margin for whole in (2, 3))


def words_apart(bpm: float, word: str, *, octave_margin: float) -> bool:
    """Whether a tempo word is neither that of ``bpm``, nor next to it, nor that of its half or double.

    Args:
        bpm: A tempo in beats a minute.
        word: One of TEMPO_WORDS.
        octave_margin: How far outside the word's range half and double must lie, as a share.
    """
    words = list(TEMPO_WORDS)
    own = tempo_word(bpm)
    if own is None or abs(words.index(own) - words.index(word)) < 2:
        return False
    low, high = TEMPO_WORDS[word]
    return all(not low * (1 - octave_margin) <= x < high * (1 + octave_margin) for x in (bpm / 2, bpm * 2))
