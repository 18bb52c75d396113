"""What a run shows and records."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from sari_train import progress
from sari_train.progress import Progress, draw_curves, read_metrics


@pytest.mark.parametrize("terminal", [True, False])
def test_metrics_are_shown_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=200)
    monkeypatch.setattr(progress, "err", console)
    monkeypatch.setattr(progress, "note", lambda text: console.print(text, highlight=False, soft_wrap=True))
    rows = [{"loss": 0.5, "reward": 1.25 + i, "reward_accuracy": 0.5, "length": 70.0, "entropy": 0.8} for i in range(4)]
    with Progress("GRPO", tmp_path, steps=4) as live:
        for i, row in enumerate(rows):
            live.update(i + 1, row | {"tokens_per_second": 4200.0})
    text = shown.getvalue()
    for expected in ("GRPO", "reward", "4.25", "accuracy", "tokens", "4,200", "4/4", "0:00"):
        assert expected in text
    assert [row["reward"] for row in read_metrics(tmp_path)] == [1.25, 2.25, 3.25, 4.25]
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
