"""SIGTERM, SIGHUP and SIGINT ask a run to stop: it finishes the current item, and the index.

``is_overdue`` and ``end_if_asked`` are for code that a handler of signals cannot interrupt.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import NoReturn

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.exit_codes import ExitCode

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 2.0
"""Seconds for which a query or a survey may go on after the process was asked to end."""
STOPPED = "stopped"
"""The code of a ``TargetError`` about what was given up therefore: nothing failed."""


class _Heard:
    """The first signal that asked this process to end, and when, on the monotonic clock;
    ``decided``: the exit code that is recorded already."""

    number: int | None = None
    at = 0.0
    decided: int | None = None


def signals_to_hear() -> list[signal.Signals]:
    """Those of ``SIGNALS`` to handle: a SIGHUP that is ignored, as under nohup, remains so."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [each for each in SIGNALS if each is not signal.SIGHUP or not ignored]


def hear(number: int) -> None:
    """Note a signal, for code that neither returns nor lets an exception through for long."""
    if _Heard.number is None:
        _Heard.number, _Heard.at = number, time.monotonic()


def forget() -> None:
    """Note that what was asked has been done."""
    _Heard.number = None


def decide(exit_code: int | None) -> None:
    """Note the exit code that this process ends with from now on, by a signal too: it is recorded,
    and whoever asks the history and whoever asks the process have to be given the same answer.
    ``None``: a command begins, of which nothing is recorded."""
    _Heard.decided = exit_code


def is_overdue(since: float = 0.0) -> bool:
    """Whether the process was asked to end more than ``GRACE`` ago, and what began at ``since``
    (on the monotonic clock) has had as long."""
    return _Heard.number is not None and time.monotonic() - max(_Heard.at, since) > GRACE


def end_survey_if_overdue() -> None:
    """Raise ``TargetError`` where a survey should end: it changes nothing, and has no need to be
    finished."""
    if is_overdue():
        raise TargetError(STOPPED, "the run was stopped before all of it had been surveyed")


def given_up(where: str) -> TargetError:
    """What is raised for a query that was ended, or not tried again, since ``is_overdue``."""
    return TargetError(STOPPED, f"{where}: given up, since the command was asked to stop")


def end_if_asked() -> None:
    """End the process where its handler's SystemExit was lost: SQLite's callbacks drop it."""
    if _Heard.number is not None and signal.getsignal(_Heard.number) is end:
        end(_Heard.number, None)


def end(number: int, _frame: FrameType | None) -> NoReturn:
    """What a signal does to commands that only read, and to a run that is recorded: they end at
    once, by SIGHUP as by SIGTERM."""
    number = signal.SIGTERM if number == signal.SIGHUP else number
    hear(number)
    raise SystemExit(128 + number if _Heard.decided is None else _Heard.decided)


_EXIT_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.TERMINATED,
}


class Stop:
    """Whether somebody asked the run to stop, looked at between items; ``said``: by whom."""

    said = "Stopped by a signal"

    def __init__(self) -> None:
        self.exit_code: ExitCode | None = None

    @property
    def asked(self) -> bool:
        """Whether to stop at the next boundary."""
        return self.exit_code is not None

    def _take(self, number: int, _frame: FrameType | None) -> None:
        hear(number)
        self.exit_code = _EXIT_CODES[signal.Signals(number)]


@contextmanager
def stop_on_signals() -> Iterator[tuple[Stop, ExitStack]]:
    """Turn the signals that end a process into a request to stop, while in the block.

    Once the stack is closed, signals do what they did before: there is nothing left to finish.
    """
    stop = Stop()
    with ExitStack() as heard:
        heard.callback(forget)
        for number in signals_to_hear():
            heard.callback(signal.signal, number, signal.signal(number, stop._take))
        yield stop, heard
