"""The stopwatch of a step, against a clock that is set by hand, and the memory that a process holds."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from sari_train import phases as module
from sari_train.phases import Phases


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module.time, "perf_counter", made)
    return made


def test_phases_add_up_and_start_anew(clock: Clock) -> None:
    phases = Phases()
    for seconds in (2.0, 1.0):
        with phases("rollout"):
            clock.now += seconds
        clock.now += 0.25
    with phases("evaluate"):
        clock.now += 5.0
    assert phases.take(tokens=700) == {
        "seconds/rollout": 3.0,
        "seconds/evaluate": 5.0,
        "step_seconds": 8.5,
        "tokens_per_second": 200.0,  # 700 in 8.5 - 5 seconds
    }
    clock.now += 1.0
    assert phases.take() == {"step_seconds": 1.0}


def test_an_inner_phase_stops_the_outer_one(clock: Clock) -> None:
    phases = Phases()
    with phases("policy"):
        clock.now += 1.0
        with phases("reference"):
            clock.now += 4.0
        clock.now += 2.0
    found = phases.take()
    assert (found["seconds/policy"], found["seconds/reference"], found["step_seconds"]) == (3.0, 4.0, 7.0)


def test_an_error_ends_a_phase_and_taking_inside_one_splits_it(clock: Clock) -> None:
    def fail() -> None:
        clock.now += 1.0
        raise KeyError

    phases = Phases()
    with pytest.raises(KeyError), phases("reward"):
        fail()
    with phases("rollout"):
        clock.now += 2.0
        assert phases.take()["seconds/rollout"] == 2.0
        clock.now += 3.0
    assert phases.take() == {"seconds/rollout": 3.0, "step_seconds": 3.0}


def test_no_time_is_no_division_by_zero(clock: Clock) -> None:
    assert Phases().take(tokens=5)["tokens_per_second"] == 0.0


def test_a_device_is_waited_for_at_every_boundary_only_where_asked(clock: Clock) -> None:
    def wait() -> None:
        clock.now += 1.0  # what was still in flight

    phases = Phases(wait)
    with phases("rollout"):
        clock.now += 2.0
    assert phases.take()["seconds/rollout"] == 3.0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's counters are Linux's")
def test_memory_is_what_is_held_and_was_at_most() -> None:
    """In a process of its own: what other tests left behind may be freed, or taken from memory, at any moment."""
    code = """
import json, numpy as np
from sari_train.phases import memory_mib
memory_mib()  # what it imports is there before the first measurement
before = memory_mib()
block = np.ones(96 * 2**20, dtype=np.uint8)
during = memory_mib("cpu")
del block
print(json.dumps([before, during, memory_mib()]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, during, after = json.loads(done.stdout)
    assert during["memory_mib"] - before["memory_mib"] == pytest.approx(96, abs=8)
    assert after["memory_mib"] < during["memory_mib"] - 80
    assert after["memory_peak_mib"] >= during["memory_mib"] - 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's counters are Linux's")
def test_the_peak_is_this_process_s_own() -> None:
    """getrusage counts what the parent held when it started the child; the page would show a peak that never was."""
    block = np.ones(256 * 2**20, dtype=np.uint8)
    code = "from sari_train.phases import _peak_resident as peak; print(peak() / 2**20)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 5 < float(done.stdout) < 200
    assert block[0] == 1
