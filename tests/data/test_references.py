"""Benchmarks are read as they are published, and what they lack is not made up."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_examples import ask, corpus, melody, wav, write_wav

from sari_data.dedup import Dedup, contamination
from sari_data.errors import BenchmarkError, CorpusError, MissingFileError
from sari_data.references import Against, Reference, check_against, read_references
from sari_data.segments import Segment

ROW = {"id": "q1", "question": "Which?", "choices": ["a", "b"], "answer": "b"}
VIDEO = "F7Y1T-rQ2JU"


def read(path: Path, audio: Path | None = None) -> list[Reference]:
    return list(read_references(Against(path=str(path), audio=None if audio is None else str(audio))))


def jsonl(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("revision", ["v03.25.25", "v05.15.25"])
def test_mmau(shared_data: Path, tmp_path: Path, revision: str) -> None:
    path = shared_data / "mmau" / f"mmau-test-mini.{revision}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    found = read(path)
    assert [(r.id, r.question, list(r.choices), r.answer) for r in found] == [
        (row["id"], row["question"], row["choices"], row["answer"]) for row in rows
    ]
    assert not any(r.segment or r.audio for r in found)
    # With audio as its archive unpacks it, and as a bare folder of files.
    name = Path(rows[7]["audio_id"]).name
    for folder in ("test-mini-audios", "."):
        there = write_wav(tmp_path / folder / name, melody(1, 0.2))
        heard = [r for r in read(path, tmp_path) if r.audio]
        assert [(r.id, Path(str(r.audio.path)).resolve()) for r in heard if r.audio] == [
            (rows[7]["id"], there.resolve())
        ]
        there.unlink()


def test_mmar(shared_data: Path) -> None:
    found = read(shared_data / "mmar" / "MMAR-meta.jsonl")
    assert len(found) == 1000
    assert all(r.question and r.answer in r.choices for r in found)
    assert all(r.segment and r.segment.known for r in found)
    by_id = {r.id: r.segment for r in found}
    assert by_id["qx8hrhBZJ98_00-01-32_00-02-02"] == Segment("qx8hrhBZJ98", 92, 122)
    # The name's times are mistyped there, the row's own are right; and a short address does not say which video.
    assert by_id["Pa8QPzZJkck_00-04-12_00-00-04"] == Segment("Pa8QPzZJkck", 252, 274)
    assert by_id["BV1sg4y127nr_00-05-24_00-05-46"] == Segment("BV1sg4y127nr", 324, 346)


def test_other_published_layouts(shared_data: Path) -> None:
    avqa = read(shared_data / "avqa" / "train_qa.sample.json")[0]
    assert (avqa.question, avqa.answer, avqa.segment) == (
        "What happened in the video?",
        "Yacht consignment",
        Segment("-HG3Omg_89c", 30, 40),
    )
    music = read(shared_data / "musicbench" / "MusicBench_sample.json")
    assert music[0].segment == Segment(VIDEO)
    assert not music[0].question
    assert sum(r.segment is not None for r in music) > 190


def test_tables_of_every_kind_say_the_same(tmp_path: Path) -> None:
    whole = ROW | {"youtube_id": VIDEO, "start_time": 3, "end_time": 13}
    paths = [jsonl(tmp_path / "a.jsonl", whole), tmp_path / "a.json", tmp_path / "b.json", tmp_path / "a.parquet"]
    paths[1].write_text(json.dumps([whole], indent=1), encoding="utf-8")
    paths[2].write_text(json.dumps({"version": 1, "data": [whole]}), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist([whole]), paths[3])
    for suffix, mark in ((".csv", ","), (".tsv", "\t")):
        paths.append(tmp_path / f"a{suffix}")
        with paths[-1].open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, list(whole), delimiter=mark)
            writer.writeheader()
            writer.writerow(whole | {"choices": json.dumps(whole["choices"])})
    wanted = Reference("q1", "Which?", ("a", "b"), "b", Segment(VIDEO, 3, 13))
    assert [read(path) for path in paths] == [[wanted]] * 6


@pytest.mark.parametrize(
    ("changes", "choices", "answer"),
    [
        ({"answer": 1}, ("a", "b"), "b"),
        ({"answer": "B"}, ("a", "b"), "b"),
        ({"answer": "(A)"}, ("a", "b"), "a"),
        ({"answer": None}, ("a", "b"), None),
        ({"answer": 5}, ("a", "b"), None),
        ({"choices": "x | y", "answer": "y"}, ("x", "y"), "y"),
        ({"choices": {"A": "x", "B": "y"}, "answer": "B"}, ("x", "y"), "y"),
        ({"choices": None, "choice_a": "x", "choice_b": "y", "answer": "A"}, ("x", "y"), "x"),
        ({"choices": ["A", "B"], "answer": "B"}, ("A", "B"), "B"),
        ({"choices": None, "answer": "free text"}, (), "free text"),
    ],
)
def test_options_and_answers(tmp_path: Path, changes: dict, choices: tuple[str, ...], answer: str | None) -> None:
    [found] = read(jsonl(tmp_path / "a.jsonl", ROW | changes))
    assert (found.choices, found.answer) == (choices, answer)


def test_a_folder_of_audio_and_a_corpus(tmp_path: Path) -> None:
    write_wav(tmp_path / "sounds" / "deep" / f"{VIDEO}_30_40.wav", melody(1, 0.2))
    write_wav(tmp_path / "sounds" / "b.wav", melody(2, 0.2))
    (tmp_path / "sounds" / "notes.txt").write_text("no audio")
    found = read(tmp_path / "sounds")
    assert [(r.id, r.segment) for r in found] == [
        ("b.wav", None),
        (f"deep/{VIDEO}_30_40.wav", Segment(VIDEO, 30, 40)),
    ]
    question = ask(wav(melody(1, 0.2)), youtube_id=VIDEO, segment_start=1.0, segment_end=2.0)
    [own] = read(corpus(tmp_path / "corpus", [question]))
    assert (own.id, own.question, own.choices, own.answer) == (
        question.id,
        question.question,
        question.choices,
        question.answer,
    )
    assert own.segment == Segment(VIDEO, 1, 2)
    assert own.audio is not None
    assert own.audio.data == question.audio.data


def test_a_list_of_recordings_is_one_reference_for_each_under_one_id(tmp_path: Path) -> None:
    write_wav(tmp_path / "data" / "a.wav", melody(1))
    write_wav(tmp_path / "data" / "b.wav", melody(2))
    path = jsonl(
        tmp_path / "pro.jsonl",
        ROW | {"audio_path": ["data/a.wav", "./data/b.wav", "data/absent.wav"]},
        ROW | {"id": "q2", "audio_path": ["data/b.wav"]},
        ROW | {"id": "q3", "audio_path": []},
    )
    found = read(path)
    assert [(r.id, r.question, r.audio and Path(str(r.audio.path)).name) for r in found] == [
        ("q1", "Which?", "a.wav"), ("q1", "", "b.wav"), ("q1", "", None), ("q2", "Which?", "b.wav"),
        ("q3", "Which?", None),
    ]  # fmt: skip
    training = corpus(tmp_path / "corpus", [ask((tmp_path / "data" / "b.wav").read_bytes(), "Who plays?")])
    (about,) = contamination(training, [path], Dedup(processes=1, cache=False)).summary["against"]
    assert (about["questions"], about["contaminated"], about["compared"]["sounds"]) == (3, 1, 1)
    assert "only 1 of its 3 questions have audio that could be compared" in about["notes"]


def test_titles() -> None:
    assert Against(path="x/MMAR-meta.jsonl").title == "MMAR-meta"
    assert Against(path="x/mmau.v05.15.25.json").title == "mmau.v05.15.25"
    assert Against(path="x/corpus").title == "corpus"
    assert Against(path="x", name="MMAU").title == "MMAU"


def _check_and_read(path: Path) -> None:
    check_against(Against(path=str(path)))
    read(path)


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    wrong = {
        "broken.json": ("[{", BenchmarkError, "broken.json"),
        "broken.jsonl": ('{"id": 1}\n{', BenchmarkError, "broken.jsonl"),
        "numbers.json": ("[1, 2]", BenchmarkError, "JSON objects"),
        "empty.jsonl": ("", BenchmarkError, "found none"),
        "empty.csv": ("question,answer\n", BenchmarkError, "found none"),
        "other.csv": ("a,b\n1,2\n", BenchmarkError, "rename"),
        "bad.parquet": ("no parquet", BenchmarkError, "Parquet"),
        "latin.csv": (b"question\n\xff\xfe\n", BenchmarkError, "latin.csv"),
        "notes.txt": ("x", BenchmarkError, r"\.json"),
    }
    for name, (content, error, says) in wrong.items():
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(error, match=says):
            _check_and_read(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchmarkError, match="no audio"):
        check_against(Against(path=str(tmp_path / "empty")))
    with pytest.raises(BenchmarkError, match="name that file"):
        check_against(Against(path=str(tmp_path)))
    with pytest.raises(MissingFileError, match="nowhere"):
        check_against(Against(path=str(tmp_path / "nowhere.json")))
    with pytest.raises(MissingFileError, match="its audio"):
        check_against(Against(path=str(jsonl(tmp_path / "a.jsonl", ROW)), audio=str(tmp_path / "nowhere")))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "manifest.json").write_text("{}")
    with pytest.raises(CorpusError):
        check_against(Against(path=str(tmp_path / "half")))
