"""What a run shows and records: a live panel, plain lines where there is no terminal, JSONL, a PNG."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sari_data.console import err, note
from sari_train.metric_names import label, ordered, panels_of
from sari_train.run_files import CURVES, METRICS, TIMINGS, TROUBLES, append_line, read_lines

if TYPE_CHECKING:
    from sari_train.health import Trouble
    from sari_train.trackers import Tracker

# Plain lines: at most one in this many seconds, besides the first and the last step.
LINE_SECONDS = 10.0
# What a plain line shows, where it is there.
_IN_A_LINE = (
    "loss",
    "reward",
    "reward_accuracy",
    "reward_format",
    "length",
    "kl",
    "entropy",
    "flat_groups",
    "eval_loss",
    "eval_accuracy",
)


class Progress:
    """Shows and records the steps of one run; use it as a context manager.

    Args:
        title: What is running, for instance ``GRPO``.
        out: The run's folder; metrics.jsonl and timings.jsonl grow in it.
        steps: Steps of the whole run.
        done: Steps done before (a run that goes on).
        active: False in all but the main process of a run of several: nothing is shown or written.
        trackers: What gets the numbers too; closed at the end of the block.
    """

    def __init__(
        self,
        title: str,
        out: str | Path,
        *,
        steps: int,
        done: int = 0,
        active: bool = True,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.title, self.out, self.steps, self.done, self.active = title, Path(out), steps, done, active
        self._trackers = trackers
        self._first = done
        self._recent: deque[float] = deque(maxlen=20)
        self._latest: dict[str, float] = {}
        self._live: Any = None
        self._last_line = 0.0
        self._last_time = time.perf_counter()

    def __enter__(self) -> Progress:
        if err.is_terminal and self.active:
            from rich.live import Live

            self._live = Live(self._panel(), console=err, refresh_per_second=4)
            self._live.start()
        self._last_time = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
        with ExitStack() as stack:  # each is closed, also where another one fails
            for tracker in self._trackers:
                stack.callback(tracker.close)

    def update(self, step: int, metrics: Mapping[str, float], timings: Mapping[str, float] | None = None) -> None:
        """Record a step (counted from 1) and show it.

        Args:
            step: The step that was just taken.
            metrics: Numbers that follow from recipe, data and weights: metrics.jsonl. One that is not finite is
                written as ``null``.
            timings: What a clock or the machine says (see :mod:`sari_train.phases`): timings.jsonl.
        """
        now = time.perf_counter()
        self._recent.append(now - self._last_time)
        self._last_time = now
        self.done = step
        timings = timings or {}
        self._latest.update({**metrics, **timings})
        if not self.active:
            return
        append_line(self.out / METRICS, _row(step, metrics))
        if timings:
            append_line(self.out / TIMINGS, _row(step, timings))
        for tracker in self._trackers:
            tracker.log(step, {**metrics, **timings})
        if self._live is not None:
            self._live.update(self._panel())
        elif step in (self._first + 1, self.steps) or now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            note(self._line({**metrics, **timings}))

    def tell(self, step: int, troubles: Sequence[Trouble]) -> None:
        """Say what :class:`sari_train.health.Health` found at ``step``, and record it in troubles.jsonl."""
        for trouble in troubles if self.active else ():
            note(f"[bold]trouble[/] at step {step}: {trouble.message}")
            append_line(self.out / TROUBLES, {"step": step, "kind": trouble.kind, "message": trouble.message})

    def restart_clock(self) -> None:
        """Leave out of the next step's time what was spent since the last one (saving, evaluating)."""
        self._last_time = time.perf_counter()

    def time_left(self) -> float:
        """Return the seconds left at the pace of the latest steps."""
        if not self._recent:
            return 0.0
        return (self.steps - self.done) * sum(self._recent) / len(self._recent)

    def _line(self, numbers: Mapping[str, float]) -> str:
        parts = [f"{label(name)} {short_number(numbers[name])}" for name in _IN_A_LINE if name in numbers]
        if "tokens_per_second" in numbers:
            parts.append(f"{short_number(numbers['tokens_per_second'])} tokens/s")
        return f"{self.title} {self.done}/{self.steps}  " + "  ".join([*parts, f"{clock(self.time_left())} left"])

    def _panel(self) -> Any:
        from rich.markup import escape
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        grid = Table.grid(padding=(0, 3))
        cells = [(label(name), short_number(self._latest[name])) for name in ordered(self._latest)]
        for _ in range(4):
            grid.add_column(no_wrap=True)
        for i in range(0, len(cells), 2):
            pair = cells[i : i + 2]
            grid.add_row(*[text for name, value in pair for text in (f"[dim]{escape(name)}[/]", f"[bold]{value}[/]")])
        bar = ProgressBar(total=self.steps, completed=self.done, width=72)
        caption = f"step {self.done}/{self.steps}, {clock(self.time_left())} left; Ctrl-C saves and stops"
        rows = Table.grid()  # a bar alone ends no line
        rows.add_row(bar)
        rows.add_row(grid)
        return Panel(rows, title=self.title, subtitle=caption, expand=False)


def read_metrics(out: str | Path) -> list[dict[str, float]]:
    """Return the recorded metrics of a run, one mapping a step; what was not finite is NaN."""
    return _rows(Path(out) / METRICS)


def read_timings(out: str | Path) -> list[dict[str, float]]:
    """Return the recorded times, rates and memory of a run, one mapping a step."""
    return _rows(Path(out) / TIMINGS)


def draw_curves(out: str | Path, title: str) -> None:
    """Draw the recorded metrics over the steps to curves.png; a thick line is the running mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_metrics(out)
    panels = panels_of(name for row in rows for name in row if name != "step")
    if not panels:
        return
    wide = min(3 if len(panels) <= 9 else 4, len(panels))
    figure = Figure(figsize=(4.2 * wide, 3.0 * -(-len(panels) // wide)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for at, (panel, names) in enumerate(panels):
        axes = figure.add_subplot(-(-len(panels) // wide), wide, at + 1)
        for number, name in enumerate(names):
            points = [(row["step"], row[name]) for row in rows if name in row]
            steps, values = [p[0] for p in points], [p[1] for p in points]
            axes.plot(steps, values, color=f"C{number}", alpha=0.3, linewidth=1)
            axes.plot(steps, _running_mean(values), color=f"C{number}", linewidth=2, label=label(name))
        if panel.log and any(row.get(name, 0) > 0 for row in rows for name in names):
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.legend(fontsize=8)
    figure.savefig(Path(out) / CURVES, dpi=110)


def _row(step: int, numbers: Mapping[str, float]) -> dict[str, Any]:
    """A line of a log: JSON has no word for what is not finite."""
    return {"step": step} | {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _rows(path: Path) -> list[dict[str, float]]:
    return [{k: math.nan if v is None else v for k, v in row.items()} for row in read_lines(path)]


def _running_mean(values: Sequence[float], window: int = 10) -> list[float]:
    means = []
    for i in range(len(values)):
        finite = [v for v in values[max(0, i + 1 - window) : i + 1] if math.isfinite(v)]
        means.append(sum(finite) / len(finite) if finite else math.nan)
    return means


def short_number(value: float) -> str:
    """Return a number in three significant digits, thousands in full."""
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1e}"


def clock(seconds: float) -> str:
    """Return a time as minutes:seconds, or hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
