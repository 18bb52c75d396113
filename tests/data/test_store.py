"""Corpora on disk: round trip, `datasets`, determinism, refusal, full disks, and checks that find planted faults."""

import dataclasses
import errno
import json
import os
import resource
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sari_data import shards, store
from sari_data.audio import decode, encode_wav
from sari_data.errors import AudioError, CorpusError, InputError, MissingFileError, StorageError
from sari_data.store import check_corpus, iter_split, read_manifest, read_split, write_corpus
from sari_data.types import (
    AudioQuestion,
    AudioRef,
    PassRate,
    Provenance,
    Reasoning,
    StructuredReasoning,
)

RATE = 8000
CARD = "---\nlicense: apache-2.0\n---\n\n# A corpus\n"


def tone(hertz: float, seconds: float = 0.1) -> bytes:
    return encode_wav(0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE), RATE)


def question(number: int, **changes) -> AudioQuestion:
    full = AudioQuestion(
        id=f"q{number:04d}",
        audio=AudioRef(path=f"{number}.wav", data=tone(100 + number)),
        question="What – do you “hear”?",
        choices=("dog", "été", "dog"),
        answer="été",
        domain="sound+speech",
        category="event",
        sub_category="which",
        difficulty="easy",
        caption="an été",
        reasoning=Reasoning(StructuredReasoning("p", "c", "r", "s"), "free"),
        pass_rates=(PassRate(1, 4, "tiny", "direct", 0), PassRate(4, 4, "tiny", "structured", 1)),
        provenance=Provenance("scenes", "s1", "CC0", {"caption": "template", "answer": "truth"}),
    )
    return full.replace(**changes)


def bare(number: int) -> AudioQuestion:
    return AudioQuestion(
        id=f"q{number:04d}",
        audio=AudioRef(data=tone(100 + number)),
        question="?",
        choices=("a", "b"),
        answer=None,
        domain="music",
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    splits = {
        "sft": [question(1), question(2)],
        "rl": [question(3), bare(4)],
        "dev": [question(5)],
        "never_passed": [question(6)],
    }
    write_corpus(folder, splits, {"recipe": "default"}, card=CARD)
    return folder


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.parent.iterdir() if p.name != folder.name)


def test_round_trip_keeps_every_field(corpus):
    assert read_split(corpus, "sft") == [question(1), question(2)]
    assert read_split(corpus, "rl") == [question(3), bare(4)]
    assert read_split(corpus, "never_passed") == [question(6)]
    assert leftovers(corpus) == []
    assert check_corpus(corpus) == []


def test_manifest_names_every_file(corpus):
    manifest = read_manifest(corpus)
    assert manifest["recipe"] == "default"
    assert manifest["splits"] == {
        "sft": {"rows": 2},
        "rl": {"rows": 2},
        "dev": {"rows": 1},
        "never_passed": {"rows": 1},
    }
    paths = {entry["path"] for entry in manifest["files"]}
    assert paths == {p.relative_to(corpus).as_posix() for p in corpus.rglob("*.parquet")}
    assert "side/never_passed-00000.parquet" in paths


def test_datasets_opens_it_with_typed_audio(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(corpus), cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == {"sft": 2, "rl": 2, "dev": 1}
    assert isinstance(loaded["sft"].features["audio"], datasets.Audio)
    row = loaded["sft"].cast_column("audio", datasets.Audio(decode=False))[0]
    assert row["audio"] == {"bytes": tone(101), "path": "1.wav"}
    assert row["choices"] == ["dog", "été", "dog"]
    assert row["reasoning"]["structured"]["planning"] == "p"
    assert row["pass_rates"][1]["mode"] == "structured"


def test_same_questions_give_the_same_bytes(corpus, tmp_path):
    again = tmp_path / "again"
    splits = {name: read_split(corpus, name) for name in ("sft", "rl", "dev", "never_passed")}
    write_corpus(again, splits, {"recipe": "default"}, card=CARD)
    for path in sorted(p for p in corpus.rglob("*") if p.is_file()):
        assert (again / path.relative_to(corpus)).read_bytes() == path.read_bytes()
    changed = [question(1, caption="another"), question(2)]
    write_corpus(again, {**splits, "sft": changed}, {"recipe": "default"}, card=CARD, overwrite=True)
    name = "data/sft-00000.parquet"
    assert (again / name).read_bytes() != (corpus / name).read_bytes()


def test_shards_split_by_size_and_keep_order(tmp_path):
    folder, questions = tmp_path / "c", [question(n) for n in range(9)]
    each = len(tone(100)) + 2000
    write_corpus(folder, {"rl": questions}, {}, card=CARD, shard_bytes=2 * each + 1)
    rows = [entry["rows"] for entry in read_manifest(folder)["files"]]
    assert len(rows) == 3
    assert sum(rows) == 9
    assert max(rows) <= 4
    assert read_split(folder, "rl") == questions
    assert check_corpus(folder) == []


def test_writing_streams(tmp_path):
    def questions():
        for number in range(60):
            yield question(number, audio=AudioRef(data=os.urandom(2**20), path="x.wav"))

    tracemalloc.start()
    write_corpus(tmp_path / "c", {"rl": questions()}, {}, card=CARD)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 60 MiB of audio; a row group holds 8 MiB, and its list may live while the next one fills.
    assert peak < 30 * 2**20


def test_reading_streams(tmp_path):
    noise = (question(n, audio=AudioRef(data=os.urandom(2**20), path="x.wav")) for n in range(40))
    write_corpus(tmp_path / "c", {"rl": noise}, {}, card=CARD)
    tracemalloc.start()
    assert sum(len(q.audio.data) for q in iter_split(tmp_path / "c", "rl")) == 40 * 2**20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * 2**20


def test_a_part_is_cut_out(tmp_path):
    path = tmp_path / "long.wav"
    ramp = np.linspace(-0.5, 0.5, 2 * RATE)
    path.write_bytes(encode_wav(ramp, RATE))
    part = AudioRef(path=str(path), start=0.5, duration=0.25)
    write_corpus(tmp_path / "c", {"rl": [question(1, audio=part)]}, {}, card=CARD)
    path.unlink()
    (back,) = read_split(tmp_path / "c", "rl")
    assert (back.audio.start, back.audio.duration) == (0.0, None)
    samples, rate = decode(back.audio)
    assert rate == RATE
    np.testing.assert_allclose(samples, ramp[4000:6000], atol=1 / 32768)


def test_paths_can_stay_outside(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(tone(100, 1.0))
    monkeypatch.chdir(tmp_path)
    part = question(1, audio=AudioRef(path="a.wav", start=0.5, duration=0.25))
    write_corpus(tmp_path / "c", {"rl": [part]}, {}, card=CARD, embed=False)
    (back,) = read_split(tmp_path / "c", "rl")
    assert back.audio == AudioRef(path=str(tmp_path / "a.wav"), start=0.5, duration=0.25)
    assert check_corpus(tmp_path / "c") == []
    (tmp_path / "a.wav").unlink()
    assert "expected an audio file there" in check_corpus(tmp_path / "c")[0]


def test_card_lists_the_splits(corpus, tmp_path):
    text = (corpus / "README.md").read_text()
    assert text.startswith("---\nlicense: apache-2.0\nconfigs:\n- config_name: default\n")
    assert "path: data/dev-*.parquet" in text
    assert "never_passed" not in text
    write_corpus(tmp_path / "d", {"rl": [question(1)]}, {}, card=lambda m: f"{m['splits']['rl']['rows']} row")
    text = (tmp_path / "d" / "README.md").read_text()
    assert text.startswith("---\nconfigs:")
    assert text.endswith("---\n\n1 row")


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_folders_are_left_alone(tmp_path, overwrite):
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("words")
    with pytest.raises(CorpusError, match="no corpus"):
        write_corpus(other, {"rl": [question(1)]}, {}, card=CARD, overwrite=overwrite)
    assert [p.name for p in other.iterdir()] == ["chapter.txt"]
    with pytest.raises(CorpusError, match="found a file"):
        write_corpus(other / "chapter.txt", {"rl": [question(1)]}, {}, card=CARD, overwrite=overwrite)


def test_overwriting_needs_to_be_asked_for(corpus):
    with pytest.raises(CorpusError, match="is there already"):
        write_corpus(corpus, {"rl": [question(9)]}, {}, card=CARD)
    assert len(read_split(corpus, "rl")) == 2
    # A corpus may be rewritten from itself, since the old one is there until the new one is whole.
    write_corpus(corpus, {"rl": iter_split(corpus, "rl")}, {}, card=CARD, overwrite=True)
    assert read_split(corpus, "rl") == [question(3), bare(4)]
    assert list(read_manifest(corpus)["splits"]) == ["rl"]
    assert leftovers(corpus) == []


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "c").mkdir()
    write_corpus(tmp_path / "c", {"rl": [question(1)], "dev": []}, {}, card=CARD)
    assert read_split(tmp_path / "c", "dev") == []


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


def test_every_field_of_a_question_is_stored():
    # A field that is added to the types must be added to the rows too.
    assert {f.name for f in dataclasses.fields(AudioQuestion)} == set(store.to_row(question(1), embed=True))
