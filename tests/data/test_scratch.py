"""What is on its way lies on disk in the order of its places, light, and whole again when it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_examples import question, tone

from sari_data.errors import CorpusError, StorageError
from sari_data.scratch import Scratch
from sari_data.sources.base import Clip, SetAside
from sari_data.types import AudioQuestion, AudioRef, Provenance, hash_path


def clip(name: str) -> Clip:
    return Clip(
        audio=AudioRef(path=f"{name}.wav", sha256="ab" * 32), domain="sound", provenance=Provenance("set", name, "CC0")
    )


def test_what_comes_as_bytes_goes_round_light_and_leaves_whole(tmp_path: Path) -> None:
    given = [question(i) for i in range(300)]  # more than are fetched at once
    with Scratch(tmp_path / "corpus") as scratch:
        assert all(map(scratch.add, given))
        found = list(scratch.questions())
        assert [q.id for q in found] == [q.id for q in given]
        assert all(q.audio.data is None for q in found)
        assert [q.audio.key for q in found] == [q.audio.key for q in given]
        scratch.assign("rl", [q.id for q in reversed(given)])
        assert list(scratch.whole("rl")) == given[::-1]
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_its_own_keeps_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(tone(200))
    given = question(1, audio=hash_path(tmp_path / "a.wav"))
    with Scratch(tmp_path / "corpus") as scratch:
        scratch.add(given)
        scratch.assign("rl", [given.id])
        (found,) = scratch.whole("rl")
        assert found.audio == given.audio
        assert found.audio.sha256 == given.audio.sha256
        assert not list((scratch.folder / "audio").iterdir())


def test_the_same_id_comes_in_once(tmp_path: Path) -> None:
    with Scratch(tmp_path / "corpus") as scratch:
        assert scratch.add(question(1))
        assert not scratch.add(question(1, caption="another"))
        assert [q.caption for q in scratch.questions()] == ["an été"]


def test_questions_of_a_clip_stand_at_its_place_whenever_they_come(tmp_path: Path) -> None:
    with Scratch(tmp_path / "corpus") as scratch:
        first, second = clip("one"), clip("two")
        for item in (question(1), first, question(2), second, question(3)):
            scratch.add(item)
        for made, of in (([question(8), question(3)], second), ([question(7)], first)):
            repeats = scratch.expand(of.id, made)
            # The clip comes before the other of the two, so its question stays.
            assert [(q.id, place) for q, place in repeats] == ([("q0003", (4, 0))] if of is second else [])
            scratch.take_out("clip", of.id)
        assert [q.id for q in scratch.questions()] == ["q0001", "q0007", "q0002", "q0008", "q0003"]
        assert len(scratch.clips()) == 0


def test_what_is_set_aside_without_an_item_has_a_place_of_its_own(tmp_path: Path) -> None:
    """Numbering many lines at one place would take a time that grows with their square."""
    with Scratch(tmp_path / "corpus") as scratch:
        for number in range(3):
            scratch.set_aside(SetAside(stage="collect", reason="audio is missing", id=f"x{number}"), kind=None)
        assert scratch.fetch("SELECT COUNT(DISTINCT place), MAX(turn) FROM aside") == [(3, 0)]
        assert [json.loads(line)["id"] for line in scratch.asides()] == ["x0", "x1", "x2"]


def test_clips_with_and_without_a_caption_are_told_apart(tmp_path: Path) -> None:
    import dataclasses

    with Scratch(tmp_path / "corpus") as scratch:
        scratch.add(clip("one"))
        scratch.add(clip("two"))
        scratch.put(dataclasses.replace(clip("two"), caption="a bell"))
        assert [c.provenance.source_id for c in scratch.clips(captioned=False)] == ["one"]
        assert [c.caption for c in scratch.clips(captioned=True)] == ["a bell"]


def test_what_is_changed_while_it_is_gone_through_is_met_once(tmp_path: Path) -> None:
    with Scratch(tmp_path / "corpus") as scratch:
        for i in range(400):
            scratch.add(question(i))
        seen = []
        for found in scratch.questions():
            seen.append(found.id)
            if len(seen) % 3 == 0:
                scratch.set_aside(SetAside(stage="clean", reason="odd", id=found.id))
            else:
                scratch.put(found.replace(caption="changed"))
        assert seen == [f"q{i:04d}" for i in range(400)]
        left = scratch.questions()
        assert len(left) == 400 - 133
        assert {q.caption for q in left} == {"changed"}


def test_what_was_set_aside_is_told_in_the_order_of_the_places(tmp_path: Path) -> None:
    with Scratch(tmp_path / "corpus") as scratch:
        for i in range(3):
            scratch.add(question(i))
        scratch.set_aside(SetAside(stage="collect", reason="audio is missing", id="x"), kind=None)
        scratch.set_aside(SetAside(stage="clean", reason="repeat", id="q0002", detail="of q0001"))
        scratch.note_aside(SetAside(stage="reason", reason="no gold", id="q0001"))
        scratch.note_aside(SetAside(stage="reason", reason="again", id="q0001", provenance=Provenance("set", "é")))
        lines = [json.loads(line) for line in scratch.asides()]
        assert [(x["stage"], x["reason"], x["id"]) for x in lines] == [
            ("reason", "no gold", "q0001"),
            ("reason", "again", "q0001"),
            ("clean", "repeat", "q0002"),
            ("collect", "audio is missing", "x"),
        ]
        assert lines[1]["provenance"] == {"dataset": "set", "source_id": "é"}
        assert [q.id for q in scratch.questions()] == ["q0000", "q0001"]


def test_chosen_and_entries(tmp_path: Path) -> None:
    with Scratch(tmp_path / "corpus") as scratch:
        for i in range(5):
            scratch.add(question(i, audio=AudioRef(data=tone(100 + i % 2))))
        assert [q.id for q in scratch.chosen(["q0003", "q0001", "nobody"])] == ["q0001", "q0003"]
        entries = scratch.entries()
        assert [e.id for e in entries] == [f"q{i:04d}" for i in range(5)]
        assert len({e.clip for e in entries}) == 2
        assert all(e.chains for e in entries)


def test_two_builds_of_one_folder_are_refused_and_two_of_two_are_not(tmp_path: Path) -> None:
    with Scratch(tmp_path / "corpus") as one, Scratch(tmp_path / "other"):
        one.add(question(1))
        with pytest.raises(CorpusError, match="another process is building it"), Scratch(tmp_path / "corpus"):
            pass
        assert [q.id for q in one.questions()] == ["q0001"]


def test_what_a_killed_build_left_is_cleared_away(tmp_path: Path) -> None:
    for name in (".corpus.work/audio/ab", ".corpus.x.partial/data", ".corpus.y.old", ".other.x.partial"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".corpus.work" / "items.sqlite").write_bytes(b"half a file")
    with Scratch(tmp_path / "corpus") as scratch:
        assert len(scratch.questions()) == 0
    assert [p.name for p in tmp_path.iterdir()] == [".other.x.partial"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".corpus.work").write_text("a file in the way")
    with pytest.raises(StorageError, match="could not be written"), Scratch(tmp_path / "corpus"):
        pass


def test_a_question_keeps_everything_on_its_way(tmp_path: Path) -> None:
    given = question(1, flags=("contaminated",), provenance=Provenance("d", "s", "CC0", {"a": "b"}, "yt", 1.5, 11.5))
    with Scratch(tmp_path / "corpus") as scratch:
        scratch.add(given)
        (found,) = scratch.questions()
        assert isinstance(found, AudioQuestion)
        assert found.replace(audio=given.audio) == given
