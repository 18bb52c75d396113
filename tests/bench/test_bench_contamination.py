"""What of a benchmark is in a training corpus, by text, video and sound, and the score without it."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path

import numpy as np
import pytest
from bench_scores import score_of

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.contamination import CleanScores, Contamination, clean_scores, contamination
from sari_bench.scoring import BenchmarkGolds
from sari_bench.statistics.clustering import newcombe
from sari_data.dedup import Dedup, Finding
from sari_data.errors import InputError, MissingFileError
from sari_data.types import AudioQuestion, AudioRef, Provenance

RATE = 16_000
ONE = Dedup(processes=1, cache=False)


def _melody(seed: int, gain: float = 0.2) -> bytes:
    """Six seconds of notes with overtones, unlike those of any other seed, as a WAV file."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < 6 * RATE:
        t = np.arange(int(RATE * rng.uniform(0.1, 0.35))) / RATE
        base = 220 * 2 ** (rng.integers(0, 30) / 12) * rng.uniform(0.99, 1.01)
        note = sum(rng.uniform(0.2, 1) / k * np.sin(2 * np.pi * base * k * t) for k in range(1, 6))
        parts.append(note * np.exp(-t * rng.uniform(2, 10)))
    samples = np.concatenate(parts)[: 6 * RATE] + 0.01 * rng.standard_normal(6 * RATE)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((gain * 32767 * np.clip(samples / 4, -1, 1)).astype("<i2").tobytes())
    return buffer.getvalue()


TEXTS = (
    ("Which instrument begins the duet after the applause?", ("oboe", "banjo", "harp", "tuba")),
    ("Why does the caller hang up before the tram arrives?", ("a quarrel", "bad reception", "haste", "a knock")),
    ("What falls to the floor while the kettle whistles?", ("a spoon", "a plate", "a coin", "a book")),
    ("Whose laughter interrupts the weather report?", ("a child", "the host", "a guest", "nobody")),
    ("What does the second speaker borrow from the first?", ("a pen", "money", "an umbrella", "time")),
)


def _ask(number: int, audio: AudioRef, provenance: Provenance) -> AudioQuestion:
    text, options = TEXTS[number]
    return AudioQuestion(
        id=f"b{number}",
        audio=audio,
        question=text,
        choices=options,
        answer=options[0],
        domain="sound",
        provenance=provenance,
    )


def _benchmark() -> Benchmark:
    """Five questions: two with audio at hand, one whose provenance names a video, two by text alone."""
    audio = [AudioRef("one.wav", data=_melody(1)), AudioRef("two.wav", data=_melody(2))]
    audio += [AudioRef(f"nowhere/{i}.wav") for i in range(3)]
    video = Provenance(youtube_id="dQw4w9WgXcQ", segment_start=40.0, segment_end=50.0)
    questions = [_ask(number, ref, video if number == 2 else Provenance()) for number, ref in enumerate(audio)]
    return from_questions("toy", questions)


def _table(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_text_video_and_sound_each_mark_what_they_should(tmp_path: Path) -> None:
    # The same recording, quieter, under a question of its own: only its sound gives it away.
    (tmp_path / "clip.wav").write_bytes(_melody(2, gain=0.1))
    (tmp_path / "other.wav").write_bytes(_melody(9))
    corpus = _table(
        tmp_path / "training.jsonl",
        {"id": "t0", "question": "Who leaves?", "choices": ["he", "she"], "answer": "he", "audio_path": "clip.wav"},
        {"id": "t1", "question": "Is it raining?", "choices": ["yes", "no"], "answer": "no", "audio_path": "other.wav"},
        {"id": "t2", "question": "What is on?", "choices": ["a radio", "a fan"], "answer": "a fan",
         "youtube_id": "dQw4w9WgXcQ", "start": 42, "end": 52},
        {"id": "t3", "question": TEXTS[3][0].lower(), "choices": list(TEXTS[3][1][::-1]), "answer": TEXTS[3][1][0]},
        {"id": "t4", "question": TEXTS[4][0], "choices": list(TEXTS[4][1]), "answer": TEXTS[4][1][2]},
    )  # fmt: skip
    found = contamination(_benchmark(), [corpus], ONE)
    why = {key: [(f.kind, f.grade, f.other) for f in those] for key, those in found.marked.items()}
    assert why == {
        "b1": [("sound", "fingerprint", "t0")],
        "b2": [("segment", "overlap", "t2")],
        "b3": [("text", "exact", "t3")],
    }, "another answer (b4) is reported and does not count, and b0 is nowhere"
    assert found.by_reason == {"audio": 1, "video": 1, "question and options": 1}
    assert (list(found.reported), found.only_reported) == (["b4"], {"question text only": 1})
    assert found.compared == {"texts": 5, "segments": 1, "sounds": 2}
    assert found.corpora[0]["compared"] == {"texts": 5, "segments": 1, "sounds": 2, "unreadable": 0}
    assert found.notes == (
        "1 question more shares its text with training, as templates do, which is no evidence; it stays in the clean "
        "subset (--text-overlap leaves such questions out)",
        "only 2 of 5 questions have audio that could be compared",
        "of training only 2 of 5 questions have audio that could be compared",
    )
    body = json.loads(json.dumps(found.to_json()))
    assert body["contaminated"] == 3
    assert body["marked"]["b3"] == [
        {
            "reason": "question and options",
            "kind": "text",
            "grade": "exact",
            "corpus": "training",
            "other": "t3",
            "score": 1.0,
        }
    ]
    strict = contamination(_benchmark(), [corpus], ONE, text_overlap=True)
    assert strict.marked.keys() == {"b1", "b2", "b3", "b4"}
    assert (dict(strict.reported), strict.text_overlap) == ({}, True)


def test_the_golds_of_a_run_are_compared_by_text_alone_and_that_is_said(tmp_path: Path) -> None:
    whole = _benchmark()
    golds = BenchmarkGolds(whole.name, whole.version, whole.digest, whole.golds)
    (tmp_path / "clip.wav").write_bytes(_melody(2))
    first = _table(
        tmp_path / "first.jsonl",
        {"id": "t0", "question": TEXTS[0][0], "choices": list(TEXTS[0][1]), "answer": "oboe", "audio_path": "clip.wav"},
    )
    second = _table(
        tmp_path / "second.jsonl",
        {"question": TEXTS[0][0], "choices": list(TEXTS[0][1])},
        {"question": TEXTS[1][0], "choices": list(TEXTS[1][1]), "answer": "a quarrel"},
    )
    found = contamination(golds, [first, second], ONE)
    assert {key: [f.where for f in why] for key, why in found.marked.items()} == {
        "b0": ["first", "second"],
        "b1": ["second"],
    }
    assert found.names == "first, second"
    assert found.compared["sounds"] == 0
    assert found.corpora[0]["compared"]["sounds"] == 0, "nobody listened: there was nothing to compare it with"
    assert found.notes[0].startswith("no audio of the benchmark was at hand, so no sound was compared")
    with pytest.raises(InputError, match="given twice"):
        contamination(golds, [first, first])
    with pytest.raises(MissingFileError, match="expected a file or folder there"):
        contamination(golds, [tmp_path / "no"])


def test_every_clip_of_a_benchmark_that_one_recording_holds_is_marked(tmp_path: Path) -> None:
    """One recording in training is two questions of the benchmark: each of them is marked."""
    questions = [
        _ask(i, AudioRef(f"{i}.wav", data=_melody(3, gain)), Provenance()) for i, gain in enumerate((0.2, 0.15))
    ]
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "a.wav").write_bytes(_melody(3, 0.1))
    found = contamination(from_questions("toy", questions), [folder], ONE)
    assert {key: why[0].other for key, why in found.marked.items()} == {"b0": "a.wav", "b1": "a.wav"}
    assert found.corpora[0]["compared"]["texts"] == 0


def test_planted_questions_of_mmau_are_found(shared_data: Path, tmp_path: Path) -> None:
    benchmark = load_benchmark("mmau-test-mini", shared_data / "mmau" / "mmau-test-mini.v05.15.25.json")
    planted = [gold for number, gold in enumerate(benchmark.golds) if number % 20 == 0]
    rows = [{"id": g.id, "question": g.question, "choices": list(g.choices), "answer": g.answer} for g in planted]
    found = contamination(benchmark, [_table(tmp_path / "planted.jsonl", *rows)])
    ids = {gold.id for gold in planted}
    assert len(found.marked.keys() & ids) >= 45, "of 50, less those whose text many recordings share"
    assert len(found.marked.keys() - ids) <= 0.04 * 950, "questions much like a planted one, or with its very text"


def _about(marked: dict[str, str], total: int) -> Contamination:
    findings = {key: (Finding(key, kind, "exact", "t", "CORPUS", 1.0, True),) for key, kind in marked.items()}
    corpus = {"name": "CORPUS", "questions": 9, "compared": {"texts": 9, "segments": 0, "sounds": 3}}
    return Contamination("toy", "1", total, findings, (corpus,), {"texts": total, "segments": 0, "sounds": total})


def _scores(right_of_marked: int, marked: dict[str, str]) -> CleanScores:
    """A hundred questions, 61 of the 80 clean ones right, and so many of the 20 that are marked."""
    said = {f"q{i}": [0 if i < right_of_marked else 1] for i in range(20)}
    said |= {f"q{i}": [0 if i < 81 else 1] for i in range(20, 100)}
    return clean_scores(score_of(said), _about(marked, 100))


def test_the_clean_score_stands_beside_the_full_one() -> None:
    marked = {f"q{i}": "sound" if i < 12 else "text" for i in range(20)}
    found = _scores(20, marked)
    assert found.clean is not None
    assert found.marked is not None
    assert (found.full.overall.n, found.clean.overall.n, found.marked.overall.n) == (100, 80, 20)
    assert sum(part.n for part in found.clean.by["task"].values()) == 80
    assert found.sentence == (
        "clean subset: 76.2 % [65.9–84.2] of 80; full: 81.0 % [72.2–87.5] of 100 (+4.8 points [+1.2 to +6.8]); "
        "20 questions are in CORPUS (12 by audio, 8 by question and options), where the accuracy is "
        "100.0 % [83.9–100.0], +23.8 points [+5.8 to +34.1] compared with the clean ones"
    )
    assert found.difference is not None
    one, other = found.marked.overall, found.clean.overall
    assert one.interval is not None
    assert other.interval is not None
    assert found.difference[1] == newcombe(1.0, one.interval, 61 / 80, other.interval)
    assert found.full_less_clean is not None
    assert found.full_less_clean[0] == pytest.approx(81 / 100 - 61 / 80)
    assert found.full_less_clean[1] == pytest.approx([0.2 * end for end in found.difference[1]])
    body = found.to_json()
    assert (body["clean"]["n"], body["contaminated"]["accuracy"], body["corpora"]) == (80, 100.0, ["CORPUS"])
    assert _scores(15, marked).sentence.endswith("which cannot be told from none")
    one_wrong = score_of({f"q{i}": [0 if 0 < i < 91 else 1] for i in range(100)})
    few = clean_scores(one_wrong, _about({"q0": "sound"}, 100))
    assert few.difference is not None
    assert few.difference[1][1] < 0, "though one wrong answer in ten is what the clean ones have"
    assert few.sentence.endswith("compared with the clean ones, on so few questions that it says little")


def test_nothing_or_everything_in_training() -> None:
    none = _scores(10, {})
    assert (none.marked, none.difference) == (None, None)
    assert none.sentence.startswith("none of 100 questions was found in CORPUS (100 texts and 100 sounds could be")
    every = _scores(10, {f"q{i}": "video" for i in range(100)})
    assert (every.clean, every.difference) == (None, None)
    assert every.sentence.endswith("all 100 questions are in CORPUS (100 by video)")
    assert every.to_json()["clean"] is None
