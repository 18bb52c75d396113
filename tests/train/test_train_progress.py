"""What a run shows and records."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from sari_data.errors import InputError
from sari_train import progress
from sari_train.health import Trouble
from sari_train.metric_names import PANELS, label, panels_of
from sari_train.progress import Progress, draw_curves, read_metrics, read_timings


@pytest.mark.parametrize("terminal", [True, False])
def test_metrics_are_shown_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=200)
    monkeypatch.setattr(progress, "err", console)
    monkeypatch.setattr(progress, "note", lambda text: console.print(text, highlight=False, soft_wrap=True))
    rows = [{"loss": 0.5, "reward": 1.25 + i, "reward_accuracy": 0.5, "length": 70.0, "entropy": 0.8} for i in range(4)]
    with Progress("GRPO", tmp_path, steps=4) as live:
        for i, row in enumerate(rows):
            live.update(i + 1, row, {"tokens_per_second": 4200.0, "seconds/rollout": 2.0})
    text = shown.getvalue()
    for expected in (
        "GRPO",
        "reward",
        "4.25",
        "accuracy",
        "tokens",
        "4,200",
        "4/4",
        "0:00",
        *(["seconds of rollout"] if terminal else []),
    ):
        assert expected in text
    assert [row["reward"] for row in read_metrics(tmp_path)] == [1.25, 2.25, 3.25, 4.25]
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(
        json.dumps({"step": i + 1} | row) + "\n" for i, row in enumerate(rows)
    ), "nothing that a clock says is among the metrics"
    assert read_timings(tmp_path)[3] == {"step": 4, "tokens_per_second": 4200.0, "seconds/rollout": 2.0}
    draw_curves(tmp_path, "GRPO")
    assert (tmp_path / "curves.png").stat().st_size > 5_000


def test_time_left_follows_the_latest_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 3.0, 5.0, 5.0, 105.0, 107.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    live = Progress("SFT", tmp_path, steps=10, done=4)
    with live:
        live.update(5, {"loss": 1.0})
        assert live.time_left() == 15.0
        live.update(6, {"loss": 1.0})
        assert live.time_left() == 10.0  # 4 steps at 2.5 s
        live.restart_clock()
        live._last_time = 105.0
        live.update(7, {"loss": 1.0})
        assert live.time_left() == pytest.approx(3 * (3 + 2 + 0) / 3)


def test_numbers_are_short() -> None:
    shown = [progress.short_number(v) for v in (0, 0.5, 12.345, 4200.4, 0.0003)]
    assert shown == ["0", "0.5", "12.3", "4,200", "3.0e-04"]
    assert [progress.clock(s) for s in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]


def test_no_metrics_no_picture(tmp_path: Path) -> None:
    draw_curves(tmp_path, "nothing")
    assert not (tmp_path / "curves.png").exists()


def test_what_is_not_finite_stays_valid_json(tmp_path: Path) -> None:
    with Progress("GRPO", tmp_path, steps=2) as live:
        live.update(1, {"loss": math.nan, "grad_norm": math.inf, "kl": 0.5})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert line == '{"step": 1, "loss": null, "grad_norm": null, "kl": 0.5}\n'
    (row,) = read_metrics(tmp_path)
    assert math.isnan(row["loss"])
    assert row["kl"] == 0.5
    draw_curves(tmp_path, "broken")
    assert (tmp_path / "curves.png").is_file()


def test_only_the_main_process_writes_and_speaks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Closed:
        def log(self, step: int, metrics: object) -> None:
            raise AssertionError("another process logs")

        def close(self) -> None:
            pass

    with Progress("GRPO", tmp_path, steps=1, active=False, trackers=[Closed()]) as live:
        live.update(1, {"loss": 1.0}, {"step_seconds": 1.0})
        live.tell(1, [Trouble("loss_not_finite", "it is")])
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""


def test_trackers_get_both_and_are_closed_although_one_fails(tmp_path: Path) -> None:
    class Kept:
        def __init__(self, fails: bool) -> None:
            self.rows: list[tuple[int, dict[str, float]]] = []
            self.fails, self.closed = fails, False

        def log(self, step: int, metrics: Mapping[str, float]) -> None:
            self.rows.append((step, dict(metrics)))

        def close(self) -> None:
            self.closed = True
            if self.fails:
                raise OSError("the network is gone")

    first, second = Kept(False), Kept(True)
    with pytest.raises(OSError, match="gone"), Progress("SFT", tmp_path, steps=1, trackers=[first, second]) as live:
        live.update(1, {"loss": 1.0}, {"step_seconds": 2.0})
    assert first.rows == second.rows == [(1, {"loss": 1.0, "step_seconds": 2.0})]
    assert first.closed
    assert second.closed


def test_trouble_is_said_and_recorded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Progress("GRPO", tmp_path, steps=9) as live:
        live.tell(3, [Trouble("all_truncated", "every response [was] cut")])
        live.tell(4, [])
    assert "trouble at step 3: every response [was] cut" in capfd.readouterr().err
    rows = [json.loads(line) for line in (tmp_path / "troubles.jsonl").read_text().splitlines()]
    assert rows == [{"step": 3, "kind": "all_truncated", "message": "every response [was] cut"}]


def test_a_line_that_a_kill_cut_is_no_step(tmp_path: Path) -> None:
    with Progress("GRPO", tmp_path, steps=9) as live:
        for step in range(1, 4):
            live.update(step, {"loss": step / 10})
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 4, "lo')
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("line", ["{broken}", "[1]"])
def test_a_damaged_log_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 2: expected a JSON object"):
        read_metrics(tmp_path)


def test_every_number_is_in_one_panel_with_a_name() -> None:
    names = ["loss", "reward", "reward_accuracy", "reward_mine", "reward_std", "reward_std/mine", "pass_rate",
             "pass_rate/easy", "pass_rate/hard", "pass_rate/medium", "pass_rate/sound+speech", "clip_low", "clip_new",
             "seconds/rollout", "eval_accuracy/music", "something_else"]  # fmt: skip
    found = {panel.title: shown for panel, shown in panels_of(names)}
    assert sorted(name for shown in found.values() for name in shown) == sorted(names)
    assert found["Each reward"] == ["reward_accuracy", "reward_mine"]
    assert found["Right, by difficulty"] == ["pass_rate", "pass_rate/easy", "pass_rate/medium", "pass_rate/hard"]
    assert found["Right, by domain"] == ["pass_rate/sound+speech"]
    assert found["Other numbers"] == ["something_else"]
    assert label("reward_std/mine") == "spread of mine"
    assert label("something_else") == "something else"
    assert len({panel.title for panel in PANELS}) == len(PANELS)
