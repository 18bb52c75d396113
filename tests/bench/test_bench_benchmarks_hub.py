"""Benchmarks from the Hub: the real client reads from a server on this machine that speaks the Hub's protocol."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hub_server import COMMIT, serving
from published_files import clip, mmau_hub_row, mmau_pro_row, mmau_row, parquet, tar, zipped

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.hub import Place, pick
from sari_data.errors import BenchmarkError

REPO = "gamma-lab-umd/MMAU-test-mini"
ROWS = [mmau_row(n) for n in range(6)]
MMAR = [
    {"id": f"r{n}", "audio_path": f"./audio/r{n}.wav", "question": "What?", "choices": ["x", "y"], "answer": "x",
     "modality": "mix-sound-speech", "category": "Signal Layer", "sub-category": "Counting"}
    for n in range(3)
]  # fmt: skip
TABLE = {"question": "instruction", "audio": "context", "task_is": "sound", "strip_letters": True}
# What each line of a script loads; one process does several, since importing the client takes most of the time.
SCRIPT = """
import hashlib, json, sys
from pathlib import Path
from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.table_map import TableMap
from sari_data.errors import SariError
for name, questions, audio_root, audio, *columns in json.loads(sys.argv[1]):
    options = {"table": TableMap(**columns[0])} if columns else {}
    try:
        places = (questions and Path(questions), audio_root and Path(audio_root))
        found = load_benchmark(name, *places, audio=audio, **options)
    except SariError as error:
        print(json.dumps([type(error).__name__, str(error)]))
        continue
    paths = [Path(ref.path) for q in found.questions for ref in q.recordings]
    hashes = [hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else None for p in paths]
    print(json.dumps([found.digest, [g.id for g in found.golds], hashes]))
"""


def _load(folder: Path, endpoint: str, *loads: tuple[Any, ...], **environment: str) -> list[Any]:
    settings = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    settings |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    settings |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "SARI_CACHE": str(folder / "cache"), **environment}
    command = [sys.executable, "-c", SCRIPT, json.dumps(loads)]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    packed = [
        parquet([mmau_hub_row(row, clip(n)) for n, row in enumerate(ROWS)][part]) for part in (slice(4), slice(4, 6))
    ]
    return {
        "README.md": b"# MMAU",
        "data/test-00000-of-00002.parquet": packed[0],
        "data/test-00001-of-00002.parquet": packed[1],
        "MMAR-meta.json": json.dumps(MMAR).encode(),
        "pro-test.json": json.dumps([mmau_pro_row(0, audio_path=["data/a.wav", "data/b.wav"])]).encode(),
        "pro-data.zip": zipped({"data/a.wav": clip(30), "data/b.wav": clip(31)}),
        "mmar-audio.tar.gz": tar({f"mmar-audio/audio/r{n}.wav": clip(20 + n) for n in range(3)}),
    }


def _sha(number: int) -> str:
    return hashlib.sha256(clip(number)).hexdigest()


def test_questions_come_first_audio_when_it_is_wanted_and_nothing_twice(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    written = tmp_path / "mmau.json"
    written.write_text(json.dumps(ROWS), encoding="utf-8")
    digest = load_benchmark("mmau-test-mini", written, audio=False).digest
    names = [row["id"] for row in ROWS]
    with serving(REPO, files) as (endpoint, asked):
        place = f"hub:{REPO}@{COMMIT}"
        loads = [
            ("mmau-test-mini", None, None, False), ("mmau-test-mini", None, None, True), ("mmar", place, None, True),
            ("mmar", f"{place}/MMAR-meta.json", f"hub:{REPO}/mmar-*.tar.gz", True),
            ("mmar", f"{place}/no.json", None, True), ("mmsu", "hub:lab/nothing", None, True),
            ("mmar", f"hub:{REPO}@nowhere", None, True), ("mmar", str(written), f"hub:{REPO}", True),
            (f"table:hub:{REPO}", None, None, True, TABLE), (f"table:hub:{REPO}", None, None, False, TABLE),
            ("mmau-pro", f"{place}/pro-test.json", f"hub:{REPO}/pro-*.zip", True),
        ]  # fmt: skip
        scored, asked_here, mmar, by_name, no_file, no_repo, no_revision, no_path, table, bare, several = _load(
            tmp_path, endpoint, *loads
        )
    got = [(path, part) for method, path, part in asked if method == "GET" and "/resolve/" in path]
    whole = [number for number, (_, part) in enumerate(got) if part is None]
    # For scoring only ranges of the tables, all of one commit; then each file once.
    assert whole[0] > 0
    assert all(path.endswith(".parquet") and COMMIT in path for path, _ in got[: whole[0]])
    fetched = [got[number][0] for number in whole if COMMIT in got[number][0]]
    assert len(fetched) == len(set(fetched)) == 6
    assert scored == [digest, names, [None] * 6]
    assert asked_here == [digest, names, [_sha(n) for n in range(6)]]
    assert mmar[1:] == [["r0", "r1", "r2"], [_sha(20 + n) for n in range(3)]]
    assert by_name == mmar
    assert several[1:] == [["p0"], [_sha(30), _sha(31)]]
    assert table[2] == asked_here[2]
    assert bare == [table[0], table[1], [None] * 6]
    assert no_file[0] == "BenchmarkError"
    assert "expected no.json in" in no_file[1]
    assert (no_repo[0], no_revision[0]) == ("MissingFileError", "MissingFileError")
    assert no_path[0] == "InputError"
    # Without the Hub the same again, from the caches; and what was never loaded says what to do.
    again = [("mmau-test-mini", None, None, True), ("mmau-test-mini", None, None, False), ("mmsu", None, None, True)]
    kept, kept_bare, never = _load(tmp_path, "http://127.0.0.1:9", *again, HF_HUB_OFFLINE="1")
    assert kept == asked_here
    assert kept_bare == scored
    assert never[0] == "BenchmarkError"
    assert "ddwang2000/MMSU on the Hub, which cannot be reached" in never[1]
    assert "download question/mmsu.jsonl (ddwang2000/MMSU) and give --questions FILE" in never[1]


def test_places_and_patterns() -> None:
    assert Place.parse("hub:a/b@c/d/e.json") == Place("a/b", "c", "d/e.json")
    assert Place.parse("hub:a/b") == Place("a/b", None, None)
    names = ["data/x.parquet", "data/w.parquet", "mmau-test.json"]
    assert pick(names, ("*.csv", "*.parquet", "*.json")) == ["data/w.parquet", "data/x.parquet"]
    assert pick(names, ("*.csv",)) == []


def test_a_hub_out_of_reach_is_one_sentence() -> None:
    for name in ("mmau-test-mini", "mmau-test", "mmar", "mmsu", "mmau-pro"):
        with pytest.raises(BenchmarkError, match=r"cannot be reached .* give --questions FILE$"):
            load_benchmark(name)
