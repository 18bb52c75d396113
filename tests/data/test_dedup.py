"""Duplicates within a corpus and contamination: the rules, on made corpora and on the published benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dedup_examples import RATE, ask, coded, corpus, hiss, melody, wav, write_wav

from sari_data.config import load_tables
from sari_data.dedup import Dedup, Findings, contaminated_count, contamination, find_duplicates
from sari_data.errors import BenchmarkError, InputError, MissingFileError, RecipeError
from sari_data.types import AudioQuestion, AudioRef

VIDEO = "F7Y1T-rQ2JU"
PART = {"youtube_id": VIDEO, "segment_start": 30.0, "segment_end": 40.0}


def benchmark(path: Path, *rows: dict) -> str:
    path.write_text(json.dumps(list(rows)), encoding="utf-8")
    return str(path)


def row(**changes: object) -> dict:
    q = ask("x")
    return {"id": "b1", "question": q.question, "choices": list(q.choices), "answer": q.answer} | changes


def kinds(found: Findings, question: AudioQuestion) -> list[tuple[str, str, bool]]:
    return [(f.kind, f.grade, f.counts) for f in found.by_question.get(question.id, ())]


def check(questions: list[AudioQuestion], *against: object, **options: object) -> Findings:
    return find_duplicates(questions, Dedup(against=against, **{"sound": False, **options}))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("text", "exact", True)]),
        ({"choices": ["PIANO", "(b) flute", "Trumpet", "violin."], "answer": "(b) flute"}, [("text", "exact", True)]),
        ({"question": "Which instrument is playing the melody?"}, [("text", "near", True)]),
        ({"answer": "piano"}, [("text", "other_answer", False)]),
        ({"answer": None}, [("text", "exact", True)]),
        ({"choices": ["violin", "oud"], "answer": "violin"}, []),
        ({"question": "In which season was this made?"}, []),
        ({"question": "Which instrument does not play the melody?"}, []),
    ],
    ids=["exact", "reordered", "reworded", "other answer", "withheld", "other options", "other question", "negated"],
)
def test_texts_against_a_benchmark(tmp_path: Path, changes: dict, expected: list) -> None:
    question = ask("a.wav")
    found = check([question], benchmark(tmp_path / "b.json", row(**changes)))
    assert kinds(found, question) == expected
    assert found.contaminated == ({question.id} if any(counts for *_, counts in expected) else set())


def test_a_text_that_many_recordings_share_proves_nothing(tmp_path: Path) -> None:
    against = benchmark(tmp_path / "b.json", row())
    few, many = ([ask(f"{i}.wav") for i in range(n)] for n in (5, 6))
    assert len(check(few, against).contaminated) == 5
    found = check(many, against)
    assert not found.contaminated
    assert found.summary["against"][0]["only_reported"] == {"text_generic": 6}
    # Six copies of one recording are one recording.
    copies = [ask(f"{i}.wav", **PART) for i in range(6)]
    assert len(check(copies, against).contaminated) == 6
    assert len(check(many, against, generic=6).contaminated) == 6
    # What a benchmark itself asks of many recordings is generic too.
    often = benchmark(tmp_path / "c.json", *(row(id=str(i)) for i in range(6)))
    assert not check(few[:1], often).contaminated


KEYS = [f"{note} {mode}" for note in "ABCDEFG" for mode in ("major", "minor")]


def test_options_drawn_from_a_fixed_list_prove_nothing_but_a_rare_one_does(tmp_path: Path) -> None:
    """A rule's questions share question and options with a benchmark by chance; copied ones hold what no rule draws."""
    text = "What is the key of this music?"
    drawn = [KEYS[i : i + 4] for i in range(11)]
    # Each set of options is asked of two recordings only, but a key in the middle of eight.
    asked = [ask(f"{i}-{n}.wav", text, tuple(four), four[0]) for i, four in enumerate(drawn) for n in range(2)]
    chance = benchmark(tmp_path / "b.json", row(question=text, choices=drawn[4], answer=drawn[4][0]))
    found = check(asked, chance)
    assert not found.contaminated
    assert found.summary["against"][0]["only_reported"]["text_generic"] == len(asked)
    # Without the other questions nothing says that the options are drawn from a list.
    assert len(check(asked[8:10], chance).contaminated) == 2
    rare = [*drawn[4][:3], "no key: it is a recitation"]
    copied = ask("copied.wav", text, tuple(rare), rare[0])
    found = check([*asked, copied], benchmark(tmp_path / "c.json", row(question=text, choices=rare, answer=rare[0])))
    assert found.contaminated == {copied.id}
    # What the benchmark itself draws from a list is as generic.
    rows = [row(id=str(i), question=text, choices=four, answer=four[0]) for i, four in enumerate(drawn * 2)]
    assert not check(asked[8:10], benchmark(tmp_path / "d.json", *rows)).contaminated


@pytest.mark.parametrize(
    ("part", "options", "expected"),
    [
        ({"start_time": 37, "end_time": 47}, {}, [("segment", "overlap", True)]),
        ({"start_time": 39.5, "end_time": 47}, {}, [("video", "other_part", False)]),
        ({"start_time": 39.5, "end_time": 47}, {"same_video": "any"}, [("video", "other_part", True)]),
        ({}, {}, [("video", "unknown_part", True)]),
        ({}, {"same_video": "none"}, [("video", "unknown_part", False)]),
        ({"youtube_id": "aaaaaaaaaaA"}, {}, []),
    ],
)
def test_segments_against_a_benchmark(tmp_path: Path, part: dict, options: dict, expected: list) -> None:
    question = ask("a.wav", "What else is there?", ("a", "b"), "a", **PART)
    found = check([question], benchmark(tmp_path / "b.json", row(youtube_id=VIDEO) | part), **options)
    assert kinds(found, question) == expected
    [about] = found.summary["against"]
    assert about["compared"] == {"texts": 1, "segments": 1, "sounds": 0, "unreadable": 0}


def test_sounds_against_a_benchmark(tmp_path: Path) -> None:
    music, rain = melody(1), hiss(2)
    write_wav(tmp_path / "audio" / "one.wav", music)
    (tmp_path / "audio" / "two.mp3").write_bytes(coded(rain, "MP3", 0.5))
    path = benchmark(tmp_path / "b.json", row(id="one", audio="one.wav"), row(id="two", audio="two.mp3"))
    other = ("Anything else?", ("a", "b"), "a")
    same = ask((tmp_path / "audio" / "one.wav").read_bytes(), *other)
    cut = ask(coded(0.3 * music[2 * RATE :], "OGG", 0.6), *other)
    noise = ask(wav(rain[RATE:]), *other)
    clean = ask(wav(melody(3)), *other)
    broken = ask(b"no audio", *other)
    questions = [same, cut, noise, clean, broken, ask(wav(music * 0), *other)]
    found = check(questions, {"path": path, "audio": str(tmp_path / "audio"), "name": "B"}, sound=True)
    assert kinds(found, same) == [("sound", "identical", True)]
    assert kinds(found, cut) == kinds(found, noise) == [("sound", "fingerprint", True)]
    assert [found.by_question[q.id][0].other for q in (same, cut, noise)] == ["one", "one", "two"]
    assert found.contaminated == {same.id, cut.id, noise.id}
    [about] = found.summary["against"]
    assert (about["name"], about["compared"]["sounds"], about["contaminated"]) == ("B", 2, 3)
    assert found.summary["compared"]["clips_with_sound"] == 4
    assert (found.summary["compared"]["silent"], found.summary["compared"]["unreadable"]) == (1, 1)
    folder = check(questions, str(tmp_path / "audio"), sound=True)
    assert folder.contaminated == found.contaminated
    assert "no texts were compared" in " ".join(folder.summary["against"][0]["notes"])
    # Without the benchmark's audio nothing is found, and the report says why.
    blind = check(questions, benchmark(tmp_path / "away.json", row(id="one", audio="nowhere.wav")), sound=True)
    assert not blind.contaminated
    assert "its audio is not there" in blind.summary["against"][0]["notes"][0]


def test_repeats_within_a_corpus() -> None:
    text = ("How many dogs bark in the whole recording?", ("one", "two", "three"), "two")
    first = ask("a.wav", *text)
    questions = [
        first,
        ask("a.wav", "Which animal is heard?", ("dog", "cat"), "dog"),  # another question about the clip
        ask("a.wav", text[0], ("three", "two", "one"), "two"),
        ask("a.wav", "How many dogs bark in whole the recording?", *text[1:]),
        ask("a.wav", text[0], ("two", "three", "one"), "one"),
        ask("b.wav", *text),  # another recording
        ask("a.wav", "How many dogs bark in the first recording?", *text[1:]),
    ]
    found = check(questions)
    assert found.duplicates == {q.id for q in questions[2:5]}
    assert [kinds(found, q) for q in questions[2:5]] == [
        [("text", "exact", True)],
        [("text", "near", True)],
        [("text", "conflict", True)],
    ]
    assert all(found.by_question[q.id][0].other == first.id for q in questions[2:5])
    assert found.verdict(questions[2].id, Dedup()) == ("drop", "near_duplicate")
    assert found.verdict(questions[2].id, Dedup(within="mark")) == ("mark", "near_duplicate")
    assert found.verdict(first.id, Dedup()) == ("keep", "")
    assert not check(questions, within="off").duplicates
    # The first in the corpus's order stays, whichever that is.
    assert check([questions[2], first]).duplicates == {first.id}


def test_copies_of_a_recording_are_one_group_and_not_asked_twice() -> None:
    recording = melody(7)
    copies = [wav(recording), coded(recording[RATE:], "MP3", 0.4)]
    alone = wav(melody(8))
    questions = [ask(c) for c in (*copies, alone)] + [ask(copies[1], "Another one?")]
    found = check(questions, sound=True)
    assert found.duplicates == {questions[1].id}
    keys = [q.audio.key for q in questions]
    assert found.groups == {keys[0]: keys[0][:16], keys[1]: keys[0][:16]}
    blind = check(questions)
    assert not blind.groups
    assert not blind.duplicates


def test_parts_of_a_video_stay_together_and_only_the_same_part_is_a_repeat() -> None:
    starts = {"a.wav": 30.0, "b.wav": 33.0, "c.wav": 90.0}
    parts = {name: {"youtube_id": VIDEO, "segment_start": s, "segment_end": s + 10} for name, s in starts.items()}
    questions = [ask(name, **part) for name, part in parts.items()] + [ask("d.wav")]
    found = check(questions)
    assert found.duplicates == {questions[1].id}
    assert set(found.groups) == {q.audio.key for q in questions[:3]}
    assert len(set(found.groups.values())) == 1


def test_contaminated_questions_leave_before_repeats_are_looked_for(tmp_path: Path) -> None:
    bad = ask("a.wav")
    late = ask("a.wav", "Which of the instruments plays the melody?")
    against = benchmark(tmp_path / "b.json", row())
    dropped = check([bad, late], against, near=1.0, near_within=0.5)
    assert (dropped.contaminated, dropped.duplicates) == ({bad.id}, frozenset())
    marked = check([bad, late], against, near=1.0, near_within=0.5, on_contamination="mark")
    assert marked.duplicates == {late.id}
    assert dropped.verdict(bad.id, Dedup()) == ("drop", "contaminated")
    assert (dropped.summary["contaminated"], dropped.summary["contaminated_found"]) == (0, 1)
    assert (marked.summary["contaminated"], marked.summary["contaminated_found"]) == (1, 1)


def test_the_summary_is_json_and_the_same_each_time(tmp_path: Path) -> None:
    against = benchmark(tmp_path / "b.json", row(audio="x.wav"))
    write_wav(tmp_path / "x.wav", melody(1, 3.0))
    questions = [ask(wav(melody(seed, 3.0))) for seed in range(3)]
    advanced: list[int] = []
    table = Dedup(against=against)
    one = find_duplicates(questions, table, advanced.append)
    two = find_duplicates(iter_again(questions), table)
    assert json.loads(json.dumps(one.summary)) == two.summary
    assert one == two
    assert sum(advanced) == 3
    assert list(one.by_question) == [q.id for q in questions]


def iter_again(questions: list[AudioQuestion]) -> list[AudioQuestion]:
    return [q.replace(audio=AudioRef(path=q.audio.path, data=q.audio.data)) for q in questions]


def test_mmau_and_mmar_planted_in_a_corpus(shared_data: Path) -> None:
    mmau = shared_data / "mmau" / "mmau-test-mini.v05.15.25.json"
    mmar = shared_data / "mmar" / "MMAR-meta.jsonl"
    rows = json.loads(mmau.read_text(encoding="utf-8"))
    planted = [
        ask(f"m{i}", r["question"].upper(), tuple(reversed(r["choices"])), r["answer"])
        for i, r in enumerate(rows[::25])
        if r["answer"] in r["choices"]
    ]
    clean = [ask(f"c{i}", f"Which of the {i} sounds?", (f"sound {i}", f"noise {i}"), f"noise {i}") for i in range(60)]
    from_video = ask("v", "Anything?", ("a", "b"), "a", youtube_id="qx8hrhBZJ98", segment_start=100, segment_end=110)
    found = check([*planted, *clean, from_video], str(mmau), str(mmar))
    assert found.contaminated >= {from_video.id}
    missed = {q.id for q in planted} - found.contaminated
    generic = {id for id in missed if any(f.grade == "generic" for f in found.by_question[id])}
    assert missed == generic
    assert len(missed) <= 0.1 * len(planted)
    assert not found.contaminated & {q.id for q in clean}
    by_name = {about["name"]: about for about in found.summary["against"]}
    assert by_name["MMAR-meta"]["by_kind"] == {"segment_overlap": 1}
    assert by_name["MMAR-meta"]["compared"]["segments"] == 1000
    assert "it names no videos" in " ".join(by_name["mmau-test-mini.v05.15.25"]["notes"])


def test_a_recipe_names_benchmarks_as_paths_or_tables(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[dedup]\nagainst = ["a.json", {path = "b.json", audio = "b", name = "B"}]\n')
    table = load_tables(recipe, {"dedup": Dedup})["dedup"]
    assert [(a.path, a.audio, a.title) for a in table.against] == [("a.json", None, "a"), ("b.json", "b", "B")]
    with pytest.raises(RecipeError, match=r"dedup\.near"):
        load_tables(recipe, {"dedup": Dedup}, ["dedup.near=2"])
    with pytest.raises(RecipeError, match=r"dedup\.against"):
        load_tables(recipe, {"dedup": Dedup}, ["dedup.against=3"])


def test_a_benchmark_that_is_not_there_ends_it_before_the_work(tmp_path: Path) -> None:
    def unread() -> list[AudioQuestion]:
        yield pytest.fail("the corpus was read")

    with pytest.raises(MissingFileError, match=r"nowhere\.json"):
        find_duplicates(unread(), Dedup(against=str(tmp_path / "nowhere.json")))
    path = benchmark(tmp_path / "b.json", row())
    with pytest.raises(InputError, match="name of its own"):
        find_duplicates(unread(), Dedup(against=[path, path]))
    with pytest.raises(BenchmarkError):
        find_duplicates(unread(), Dedup(against=benchmark(tmp_path / "c.json", {"a": 1})))


def test_contamination_of_a_folder_and_the_count_in_a_manifest(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "corpus", [ask(wav(melody(1, 2.0))), ask(wav(melody(2, 2.0)), "Else?")])
    other = corpus(tmp_path / "other", [ask(coded(melody(2, 2.0), "OGG", 0.2), "Not this?")])
    found = contamination(folder, [other])
    assert [f.kind for findings in found.by_question.values() for f in findings] == ["sound"]
    assert contaminated_count({"contamination": found.summary}) == 1
    assert contaminated_count({"contamination": contamination(folder, []).summary}) is None
    assert contaminated_count({}) is None
