"""A corpus without some of its audio and back: nothing else changes, nothing is taken for what it is not."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_examples import CARD, RATE, question, tone, write_example
from hypothesis import given
from hypothesis import strategies as st
from push_examples import write

from sari_data.audio import decode
from sari_data.errors import CorpusError, InputError
from sari_data.rehydrate import names_of, rehydrate, without_audio
from sari_data.store import check_corpus, read_manifest, read_split, write_corpus
from sari_data.types import AudioQuestion, AudioRef, Provenance


def foreign(number: int, **changes: object) -> AudioQuestion:
    """A question about audio of a data set that may not be shared."""
    source = Provenance("videos", f"v{number}", "theirs", {}, f"yt{number:03d}", 30.0, 30.5)
    data = tone(300 + number, seconds=0.5)
    given = {"audio": AudioRef(path=f"clip{number}.wav", data=data), "provenance": source}
    return question(number, **(given | changes))


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write(tmp_path / "whole", [foreign(1), question(2), foreign(3)])


@pytest.fixture
def stripped(whole: Path, tmp_path: Path) -> Path:
    without_audio(whole, tmp_path / "stripped", {"videos"}.__contains__)
    return tmp_path / "stripped"


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    (tmp_path / "audio" / "deep").mkdir(parents=True)
    return tmp_path / "audio"


def test_rows_go_without_audio_and_keep_all_else(whole: Path, stripped: Path) -> None:
    assert read_manifest(stripped)["without_audio"] == 2
    assert read_manifest(stripped)["counts"] == read_manifest(whole)["counts"]
    before, after = read_split(whole, "rl"), read_split(stripped, "rl")
    for old, new in zip(before, after, strict=True):
        assert dataclasses.replace(new, audio=old.audio) == old
        assert new.audio.key == old.audio.key  # clips can still be told apart
        assert (new.audio.data is None) == (old.provenance.dataset == "videos")
    card = (stripped / "README.md").read_text(encoding="utf-8")
    assert "**2 questions are without their audio**" in card
    assert "sari-data rehydrate" in card


def test_the_check_takes_them_as_told_and_notices_what_was_not_told(stripped: Path) -> None:
    assert check_corpus(stripped) == []
    text = (stripped / "manifest.json").read_text(encoding="utf-8")
    (stripped / "manifest.json").write_text(text.replace('"without_audio": 2', '"without_audio": 1'), encoding="utf-8")
    assert "the manifest says 1 rows without audio, found 2" in check_corpus(stripped)


def test_the_check_says_how_many_rows_are_without(
    stripped: Path, run_command: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, _ = run_command("sari-data", "check", stripped)
    assert (code, "3 questions in 1 files, 2 without audio as the manifest says; problems: none found" in out) == (
        0,
        True,
    )


def test_a_clip_of_dev_that_is_trained_on_is_found_without_its_audio(tmp_path: Path) -> None:
    source = tmp_path / "leak"
    write_corpus(source, {"rl": [foreign(1)], "dev": [foreign(1, id="twin")]}, {}, card=CARD)
    without_audio(source, tmp_path / "bare", lambda name: True)
    assert any("in dev is also that of" in problem for problem in check_corpus(tmp_path / "bare"))


def test_datasets_opens_the_form_whole_and_streaming(stripped: Path, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset(str(stripped), cache_dir=str(tmp_path / "cache"))["rl"]
    assert isinstance(loaded.features["audio"], datasets.Audio)
    raw = loaded.cast_column("audio", datasets.Audio(decode=False))
    assert [row["audio"] is None for row in raw] == [True, False, True]
    assert [row["audio_name"] for row in raw] == ["clip1.wav", None, "clip3.wav"]
    assert loaded[0]["audio"] is None  # as the viewer reads it: nothing is opened
    streamed = datasets.load_dataset(str(stripped), streaming=True)["rl"]
    assert [row["id"] for row in streamed.cast_column("audio", datasets.Audio(decode=False))] == raw["id"]


NAMES = ("clip{}.wav", "v{}.flac", "deep/yt00{}.wav", "yt00{}_30000.wav", "Yyt00{}_30.000_30.500.wav", "yt00{}_30.wav")


@pytest.mark.parametrize("name", NAMES)
def test_audio_is_found_by_name_or_video(whole: Path, stripped: Path, audio: Path, tmp_path: Path, name: str) -> None:
    for number in (1, 3):
        (audio / name.format(number)).write_bytes(tone(300 + number, seconds=0.5))
    found = rehydrate(stripped, [audio], tmp_path / "again")
    assert (found.same, found.other, found.missing) == (2, 0, {})
    assert check_corpus(tmp_path / "again") == []
    assert "without_audio" not in read_manifest(tmp_path / "again")
    again, before = read_split(tmp_path / "again", "rl"), read_split(whole, "rl")
    assert [q.audio.data for q in again] == [q.audio.data for q in before]
    assert [dataclasses.replace(q, audio=AudioRef("x")) for q in again] == [
        dataclasses.replace(q, audio=AudioRef("x")) for q in before
    ]
    assert read_manifest(tmp_path / "again")["sources"] == read_manifest(whole)["sources"]


def test_what_is_missing_is_told_kept_and_found_later(whole: Path, stripped: Path, audio: Path, tmp_path: Path) -> None:
    (audio / "clip1.wav").write_bytes(tone(301, seconds=0.5))
    found = rehydrate(stripped, [audio], tmp_path / "part")
    assert found.missing == {"q0003": "audio is missing"}
    part = read_manifest(tmp_path / "part")
    assert {split: rows["rows"] for split, rows in part["splits"].items()} == {"rl": 2, "rl_without_audio": 1}
    assert part["counts"]["rl"]["questions"] == 2
    assert check_corpus(tmp_path / "part") == []
    (audio / "clip3.wav").write_bytes(tone(303, seconds=0.5))
    rehydrate(tmp_path / "part", [audio], tmp_path / "all")
    assert [q.id for q in read_split(tmp_path / "all", "rl")] == [q.id for q in read_split(whole, "rl")]
    assert list(read_manifest(tmp_path / "all")["splits"]) == ["rl"]
    assert read_manifest(tmp_path / "all")["counts"]["rl"] == read_manifest(whole)["counts"]["rl"]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.write_bytes(tone(999, seconds=0.7)), None),  # encoded anew: of about the same length
        (lambda path: path.write_bytes(tone(999, seconds=5)), "audio has another length"),
        (lambda path: path.write_bytes(b"no audio at all"), "audio cannot be read"),
    ],
)
def test_another_file_of_the_name_is_not_taken_for_it(
    stripped: Path, audio: Path, tmp_path: Path, make: Callable[[Path], object], expected: str | None
) -> None:
    (audio / "clip1.wav").write_bytes(tone(301, seconds=0.5))
    make(audio / "clip3.wav")
    found = rehydrate(stripped, [audio], tmp_path / "a")
    assert found.missing == ({} if expected is None else {"q0003": expected})
    assert (found.same, found.other) == (1, int(expected is None))
    strict = rehydrate(stripped, [audio], tmp_path / "b", exact=True)
    assert list(strict.missing) == ["q0003"]


def test_the_segment_is_cut_out_of_a_whole_video(stripped: Path, audio: Path, tmp_path: Path) -> None:
    (audio / "clip1.wav").write_bytes(tone(301, seconds=0.5))
    (audio / "yt003.wav").write_bytes(tone(250, seconds=31))
    found = rehydrate(stripped, [audio], tmp_path / "out")
    assert found.missing == {}
    last = read_split(tmp_path / "out", "rl")[2]
    samples, rate = decode(last.audio)
    assert (len(samples), rate) == (RATE // 2, RATE)
    expected, _ = decode(AudioRef(path=str(audio / "yt003.wav"), start=30.0, duration=0.5))
    assert (samples == expected).all()


def test_the_same_bytes_win_over_an_earlier_name_and_folder(stripped: Path, audio: Path, tmp_path: Path) -> None:
    shutil.rmtree(audio / "deep")
    (tmp_path / "more").mkdir()
    for number in (1, 3):
        (audio / f"v{number}.wav").write_bytes(tone(111, seconds=0.5))
        (tmp_path / "more" / f"clip{number}.wav").write_bytes(tone(300 + number, seconds=0.5))
    found = rehydrate(stripped, [audio, tmp_path / "more"], tmp_path / "out")
    assert (found.same, found.other) == (2, 0)


def test_wrong_folders_are_one_sentence(whole: Path, stripped: Path, audio: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none of them"):
        rehydrate(stripped, [audio], tmp_path / "out")
    (audio / "other.wav").write_bytes(tone(100))
    with pytest.raises(CorpusError, match="2 times audio is missing"):
        rehydrate(stripped, [audio], tmp_path / "out")
    with pytest.raises(CorpusError, match="it is whole already"):
        rehydrate(whole, [audio], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_corpus_of_paths_is_embedded_or_goes_without(tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    path.write_bytes(tone(100))
    refs = [AudioRef(path=str(path)), AudioRef(path=str(path), start=0.05, duration=0.05)]
    write_corpus(
        tmp_path / "p", {"rl": [question(n, audio=ref) for n, ref in enumerate(refs)]}, {}, card=CARD, embed=False
    )
    without_audio(tmp_path / "p", tmp_path / "embedded", lambda name: False)
    assert check_corpus(tmp_path / "embedded") == []
    assert read_split(tmp_path / "embedded", "rl")[0].audio.data == path.read_bytes()
    without_audio(tmp_path / "p", tmp_path / "bare", lambda name: True)
    assert [q.audio.path for q in read_split(tmp_path / "bare", "rl")] == ["one.wav", "one.wav"]


def test_an_older_corpus_with_a_card_of_its_own_keeps_its_text(tmp_path: Path) -> None:
    import yaml

    source = write_example(tmp_path / "old")
    for _ in range(2):  # what is without audio already stays so
        without_audio(source, tmp_path / "bare", lambda name: True, overwrite=True)
        source = tmp_path / "bare"
    card = (tmp_path / "bare" / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card[4:].split("\n---\n")[0])
    assert head["license"] == "apache-2.0"
    assert "audio_name" in [feature["name"] for feature in head["dataset_info"]["features"]]
    assert card.endswith("# A corpus\n")
    assert read_manifest(tmp_path / "bare")["without_audio"] == 6


@given(
    st.text(max_size=12), st.text(max_size=12), st.text("abcXYZ_-09", max_size=11),
    st.none() | st.floats(0, 4000), st.none() | st.floats(0, 4000),
)  # fmt: skip
def test_names_are_distinct_and_never_empty(
    name: str, source_id: str, video: str, start: float | None, end: float | None
) -> None:
    source = {"source_id": source_id, "youtube_id": video, "segment_start": start, "segment_end": end}
    names = names_of({"audio_name": name, "provenance": source})
    assert len(names) == len(set(names))
    assert all(names)
    assert not video or video in names


def test_the_command_says_what_it_found(
    stripped: Path, audio: Path, run_command: Callable[..., tuple[int, str, str]]
) -> None:
    (audio / "clip1.wav").write_bytes(tone(301, seconds=0.5))
    code, out, _ = run_command("sari-data", "rehydrate", stripped, "--audio", audio)
    assert code == 0
    assert "question 'q0003': audio is missing" in out
    assert "audio found for 1 questions (1 the same bytes" in out
    assert check_corpus(f"{stripped}-whole") == []
    code, _, err = run_command("sari-data", "rehydrate", stripped, "--audio", audio)
    assert (code, "a corpus is there already" in err) == (2, True)
