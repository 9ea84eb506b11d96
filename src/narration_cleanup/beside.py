"""Work done in a second process, while this one goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_PIECE = 1 << 20


class Beside(Generic[T]):
    """``work`` begun in a forked process, where one can be had; ``result`` waits for it.

    The result is pickled. Whatever fails over there is done again here, where it can be told;
    so is work that was never begun there.
    """

    def __init__(self, work: Callable[[], T], *, fork: bool) -> None:
        self._work = work
        self._child = 0
        self._pipe = -1
        if fork and not _other_threads():
            self._begin()

    def result(self) -> T:
        """What ``work`` returns; raises what it raises here."""
        if not self._child:
            return self._work()
        import pickle

        told = b""
        with open(self._pipe, "rb", closefd=False) as pipe:
            told = pipe.read()
        if not self._reap() or not told:
            return self._work()
        result: T = pickle.loads(told)
        return result

    def close(self) -> None:
        """Stop what nobody waits for any more."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            self._reap()

    def _begin(self) -> None:
        reading, writing = os.pipe()
        try:
            self._child = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            return
        if not self._child:
            _tell(self._work, writing)
        os.close(writing)
        self._pipe = reading

    def _reap(self) -> bool:
        """Wait for the process; whether it ended well."""
        os.close(self._pipe)
        child, self._child = self._child, 0
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) == 0


def _tell(work: Callable[[], T], pipe: int) -> None:
    """In the forked process: work, tell the result, and end without touching what is the parent's.

    Never returns.
    """
    code = 1
    try:
        import pickle

        told = memoryview(pickle.dumps(work()))
        while told:
            told = told[os.write(pipe, told[:_PIECE]) :]
        code = 0
    finally:
        os._exit(code)


def _other_threads() -> bool:
    """Whether a fork could find a lock held by a thread that does not exist over there."""
    threading = sys.modules.get("threading")
    return threading is not None and threading.active_count() > 1
