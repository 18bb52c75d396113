"""Pitch classes, keys, chords and tempo words: what sounds the same is the same, and names are spelled one way."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.errors import InputError
from sari_data.sources.music_theory import (
    KEYS,
    QUALITIES,
    TEMPO_WORDS,
    Chord,
    Key,
    keys_are_close,
    note_class,
    parse_chord,
    parse_key,
    shared_notes,
    tempo_word,
    tempos_apart,
    words_apart,
)

keys = st.sampled_from(KEYS)
chords = st.builds(Chord, st.integers(0, 11), st.sampled_from(sorted(QUALITIES)))
tempi = st.floats(30, 250)
SEMITONES = dict(zip(["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"], range(12), strict=True))


def test_notes_that_sound_the_same_have_one_class() -> None:
    for name, number in SEMITONES.items():
        assert note_class(name) == number
    for flat, sharp in (("Db", "C#"), ("Eb", "D#"), ("Gb", "F#"), ("Ab", "G#"), ("Bb", "A#"), ("Cb", "B"), ("Fb", "E")):
        assert note_class(flat) == note_class(sharp)
    assert note_class("B♭") == note_class("A♯") == note_class("Cbb") == 10


@pytest.mark.parametrize("name", ["", "H", "b", "Cb#", "C major", "c"])
def test_what_is_no_note_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected a note"):
        note_class(name)


def test_keys_are_named_one_way() -> None:
    assert str(parse_key(["A#", "major"])) == str(parse_key(["Bb", "Major"])) == "Bb major"
    assert str(parse_key(["D#", "minor"])) == "Eb minor"
    assert len({str(key) for key in KEYS}) == len(set(KEYS)) == 24
    for wrong in (["G"], ["G", "dorian"], ["X", "major"], ["G", 1], "G major"):
        with pytest.raises(InputError):
            parse_key(wrong)


@pytest.mark.parametrize(
    ("key", "scale"),
    [
        (Key(7, "minor"), "G A Bb C D Eb F"),
        (Key(6, "major"), "F# G# A# B C# D# E#"),
        (Key(3, "minor"), "Eb F Gb Ab Bb Cb Db"),
        (Key(8, "minor"), "G# A# B C# D# E F#"),
    ],
)
def test_scales_are_spelled_as_musicians_spell_them(key: Key, scale: str) -> None:
    assert " ".join(key.scale) == scale


@given(keys)
def test_a_scale_has_each_letter_once_and_the_notes_of_its_relative(key: Key) -> None:
    assert {name[0] for name in key.scale} == set("ABCDEFG")
    assert {note_class(n) for n in key.scale} == {note_class(n) for n in key.relative.scale}
    third = (note_class(key.scale[2]) - key.tonic) % 12
    assert third == (4 if key.mode == "major" else 3)
    assert key.relative.relative == key
    assert key.parallel.parallel == key
    assert key.relative != key != key.parallel


@given(keys, keys)
def test_close_keys_are_five_and_the_relation_goes_both_ways(a: Key, b: Key) -> None:
    assert keys_are_close(a, b) == keys_are_close(b, a)
    assert sum(keys_are_close(a, key) for key in KEYS) == 5
    # All but the parallel key have at least six notes of seven in common.
    common = {note_class(n) for n in a.scale} & {note_class(n) for n in b.scale}
    assert not keys_are_close(a, b) or len(common) >= 6 or b == a.parallel


def test_close_keys_by_name() -> None:
    g_minor = parse_key(["G", "minor"])
    close = {str(key) for key in KEYS if keys_are_close(g_minor, key)}
    assert close == {"G minor", "Bb major", "G major", "D minor", "C minor"}


@given(chords)
def test_a_chord_is_read_back_from_its_symbol(chord: Chord) -> None:
    assert parse_chord(chord.symbol) == chord
    assert parse_chord(f"{chord.symbol}/F#") == chord
    assert len(chord.notes) == len(QUALITIES[chord.quality][0])
    assert str(chord).split()[0] == re.match("[A-G][b#]?", chord.symbol)[0]  # type: ignore[index]


def test_chords_share_notes() -> None:
    def share(a: str, b: str) -> float:
        left, right = parse_chord(a), parse_chord(b)
        assert left is not None
        assert right is not None
        return float(shared_notes(left, right))

    assert share("C6", "Am7") == share("Caug", "Eaug") == share("Dm7b5", "Fm6") == share("A#", "Bb") == 1
    assert share("C", "Am") == 0.5
    assert share("C", "G") == 0.2
    assert share("C", "F#") == 0
    assert parse_chord("N") is None
    for wrong in ("", "H", "Csus4", "C/", "C/H", "c"):
        with pytest.raises(InputError):
            parse_chord(wrong)


@given(tempi, tempi)
def test_tempi_that_are_apart_are_no_octave_of_each_other(a: float, b: float) -> None:
    apart = tempos_apart(a, b, margin=0.2, octave_margin=0.12)
    assert apart == tempos_apart(b, a, margin=0.2, octave_margin=0.12)
    ratio = max(a, b) / min(a, b)
    if apart:
        assert ratio >= 1.2
        assert not 1.77 < ratio < 2.23
        assert not 2.65 < ratio < 3.35


def test_tempi_by_number() -> None:
    def apart(a: float, b: float) -> bool:
        return tempos_apart(a, b, margin=0.2, octave_margin=0.12)

    assert apart(100, 130)
    assert apart(60, 100)
    assert apart(60, 145)
    assert not any((apart(120, 124), apart(60, 120), apart(125, 60), apart(60, 180), apart(100, 119)))


def test_tempo_words_follow_one_another_and_fit_the_published_rows(shared_data: Path) -> None:
    bounds = list(TEMPO_WORDS.values())
    assert all(low < high for low, high in bounds)
    assert [high for _, high in bounds[:-1]] == [low for low, _ in bounds[1:]]
    named = 0
    for line in (shared_data / "musicbench" / "MusicBench_sample.json").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        said = [word for word in TEMPO_WORDS if re.search(rf"\b{word}\b", row["prompt_bpm"])]
        if said:
            named += 1
            assert [tempo_word(row["bpm"])] == said
    assert named > 60
    assert tempo_word(10) is None
    assert tempo_word(59, margin=0.04) is None
    assert tempo_word(50, margin=0.04) == "Largo"


@given(tempi)
def test_words_apart_are_no_neighbours_and_no_octaves(bpm: float) -> None:
    words = list(TEMPO_WORDS)
    own = tempo_word(bpm)
    assert own is not None
    for word in words:
        if words_apart(bpm, word, octave_margin=0.12):
            assert abs(words.index(word) - words.index(own)) > 1
            assert tempo_word(bpm * 2) != word
            assert tempo_word(bpm / 2) != word
    assert not words_apart(10, "Presto", octave_margin=0.12)
