"""Ctrl-C between steps: the first asks the loop to save and stop, the second stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

from sari_data.console import note


class StopRequest:
    """Context manager; true once Ctrl-C was pressed. Outside the main thread it changes nothing."""

    def __init__(self) -> None:
        self._asked = False
        self._previous: object = None
        self._installed = False

    def __bool__(self) -> bool:
        return self._asked

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._ask)
            self._installed = True
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        self._restore()
        note("stopping after this step, with a checkpoint; Ctrl-C again stops at once")

    def _restore(self) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)  # type: ignore[arg-type]
            self._installed = False
