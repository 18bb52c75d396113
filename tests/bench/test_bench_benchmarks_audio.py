"""A benchmark's audio: from a folder, from an archive, from inside the questions; and none where none is needed."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from published_files import clip, mmau_hub_row, mmau_row, parquet, tar, write_json, zipped

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark
from sari_bench.benchmarks.packed import PackedAudio
from sari_bench.running.runner import RunSettings, run_benchmark
from sari_data.errors import AudioError, BenchmarkError, InputError, StorageError
from sari_data.resources import cache_folder
from sari_data.responders.scripted import ScriptedResponder
from sari_data.sources import rows as rows_module

ROWS = [mmau_row(n) for n in range(4)]
CLIPS = {f"test-mini-audios/m{n:04d}.wav": clip(n) for n in range(4)}
BYTES = [clip(n) for n in range(4)]


def _questions(tmp_path: Path) -> Path:
    (tmp_path / "questions").mkdir(exist_ok=True)
    return write_json(tmp_path / "questions" / "mmau-test-mini.json", ROWS)


def _read(benchmark: Benchmark) -> list[bytes]:
    return [Path(str(question.audio.path)).read_bytes() for question in benchmark.questions]


def _unpack(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def _bare(files: dict[str, bytes]) -> dict[str, bytes]:
    return {Path(name).name: data for name, data in files.items()}


PLACES: dict[str, Callable[[Path], Path]] = {
    "as named": lambda at: _unpack(at / "audio", CLIPS),
    "without the first folder": lambda at: _unpack(at / "audio", _bare(CLIPS)),
    "deeper": lambda at: _unpack(at / "audio", {f"a/b/{name}": data for name, data in CLIPS.items()}),
    "tar": lambda at: _unpack(at, {"audio.tar.gz": tar(CLIPS)}) / "audio.tar.gz",
    "tar of bare names": lambda at: _unpack(at, {"audio.tgz": tar(_bare(CLIPS))}) / "audio.tgz",
    "zip": lambda at: _unpack(at, {"audio.zip": zipped({f"x/{k}": v for k, v in CLIPS.items()})}) / "audio.zip",
}


@pytest.mark.parametrize("place", PLACES)
def test_the_same_bytes_wherever_the_audio_is(tmp_path: Path, place: str) -> None:
    benchmark = load_benchmark("mmau-test-mini", _questions(tmp_path), PLACES[place](tmp_path))
    assert _read(benchmark) == BYTES
    assert benchmark.golds == load_benchmark("mmau-test-mini", _questions(tmp_path), audio=False).golds


def test_a_name_without_its_first_folder_comes_before_the_bare_name(tmp_path: Path) -> None:
    path = write_json(tmp_path / "q.json", [mmau_row(0, audio_id="set/one/clip.wav")])
    folder = _unpack(tmp_path / "audio", {"one/clip.wav": b"one", "two/clip.wav": b"two", "clip.wav": b"bare"})
    assert _read(load_benchmark("mmau-test-mini", path, folder)) == [b"one"]


def test_a_folder_as_it_was_downloaded_holds_questions_and_audio(tmp_path: Path) -> None:
    _unpack(_questions(tmp_path).parent, {"test-mini-audios.tar.gz": tar(CLIPS)})
    assert _read(load_benchmark("mmau-test-mini", tmp_path / "questions")) == BYTES
    # Beside a question file only what is unpacked counts.
    beside = load_benchmark("mmau-test-mini", tmp_path / "questions" / "mmau-test-mini.json")
    assert beside.questions[0].audio.path == str(tmp_path / "questions" / "test-mini-audios" / "m0000.wav")


def test_embedded_audio_is_taken_out_once_and_only_if_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "test.parquet"
    rows = [mmau_hub_row(row, data) for row, data in zip(ROWS, BYTES, strict=True)]
    path.write_bytes(parquet(rows))
    read = rows_module.read_parquet
    asked: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            rows_module, "read_parquet", lambda file, columns: (asked.extend(columns), read(file, columns))[1]
        )
        bare = load_benchmark("mmau-test-mini", path, audio=False)
    assert not list(cache_folder().rglob("*.wav"))
    assert "context.path" in asked
    assert "context" not in asked
    benchmark = load_benchmark("mmau-test-mini", path)
    assert _read(benchmark) == BYTES
    assert benchmark.golds == bare.golds
    assert all(question.audio.data is None and question.audio.sha256 for question in benchmark.questions)
    # The second time nothing of it is read, unless the cache was tidied.
    with monkeypatch.context() as patch:
        patch.setattr(rows_module, "read_parquet", None)
        assert _read(load_benchmark("mmau-test-mini", path)) == BYTES
    Path(str(benchmark.questions[0].audio.path)).unlink()
    assert _read(load_benchmark("mmau-test-mini", path)) == BYTES
    # With a folder of its own audio what is embedded does not count.
    other = load_benchmark("mmau-test-mini", path, _unpack(tmp_path / "audio", dict.fromkeys(CLIPS, b"other")))
    assert _read(other) == [b"other"] * 4


def test_an_archive_is_unpacked_once_and_anew_when_it_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, archive = _questions(tmp_path), tmp_path / "audio.zip"
    archive.write_bytes(zipped(CLIPS))
    load_benchmark("mmau-test-mini", questions, archive, audio=False)
    assert not list(cache_folder().iterdir())
    for _ in range(2):
        assert _read(load_benchmark("mmau-test-mini", questions, archive)) == BYTES
    assert capsys.readouterr().err.count("unpacking") == 1
    archive.write_bytes(zipped(dict.fromkeys(CLIPS, b"another edition")))
    assert _read(load_benchmark("mmau-test-mini", questions, archive)) == [b"another edition"] * 4


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_only_what_questions_name_is_unpacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    archive = tmp_path / f"data.{kind}"
    more = {f"data/other{n}.wav": b"\0" * 1_000_000 for n in range(5)}
    archive.write_bytes({"zip": zipped, "tar.gz": tar}[kind]({**more, **{f"data/{k}": v for k, v in CLIPS.items()}}))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=900_000))
    assert _read(load_benchmark("mmau-test-mini", _questions(tmp_path), archive)) == BYTES
    assert f"unpacking 4 of 9 files of {archive}" in capsys.readouterr().err
    assert len(list(cache_folder().rglob("*.wav"))) == 4
    other = write_json(tmp_path / "other.json", [ROWS[0], mmau_row(5, audio_id="x/other3.wav")])
    with pytest.raises(StorageError, match=r"found that they take 1\.0 MiB or more: free some space"):
        load_benchmark("mmau-test-mini", other, archive)
    monkeypatch.undo()
    monkeypatch.setenv("SARI_CACHE", str(tmp_path / "larger disk"))
    second = load_benchmark("mmau-test-mini", other, archive)
    assert _read(second) == [BYTES[0], b"\0" * 1_000_000]
    assert "unpacking 2 of 9 files" in capsys.readouterr().err
    assert _read(load_benchmark("mmau-test-mini", _questions(tmp_path), archive)) == BYTES
    assert "unpacking 3 of 9 files" in capsys.readouterr().err, "what is there already is not unpacked again"


def test_a_name_that_is_twice_in_an_archive_is_not_guessed(tmp_path: Path) -> None:
    archive = tmp_path / "audio.zip"
    twice = {f"{folder}/m0003.wav": folder.encode() for folder in ("one", "two")}
    archive.write_bytes(zipped({**dict(list(CLIPS.items())[:3]), **twice}))
    benchmark = load_benchmark("mmau-test-mini", _questions(tmp_path), archive)
    assert [Path(str(question.audio.path)).is_file() for question in benchmark.questions] == [True] * 3 + [False]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.zip", zipped({"../../evil.wav": b"x"}), "expected files below the archive's own folder, found"),
        ("a.zip", zipped({"x/../../evil.wav": b"x"}), "expected files below"),
        ("a.zip", zipped({"/evil.wav": b"x"}), "expected files below"),
        ("a.tar.gz", tar({"../../evil.wav": b"x"}), "expected files below"),
        ("a.tar.gz", tar(CLIPS)[:-40], "does not unpack"),
        ("a.tar", b"not an archive at all", "expected an archive"),
        ("a.zip", b"not an archive at all", "expected an archive"),
        ("a.wav", clip(0), "expected a folder or an archive"),
    ],
)
def test_archives_that_are_none_or_would_write_elsewhere(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        load_benchmark("mmau-test-mini", _questions(tmp_path), tmp_path / name)
    assert not list(tmp_path.rglob("evil.wav")) + list(cache_folder().rglob("evil.wav"))
    assert not list(cache_folder().rglob("*.wav"))


@pytest.mark.parametrize("named", ["../secret.wav", "a/../../secret.wav", "/etc/hostname", "x\0.wav"])
def test_a_row_cannot_name_a_file_outside_the_audio_folder(tmp_path: Path, named: str) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "secret.wav").write_bytes(b"mine")
    path = write_json(tmp_path / "q.json", [ROWS[0], mmau_row(1, audio_id=named)])
    with pytest.raises(BenchmarkError, match=r"row 1: expected audio below .*, which lies outside"):
        load_benchmark("mmau-test-mini", path, tmp_path / "audio")
    assert len(load_benchmark("mmau-test-mini", path, audio=False).golds) == 2


def test_what_is_missing_is_said_before_anything_runs(tmp_path: Path) -> None:
    _unpack(tmp_path / "audio", dict(list(CLIPS.items())[:3]))
    _unpack(tmp_path / "audio", {"one/m0003.wav": b"1", "two/m0003.wav": b"2"})  # which of them is not guessed
    benchmark = load_benchmark("mmau-test-mini", _questions(tmp_path), tmp_path / "audio")
    responder = ScriptedResponder(lambda request, sample: "dog", name="model")
    with pytest.raises(AudioError, match=r"1 of 4 audio files .*m0003\.wav"):
        run_benchmark(benchmark, responder, tmp_path / "run", RunSettings("direct"))
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "test.parquet"
    path.write_bytes(parquet([mmau_hub_row(ROWS[0], BYTES[0])]))
    blocker = tmp_path / "file"
    blocker.write_bytes(b"")
    monkeypatch.setenv("SARI_CACHE", str(blocker))
    with pytest.raises(StorageError, match="free some space"):
        load_benchmark("mmau-test-mini", path)


def test_links_that_go_round_end(tmp_path: Path) -> None:
    folder = _unpack(tmp_path / "audio", {f"a/b/{name}": data for name, data in CLIPS.items()})
    os.symlink(folder, folder / "a" / "round", target_is_directory=True)
    assert _read(load_benchmark("mmau-test-mini", _questions(tmp_path), folder)) == BYTES


def test_two_questions_on_one_embedded_clip_without_a_name_are_one_cluster(tmp_path: Path) -> None:
    rows = [
        {"question": f"What {n}?", "A": "dog", "B": "cat", "answer": "dog", "task": "sound", "audio": clip(n // 2)}
        for n in range(4)
    ]
    (tmp_path / "t.parquet").write_bytes(parquet(rows))
    golds = load_benchmark(f"table:{tmp_path / 't.parquet'}").golds
    assert len({gold.cluster for gold in golds}) == 2
    bare = load_benchmark(f"table:{tmp_path / 't.parquet'}", audio=False).golds
    assert tuple(dataclasses.replace(gold, clip="") for gold in golds) == bare


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"one.wav": 3}'])
def test_a_list_of_an_archive_that_does_not_read_is_made_anew(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"one.wav": b"one"}))
    for text in (None, damaged):
        if text is not None:
            (tmp_path / "kept.json").write_text(text)
        packed = PackedAudio(tmp_path / "kept", "a.zip", lambda: tmp_path / "a.zip")
        assert list(packed.members) == ["one.wav"]
