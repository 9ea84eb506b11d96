"""Progress on a terminal, for work that takes more than a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

DELAY = 1.0
"""Work that is done within this many seconds shows nothing."""
PAUSE = 0.25
"""Between two updates of the screen, in seconds: what comes in between is only counted."""


class TerminalProgress:
    """A bar for the phase at work, from the second second on. ``clock`` counts seconds.

    There is no thread behind it: the screen is looked at while the work advances, at most four
    times a second: about 0.5 % of a long run.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._next = clock() + DELAY
        self._phase = ""
        self._total: int | None = None
        self._count = 0
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def start(self, phase: str, total: int | None = None) -> None:
        """A phase begins; one that was not done is over."""
        self.done()
        self._phase, self._total, self._count = phase, total, 0
        self._look()

    def advance(self, count: int = 1) -> None:
        """``count`` more items of the phase are done."""
        self._count += count
        self._look()

    def done(self) -> None:
        """The phase is over."""
        if self._bars is not None and self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        self._phase = ""

    def close(self) -> None:
        """Wipe everything away."""
        self.done()
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _look(self) -> None:
        now = self._clock()
        if now < self._next or not self._phase:
            return
        self._next = now + PAUSE
        if self._bars is None:
            self._bars = _open(self._stream)
            self._bars.start()
        figure = f"{self._count:,}" + ("" if self._total is None else f" of {self._total:,}")
        if self._task is None:
            self._task = self._bars.add_task(self._phase, total=self._total, figure=figure)
        self._bars.update(self._task, completed=self._count, figure=figure)
        self._bars.refresh()


def _open(stream: TextIO) -> Bars:
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    from narration_cleanup.report.terminal import DIM, KEEP, open_console

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(None, DIM, KEEP, KEEP, KEEP),
        TextColumn("{task.fields[figure]}", markup=False),
        console=open_console(stream),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
