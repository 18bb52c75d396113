"""Corpora on disk: round trip, `datasets`, shards, streaming, determinism, and what may be overwritten."""

import dataclasses
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from corpus_examples import CARD, RATE, bare, leftovers, question, tone, write_example

from sari_data import store
from sari_data.audio import decode, encode_wav
from sari_data.errors import CorpusError
from sari_data.store import check_corpus, iter_split, read_manifest, read_split, write_corpus
from sari_data.types import AudioQuestion, AudioRef


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_example(tmp_path / "corpus")


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
    source = question(1).provenance
    turned = dataclasses.replace(source, made_by=dict(reversed(source.made_by.items())))
    splits["sft"][0] = question(1, provenance=turned)
    write_corpus(again, splits, {"recipe": "default"}, card=CARD, overwrite=True)
    assert (again / "manifest.json").read_bytes() == (corpus / "manifest.json").read_bytes()
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

    # The first write imports pyarrow, whose modules are no part of what is measured.
    write_corpus(tmp_path / "first", {"rl": [question(0)]}, {}, card=CARD)
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
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(tmp_path / "c"), split="rl", cache_dir=str(tmp_path / "cache"))
    row = loaded.cast_column("audio", datasets.Audio(decode=False))[0]
    assert row["audio"] == {"bytes": None, "path": str(tmp_path / "a.wav")}
    assert (row["start"], row["duration"]) == (0.5, 0.25)
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


def test_every_field_of_a_question_is_stored():
    # A field that is added to the types must be added to the rows too; several recordings are refused.
    assert {f.name for f in dataclasses.fields(AudioQuestion)} - {"more_audio"} == set(
        store.to_row(question(1), embed=True)
    )
