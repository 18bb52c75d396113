"""MusicBench on its published rows: what is asked is true by the row's own words, and no two options sound alike."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_audio import clips_of, evenness, questions_of, rule_of, set_aside, write_clips

from sari_data.errors import InputError, MissingFileError
from sari_data.prompting import render_target
from sari_data.sources.musicbench import Options, generate
from sari_data.sources.musicbench_rules import RULES
from sari_data.types import AudioQuestion

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SHAPES = {
    "major": (0, 4, 7), "minor": (0, 3, 7), "dominant seventh": (0, 4, 7, 10), "major seventh": (0, 4, 7, 11),
    "minor seventh": (0, 3, 7, 10), "major sixth": (0, 4, 7, 9), "minor sixth": (0, 3, 7, 9), "diminished": (0, 3, 6),
    "half-diminished seventh": (0, 3, 6, 10), "augmented": (0, 4, 8), "diminished seventh": (0, 3, 6, 9),
}  # fmt: skip
ENDINGS = {"": "major", "m": "minor", "7": "dominant seventh", "maj7": "major seventh", "m7": "minor seventh",
           "6": "major sixth", "m6": "minor sixth", "dim": "diminished", "m7b5": "half-diminished seventh",
           "aug": "augmented"}  # fmt: skip
Row = dict[str, Any]


def pitch(name: str) -> int:
    return (SEMITONES[name[0]] + name.count("#") - name.count("b")) % 12


def named(text: str) -> tuple[int, str]:
    """Pitch class and the rest of "Bb minor seventh"."""
    note, _, kind = text.partition(" ")
    return pitch(note), kind


def sound(text: str) -> frozenset[int]:
    root, kind = named(text)
    return frozenset((root + step) % 12 for step in SHAPES[kind])


def in_words(symbol: str) -> tuple[int, str]:
    """Pitch class and quality of "Bbm7/F"."""
    note, kind = re.match(r"([A-G][b#]?)([^/]*)", symbol).groups()  # type: ignore[union-attr]
    return pitch(note), ENDINGS[kind]


def progression(row: Row) -> list[tuple[int, str]]:
    """The chords that the row's sentence names, without repeats in succession and without "N"."""
    listed = re.sub(r"^The chord (sequence|progression in this song) is ", "", row["prompt_ch"]).rstrip(".").split(", ")
    found = [in_words(symbol) for symbol in listed if symbol != "N"]
    return [chord for i, chord in enumerate(found) if i == 0 or chord != found[i - 1]]


@pytest.fixture(scope="module")
def file(shared_data: Path) -> Path:
    return shared_data / "musicbench" / "MusicBench_sample.json"


@pytest.fixture(scope="module")
def rows(file: Path) -> dict[str, Row]:
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {row["location"]: row for row in found}


@pytest.fixture(scope="module")
def audio(rows: dict[str, Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("musicbench"), rows)


@pytest.fixture(scope="module")
def questions(file: Path, audio: Path) -> list[AudioQuestion]:
    options = Options(rows=(str(file),), audio=str(audio), make="rules", questions_per_clip=8)
    return [question for seed in range(3) for question in questions_of(generate(options, seed))]


def make(tmp_path: Path, *rows: Any, **options: Any) -> list[Any]:
    """What the source yields for some rows, each with audio where it has a location."""
    path = tmp_path / "rows.json"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    places = [row.get("location") for row in rows if isinstance(row, dict)]
    names = [place for place in places if isinstance(place, str) and place]
    write_clips(tmp_path / "audio", ["data/other.wav", *names])
    return list(generate(Options(rows=(str(path),), audio=str(tmp_path / "audio"), **options), 1))


def right(question: AudioQuestion, row: Row) -> bool:
    """Whether the answer is true by the row's own sentences and numbers, read by other means than the source's."""
    rule, answer = rule_of(question), question.answer or ""
    if rule in ("key", "mode"):
        note, minor = re.search(r"([A-G][b#]?) ?(?:(m\b|min)|maj|M)", row["prompt_key"]).groups()  # type: ignore[union-attr]
        mode = "minor" if minor else "major"
        return named(answer) == (pitch(note), mode) if rule == "key" else answer == mode
    if rule == "tempo":
        times = row["beats"][0]
        tapped = 60 / median(b - a for a, b in pairwise(times))
        near = min(question.choices, key=lambda c: abs(int(c.split()[0]) / tapped - 1))
        return float(answer.split()[0]) == row["bpm"] and near == answer
    if rule == "marking":
        said = re.search("|".join(question.choices), row["prompt_bpm"])
        return said is None or said[0] == answer
    if rule == "metre":
        said = re.search(r"(?:beat is|counts to) (\d)\.", row["prompt_bt"])
        return answer == f"{int(said[1]) if said else int(max(row['beats'][1]))} beats"
    heard = progression(row)
    if rule == "progression":
        return [in_words(symbol) for symbol in answer.split(", ")] == heard
    if rule == "first_chord":
        return named(answer) == heard[0]
    assert rule == "absent_chord"
    there = {frozenset((root + step) % 12 for step in SHAPES[kind]) for root, kind in heard}
    wrong = [choice for choice in question.choices if choice != answer]
    return sound(answer) not in there and all(named(choice) in heard for choice in wrong)


def test_the_tempo_is_not_told_by_its_place_among_the_options(questions: list[AudioQuestion]) -> None:
    places, extremes, asked = Counter[str](), 0.0, [q for q in questions if rule_of(q) == "tempo"]
    for q in asked:
        tempi = sorted(q.choices, key=lambda choice: int(choice.split()[0]))
        places["low"] += q.answer == tempi[0]
        places["high"] += q.answer == tempi[-1]
        extremes += 2 / len(tempi)
    # With one range of options for all, the slowest is right in 8 of 100.
    assert min(places.values()) > 0.12 * len(asked)
    assert places.total() > 0.6 * extremes


def test_chords_that_come_after_the_clip_are_not_asked_about(rows: dict[str, Row], questions: Any) -> None:
    late = {place for place, row in rows.items() if max(row["chords_time"], default=0) > max(*row["beats"][0], 0) + 1}
    about = {"progression", "first_chord", "absent_chord"}
    assert len(late) > 5
    assert not {q.provenance.source_id for q in questions if rule_of(q) in about} & late
    assert {q.provenance.source_id for q in questions} & late


def test_every_answer_is_true_by_the_rows_own_words(questions: list[AudioQuestion], rows: dict[str, Row]) -> None:
    counts = Counter(map(rule_of, questions))
    assert set(counts) == set(RULES)
    assert min(counts.values()) > 100
    assert [q for q in questions if not right(q, rows[q.provenance.source_id])] == []
    # With a wrong option in its place, nearly every one is false: the oracle can tell.
    planted = [q.replace(answer=q.choices[q.answer_index - 1]) for q in questions if q.answer_index is not None]
    caught = [q for q in planted if not right(q, rows[q.provenance.source_id])]
    assert {rule_of(q) for q in planted} - {rule_of(q) for q in caught} == set()
    unnamed = [q for q in planted if rule_of(q) == "marking"]
    assert len(caught) >= len(planted) - len(unnamed)


def test_no_two_options_sound_alike(questions: list[AudioQuestion]) -> None:
    for question in questions:
        rule = rule_of(question)
        assert len(set(question.choices)) == len(question.choices) >= (2 if rule == "mode" else 3)
        for a, b in combinations(question.choices, 2):
            if rule == "key":
                (left, mode), (right_, other) = named(a), named(b)
                assert left != right_
                assert (left - right_) % 12 not in ((5, 7) if mode == other else ())
                if mode != other:
                    major, minor = (left, right_) if mode == "major" else (right_, left)
                    assert (major - minor) % 12 != 3
            elif rule == "tempo":
                slow, fast = sorted((int(a.split()[0]), int(b.split()[0])))
                assert fast / slow >= 1.2
                assert abs(fast / slow - 2) > 0.23
                assert abs(fast / slow - 3) > 0.35
            elif rule in ("first_chord", "absent_chord"):
                assert sound(a) != sound(b)
                if rule == "first_chord" or question.answer in (a, b):
                    assert len(sound(a) & sound(b)) <= len(sound(a) | sound(b)) / 3
        assert rule != "metre" or not {"2 beats", "4 beats"} <= set(question.choices)


def test_places_are_even_and_nothing_repeats(questions: list[AudioQuestion], audio: Path) -> None:
    assert evenness(questions) > 0.001
    unfair = [q.replace(answer=q.choices[0]) for q in questions[::3]]
    assert evenness(unfair) < 1e-6
    assert all(q.audio.sha256 and q.audio.data is None and Path(str(q.audio.path)).is_file() for q in questions)


def test_chains_and_provenance(questions: list[AudioQuestion], rows: dict[str, Row]) -> None:
    for q in questions[:400]:
        row, rule = rows[q.provenance.source_id], rule_of(q)
        assert q.provenance.made_by["question"] == f"rule:musicbench/{rule}"
        assert q.provenance.made_by["caption"] == "dataset:MusicBench"
        assert q.caption
        assert " ".join(row["alt_caption"].split()) in q.caption
        assert q.reasoning.structured is not None
        assert q.answer is not None
        # The answer comes at the end, and nothing before the reasoning says it.
        assert q.answer in q.reasoning.structured.summary
        assert q.answer not in q.reasoning.structured.planning or rule == "mode"
        assert (q.reasoning.unstructured or "").rstrip(".").endswith(q.answer)
        assert "<answer>" in render_target(q, "structured")
        assert "<answer>" in render_target(q, "unstructured")
        assert row["location"].endswith(".wav")
        assert q.provenance.youtube_id == row["location"][5:16]
        assert q.provenance.segment_start is None


def test_the_same_seed_gives_the_same_and_a_limit_a_part(
    file: Path, audio: Path, questions: list[AudioQuestion]
) -> None:
    def run(seed: int, **options: Any) -> list[Any]:
        return list(generate(Options(rows=(str(file),), audio=str(audio), **options), seed))

    again = questions_of(run(0, make="rules", questions_per_clip=8))
    assert again == questions[: len(again)] != questions_of(run(1, make="rules", questions_per_clip=8))
    all_clips, some = clips_of(run(0, make="clips")), clips_of(run(0, make="clips", limit=20))
    assert len(all_clips) == 200
    assert len(some) == 20
    ids = [clip.id for clip in all_clips]
    assert sorted(ids.index(clip.id) for clip in some) == [ids.index(clip.id) for clip in some]
    assert {c.id for c in clips_of(run(0, make="clips", limit=10))} < {clip.id for clip in some}
    both = run(0, limit=5, questions_per_clip=1, rules=("metre", "tempo"))
    kinds = [type(item).__name__ for item in both]
    assert kinds.count("Clip") == 5
    assert all(kinds[i] == "Clip" or kinds[i + 1] == "Clip" for i in range(len(kinds) - 1))
    assert {rule_of(q) for q in questions_of(both)} <= {"metre", "tempo"}


def example(rows: dict[str, Row], **changes: Any) -> Row:
    return {**next(row for row in rows.values() if row["key"] and " or " not in row["prompt_key"]), **changes}


def test_what_a_row_calls_in_question_is_not_asked(rows: dict[str, Row], tmp_path: Path) -> None:
    def rules(**changes: Any) -> set[str]:
        row = example(rows, **{"keyprob": [], "prompt_aug": "", "alt_caption": "A song.", **changes})
        return {rule_of(q) for q in questions_of(make(tmp_path, row, make="rules", questions_per_clip=8))}

    usual = rules()
    assert {"key", "mode", "tempo", "metre"} <= usual
    for sentence in ("The key is C maj, or A min.", "This song is in the key of Gmin or A# maj."):
        assert rules(prompt_key=sentence) == usual - {"key", "mode"}
    assert rules(keyprob=[0.3]) == rules(keyprob=0.3) == usual - {"key", "mode"}
    assert rules(keyprob=["0.9"]) == usual
    assert rules(prompt_aug="The song is transposed up by an octave after 4.87 seconds.") == usual - {"key", "mode"}
    rhythm = {"tempo", "marking", "metre"}
    assert rules(prompt_aug="Midway through the tempo drops down significantly.") == usual - rhythm
    assert rules(prompt_aug="Increase the volume progressively!") == usual
    assert rules(prompt_aug="Something else happens.") == usual - rhythm - {"key", "mode"}
    assert rules(alt_caption="The tempo is fast.", bpm=66.0) == usual - {"tempo", "marking"}
    assert rules(bpm=99.0) == usual - {"tempo", "marking"}
    assert rules(alt_caption="It is in a major key.", key=["G", "minor"]) == usual - {"key", "mode"}
    assert "metre" not in rules(beats=[[0.5 * i for i in range(10)], [1, 2, 3, 1, 2, 1, 2, 3, 1, 2]])
    assert not {"tempo", "metre"} & rules(beats=[[0, 1, 1.1, 3, 3.2, 5, 7, 7.5, 9], [1, 2, 3] * 3])


def test_rows_that_are_left_out_say_why(rows: dict[str, Row], tmp_path: Path) -> None:
    row = example(rows)
    marked = {**row, "location": "data/AAAAAAAAAAA_1.wav", "is_audioset_eval_mcaps": True}
    items = make(tmp_path, row, {**row, "alt_caption": "The same clip in other words."}, marked, make="clips")
    assert [item.reason for item in set_aside(items)] == ["row repeats a clip", "clip is in MusicCaps' evaluation set"]
    assert len(clips_of(items)) == 1
    assert len(clips_of(make(tmp_path, row, marked, make="clips", leave_out_eval=False))) == 2
    silent = {**row, "key": [], "bpm": None, "beats": [], "chords": [], "chords_time": []}
    (aside,) = make(tmp_path, silent, make="rules")
    assert aside.reason == "no rule fits the clip"
    assert "tempo: no tempo is given" in aside.detail
    (clip,) = make(tmp_path, silent, make="both")
    assert clip.facts == ({"change": row["prompt_aug"]} if row["prompt_aug"] else {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("location", 5), ("location", ""), ("alt_caption", ["text"]), ("key", ["G"]), ("key", ["G", "dorian"]),
        ("key", "G minor"), ("bpm", "fast"), ("bpm", -3), ("bpm", float("nan")), ("beats", [[1, 2], [1]]),
        ("beats", [1, 2]), ("beats", [[1], [0.5]]), ("beats", [["a"], [1]]), ("chords", ["C"]), ("chords", "C"),
        ("chords", [1, 2, 3]), ("chords_time", [1, None, 2]), ("keyprob", ["sure"]),
    ],
)  # fmt: skip
def test_a_malformed_row_is_set_aside(rows: dict[str, Row], tmp_path: Path, name: str, value: Any) -> None:
    broken = {**example(rows), "location": "data/BBBBBBBBBBB_0.wav", name: value}
    items = make(tmp_path, example(rows), broken)
    (aside,) = set_aside(items)
    assert aside.reason == "row is malformed"
    assert "rows.json, line 2: expected" in aside.detail
    assert len(clips_of(items)) == 1


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-3, 9) | st.text(max_size=6) | st.sampled_from("CGN"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["key", "keyprob", "bpm", "beats", "chords", "chords_time", "prompt_aug",
                                        "alt_caption", "prompt_key", "location"]), anything, max_size=4))  # fmt: skip
def test_whatever_a_row_holds_it_is_read_or_set_aside(tmp_path_factory: Any, changes: Row) -> None:
    good: Row = {"location": "data/other.wav", "alt_caption": "A song.", "key": ["C", "major"], "bpm": 60.0}
    good |= {"beats": [[0, 1, 2, 3, 4, 5], [1, 2, 3, 1, 2, 3]], "chords": ["C", "F"], "chords_time": [0, 3]}
    folder = tmp_path_factory.mktemp("rows")
    path = folder / "rows.json"
    path.write_text("\n".join(map(json.dumps, [good, {**good, "location": "data/third.wav", **changes}])))
    write_clips(folder / "audio", ["data/other.wav", "data/third.wav"])
    items = list(generate(Options(rows=(str(path),), audio=str(folder / "audio"), make="clips"), 1))
    assert len(clips_of(items)) + len(set_aside(items)) == 2


def test_segments_come_from_musiccaps(rows: dict[str, Row], tmp_path: Path) -> None:
    row = example(rows, location="data/-abc_DEF-12_3.wav")
    table = tmp_path / "musiccaps.csv"
    table.write_text('ytid,start_s,end_s,caption\n-abc_DEF-12,30,40,"A song, slow"\n', encoding="utf-8")
    (clip,) = make(tmp_path, row, make="clips", musiccaps=str(table))
    where = clip.provenance
    assert (where.youtube_id, where.segment_start, where.segment_end) == ("-abc_DEF-12", 30.0, 40.0)
    table.write_text("ytid,start_s,end_s\n-abc_DEF-12,early,40\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"musiccaps.csv, line 2: expected start_s"):
        make(tmp_path, row, musiccaps=str(table))


def test_missing_audio_is_reported(file: Path, rows: dict[str, Row], tmp_path: Path) -> None:
    first = next(iter(rows))
    write_clips(tmp_path, [Path(first).name])  # not below data/: found by its bare name
    items = list(generate(Options(rows=(str(file),), audio=str(tmp_path), make="clips"), 0))
    assert len(clips_of(items)) == 1
    assert Counter(item.reason for item in set_aside(items)) == {"audio is missing": 199}
    write_clips(tmp_path / "none", ["else.wav"])
    with pytest.raises(InputError, match="expected files named"):
        list(generate(Options(rows=(str(file),), audio=str(tmp_path / "none")), 0))
    with pytest.raises(MissingFileError):
        list(generate(Options(rows=("absent.json",), audio=str(tmp_path)), 0))
