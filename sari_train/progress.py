"""What a run shows and records: a live panel, plain lines where there is no terminal, JSONL, a PNG."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sari_data.console import err, note
from sari_train.run_folder import CURVES, METRICS

# Plain lines: at most one in this many seconds, besides the first and the last step.
LINE_SECONDS = 10.0
LABELS = {
    "loss": "loss",
    "reward": "reward",
    "reward_accuracy": "accuracy",
    "reward_format": "format",
    "eval_accuracy": "dev accuracy",
    "length": "tokens a response",
    "truncated": "cut at the limit",
    "flat_groups": "groups without a lesson",
    "pass_rate": "pass rate of the prompts",
    "kl": "KL to the reference",
    "entropy": "entropy",
    "sampler_gap": "sampler gap",
    "grad_norm": "gradient norm",
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens/s",
}
CURVE_PANELS: Sequence[Sequence[str]] = (
    ("loss",),
    ("reward",),
    ("reward_accuracy", "reward_format", "eval_accuracy"),
    ("length",),
    ("entropy", "kl"),
    ("grad_norm",),
)


class Progress:
    """Shows and records the steps of one run; use it as a context manager.

    Args:
        title: What is running, for instance ``GRPO``.
        out: The run's folder; metrics.jsonl grows in it.
        steps: Steps of the whole run.
        done: Steps done before (a run that goes on).
    """

    def __init__(self, title: str, out: str | Path, *, steps: int, done: int = 0) -> None:
        self.title, self.out, self.steps, self.done = title, Path(out), steps, done
        self._first = done
        self._recent: deque[float] = deque(maxlen=20)
        self._latest: dict[str, float] = {}
        self._live: Any = None
        self._last_line = 0.0
        self._last_time = time.perf_counter()

    def __enter__(self) -> Progress:
        if err.is_terminal:
            from rich.live import Live

            self._live = Live(self._panel(), console=err, refresh_per_second=4)
            self._live.start()
        self._last_time = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of a step (counted from 1) and show them."""
        now = time.perf_counter()
        self._recent.append(now - self._last_time)
        self._last_time = now
        self.done = step
        self._latest.update(metrics)
        with (self.out / METRICS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **metrics}) + "\n")
        if self._live is not None:
            self._live.update(self._panel())
        elif step in (self._first + 1, self.steps) or now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            note(self._line(metrics))

    def restart_clock(self) -> None:
        """Leave out of the next step's time what was spent since the last one (saving, evaluating)."""
        self._last_time = time.perf_counter()

    def time_left(self) -> float:
        """Return the seconds left at the pace of the latest steps."""
        if not self._recent:
            return 0.0
        return (self.steps - self.done) * sum(self._recent) / len(self._recent)

    def _line(self, metrics: Mapping[str, float]) -> str:
        shown = ("loss", "reward", "reward_accuracy", "reward_format", "length", "kl", "entropy", "eval_accuracy")
        parts = [f"{LABELS[name]} {_number(metrics[name])}" for name in shown if name in metrics]
        rate = f"{_number(metrics['tokens_per_second'])} tokens/s" if "tokens_per_second" in metrics else ""
        return f"{self.title} {self.done}/{self.steps}  " + "  ".join(
            [*parts, rate, f"{_clock(self.time_left())} left"]
        )

    def _panel(self) -> Any:
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        grid = Table.grid(padding=(0, 3))
        cells = [(label, _number(self._latest[key])) for key, label in LABELS.items() if key in self._latest]
        for _ in range(4):
            grid.add_column(no_wrap=True)
        for i in range(0, len(cells), 2):
            pair = cells[i : i + 2]
            grid.add_row(*[text for label, value in pair for text in (f"[dim]{label}[/]", f"[bold]{value}[/]")])
        bar = ProgressBar(total=self.steps, completed=self.done, width=72)
        caption = f"step {self.done}/{self.steps}, {_clock(self.time_left())} left; Ctrl-C saves and stops"
        rows = Table.grid()  # a bar alone ends no line
        rows.add_row(bar)
        rows.add_row(grid)
        return Panel(rows, title=self.title, subtitle=caption, expand=False)


def read_metrics(out: str | Path) -> list[dict[str, float]]:
    """Return the recorded metrics of a run, one mapping a step."""
    path = Path(out) / METRICS
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def draw_curves(out: str | Path, title: str) -> None:
    """Draw the recorded metrics over the steps to curves.png; a thick line is the running mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_metrics(out)
    panels = [[k for k in keys if any(k in row for row in rows)] for keys in CURVE_PANELS]
    panels = [keys for keys in panels if keys]
    if not panels:
        return
    figure = Figure(figsize=(4.2 * min(3, len(panels)), 3.0 * -(-len(panels) // 3)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for at, keys in enumerate(panels):
        axes = figure.add_subplot(-(-len(panels) // 3), min(3, len(panels)), at + 1)
        for number, key in enumerate(keys):
            points = [(row["step"], row[key]) for row in rows if key in row]
            steps, values = [p[0] for p in points], [p[1] for p in points]
            axes.plot(steps, values, color=f"C{number}", alpha=0.3, linewidth=1)
            axes.plot(steps, _running_mean(values), color=f"C{number}", linewidth=2, label=LABELS[key])
        axes.set_xlabel("step")
        axes.legend(fontsize=8)
    figure.savefig(Path(out) / CURVES, dpi=110)


def _running_mean(values: Sequence[float], window: int = 10) -> list[float]:
    return [sum(values[max(0, i + 1 - window) : i + 1]) / min(i + 1, window) for i in range(len(values))]


def _number(value: float) -> str:
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1e}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
