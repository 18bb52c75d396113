"""Trackers get every number once, under one id for as long as the run lives.

The packages are stood in for by modules with the signatures of the real ones (tensorboard 2.21, wandb 0.31, trackio
0.43), so that a call that the real ones would refuse is refused here too; where a package is installed, it is run.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sari_data.errors import PluginError
from sari_train import trackers
from sari_train.progress import Progress
from sari_train.trackers import open_trackers, require_trackers

Fake = Callable[..., ModuleType]


def _module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)
    for key, value in contents.items():
        setattr(made, key, value)
    return made


class FakeWandb:
    """Runs by id; as wandb does, a run ignores steps below its own."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.ignored = 0
        self.refuse = ""

    def init(
        self, entity: str | None = None, project: str | None = None, dir: str | None = None, id: str | None = None,
        name: str | None = None, notes: str | None = None, tags: list[str] | None = None,
        config: dict[str, Any] | None = None, *, group: str | None = None, mode: str | None = None,
        resume: str | None = None,
    ) -> Any:  # fmt: skip
        if self.refuse:
            raise RuntimeError(self.refuse)
        assert resume == "allow"
        assert id is not None
        assert not set(id) & set("/\\#?%:"), "wandb refuses these in an id"
        body = self.runs.setdefault(id, {"project": project, "config": config, "rows": [], "finished": 0})
        fake = self

        class Run:
            step = max([row[0] + 1 for row in body["rows"]], default=0)

            def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
                assert step is not None
                if step < self.step:
                    fake.ignored += 1
                    return
                body["rows"].append((step, data))
                self.step = step + 1 if commit else step

            def finish(self, exit_code: int | None = None) -> None:
                body["finished"] += 1

        return Run()


class FakeTrackio:
    """Runs by name; as trackio does, it keeps a step that comes twice, and prints to standard output."""

    def __init__(self) -> None:
        self.runs: dict[str, list[tuple[int | None, dict[str, Any]]]] = {}
        self.open: str | None = None

    def init(
        self, project: str, name: str | None = None, group: str | None = None, space_id: str | None = None,
        config: dict[str, Any] | None = None, resume: str = "never", embed: bool = True,
    ) -> None:  # fmt: skip
        assert resume == "allow"
        assert name is not None
        print("* Trackio project initialized")
        self.runs.setdefault(name, [])
        self.open = name

    def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
        assert self.open is not None
        self.runs[self.open].append((step, metrics))

    def finish(self) -> None:
        print("* Run finished")
        self.open = None


class FakeWriter:
    """Event files by folder: what was written and not purged."""

    events: dict[str, list[tuple[str, float, int]]]

    def __init__(
        self, log_dir: str | None = None, comment: str = "", purge_step: int | None = None, max_queue: int = 10,
        flush_secs: int = 120, filename_suffix: str = "",
    ) -> None:  # fmt: skip
        assert log_dir is not None
        kept = self.events.get(log_dir, [])
        self.mine = self.events[log_dir] = [e for e in kept if purge_step is None or e[2] < purge_step]
        self.pending: list[tuple[str, float, int]] = []

    def add_scalar(
        self, tag: str, scalar_value: float, global_step: int | None = None, walltime: float | None = None,
        new_style: bool = False, double_precision: bool = False,
    ) -> None:  # fmt: skip
        assert global_step is not None
        self.pending.append((tag, scalar_value, global_step))

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        assert tag == "recipe"

    def flush(self) -> None:
        self.mine += self.pending
        self.pending.clear()

    def close(self) -> None:
        self.flush()


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", _module("wandb", init=fake.init))
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return fake


@pytest.fixture
def trackio(monkeypatch: pytest.MonkeyPatch) -> FakeTrackio:
    fake = FakeTrackio()
    module = _module("trackio", init=fake.init, log=fake.log, finish=fake.finish)
    monkeypatch.setitem(sys.modules, "trackio", module)
    return fake


@pytest.fixture
def tensorboard(monkeypatch: pytest.MonkeyPatch) -> type[FakeWriter]:
    monkeypatch.setattr(FakeWriter, "events", {}, raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", _module("tensorboard"))
    module = _module("torch.utils.tensorboard", SummaryWriter=FakeWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return FakeWriter


def _train(out: Path, names: list[str], step: int, to: int) -> None:
    """Steps ``step + 1`` to ``to`` of a run whose loss is its step."""
    opened = open_trackers(
        names, out, title="grpo", config={"steps": 9, "lora": {"rank": 8}}, fingerprint="0123456789abcdef", step=step
    )
    with Progress("GRPO", out, steps=9, done=step, trackers=opened) as progress:
        for at in range(step + 1, to + 1):
            progress.update(at, {"loss": float(at)}, {"seconds/rollout": 2.0})


def test_all_trackers_get_all_numbers_and_go_on_in_the_same_run(
    tmp_path: Path,
    wandb: FakeWandb,
    trackio: FakeTrackio,
    tensorboard: type[FakeWriter],
    capfd: pytest.CaptureFixture[str],
) -> None:
    names = ["tensorboard", "wandb", "trackio"]
    _train(tmp_path, names, 0, 5)
    _train(tmp_path, names, 3, 6)  # killed after step 5, gone on from the checkpoint of step 3
    assert capfd.readouterr().out == "", "standard output belongs to --json"
    (run_id,) = wandb.runs
    assert run_id.startswith(f"{tmp_path.name}-01234567-")
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"run_id": run_id}
    body = wandb.runs[run_id]
    assert (body["project"], body["config"]["lora"], body["finished"]) == ("sari", {"rank": 8}, 2)
    assert [(step, row["loss"]) for step, row in body["rows"]] == [(n, float(n)) for n in range(1, 7)]
    assert wandb.ignored == 0, "it is not even sent what it would complain about"
    assert body["rows"][0][1] == {"loss": 1.0, "seconds/rollout": 2.0}
    assert [step for step, _ in trackio.runs[run_id]] == [1, 2, 3, 4, 5, 4, 5, 6]
    events = tensorboard.events[str(tmp_path / "tensorboard")]
    assert [(value, step) for tag, value, step in events if tag == "loss"] == [(float(n), n) for n in range(1, 7)]
    assert [step for tag, _, step in events if tag == "seconds/rollout"] == list(range(1, 7))


def test_a_run_anew_is_another_tracker_run(tmp_path: Path, wandb: FakeWandb) -> None:
    _train(tmp_path, ["wandb"], 0, 2)
    _train(tmp_path, ["wandb"], 0, 2)
    assert len(wandb.runs) == 2
    other = tmp_path / "an odd/näme #1?"
    other.mkdir(parents=True)
    _train(other, ["wandb"], 4, 5)  # trackers were named only after step 4
    assert any(run_id.startswith("n-me-1-01234567-") for run_id in wandb.runs)


def test_tensorboard_writes_only_where_the_loop_stands(tmp_path: Path, tensorboard: type[FakeWriter]) -> None:
    (tracker,) = open_trackers(["tensorboard"], tmp_path, title="sft", config={}, fingerprint="f" * 16)
    tracker.log(1, {"loss": 1.0})
    assert tensorboard.events[str(tmp_path / "tensorboard")] == []
    tracker._flushed -= trackers.FLUSH_SECONDS  # type: ignore[attr-defined]
    tracker.log(2, {"loss": 2.0})
    assert len(tensorboard.events[str(tmp_path / "tensorboard")]) == 2
    tracker.close()


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_an_absent_package_is_told_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda asked: None)
    with pytest.raises(PluginError, match=rf"'{name}'.*not installed: run `pip install {name}`") as told:
        open_trackers([name], tmp_path, title="grpo", config={}, fingerprint="f" * 16)
    assert "\n" not in str(told.value)
    with pytest.raises(PluginError, match="not installed"):
        require_trackers([name])
    assert not list(tmp_path.iterdir())


def test_a_package_that_refuses_is_told_and_the_others_are_closed(
    tmp_path: Path, wandb: FakeWandb, trackio: FakeTrackio
) -> None:
    wandb.refuse = "api_key not configured (no-tty)\nand a long story"
    with pytest.raises(PluginError, match=r"'wandb' could not start .*no-tty.*wandb login.*report_to") as told:
        open_trackers(["trackio", "wandb"], tmp_path, title="grpo", config={}, fingerprint="f" * 16)
    assert "long story" not in str(told.value)
    assert trackio.open is None


def test_a_package_that_is_broken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda asked: object())
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it raises ImportError
    with pytest.raises(PluginError, match="'wandb', but its package cannot be imported"):
        open_trackers(["wandb"], tmp_path, title="grpo", config={}, fingerprint="f" * 16)


def test_nothing_is_opened_where_none_is_named_or_another_process_does_it(tmp_path: Path, wandb: FakeWandb) -> None:
    given: dict[str, Any] = {"title": "grpo", "config": {}, "fingerprint": "f" * 16}
    assert open_trackers([], tmp_path, **given) == []
    assert open_trackers(["wandb"], tmp_path, **given, active=False) == []
    assert not wandb.runs
    assert not list(tmp_path.iterdir())


def test_the_stand_ins_take_no_argument_that_the_real_ones_do_not() -> None:
    pairs: list[tuple[str, str, Any]] = [
        ("wandb", "init", FakeWandb.init),
        ("trackio", "init", FakeTrackio.init),
        ("trackio", "log", FakeTrackio.log),
    ]
    here = [pair for pair in pairs if find_spec(pair[0])]
    if not here:
        pytest.skip("neither wandb nor trackio is installed: pip install sari-audio[trackers]")
    for package, name, fake in here:
        real = inspect.signature(getattr(__import__(package), name)).parameters
        assert set(inspect.signature(fake).parameters) - {"self"} <= set(real)


def test_the_real_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _train(tmp_path, ["tensorboard"], 0, 5)
    _train(tmp_path, ["tensorboard"], 3, 6)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(n, float(n)) for n in range(1, 7)]
