"""A later calibration changes pass rates and what follows from them, and nothing else of a corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from paper_corpus import files, make_world

from sari_data.build import Build, Plan, build
from sari_data.calibrate import NEVER_PASSED, Calibrate
from sari_data.dedup import Dedup
from sari_data.recalibrate import recalibrate
from sari_data.store import ASIDE, check_corpus, read_manifest, read_split

KEPT = ("name", "source", "seed", "contamination", "funnel", "set_aside", "embedded")


@pytest.fixture(params=["embed", "paths"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus of AVQA's questions, some set aside and one in a benchmark, with its audio inside or not."""
    monkeypatch.chdir(make_world(tmp_path, shared_data))
    rows = json.loads(Path("data/avqa/train_qa.json").read_text("utf-8"))
    row = rows[5]
    asked = row["question_text"].replace("video", "audio")
    bench = {"id": "b", "question": asked, "choices": row["multi_choice"], "answer": row["multi_choice"][row["answer"]]}
    Path("bench.jsonl").write_text(json.dumps(bench), encoding="utf-8")
    avqa = {"questions": ["data/avqa/train_qa.json"], "audio": "data/avqa/audio"}
    table = {"source": "avqa", "out": "corpus", "sft": 0, "dev": 2, "audio": request.param, "avqa": avqa}
    against = Dedup.model_validate({"against": ["bench.jsonl"], "sound": False})
    build(Plan(Build.model_validate(table), Calibrate(responder="none"), dedup=against))
    return Path("corpus")


def answers(folder: Path, wrong: set[str], **changes: Any) -> Calibrate:
    """Record answers to all questions of a corpus that may be calibrated; returns the table for them."""
    lines = []
    for split in ("rl", NEVER_PASSED):
        for question in read_split(folder, split) if split in read_manifest(folder)["splits"] else ():
            text = next(c for c in question.choices if (c == question.answer) != (question.id in wrong))
            lines.append(json.dumps({"id": question.id, "sample": 0, "text": f"<answer>{text}</answer>"}))
    Path("answers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = {"path": "answers.jsonl", "name": "recorded"}
    return Calibrate(responder="scripted", samples=1, options=options, **changes)


def test_all_that_is_not_about_pass_rates_stays_as_it_was(corpus: Path) -> None:
    before, manifest = files(corpus), read_manifest(corpus)
    assert manifest["set_aside"] == 3  # one by its picture, one by its colour, one in the benchmark
    assert len(manifest["funnel"]) == 2
    assert manifest["contamination"]["against"]
    rows = {question.id: question for question in read_split(corpus, "rl")}
    hard = sorted(rows)[0]
    after = recalibrate(corpus, answers(corpus, {hard}))
    assert {key: after[key] for key in KEPT} == {key: manifest[key] for key in KEPT}
    assert read_manifest(corpus) == after
    assert check_corpus(corpus) == []
    assert (corpus / ASIDE).read_bytes() == before[ASIDE]
    assert files(corpus)["data/dev-00000.parquet"] == before["data/dev-00000.parquet"]
    assert [question.id for question in read_split(corpus, NEVER_PASSED)] == [hard]
    for question in (*read_split(corpus, "rl"), *read_split(corpus, NEVER_PASSED)):
        assert question.replace(pass_rates=()) == rows[question.id]
        assert [rate.passes for rate in question.pass_rates] == [int(question.id != hard)]
    assert (read_split(corpus, "rl")[0].audio.data is None) == (not manifest["embedded"])
    # And back: with another seed nothing fails, so the question is in rl again.
    back = recalibrate(corpus, answers(corpus, set(), seed=1))
    assert {key: back[key] for key in KEPT} == {key: manifest[key] for key in KEPT}
    assert {question.id for question in read_split(corpus, "rl")} == set(rows)
    assert (corpus / ASIDE).read_bytes() == before[ASIDE]
    assert back["recipe"]["build"] == manifest["recipe"]["build"]


def test_the_same_calibration_again_gives_the_same_bytes(corpus: Path) -> None:
    hard = read_split(corpus, "rl")[2].id
    recalibrate(corpus, answers(corpus, {hard}))
    once = files(corpus)
    recalibrate(corpus, answers(corpus, {hard}))
    twice = files(corpus)
    # The question that was taken out is asked after the others now; what is written of each is the same.
    assert twice == once
