"""Corpora that go wrong: full disks, bad input, broken folders, and checks that find planted faults."""

import errno
import json
import os
import re
import resource
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_examples import CARD, bare, leftovers, question, tone, write_example

from sari_data import shards
from sari_data.errors import AudioError, CorpusError, InputError, MissingFileError, StorageError
from sari_data.store import check_corpus, check_target, read_manifest, read_split, write_corpus
from sari_data.types import AudioRef


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_example(tmp_path / "corpus")


class FullDisk:
    """A binary file that takes so many bytes, counted over all files, then none."""

    def __init__(self, file, left: list[int]) -> None:
        self._file, self._left = file, left

    def write(self, data):
        self._left[0] -= len(data)
        if self._left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)


def full_disk(monkeypatch, allowed: int) -> None:
    left = [allowed]
    monkeypatch.setattr(shards, "open", lambda path, mode: FullDisk(open(path, mode), left), raising=False)  # noqa: SIM115


@pytest.mark.parametrize("allowed", [0, 2000, 9000])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, allowed):
    full_disk(monkeypatch, allowed)
    folder = tmp_path / "c"
    with pytest.raises(StorageError, match="No space left on device") as caught:
        write_corpus(folder, {"sft": [question(n) for n in range(20)]}, {}, card=CARD)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_old_corpus(corpus, monkeypatch):
    full_disk(monkeypatch, 3000)
    with pytest.raises(StorageError):
        write_corpus(corpus, {"sft": [question(n) for n in range(20)]}, {}, card=CARD, overwrite=True)
    monkeypatch.undo()
    assert read_split(corpus, "rl") == [question(3), bare(4)]
    assert leftovers(corpus) == []


def test_a_real_limit_of_the_kernel(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = [question(n, audio=AudioRef(data=os.urandom(2**16))) for n in range(40)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(StorageError, match="could not be written"):
            write_corpus(tmp_path / "c", {"sft": noise}, {}, card=CARD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_source_keeps_its_name(tmp_path):
    def broken():
        yield question(1)
        raise AudioError("clip 2 is noise")

    with pytest.raises(AudioError, match="clip 2"):
        write_corpus(tmp_path / "c", {"sft": broken()}, {}, card=CARD)
    with pytest.raises(MissingFileError, match=r"gone\.wav"):
        write_corpus(tmp_path / "c", {"sft": [question(1, audio=AudioRef(path="gone.wav"))]}, {}, card=CARD)
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_refused(tmp_path):
    folder = tmp_path / "c"
    with pytest.raises(InputError, match="'q0001' comes twice"):
        write_corpus(folder, {"sft": [question(1)], "rl": [question(1)]}, {}, card=CARD)
    with pytest.raises(InputError, match="lower-case"):
        write_corpus(folder, {"../x": [question(1)]}, {}, card=CARD)
    with pytest.raises(InputError, match="'files'"):
        write_corpus(folder, {"sft": [question(1)]}, {"files": []}, card=CARD)
    with pytest.raises(InputError, match="Parquet cannot hold"):
        write_corpus(folder, {"sft": [question(1, caption="\ud800")]}, {}, card=CARD)
    with pytest.raises(InputError, match="must end with"):
        write_corpus(folder, {"sft": [question(1)]}, {}, card="---\nlicense: x\n")
    assert list(tmp_path.iterdir()) == []


def test_reading_what_is_no_corpus(tmp_path, corpus):
    with pytest.raises(MissingFileError, match="nowhere"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="'test'"):
        read_split(corpus, "test")
    shutil.copytree(corpus, tmp_path / "cut")
    (tmp_path / "cut" / "manifest.json").unlink()
    with pytest.raises(CorpusError, match="incomplete"):
        read_split(tmp_path / "cut", "rl")
    (tmp_path / "cut" / "manifest.json").write_text("{")
    with pytest.raises(CorpusError, match="expected JSON"):
        check_corpus(tmp_path / "cut")
    (tmp_path / "cut" / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(CorpusError, match="with format"):
        check_corpus(tmp_path / "cut")
    (corpus / "data/rl-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_split(corpus, "rl")


def tamper(corpus: Path, split: str, change) -> None:
    """Rewrite a split's shard with changed rows and make the manifest's hash and count agree."""
    path = corpus / f"data/{split}-00000.parquet"
    table = pq.read_table(path)
    rows = change(table.to_pylist())
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    manifest = json.loads((corpus / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["path"].startswith(f"data/{split}"):
            entry.update(sha256=shards.sha256_of(path), rows=len(rows))
    manifest["splits"][split]["rows"] = len(rows)
    (corpus / "manifest.json").write_text(json.dumps(manifest))


def test_check_finds_bad_rows(corpus):
    tamper(
        corpus, "sft", lambda rows: [rows[0] | {"answer": "cat"}, rows[1] | {"audio": {"bytes": b"xx", "path": "x"}}]
    )
    tamper(corpus, "rl", lambda rows: [rows[0] | {"id": "q0005"}, rows[1] | {"domain": "smell"}])
    found = "\n".join(check_corpus(corpus))
    assert "found answer 'cat'" in found
    assert "sft: question 'q0002': audio 'x'" in found
    assert "domain must be one of" in found
    assert "dev: question 'q0005': its id is also in rl" in found
    assert found.count("\n") == 3


def test_check_finds_leaked_audio(corpus):
    leaked = {"bytes": tone(105), "path": "renamed.wav"}
    tamper(corpus, "sft", lambda rows: [rows[0] | {"audio": leaked}, rows[1]])
    assert check_corpus(corpus) == ["audio of question 'q0005' in dev is also that of 'q0001' in sft"]


def test_check_finds_changed_files(corpus):
    (corpus / "data/sft-00000.parquet").write_bytes(b"PAR1")
    (corpus / "data/dev-00000.parquet").unlink()
    shutil.copy(corpus / "data/rl-00000.parquet", corpus / "data/rl-00001.parquet")
    found = "\n".join(check_corpus(corpus))
    assert "data/sft-00000.parquet: its SHA-256 is not the manifest's" in found
    assert "data/sft-00000.parquet: cannot be read as Parquet" in found
    assert "data/dev-00000.parquet: is in the manifest but not in the folder" in found
    assert "data/rl-00001.parquet: is not in the manifest" in found


def test_check_finds_wrong_counts_and_columns(corpus):
    manifest = json.loads((corpus / "manifest.json").read_text())
    manifest["files"][0]["rows"] = 7
    manifest["splits"]["rl"]["rows"] = 1
    path = corpus / "data/dev-00000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["caption"]), path)
    (corpus / "manifest.json").write_text(json.dumps(manifest))
    found = "\n".join(check_corpus(corpus))
    assert "data/sft-00000.parquet: the manifest says 7 rows, found 2" in found
    assert "rl: the manifest says 1 rows, found 2" in found
    assert "its columns are not those of a corpus" in found


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("splits"),
        lambda m: m.pop("embedded"),
        lambda m: m.update(files=3),
        lambda m: m.update(files=[{"x": 1}]),
        lambda m: m.update(splits=["sft"]),
        lambda m: m["splits"].pop("dev"),
    ],
)
def test_a_manifest_without_what_readers_need(corpus, change):
    path = corpus / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    for read in (check_corpus, lambda folder: read_split(folder, "sft")):
        with pytest.raises(CorpusError, match="expected the keys 'embedded'"):
            read(corpus)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": ["a", None]}, "non-empty choices"),
        ({"pass_rates": [dict.fromkeys(("passes", "samples", "responder", "mode", "seed"))]}, "pass rate"),
        (
            {"reasoning": {"structured": dict.fromkeys(("planning", "caption", "reasoning")) | {"summary": "s"}}},
            r"no \['planning', 'caption', 'reasoning'\]",
        ),
    ],
)
def test_check_finds_missing_values_inside_a_row(corpus, change, message):
    tamper(corpus, "sft", lambda rows: [rows[0] | change, rows[1]])
    (problem,) = check_corpus(corpus)
    assert re.search(message, problem)
    assert problem.count("question 'q0001'") == 1


def test_check_misses_the_card(corpus):
    (corpus / "README.md").unlink()
    (problem,) = check_corpus(corpus)
    assert problem.startswith("README.md: is missing")


def test_of_two_writers_the_later_one_does_not_replace_the_other(tmp_path):
    def slow():
        yield question(1)
        write_corpus(tmp_path / "c", {"sft": [question(2)]}, {}, card=CARD)

    with pytest.raises(CorpusError, match="a corpus is there already"):
        write_corpus(tmp_path / "c", {"sft": slow()}, {}, card=CARD)
    assert [q.id for q in read_split(tmp_path / "c", "sft")] == ["q0002"]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_folder_that_cannot_be_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="file is a file"):
        check_target(tmp_path / "file" / "corpus")
    with pytest.raises(StorageError, match="File name too long"):
        check_target(tmp_path / ("a" * 300))
