"""Tables with their audio inside, known layouts, folders, broken files, and memory."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from corpus_examples import write_example
from table_examples import COLUMNS, parted, read, rows, wav, write_clips, write_table

from sari_data.audio import decode
from sari_data.errors import InputError, MissingFileError, StorageError
from sari_data.sources import load_source, source_names
from sari_data.sources.base import About, Clip
from sari_data.store import read_split


def _embedded(count: int) -> list[dict[str, Any]]:
    return [{**row, "file": {"bytes": wav(n % 4), "path": row["file"]}} for n, row in enumerate(rows(count))]


def test_embedded_audio_is_kept_once_under_its_hash(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", _embedded(8))
    questions, _, aside = parted(read("table", path=str(path), columns=COLUMNS))
    assert len(questions) == 8
    assert not aside
    assert all(q.audio.data is None for q in questions), "questions carry no bytes"
    files = sorted(p for p in (tmp_path / "t.parquet.audio").rglob("*") if p.is_file())
    assert len(files) == 4
    for file in files:
        assert file.stem == hashlib.sha256(file.read_bytes()).hexdigest()
        assert file.parent.name == file.stem[:2]
        assert file.suffix == ".wav"
    assert decode(questions[5].audio)[0].size == 800
    before = {file: file.stat().st_mtime_ns for file in files}
    again, _, _ = parted(
        read("table", path=str(path), columns=COLUMNS, limit=3, spool=str(tmp_path / "t.parquet.audio"))
    )
    assert [q for q in questions if q in again] == again
    assert len(again) == 3
    assert {file: file.stat().st_mtime_ns for file in files} == before


def test_a_spool_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", _embedded(1))
    (tmp_path / "full").write_text("a file")
    with pytest.raises(StorageError, match="name another folder with `spool`"):
        list(read("table", path=str(path), columns=COLUMNS, spool=str(tmp_path / "full")))


def test_the_type_of_embedded_audio_is_read_from_its_bytes(tmp_path: Path) -> None:
    import io

    import numpy as np
    import soundfile

    made = []
    for number, form in enumerate(("WAV", "FLAC", "OGG", "MP3", "AIFF")):
        buffer = io.BytesIO()
        soundfile.write(buffer, np.zeros(16000) + 0.01 * number, 16000, format=form)
        made.append({**rows(1)[0], "file": {"bytes": buffer.getvalue(), "path": "clip"}})
    path = write_table(tmp_path / "t.parquet", made)
    questions, _, _ = parted(read("table", path=str(path), columns=COLUMNS))
    assert [Path(q.audio.path or "").suffix for q in questions] == [".wav", ".flac", ".ogg", ".mp3", ".aiff"]
    assert all(decode(q.audio)[1] == 16000 for q in questions)


def test_a_corpus_of_sari_is_a_table_too(tmp_path: Path) -> None:
    corpus = write_example(tmp_path / "corpus")
    given = read_split(corpus, "sft")
    questions, _, aside = parted(read("table", path=str(corpus), split="sft", preset="sari", spool=str(tmp_path / "s")))
    assert not aside
    for found, origin in zip(questions, given, strict=True):
        assert found.provenance.source_id == origin.id
        for name in ("question", "choices", "answer", "domain", "category", "difficulty", "caption", "reasoning"):
            assert getattr(found, name) == getattr(origin, name)
        assert found.audio.key == origin.audio.key
    for split, sentence in ((None, "expected `split` to be one of"), ("test", "found 'test'")):
        with pytest.raises(InputError, match=sentence):
            read("table", path=str(corpus), split=split, preset="sari")


@pytest.mark.parametrize("preset", ["mmau", "mmar"])
def test_published_question_files_are_read_by_their_preset(shared_data: Path, tmp_path: Path, preset: str) -> None:
    if preset == "mmau":
        path, wanted = shared_data / "mmau" / "mmau-test-mini.v05.15.25.json", 1000
        published = json.loads(path.read_text(encoding="utf-8"))
    else:
        path, wanted = shared_data / "mmar" / "MMAR-meta.jsonl", 1000
        published = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    name = "audio_id" if preset == "mmau" else "audio_path"
    for number, row in enumerate(published):
        file = tmp_path / Path(row[name]).with_suffix(".wav")
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(wav(number % 3, 0.01))
    questions, _, aside = parted(read("table", path=str(path), audio=str(tmp_path), preset=preset))
    good = [row for row in published if row["answer"].strip() in [choice.strip() for choice in row["choices"]]]
    assert len(questions) == len(good)
    assert len(questions) + len(aside) == wanted
    assert {item.reason for item in aside} <= {"gold is not among the options"}
    assert [q.provenance.source_id for q in questions] == [row["id"] for row in good]
    if preset == "mmar":
        assert sum(bool(q.provenance.youtube_id) for q in questions) > 500
        assert {q.domain for q in questions} >= {"sound+speech", "sound+music+speech"}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.jsonl", '{"file": "0.wav"}\n{broken', r"t\.jsonl, line 2: expected one JSON value"),
        ("t.jsonl", "[1]\n", r"line 1: expected a JSON object, found '\[1\]'"),
        ("t.json", '[{"file": "0.wav"}, ', r"t\.json, line 1 or after: expected a JSON array"),
        ("t.csv", "file,kind\n0.wav\n", r"t\.csv, line 2: expected 2 fields"),
        ("t.csv", "file,kind\n", "expected rows, found an empty table"),
        ("t.jsonl", "", "expected rows, found an empty table"),
        ("t.parquet", "PAR1 no", "expected Parquet, found a file that cannot be read"),
        ("t.xlsx", "", r"expected files of \.csv"),
    ],
)
def test_a_broken_table_is_one_sentence_with_the_file(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content)
    write_clips(tmp_path, 1)
    with pytest.raises(InputError, match=sentence) as raised:
        list(read("table", path=str(tmp_path / name), columns={"audio": "file"}, domain="sound"))
    assert name in str(raised.value)


def test_what_is_not_there_and_what_does_not_fit_together(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="found nothing there"):
        read("table", path=str(tmp_path / "t.csv"), columns={"audio": "file"}, domain="sound")
    path = write_table(tmp_path / "t.csv", rows(1))
    with pytest.raises(InputError, match="config, split and revision are for folders and the Hub"):
        read("table", path=str(path), columns=COLUMNS, split="train")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="expected files of a table"):
        read("table", path=str(tmp_path / "nothing"), columns=COLUMNS)
    with pytest.raises(InputError, match="expected no revision for a folder"):
        read("table", path=str(tmp_path / "nothing"), columns=COLUMNS, revision="main")


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_a_table_is_never_held(tmp_path: Path, suffix: str) -> None:
    """Six times the rows, with a text of some 20 kB each, take no more memory."""
    write_clips(tmp_path, 1)

    def most(count: int) -> int:
        made = [{**rows(1)[0], "key": str(n), "asked": f"{n} " * 4000} for n in range(count)]
        path = write_table(tmp_path / f"{count}.{suffix}", made)
        del made
        list(read("table", path=str(path), columns=COLUMNS, limit=1))
        tracemalloc.start()
        try:
            for item in read("table", path=str(path), columns=COLUMNS):
                assert not isinstance(item, Clip)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = most(100), most(600)
    assert large < small + 4 * 2**20, f"{small} bytes for 100 rows, {large} for 600"


def test_row_groups_of_embedded_audio_are_read_one_after_another(tmp_path: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    noise = np.random.default_rng(0)
    made = [{**rows(1)[0], "key": str(n), "file": {"bytes": noise.bytes(100_000), "path": "a.wav"}} for n in range(300)]
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(made), path, row_group_size=30)
    del made
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in read("table", path=str(path), columns=COLUMNS))
    assert most < 12e6, f"{most} bytes of 30 MB are in memory"


def test_the_guides_example_of_a_source_works(tmp_path: Path, repository: Path) -> None:
    guide = (repository / "docs" / "sources.md").read_text(encoding="utf-8")
    module: dict[str, Any] = {"__name__": "birdsong"}
    exec(guide.split("```python\n")[1].split("```")[0], module)
    write_clips(tmp_path / "deep", 1)
    table = write_table(tmp_path / "birds.csv", [{"file": f"{n}.wav", "species": "wren"} for n in range(2)])
    items = list(module["generate"](module["Options"](table=str(table), audio=str(tmp_path)), 0))
    assert [type(item).__name__ for item in items] == ["Clip", "SetAside"]
    assert items[0].labels == ("wren",)


def test_every_source_says_what_it_is() -> None:
    for name in source_names():
        about = load_source(name).ABOUT
        assert isinstance(about, About)
        assert about.name == name
