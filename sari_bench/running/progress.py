"""What is seen of a run while it goes on: answers done, accuracy so far, speed, cost and what failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sari_data.answers import grade
from sari_data.console import err, note, visible
from sari_data.responder import Responder, Response, Usage
from sari_data.types import AudioQuestion

_NOTES = 5  # lines of progress for a run whose output is not a terminal
_READ = ("correct", "wrong")


class State:
    """Counts of a sitting, and the sentence that is made of them.

    Args:
        responder: Who answers; its ``usage`` and ``failed`` are shown where it has them.
        left: Answers that are due in this sitting.
    """

    def __init__(self, responder: Responder, left: int) -> None:
        self.responder, self.left = responder, left
        self.answers = self.right = self.graded = self.unread = self.tokens = 0
        self.began = time.monotonic()
        usage = getattr(responder, "usage", None)
        self._spent = usage.cost if isinstance(usage, Usage) else None

    def see(self, response: Response, question: AudioQuestion) -> None:
        """Count a response."""
        self.tokens += response.tokens
        self.answers += 1
        if question.answer is None:
            return
        outcome = grade(response.text, question, finish_reason=response.finish_reason).outcome
        self.graded += 1
        self.right += outcome == "correct"
        self.unread += outcome not in _READ

    def __str__(self) -> str:
        took = max(time.monotonic() - self.began, 1e-9)
        parts = []
        if self.graded:
            parts += [f"{100 * self.right / self.graded:.1f} % right so far", f"{self.unread:,} unread"]
        speed = f"{self.tokens / took:,.0f} tokens/s" if self.tokens else f"{self.answers / took:,.1f} answers/s"
        parts.append(speed)
        usage = getattr(self.responder, "usage", None)
        if isinstance(usage, Usage) and usage.cost is not None:
            parts.append(f"cost {usage.cost - (self._spent or 0.0):,.4f}")
        failed = len(getattr(self.responder, "failed", None) or ())
        if failed:
            parts.append(f"{failed:,} failed")
        return ", ".join(parts)

    def time_left(self) -> str:
        """Return how long the rest takes at the speed so far, ``""`` where that is less than a second."""
        if self.answers >= self.left:
            return ""
        seconds = (time.monotonic() - self.began) / max(self.answers, 1) * max(self.left - self.answers, 0)
        if seconds < 1:
            return ""
        return f"about {seconds / 60:,.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


@contextmanager
def run_progress(
    name: str, done: int, total: int, responder: Responder
) -> Iterator[Callable[[Response, AudioQuestion], None]]:
    """Show a sitting on standard error: a bar on a terminal, elsewhere a few lines.

    Args:
        name: The run's name.
        done: Answers that are there already.
        total: Answers that are due in all.
        responder: Who answers.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TimeRemainingColumn(),
    )
    live = err.is_terminal
    step = max((total - done) // _NOTES, 1)
    state = State(responder, total - done)
    with Progress(*columns, console=err, transient=True, disable=not live) as progress:
        bar = progress.add_task(visible(name), total=total, completed=done, state="")

        def on_response(response: Response, question: AudioQuestion) -> None:
            state.see(response, question)
            if live:
                progress.update(bar, advance=1, state=str(state))
            elif state.answers % step == 0:
                so_far = ", ".join(filter(None, (str(state), state.time_left())))
                note(f"{name}: {done + state.answers:,} of {total:,}, {so_far}")

        yield on_response
