"""Runs that are killed and interrupted: nothing is lost, nothing is asked twice but what was under way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from slow_responder import AHEAD, SlowResponder, text_of

from sari_bench.benchmarks.scenes import HeldOut, load
from sari_bench.running.runner import RunSettings, run_benchmark
from sari_bench.running.runs import read_responses, read_run
from sari_data.responder import Sampling

HERE = Path(__file__).parent
QUESTIONS, SAMPLES, KILLS = 45, 3, 3


def _wait(path: Path, lines: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if path.is_file() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.003)
    raise AssertionError(f"{path} did not come to {lines} lines; the process ended with {process.poll()}")


@pytest.fixture
def slow_plugin(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that has the slow responder installed as the plugin ``slow``."""
    site = tmp_path / "site" / "slow_plugin-1.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-plugin\nVersion: 1.0\n")
    (site / "entry_points.txt").write_text("[sari.responders]\nslow = slow_responder:SlowResponder\n")
    paths = [str(site.parent), str(HERE), str(HERE.parent.parent)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_never_was(
    tmp_path: Path, slow_plugin: dict[str, str]
) -> None:
    log = tmp_path / "asked.txt"
    folder = tmp_path / "runs" / "scenes" / "slow@direct"
    draw = random.Random(6)
    command = [sys.executable, "-c", "from sari_bench.cli import main; main()", "run", "--responder", "slow"]
    command += ["--responder-option", f"log={log}", "--mode", "direct", "--samples", str(SAMPLES), "--temperature", "1"]
    command += ["--name", "slow@direct", "--set", f"bench.scenes.questions={{sound = {QUESTIONS}}}"]
    responses = folder / "responses.jsonl"
    there, kept = 0, b""
    for _ in range(KILLS):
        slow = ["--responder-option", "seconds=0.001", "--responder-option", f"most={QUESTIONS * SAMPLES // KILLS - 1}"]
        process = subprocess.Popen([*command, *slow], cwd=tmp_path, env=slow_plugin, stderr=subprocess.DEVNULL)
        _wait(responses, there + draw.randint(1, 25), process)
        time.sleep(draw.uniform(0, 0.01))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert responses.read_bytes().startswith(kept), "what was written stays as it was"
        kept = responses.read_bytes().rpartition(b"\n")[0]
        before, there = there, responses.read_bytes().count(b"\n")
        assert before < there < QUESTIONS * SAMPLES
        assert read_run(folder).meta["finished"] is None
        assert (folder / "recipe.json").is_file(), "so that it can be opened again however it ended"

    command += ["--responder-option", "seconds=0.0"]
    done = subprocess.run(command, cwd=tmp_path, env=slow_plugin, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{QUESTIONS * SAMPLES - there} answers added" in done.stderr

    settings = RunSettings("direct", Sampling(temperature=1.0), samples=SAMPLES)
    benchmark = load(None, None, scenes=HeldOut(questions={"sound": QUESTIONS}))
    run_benchmark(benchmark, SlowResponder(tmp_path / "other.txt", 0.0), tmp_path / "whole", settings)

    def texts(path: Path) -> list[tuple[str, int, str]]:
        return sorted((row["id"], row["sample"], row["text"]) for row in read_responses(path))

    assert texts(folder) == texts(tmp_path / "whole")
    expected = [(q.id, sample, text_of(q.id, sample)) for q in benchmark.questions for sample in range(SAMPLES)]
    assert texts(folder) == sorted(expected)
    asked = Counter(log.read_text(encoding="utf-8").split("\n")[:-1])
    assert len(asked) == QUESTIONS * SAMPLES
    # A kill costs at most what was under way: the requests that were taken and not yet written.
    assert asked.total() - QUESTIONS * SAMPLES <= KILLS * (AHEAD + SAMPLES + 1)
    run = read_run(folder)
    assert run.meta["finished"] is not None
    assert len(run.sittings) == KILLS + 1
    assert ["ended" in sitting for sitting in run.sittings] == [False] * KILLS + [True]
    assert run.score().overall.outcomes["missing"] == 0


CTRL_C = """
import os, signal, sys, threading, time
from pathlib import Path
from sari_bench.cli import main
responses = Path("runs/scenes/m@direct/responses.jsonl")

def stop():
    while not (responses.is_file() and responses.read_bytes().count(b"\\n") >= 2):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGINT)

import sari_data.responders.scripted as scripted
plain = scripted.ScriptedResponder._response

def slowly(self, request, sample):
    time.sleep(0.05)
    return plain(self, request, sample)

scripted.ScriptedResponder._response = slowly
threading.Thread(target=stop, daemon=True).start()
sys.argv = ["sari-bench", *sys.argv[1:]]
main()
"""


def test_ctrl_c_ends_with_130_and_one_sentence_that_says_how_it_goes_on(tmp_path: Path) -> None:
    few = {"sound": 20}
    rows = [{"id": q.id, "text": "dog"} for q in load(None, None, scenes=HeldOut(questions=few)).questions]
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ["run", "--responder", "scripted", "--responder-option", "path=said.jsonl", "--mode", "direct", "--name"]
    words += ["m@direct", "--set", "bench.scenes.questions={sound = 20}"]
    command = [sys.executable, "-c", CTRL_C, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 130, done.stderr
    said, last = done.stderr.strip().splitlines()[-2:]
    assert last == "stopped"
    assert said.startswith("runs/scenes/m@direct: ")
    assert said.endswith("of 20 answers are there, and the same command goes on")
    assert "Traceback" not in done.stderr
    folder = tmp_path / "runs" / "scenes" / "m@direct"
    run = read_run(folder)
    assert 2 <= run.sittings[0]["answers"] < 20
    assert (folder / "recipe.json").is_file(), "so that it can be opened again however it ended"
    assert run.meta["finished"] is None
