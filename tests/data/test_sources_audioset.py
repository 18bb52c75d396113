"""AudioSet from its published tables: what becomes a clip, what a question, and what is set aside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from audioset_oracle import RawEvents, Tree, right_options
from hypothesis import given
from hypothesis import strategies as st

from sari_data.audio import encode_wav, load_audio
from sari_data.errors import InputError, MissingFileError
from sari_data.sources import audioset, load_source
from sari_data.sources.audioset.segments import Segment, StrongLabels, read_segments
from sari_data.sources.base import Clip, Item, SetAside
from sari_data.types import AudioQuestion

RATE = 1000
HEADER = "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
SPEECH, CAR, DOG = "/m/05zppz", "/m/0k4j", "/m/0bt9lr"


def _wav(path: Path, seconds: float = 10.0, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).uniform(-0.1, 0.1, round(seconds * RATE))
    path.write_bytes(encode_wav(noise, RATE))


class Case:
    """Tables and audio in a folder of a test's own."""

    def __init__(self, folder: Path, shared: Path) -> None:
        self.folder, self.shared = folder, shared / "audioset"
        self.audio = folder / "audio"
        self.audio.mkdir()

    def strong(self, *rows: str) -> str:
        """Write a strong table; rows have spaces for tabs."""
        path = self.folder / "strong.tsv"
        path.write_text(HEADER + "".join("\t".join(row.split()) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    def run(self, seed: int = 0, **options: object) -> list[Item]:
        """All items."""
        given = {"ontology": str(self.shared / "ontology.json"), "audio": str(self.audio), **options}
        return list(audioset.generate(audioset.Options.model_validate(given), seed))


@pytest.fixture
def case(tmp_path: Path, shared_data: Path) -> Case:
    return Case(tmp_path, shared_data)


def _reasons(items: list[Item]) -> list[str]:
    return [item.reason for item in items if isinstance(item, SetAside)]


def test_the_published_tables_become_clips_with_labels_domain_and_provenance(case: Case) -> None:
    for name in ("--4gqARaEJE_0.wav", "sub/--BfvyPmVMo_20.000.wav", "--i-y1v8Hy8.wav", "b0RFKhbpFJA_30000.wav"):
        _wav(case.audio / name, 9.0 if "y1v8" in name else 10.0)
    tables = {
        "segments": [str(case.shared / "balanced_train_segments.sample.csv")],
        "strong": [str(case.shared / "audioset_train_strong.sample.tsv")],
    }
    items = case.run(make="clips", **tables)
    clips = [item for item in items if isinstance(item, Clip)]
    assert [clip.provenance.source_id for clip in clips] == [
        "--4gqARaEJE_0",
        "--BfvyPmVMo_20000",
        "--i-y1v8Hy8_0",
        "b0RFKhbpFJA_30000",
    ]
    assert [clip.domain for clip in clips] == ["sound", "sound", "music+speech", "sound+speech"]
    assert clips[0].labels == ("Domestic animals, pets", "Squeak", "Dog", "Animal")
    assert clips[3].facts == {"events": [["Wind", 0.0, 10.0], ["Male speech, man speaking", 4.753, 5.72]]}
    where = clips[1].provenance
    assert (where.youtube_id, where.segment_start, where.segment_end) == ("--BfvyPmVMo", 20.0, 30.0)
    aside = [item for item in items if isinstance(item, SetAside)]
    assert [item.reason for item in aside] == ["audio is missing"] * 3
    assert aside[0].id == "--U7joUcTCo_0"
    assert "--U7joUcTCo" in aside[0].detail


@pytest.mark.parametrize(
    "name",
    [
        "-a_b-c_d-e_30000.wav",
        "-a_b-c_d-e_30.wav",
        "-a_b-c_d-e_30.000.wav",
        "-a_b-c_d-e_30.0_40.0.wav",
        "-a_b-c_d-e_30000_40000.wav",
        "-a_b-c_d-e_000030.WAV",
        "Y-a_b-c_d-e_30.000_40.000.wav",
        "Y-a_b-c_d-e.wav",
        "deep/er/-a_b-c_d-e.wav",
    ],
)
def test_clips_are_found_under_all_the_names_that_they_are_stored_under(case: Case, name: str) -> None:
    _wav(case.audio / name)
    (case.folder / "s.csv").write_text('# x\n-a_b-c_d-e, 30.000, 40.000, "/m/0k4j"\n', encoding="utf-8")
    (clip,) = case.run(segments=[str(case.folder / "s.csv")])
    assert isinstance(clip, Clip)
    assert clip.audio.path == str(case.audio / name)


def test_of_a_whole_video_the_segment_is_taken(case: Case) -> None:
    _wav(case.audio / "vid.wav", 45.0)
    (case.folder / "s.csv").write_text('vid, 30.000, 40.000, "/m/0k4j"\n', encoding="utf-8")
    (clip,) = case.run(segments=[str(case.folder / "s.csv")])
    assert isinstance(clip, Clip)
    assert (clip.audio.start, clip.audio.duration) == (30.0, 10.0)
    assert load_audio(clip.audio, RATE).shape == (10 * RATE,)


@pytest.mark.parametrize(
    ("name", "seconds", "reason"),
    [
        ("vid_30.wav", 45.0, "audio is not the segment"),
        ("vid.wav", 25.0, "audio is not the segment"),
        ("vid_30.wav", 4.0, "audio is too short"),
    ],
)
def test_audio_that_cannot_be_what_is_labelled_is_set_aside(case: Case, name: str, seconds: float, reason: str) -> None:
    _wav(case.audio / name, seconds)
    assert _reasons(case.run(strong=[case.strong(f"vid_30000 0.0 8.0 {CAR}")])) == [reason]


def test_what_cannot_be_read_is_set_aside_with_its_reason(case: Case) -> None:
    for name in ("a_0", "b_0", "c_0", "e_0"):
        _wav(case.audio / f"{name}.wav")
    (case.audio / "d_0.wav").write_bytes(b"RIFF, but no more")
    (case.audio / "f_0.m4a").write_bytes(b"")
    rows = [
        f"a_0 0.0 3.0 {CAR}",
        "a_0 4.0 5.0 /m/unknown",
        "b_0 0.0 3.0 /m/unknown",
        f"c_0 3.0 3.0 {CAR}",
        f"c_0 0.0 3.0 {DOG}",
        f"d_0 0.0 3.0 {DOG}",
        f"f_0 0.0 3.0 {DOG}",
        f"noid 0.0 3.0 {DOG}",
    ]
    (case.folder / "s.csv").write_text('e, 0.000, zero, "/m/0k4j"\nf, 0.0, 10.0, ""\n', encoding="utf-8")
    sources = {"strong": [case.strong(*rows)], "segments": [str(case.folder / "s.csv")]}
    items = case.run(**sources)
    reasons = {
        "segment cannot be read": 1,
        "audio format cannot be read": 1,
        "label is not in the ontology": 2,
        "no known label": 1,
        "audio cannot be decoded": 1,
        "strong label has no length": 1,
        "segment id cannot be read": 1,
    }
    assert Counter(_reasons(items)) == reasons
    # Only where nothing else is made of a clip is it lost with the questions that no rule asks of it.
    _wav(case.audio / "weak_0.wav")
    (case.folder / "s.csv").write_text('e, 0.000, zero, "/m/0k4j"\nweak, 0.0, 10.0, "/m/0k4j"\n', encoding="utf-8")
    alone = Counter(_reasons(case.run(**sources, make="rules")))
    assert alone == reasons | {"no rule fits the clip": 2, "no strong labels": 1}
    assert alone.total() == Counter(_reasons(case.run(**sources))).total() + 3
    assert [item.provenance.source_id for item in items if isinstance(item, Clip)] == ["a_0", "c_0"]
    assert not [item for item in items if isinstance(item, AudioQuestion)]


def test_a_row_that_comes_again_is_set_aside(case: Case) -> None:
    _wav(case.audio / "a_0.wav")
    (case.folder / "s.csv").write_text('a, 0.0, 10.0, "/m/0k4j"\n' * 2, encoding="utf-8")
    assert _reasons(case.run(segments=[str(case.folder / "s.csv")])) == ["segment is listed again"]


def test_a_folder_with_none_of_the_audio_says_which_names_it_looked_for(case: Case) -> None:
    strong = case.strong(f"a_0 0.0 3.0 {CAR}")
    _wav(case.audio / "other.wav")
    with pytest.raises(InputError, match=r"<YTID>_<start in ms>.*for instance 'a_0'.*among 1 audio files"):
        case.run(strong=[strong])
    with pytest.raises(MissingFileError, match="audio folder"):
        case.run(strong=[strong], audio=str(case.folder / "nowhere"))
    with pytest.raises(InputError, match=r"segments .* strong"):
        case.run()


def _many(case: Case, clips: int) -> tuple[str, dict[str, RawEvents]]:
    """Clips whose events are drawn at random."""
    rng = np.random.default_rng(3)
    labels = [
        SPEECH,
        CAR,
        DOG,
        "/m/04rlf",
        "/m/02zsn",
        "/m/015p6",
        "/m/07pbtc8",
        "/m/01j3sz",
        "/m/03m9d0z",
        "/m/05tny_",
    ]
    raw: dict[str, RawEvents] = {}
    for number in range(clips):
        id = f"-v_{number:07d}_{number * 1000}"
        _wav(case.audio / f"{id}.wav", number=number)
        raw[id] = []
        for label in rng.permutation(labels)[:4]:
            for _ in range(rng.integers(1, 3)):
                start = round(float(rng.uniform(0, 9)), 3)
                raw[id].append((str(label), start, round(min(10.0, start + float(rng.uniform(0.2, 5))), 3)))
    return case.strong(*(f"{id} {a:.3f} {b:.3f} {m}" for id, rows in raw.items() for m, a, b in rows)), raw


def test_questions_from_strong_labels_are_right_and_complete(case: Case) -> None:
    strong, raw = _many(case, 60)
    tree = Tree(case.shared / "ontology.json")
    items = case.run(strong=[strong], questions_per_clip=8)
    questions = [item for item in items if isinstance(item, AudioQuestion)]
    rules = Counter(question.provenance.made_by["answer"].removeprefix("rule:audioset/") for question in questions)
    assert set(rules) == set(audioset.RULES)
    for question in questions:
        rule = question.provenance.made_by["question"].removeprefix("rule:audioset/")
        # The question ends with the names of the sounds that it is about.
        named = question.question.rpartition(": ")[2].rstrip("?").split("; ") if ": " in question.question else []
        events = raw[question.provenance.source_id]
        right = right_options(rule, question.choices, named, events, tree)
        assert right == [question.answer], (rule, question.choices, events)
        assert question.caption is not None
        assert all(tree.names[mid] in question.caption for mid, _, _ in events)
        chain = question.reasoning.structured
        assert chain is not None
        assert chain.caption == question.caption
        # A plan does not know the answer yet, and the summary gives it.
        assert question.answer not in chain.planning.split()
        assert rule == "together" or question.answer in chain.summary
        assert question.reasoning.unstructured is not None
        assert chain.reasoning in question.reasoning.unstructured
        assert "  " not in question.question + chain.reasoning + chain.planning + chain.summary
    assert len({question.id for question in questions}) == len(questions)


def test_the_same_seed_gives_the_same_and_a_limit_a_part_in_the_same_order(case: Case) -> None:
    strong, _ = _many(case, 30)
    every = case.run(strong=[strong])
    assert case.run(strong=[strong]) == every
    assert case.run(1, strong=[strong]) != every
    some = case.run(strong=[strong], limit=10)
    assert [item for item in every if item in some] == some
    assert sum(isinstance(item, Clip) for item in some) == 10
    assert max(Counter(i.provenance.source_id for i in every if isinstance(i, AudioQuestion)).values()) == 2
    questions = case.run(strong=[strong], make="rules")
    assert [item for item in every if not isinstance(item, Clip)] == questions
    assert [item for item in every if isinstance(item, Clip)] == case.run(strong=[strong], make="clips")


def test_only_the_rules_that_are_named_are_used(case: Case) -> None:
    strong, _ = _many(case, 20)
    items = case.run(strong=[strong], make="rules", rules=["count"])
    made = {item.provenance.made_by["answer"] for item in items if isinstance(item, AudioQuestion)}
    assert made == {"rule:audioset/count"}
    with pytest.raises(ValueError, match="unknown rule 'counts'"):
        audioset.Options(rules=("counts",))


_TIME = st.integers(0, 12_000).map(lambda ms: ms / 1000)
_ROW = st.tuples(st.sampled_from(["a_0", "-b_c_30000", "d_1"]), _TIME, _TIME, st.sampled_from([SPEECH, CAR, "/m/zz"]))


@given(st.lists(_ROW, max_size=15))
def test_rows_of_a_clip_need_not_stand_together(tmp_path_factory, rows) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("t") / "s.tsv"
    path.write_text(HEADER + "".join(f"{i}\t{a:.3f}\t{b:.3f}\t{m}\n" for i, a, b, m in rows), encoding="utf-8")
    strong = StrongLabels([path])
    for id in {row[0] for row in rows}:
        own = sorted((a, b, m) for i, a, b, m in rows if i == id and a < b)
        assert [(a, b, m) for m, a, b in strong.events(id)] == own
        assert strong.whole(id) == all(a < b for i, a, b, _ in rows if i == id)
    segments = [item.id for item in read_segments([], strong) if isinstance(item, Segment)]
    assert segments == list(dict.fromkeys(row[0] for row in rows))
    assert len(strong.refused) == sum(not a < b for _, a, b, _ in rows)


def test_the_source_says_what_it_needs() -> None:
    about = load_source("audioset").ABOUT
    assert about.share_audio is False
    assert "CC BY 4.0" in about.licence
