"""What is done beside a run, of questions about several recordings: shortcuts, contamination, the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bench_pages import in_memory
from browser import ABSENT, CHROMIUM, Browser
from heard_toys import row_of, run_model
from several_toys import NAMES, PATHS, RATE, heard, level_of, pro_benchmark, pro_files, write_pro

from sari_bench.benchmarks.base import Benchmark
from sari_bench.contamination import contamination
from sari_bench.pages import render_page
from sari_bench.reporting.leaderboard import make_boards
from sari_bench.running.run_meta import Plan, RunSettings
from sari_bench.running.runs import RECIPE, read_run
from sari_bench.shortcuts.asking import measure_shortcuts
from sari_bench.shortcuts.variants import NO_AUDIO, OTHER_AUDIO, SILENCE, VARIANTS, make_variant, rotate
from sari_bench.thoughts.swap_asking import swap_captions
from sari_data.audio import decode
from sari_data.dedup import Dedup
from sari_data.responder import Request
from sari_data.responders.scripted import ScriptedResponder
from sari_data.types import AudioQuestion


def _requests(benchmark: Benchmark, name: str, seed: int = 0) -> dict[str, Request]:
    variant = make_variant(name, benchmark, seed)
    plan = Plan(variant.benchmark, RunSettings("direct", variant=name, requests=variant.requests))
    return {q.id: plan.request(at) for at, q in enumerate(variant.benchmark.questions)}


def test_without_audio_there_is_none_and_silence_stands_for_each(tmp_path: Path) -> None:
    benchmark = pro_benchmark(tmp_path)
    assert [request.recordings for request in _requests(benchmark, NO_AUDIO).values()] == [()] * 8
    silent = _requests(benchmark, SILENCE)
    for question in benchmark.questions:
        recordings = silent[question.id].recordings
        assert [len(decode(ref)[0]) for ref in recordings] == [len(decode(ref)[0]) for ref in question.recordings]
        assert {decode(ref)[1] for ref in recordings} == {RATE}
        assert {level_of(ref) for ref in recordings} == {0}


@pytest.mark.parametrize("seed", range(4))
def test_another_question_about_as_many_and_none_of_the_own_is_heard(tmp_path: Path, seed: int) -> None:
    benchmark = pro_benchmark(tmp_path)
    own = {q.id: [level_of(ref) for ref in q.recordings] for q in benchmark.questions}
    found = {key: heard(request) for key, request in _requests(benchmark, OTHER_AUDIO, seed).items()}
    # p6 alone is about three: it has nothing to hear, and is left out.
    assert found.keys() == own.keys() - {"p6"}
    for key, levels in found.items():
        assert len(levels) == len(own[key])
        assert not set(levels) & set(own[key])
        assert levels in own.values()
    # p3 and p4 share a recording, so only p5 will do for both.
    assert found["p3"] == found["p4"] == own["p5"]
    assert found["p1"] == found["p2"], "questions about one clip hear the same other"
    alone = _requests(benchmark.one_recording(), OTHER_AUDIO, seed)
    assert {key: heard(request) for key, request in alone.items()} == {k: v for k, v in found.items() if len(v) == 1}


def test_rotations_keep_every_recording(tmp_path: Path) -> None:
    turned = {q.id: q for q in rotate(pro_benchmark(tmp_path)).questions}
    assert [level_of(ref) for ref in turned["p6#r2"].recordings] == [50, 51, 52]


def test_the_gain_of_a_model_that_hears_all_of_them(tmp_path: Path) -> None:
    benchmark = pro_benchmark(tmp_path / "data")
    own = {q.id: [level_of(ref) for ref in q.recordings] for q in benchmark.questions}

    def listen(request: Request, sample: int) -> str:
        return f"<answer>a {'dog' if heard(request) == own[request.id.partition('#')[0]] else 'bell'}</answer>"

    model = ScriptedResponder(listen, name="toy@1")
    run = run_model(benchmark, model, tmp_path / "run")
    found = measure_shortcuts(run, VARIANTS, responder=model, benchmark=benchmark)
    own_row, other, rotated = (row_of(found, name) for name in ("own audio", "other-audio", "circular"))
    assert (own_row.n, own_row.correct, rotated.correct) == (8, 8, 8)
    assert (other.n, other.correct) == (7, 0)
    assert other.gain is not None
    assert other.gain.n == 7
    part = read_run(run.folder / "shortcuts" / "other-audio")
    assert part.meta["benchmark"]["version"].endswith("7 of 8 about as many recordings as another")
    # Measured again, everything is there.
    again = measure_shortcuts(read_run(run.folder), VARIANTS, responder=model, benchmark=benchmark)
    assert again.to_json() == found.to_json()


def test_a_swapped_caption_is_put_to_the_same_recordings(tmp_path: Path) -> None:
    benchmark, asked = pro_benchmark(tmp_path / "data"), list[tuple[str, list[int]]]()

    def think(request: Request, sample: int) -> str:
        asked.append((request.id, heard(request)))
        text = f"<think><caption>I hear {heard(request)}.</caption><summary>s</summary></think><answer>a dog</answer>"
        return "a dog</answer>" if request.prefix else text

    model = ScriptedResponder(think, name="toy@1")
    run = run_model(benchmark, model, tmp_path / "run", "structured")
    first = dict(asked)
    asked.clear()
    swap_captions(run, responder=model, benchmark=benchmark)
    assert {key for key, _ in asked} == first.keys()
    assert all(levels == first[key] for key, levels in asked)


def test_a_question_is_contaminated_where_any_of_its_recordings_is(tmp_path: Path) -> None:
    benchmark, folder = pro_benchmark(tmp_path / "data"), tmp_path / "training"
    folder.mkdir()
    (folder / "copy.wav").write_bytes(pro_files()["data/r52.wav"])
    row = {"id": "t", "question": "Who leaves?", "choices": ["he", "she"], "answer": "he", "audio_path": "copy.wav"}
    (folder / "t.jsonl").write_text(json.dumps(row), encoding="utf-8")
    found = contamination(benchmark, [folder / "t.jsonl"], Dedup(processes=1, cache=False))
    assert {key: [(f.kind, f.grade) for f in why] for key, why in found.marked.items()} == {
        "p6": [("sound", "identical")]
    }, "the third of its recordings, and of no other question"
    assert found.compared["texts"] == 8


def _board_page(tmp_path: Path) -> tuple[str, dict[str, dict[str, object]]]:
    questions = write_pro(tmp_path / "data")
    benchmark = pro_benchmark(tmp_path / "data")

    def answer(question: AudioQuestion) -> str:
        return f"<answer>{question.answer}</answer>"

    run = in_memory(benchmark, answer, "sure@direct", tmp_path)
    run.folder.mkdir(parents=True)
    bench = {"benchmark": "mmau-pro", "questions": str(questions)}
    (run.folder / RECIPE).write_text(json.dumps({"bench": bench}), encoding="utf-8")
    page = render_page(make_boards([run]))
    bodies = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    rows = next(body["questions"] for body in map(json.loads, bodies) if "heard" in body)
    return page, {row["id"]: row for row in rows}


def test_the_page_has_a_clip_for_each_recording_once(tmp_path: Path) -> None:
    page, rows = _board_page(tmp_path)
    assert "All 8 can be heard." in page
    assert len(re.findall(r'id="clip-\d+"', page)) == len(NAMES)
    assert rows["p6"]["audio"] == "data/r50.wav, data/r51.wav, data/r52.wav"
    clips = {}
    for key, row in rows.items():
        sound = row["sound"]
        assert isinstance(sound, dict)
        clips[key] = [one["clip"] for one in (sound, *sound.get("more", ()))]
    assert {key: len(found) for key, found in clips.items()} == {key: len(paths) for key, paths in PATHS.items()}
    assert clips["p3"][1] == clips["p4"][0]
    assert clips["p4"][1] == clips["p7"][0]
    assert len(set(clips["p6"])) == 3


@pytest.mark.skipif(CHROMIUM is None, reason=ABSENT)
def test_a_reader_has_a_player_for_each_recording(tmp_path: Path, browser: Browser) -> None:
    page, _ = _board_page(tmp_path)
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    browser.open(path, fragment="q=p6")
    assert browser.run("document.querySelectorAll('.detail audio').length") == 3
    words = "[...document.querySelectorAll('.detail .sound p')].map((p) => p.textContent).join(', ')"
    assert browser.run(words) == "Recording 1 of 3, Recording 2 of 3, Recording 3 of 3"
    browser.run("follow.call(null, location.hash = '#q=p0')")
    label = "document.querySelector('.detail audio').getAttribute('aria-label')"
    assert browser.run(f"document.querySelectorAll('.detail audio').length + {label}") == "1The question's audio"
    assert browser.errors == []
