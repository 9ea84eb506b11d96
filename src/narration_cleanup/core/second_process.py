"""Work done in a second process, while this one goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, TypeVar

from narration_cleanup.core.errors import TargetError

T = TypeVar("T")

_PIECE = 1 << 20
_SIZE = 8
"""Bytes that say how many follow: ``marshal`` reads from bytes much faster than from a file."""


_may_fork = ContextVar("_may_fork", default=True)


@contextmanager
def in_this_process() -> Iterator[None]:
    """No second process is begun in the block: another program's process is not to be forked."""
    before = _may_fork.set(False)
    try:
        yield
    finally:
        _may_fork.reset(before)


class _Process:
    """A forked process, and the pipe that it tells its results through."""

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid = pid
        self.pipe = pipe

    def ended_well(self) -> bool:
        """Wait for its end; whether it went as it should."""
        os.close(self.pipe)
        _, status = os.waitpid(self._pid, 0)
        return os.waitstatus_to_exitcode(status) == 0

    def end(self) -> None:
        """Stop what nobody waits for any more."""
        os.kill(self._pid, signal.SIGKILL)
        self.ended_well()


def _forked(tell: Callable[[int], None]) -> _Process | None:
    """A process that does ``tell`` with a pipe to write to; ``None`` where none can be had.

    ``tell`` never returns.
    """
    if not _may_fork.get() or _other_threads():
        return None
    try:
        reading, writing = os.pipe()
    except OSError:
        return None
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # As some callers leave it: then nobody is told how a process ended.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        return None
    if not pid:
        # Else, with its parent gone, it would wait for itself to read, and hold the run lock.
        os.close(reading)
        tell(writing)
    os.close(writing)
    return _Process(pid, reading)


class InSecondProcess(Generic[T]):
    """``work`` begun in a forked process, where one can be had; ``result`` waits for it.

    The result is pickled. Whatever fails over there is done again here, where it can be told;
    so is work that was never begun there.
    """

    def __init__(self, work: Callable[[], T], *, fork: bool) -> None:
        self._work = work
        self._process = _forked(partial(_tell, work)) if fork else None

    def result(self) -> T:
        """What ``work`` returns; raises what it raises here."""
        process = self._process
        if process is None:
            return self._work()
        import pickle

        with open(process.pipe, "rb", closefd=False) as pipe:
            told = pipe.read()
        self._process = None
        if not process.ended_well() or not told:
            return self._work()
        result: T = pickle.loads(told)
        return result

    def close(self) -> None:
        """Stop what nobody waits for any more."""
        process, self._process = self._process, None
        if process is not None:
            process.end()


class Streamed:
    """What ``make`` yields, made in a forked process where one can be had, begun at once.

    Tuples of plain values only; named ones come back as plain ones. An ``OSError`` over there is
    raised here. To be iterated once, and closed.
    """

    def __init__(self, make: Callable[[], Iterator[tuple[Any, ...]]]) -> None:
        self._make = make
        self._process = _forked(partial(_send, make))

    def __iter__(self) -> Iterator[Any]:
        """Raises ``TargetError`` where the process ends before its time."""
        if self._process is None:
            yield from self._make()
            return
        import marshal

        with open(self._process.pipe, "rb", buffering=_PIECE, closefd=False) as pipe:
            while True:
                try:
                    size = int.from_bytes(pipe.read(_SIZE))
                    kind, values = marshal.loads(pipe.read(size))
                except (EOFError, ValueError, TypeError):
                    message = "the process that looks at the files ended before its time"
                    raise TargetError("interrupted_look", message) from None
                if kind == "end":
                    return
                if kind == "error":
                    raise OSError(*values)
                yield values

    def close(self) -> None:
        """End the process, if it has not ended."""
        process, self._process = self._process, None
        if process is not None:
            process.end()


def _send(make: Callable[[], Iterator[tuple[Any, ...]]], pipe: int) -> None:
    """In the forked process: make, send, and end without touching what is the parent's.

    Never returns. Where something unforeseen fails no end is sent, which the other side notices.
    """
    try:
        import marshal

        _widen(pipe)
        with open(pipe, "wb", buffering=_PIECE) as stream:

            def tell(kind: str, values: tuple[Any, ...]) -> None:
                told = marshal.dumps((kind, tuple(values)))
                stream.write(len(told).to_bytes(_SIZE))
                stream.write(told)

            try:
                for values in make():
                    tell("item", values)
                tell("end", ())
            except OSError as error:
                tell("error", (error.errno, error.strerror, error.filename))
    finally:
        os._exit(0)


def _widen(pipe: int) -> None:
    """Let the pipe hold as much as is written at once, or the two would wait for each other."""
    import fcntl

    with suppress(AttributeError, OSError):  # Linux only, and limited for each user
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIECE)


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
