"""A benchmark against training corpora in every form that they come in, and one sentence where one cannot be read."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from test_bench_contamination import ONE, TEXTS, _melody

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.contamination import contamination
from sari_data.errors import BenchmarkError, CorpusError, InputError, SariError
from sari_data.store import write_corpus
from sari_data.types import AudioQuestion, AudioRef


def _question(number: int, audio: AudioRef, id: str) -> AudioQuestion:
    text, options = TEXTS[number]
    return AudioQuestion(id=id, audio=audio, question=text, choices=options, answer=options[0], domain="sound")


def _benchmark() -> Benchmark:
    return from_questions("toy", [_question(i, AudioRef(f"{i}.wav", data=_melody(i)), f"b{i}") for i in range(3)])


def _corpus(folder: Path, *, embed: bool = True, recordings: Path | None = None) -> Path:
    """A corpus with the first question's recording, quieter, under another text, and the text of the second one."""
    recordings = recordings or folder.parent / "recordings"
    recordings.mkdir(parents=True, exist_ok=True)
    (recordings / "a.wav").write_bytes(_melody(0, 0.1))
    (recordings / "b.wav").write_bytes(_melody(8))
    refs = [AudioRef(str(recordings / name)) for name in ("a.wav", "b.wav")]
    if embed:
        refs = [AudioRef(Path(str(ref.path)).name, data=Path(str(ref.path)).read_bytes()) for ref in refs]
    rows = [_question(3, refs[0], "t0"), _question(1, refs[1], "t1")]
    write_corpus(folder, {"sft": rows[:1], "rl": rows[1:]}, {"name": "t"}, card="# t\n", embed=embed)
    return folder


BOTH = {"b0": ["audio"], "b1": ["question and options"]}


def _why(corpora: list[Path]) -> dict[str, list[str]]:
    body = contamination(_benchmark(), corpora, ONE).to_json()
    return {key: [why["reason"] for why in those] for key, those in body["marked"].items()}


def test_every_form_of_a_corpus_is_read(tmp_path: Path) -> None:
    whole = _corpus(tmp_path / "corpus")
    assert _why([whole]) == BOTH
    assert _why([_corpus(tmp_path / "paths", embed=False)]) == BOTH, "audio that lies beside it, by its paths"
    # What is there of a dataset repository after a part of it was downloaded: shards, and no manifest.
    shards = tmp_path / "download"
    shutil.copytree(whole / "data", shards / "data")
    assert sorted(path.name for path in shards.rglob("*")) == ["data", "rl-00000.parquet", "sft-00000.parquet"]
    assert _why([shards]) == BOTH
    assert _why([shards / "data" / "rl-00000.parquet"]) == {"b1": ["question and options"]}


def test_corpora_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, other = (_corpus(tmp_path / name / "corpus") for name in ("first", "second"))
    third = _corpus(tmp_path / "third")
    found = contamination(_benchmark(), [one, other, third], ONE)
    assert found.names == "first/corpus, second/corpus, third"
    assert [f.where for f in found.marked["b0"]] == ["first/corpus", "second/corpus", "third"]
    with pytest.raises(InputError, match=r"training corpus '.*corpus' is given twice: name it once"):
        contamination(_benchmark(), [one, tmp_path / "first" / "." / "corpus"], ONE)
    with pytest.raises(InputError, match="none is given"):
        contamination(_benchmark(), [], ONE)


def test_a_corpus_whose_audio_is_gone_is_compared_by_text_and_that_is_said(tmp_path: Path) -> None:
    corpus = _corpus(tmp_path / "corpus", embed=False)
    (tmp_path / "recordings" / "a.wav").unlink()
    found = contamination(_benchmark(), [corpus], ONE)
    assert found.marked.keys() == {"b1"}
    assert "of corpus only 1 of 2 questions have audio that could be compared" in found.notes
    shutil.rmtree(tmp_path / "recordings")
    found = contamination(_benchmark(), [corpus], ONE)
    assert found.marked.keys() == {"b1"}
    assert "no audio of corpus was at hand, so its sounds were not compared" in found.notes
    # Two files that are both gone are not one recording because their paths are the same.
    gone = [_question(4, AudioRef(str(tmp_path / "recordings" / "a.wav")), "b9")]
    assert contamination(from_questions("toy", gone), [corpus], ONE).marked == {}


def test_a_benchmark_is_found_in_itself(tmp_path: Path) -> None:
    benchmark = _benchmark()
    write_corpus(tmp_path / "own", {"rl": benchmark.questions}, {"name": "own"}, card="# own\n")
    found = contamination(benchmark, [tmp_path / "own"], ONE)
    assert found.by_reason == {"audio": 3, "question and options": 3}
    # With other answers and no audio the texts are no evidence; that it has every one of them is said.
    rows = [
        {"question": q.question, "choices": list(q.choices), "answer": q.choices[number > 0]}
        for number, q in enumerate(benchmark.questions)
    ]
    (tmp_path / "texts.json").write_text(json.dumps(rows), encoding="utf-8")
    found = contamination(benchmark, [tmp_path / "texts.json"], ONE)
    assert (list(found.marked), list(found.reported)) == (["b0"], ["b1", "b2"])
    asks = "every question has its text in {}: is it the benchmark itself?"
    assert asks.format("texts") in found.notes
    # Of other recordings, which were heard: questions of the same templates, and nothing to ask.
    others = [
        replace(q, audio=AudioRef(f"{q.id}.wav", data=_melody(20 + number)), answer=q.choices[number > 0])
        for number, q in enumerate(benchmark.questions)
    ]
    write_corpus(tmp_path / "others", {"rl": others}, {"name": "others"}, card="# others\n")
    found = contamination(benchmark, [tmp_path / "others"], ONE)
    assert (list(found.marked), list(found.reported)) == (["b0"], ["b1", "b2"])
    assert asks.format("others") not in found.notes


def _broken(tmp_path: Path) -> dict[str, tuple[Path, type[SariError], str]]:
    for name, text in (("none.jsonl", ""), ("none.json", "[]"), ("half.json", '[{"a'), ("prose.txt", "text")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "other.csv").write_text("left,right\n1,2\n", encoding="utf-8")
    (tmp_path / "bare").mkdir()
    write_corpus(tmp_path / "rowless", {"rl": []}, {"name": "t"}, card="# t\n")
    half = _corpus(tmp_path / "half", recordings=tmp_path / "bare")
    (half / "data" / "rl-00000.parquet").unlink()
    newer = _corpus(tmp_path / "newer", recordings=tmp_path / "bare")
    manifest = json.loads((newer / "manifest.json").read_text(encoding="utf-8"))
    (newer / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}), encoding="utf-8")
    shutil.rmtree(tmp_path / "bare")
    (tmp_path / "bare").mkdir()
    return {
        "an empty table": (tmp_path / "none.jsonl", BenchmarkError, "expected questions, found none"),
        "an empty list": (tmp_path / "none.json", BenchmarkError, "expected questions, found none"),
        "a corpus without rows": (tmp_path / "rowless", BenchmarkError, "expected questions, found none"),
        "an empty folder": (tmp_path / "bare", BenchmarkError, "found no audio below it"),
        "half a file": (tmp_path / "half.json", BenchmarkError, "half.json"),
        "another format": (tmp_path / "prose.txt", BenchmarkError, "training corpus .*expected one of .json"),
        "other columns": (tmp_path / "other.csv", BenchmarkError, "rename them"),
        "a missing shard": (half, CorpusError, "rl-00000.parquet"),
        "a newer format": (newer, CorpusError, "expected format_version"),
    }


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    for name, (path, error, says) in _broken(tmp_path).items():
        with pytest.raises(error, match=says) as raised:
            contamination(_benchmark(), [path], ONE)
        assert "\n" not in str(raised.value), name
