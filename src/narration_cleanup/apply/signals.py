"""SIGTERM, SIGHUP and SIGINT ask a run to stop: it finishes the current item, and the index."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from narration_cleanup.core import shutdown
from narration_cleanup.core.errors import ExitCode

_EXIT_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.TERMINATED,
}


class Stop:
    """Whether somebody asked the run to stop, looked at between items."""

    def __init__(self) -> None:
        self.exit_code: ExitCode | None = None

    @property
    def asked(self) -> bool:
        """Whether to stop at the next boundary."""
        return self.exit_code is not None

    def _take(self, number: int, _frame: FrameType | None) -> None:
        shutdown.hear(number)
        self.exit_code = _EXIT_CODES[signal.Signals(number)]


@contextmanager
def stop_on_signals() -> Iterator[tuple[Stop, ExitStack]]:
    """Turn the signals that end a process into a request to stop, while in the block.

    Once the stack is closed, signals do what they did before: there is nothing left to finish.
    """
    stop = Stop()
    with ExitStack() as heard:
        heard.callback(shutdown.forget)
        for number in shutdown.signals_to_hear():
            heard.callback(signal.signal, number, signal.signal(number, stop._take))
        yield stop, heard
