"""Progress on a terminal, for work that takes more than a moment."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TextIO

from narration_cleanup.report.streams import write_or_wait

DELAY = 1.0
"""Work that is done within this many seconds shows nothing."""
PAUSE = 0.25
"""Between two updates of the screen, in seconds: what comes in between is only counted."""


class TerminalProgress:
    """A line for the phase at work, from the second second on. ``clock`` counts seconds.

    There is no thread behind it: the line is written anew while the work advances, at most four
    times a second.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._next = clock() + DELAY
        self._phase = ""
        self._total: int | None = None
        self._count = 0
        self._width = 0

    def start(self, phase: str, total: int | None = None) -> None:
        """A phase begins; one that was not done is over."""
        self._phase, self._total, self._count = phase, total, 0
        self._look()

    def advance(self, count: int = 1) -> None:
        """``count`` more items of the phase are done."""
        self._count += count
        self._look()

    def done(self) -> None:
        """The phase is over."""
        self._phase = ""

    def close(self) -> None:
        """Wipe everything away."""
        if self._width:
            self._show("")

    def _look(self) -> None:
        now = self._clock()
        if now >= self._next and self._phase:
            self._next = now + PAUSE
            of = "" if self._total is None else f" of {self._total:,}"
            self._show(f"{self._phase}: {self._count:,}{of}")

    def _show(self, line: str) -> None:
        """In the place of the line before."""
        line = line[: shutil.get_terminal_size().columns - 1]
        write_or_wait(self._stream, f"\r{line.ljust(self._width)}\r")
        self._width = len(line)
