"""Questions about several recordings: where these come from, what ties questions together, and how they are asked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_files import tar, zipped
from several_toys import PATHS, heard, level_of, pro_benchmark, pro_files, wav, write_pro

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.assembling import assemble
from sari_bench.benchmarks.base import Benchmark, Gold, digest_row, from_questions
from sari_bench.benchmarks.fields import read_names
from sari_bench.config import Bench
from sari_bench.reporting.submit import make_submission
from sari_bench.running.beside import Recorded
from sari_bench.running.measure import measure
from sari_bench.running.reopening import clips_of, reopen
from sari_bench.running.runner import RunSettings, run_benchmark
from sari_bench.running.runs import read_run
from sari_data.errors import AudioError, BenchmarkError, InputError
from sari_data.responder import Sampling
from sari_data.responders.scripted import ScriptedResponder

DIRECT = RunSettings("direct")
LEVELS = {
    "p0": [10], "p1": [20], "p2": [20], "p3": [30, 31], "p4": [31, 32], "p5": [40, 41], "p6": [50, 51, 52], "p7": [32]
}  # fmt: skip


def _levels(benchmark: Benchmark) -> dict[str, list[int]]:
    return {q.id: [level_of(audio) for audio in q.recordings] for q in benchmark.questions}


@pytest.mark.parametrize("place", ["beside", "folder", "bare names", "tar", "zip", "archive beside"])
def test_every_recording_is_found_wherever_the_audio_is(tmp_path: Path, place: str) -> None:
    questions, files = write_pro(tmp_path / "q", audio=place == "beside"), pro_files()
    bare = {Path(name).name: data for name, data in files.items()}
    root: Path | None = tmp_path / "audio"
    if place in ("beside", "archive beside"):
        root = None
    elif place in ("folder", "bare names"):
        for name, data in (files if place == "folder" else bare).items():
            (tmp_path / "audio" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "audio" / name).write_bytes(data)
    else:
        root = tmp_path / ("audio.tar.gz" if place == "tar" else "audio.zip")
        root.write_bytes(tar(files) if place == "tar" else zipped(bare))
    if place == "archive beside":
        (tmp_path / "q" / "data.zip").write_bytes(zipped(files))
        questions = tmp_path / "q"
    benchmark = load_benchmark("mmau-pro", questions, root)
    assert _levels(benchmark) == LEVELS
    without = load_benchmark("mmau-pro", questions, audio=False)
    assert (without.digest, without.golds) == (benchmark.digest, benchmark.golds)


def test_a_version_holds_every_recording_and_is_as_before_where_there_is_one() -> None:
    one = Gold("q", "Which?", ("a", "b"), "a", "sound", audio="x.wav")
    before = (
        '{"answer": "a", "audio": "x.wav", "category": "", "choices": ["a", "b"], "difficulty": "", "id": "q", '
        '"question": "Which?", "sub_category": "", "task": "sound"}'
    )
    assert digest_row(one) == before
    assert "more_audio" not in one.to_row()
    two, turned = (dataclasses.replace(one, more_audio=names) for names in (("y.wav", "z.wav"), ("z.wav", "y.wav")))
    assert len({digest_row(gold) for gold in (one, two, turned)}) == 3
    assert Gold.from_row(json.loads(json.dumps(two.to_row())), "here") == two
    assert Gold.from_row(one.to_row(), "here") == one
    question = two.to_question()
    assert [audio.path for audio in question.recordings] == ["x.wav", "y.wav", "z.wav"]
    assert from_questions("toy", [question]).golds[0].recordings == two.recordings


def test_questions_that_share_a_recording_are_one_cluster_also_by_way_of_others(tmp_path: Path) -> None:
    clusters = {gold.id: gold.cluster for gold in pro_benchmark(tmp_path).golds}
    assert clusters == {
        "p0": "data/r10.wav", "p1": "data/r20.wav", "p2": "data/r20.wav", "p5": "data/r40.wav", "p6": "data/r50.wav",
        "p3": "data/r30.wav", "p4": "data/r30.wav", "p7": "data/r30.wav",
    }  # fmt: skip


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3), min_size=1, max_size=8))
def test_clusters_are_the_components_of_what_is_shared(rows: list[list[str]]) -> None:
    golds = [
        Gold(str(n), "Which?", ("a", "b"), "a", "sound", audio=names[0], more_audio=tuple(names[1:]))
        for n, names in enumerate(rows)
    ]
    found = assemble("toy", ((gold.id, gold, ()) for gold in golds), "toys").golds
    for at, first in enumerate(rows):  # spread from each question until nothing is new
        reached, before = set(first), set[str]()
        while reached != before:
            before = set(reached)
            reached |= {name for names in rows if before & set(names) for name in names}
        same = {n for n, names in enumerate(rows) if reached & set(names)}
        assert {n for n, gold in enumerate(found) if gold.cluster == found[at].cluster} == same


def test_a_run_gives_every_recording_to_the_responder_and_goes_on(tmp_path: Path) -> None:
    benchmark, asked = pro_benchmark(tmp_path / "data"), dict[str, list[int]]()

    def answer(request: Any, sample: int) -> str:
        asked[request.id] = heard(request)
        return "<answer>a dog</answer>"

    folder = tmp_path / "run"
    run_benchmark(benchmark, ScriptedResponder(answer), folder, DIRECT)
    assert asked == LEVELS
    run = read_run(folder)
    assert run.score().overall.n == 8
    assert run.benchmark.golds == benchmark.golds
    lines = (folder / "responses.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "responses.jsonl").write_text("".join(lines[:5]), encoding="utf-8")
    asked.clear()
    assert run_benchmark(benchmark, ScriptedResponder(answer), folder, DIRECT) == 3
    assert asked.keys() == {json.loads(line)["id"] for line in lines[5:]}
    # Without a question left nobody needs to hear anything.
    assert run_benchmark(benchmark, Recorded("scripted"), folder, DIRECT) == 0
    row = next(row for row in make_submission(run.benchmark, run.answers).rows if row["id"] == "p3")
    assert row["audio_id"] == ["data/r30.wav", "data/r31.wav"]


class Deaf:
    """A responder of before: it says nothing of several recordings."""

    name = "one at a time"

    def respond(self, requests: Any, sampling: Sampling) -> Any:
        yield from ScriptedResponder(lambda request, sample: "<answer>a dog</answer>").respond(requests, sampling)


def test_a_responder_that_takes_one_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    benchmark = pro_benchmark(tmp_path / "data")
    with pytest.raises(InputError) as caught:
        run_benchmark(benchmark, Deaf(), tmp_path / "run", DIRECT)
    assert str(caught.value) == (
        "4 of 8 questions of benchmark 'mmau-pro' are about several recordings, and responder 'one at a time' takes "
        "one in a prompt: leave them out with --one-recording (bench.one_recording), or take a model that hears several"
    )
    assert not (tmp_path / "run").exists()
    part = benchmark.one_recording()
    assert [gold.id for gold in part.golds] == ["p0", "p1", "p2", "p7"]
    assert part.version == f"{benchmark.version}, 4 of 8 about one recording"
    assert run_benchmark(part, Deaf(), tmp_path / "run", DIRECT) == 4
    assert part.one_recording() is part
    with pytest.raises(BenchmarkError, match=r"the part of benchmark 'mmau-pro' about one recording holds no ques"):
        benchmark.part([3, 4], "").one_recording()


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    questions = write_pro(tmp_path)
    (tmp_path / "data" / "r41.wav").unlink()
    with pytest.raises(AudioError, match=r"^1 of 13 audio files of benchmark 'mmau-pro' .*the first is '.*r41.wav'\)"):
        run_benchmark(load_benchmark("mmau-pro", questions), Deaf(), tmp_path / "run", DIRECT)


def test_a_run_with_the_option_is_opened_again_as_it_was(tmp_path: Path) -> None:
    questions = write_pro(tmp_path / "data")
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"id": key, "text": "<answer>a dog</answer>"}) + "\n" for key in PATHS), encoding="utf-8"
    )
    body = {"benchmark": "mmau-pro", "questions": questions, "responder": "scripted", "mode": "direct"}
    body["responder_options"] = {"path": str(tmp_path / "a.jsonl")}
    for name, one_recording, count in (("whole", False, 8), ("part", True, 4)):
        bench = Bench.model_validate({**body, "one_recording": one_recording})
        asked = bench.part_of(load_benchmark("mmau-pro", questions))
        run = measure(bench, asked, tmp_path / name)
        assert len(run.benchmark.golds) == len(reopen(run).questions) == count
    recordings = clips_of(read_run(tmp_path / "whole"), ["p0", "p6"])
    found = {key: [level_of(ref) for ref in refs] for key, refs in recordings.items()}
    assert found == {"p0": [10], "p6": [50, 51, 52]}


def _row(audio: Any, **changes: Any) -> dict[str, Any]:
    return {"question": "Which?", "choices": ["a", "b"], "answer": "a", "task": "sound", "audio": audio, **changes}


@pytest.mark.parametrize("named", [True, False])
def test_tables_may_embed_several_recordings_in_a_row(tmp_path: Path, named: bool) -> None:
    def cell(level: int) -> dict[str, Any]:
        return {"bytes": wav(level), "path": f"r{level}.wav" if named else None}

    table = pa.Table.from_pylist([_row([cell(10)]), _row([cell(20), cell(10)])])
    pq.write_table(table, tmp_path / "t.parquet")
    name = f"table:{tmp_path / 't.parquet'}"
    for _ in range(2):  # the second time from what was kept
        benchmark = load_benchmark(name)
        assert [[level_of(audio) for audio in q.recordings] for q in benchmark.questions] == [[10], [20, 10]]
    assert load_benchmark(name, audio=False).digest == benchmark.digest
    assert len({gold.cluster for gold in benchmark.golds}) == 1


@pytest.mark.parametrize("form", ["json", "csv"])
def test_tables_may_list_several_names_in_a_row(tmp_path: Path, form: str) -> None:
    for level in (10, 20):
        (tmp_path / f"r{level}.wav").write_bytes(wav(level))
    if form == "json":
        path = tmp_path / "t.json"
        path.write_text(json.dumps([_row("r10.wav"), _row(["r20.wav", "./r10.wav"])]), encoding="utf-8")
    else:
        path = tmp_path / "t.csv"
        rows = ["r10.wav", '"[""r20.wav"", ""r10.wav""]"']
        path.write_text("question,A,B,answer,task,audio\n" + "".join(f"Which?,a,b,a,sound,{r}\n" for r in rows))
    benchmark = load_benchmark(f"table:{path}")
    assert [[level_of(audio) for audio in q.recordings] for q in benchmark.questions] == [[10], [20, 10]]


def test_names_of_recordings_in_a_cell() -> None:
    assert read_names(" ./a.wav", "row 1") == ("a.wav",)
    assert read_names("[live] a.wav", "row 1") == ("[live] a.wav",)
    assert read_names(None, "row 1") == read_names([], "row 1") == read_names({"bytes": b"x"}, "row 1") == ("",)
    assert read_names(["a.wav", {"path": "b.wav"}, {"path": None}], "row 1") == ("a.wav", "b.wav", "")
    with pytest.raises(BenchmarkError, match=r"^row 1: expected a name for each of 2 recordings, found None for num"):
        read_names(["a.wav", None], "row 1")
