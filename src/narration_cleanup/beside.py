"""Work done in a second process, while this one goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

from narration_cleanup.errors import HalfError

T = TypeVar("T")

_PIECE = 1 << 20
_SIZE = 8
"""Bytes that say how many follow: ``marshal`` reads from bytes much faster than from a file."""


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


class Streamed:
    """What ``make`` yields, made in a forked process where one can be had, begun at once.

    Tuples of plain values only; named ones come back as plain ones. An ``OSError`` over there is
    raised here. To be iterated once, and closed.
    """

    def __init__(self, make: Callable[[], Iterator[tuple[Any, ...]]]) -> None:
        self._make = make
        self._child = 0
        self._pipe = -1
        if not _other_threads():
            self._begin()

    def __iter__(self) -> Iterator[Any]:
        """Raises ``HalfError`` where the process ends before its time."""
        if not self._child:
            yield from self._make()
            return
        import marshal

        with open(self._pipe, "rb", buffering=_PIECE, closefd=False) as pipe:
            while True:
                try:
                    size = int.from_bytes(pipe.read(_SIZE))
                    kind, values = marshal.loads(pipe.read(size))
                except (EOFError, ValueError, TypeError):
                    message = "the process that looks at the files ended before its time"
                    raise HalfError("interrupted_look", message) from None
                if kind == "end":
                    return
                if kind == "error":
                    raise OSError(*values)
                yield values

    def close(self) -> None:
        """End the process, if it has not ended."""
        if self._child:
            child, self._child = self._child, 0
            os.close(self._pipe)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def _begin(self) -> None:
        reading, writing = os.pipe()
        try:
            self._child = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            return
        if not self._child:
            os.close(reading)
            _widen(writing)
            _send(self._make, writing)
        os.close(writing)
        self._pipe = reading


def _send(make: Callable[[], Iterator[tuple[Any, ...]]], pipe: int) -> None:
    """In the forked process: make, send, and end without touching what is the parent's.

    Never returns. Where something unforeseen fails no end is sent, which the other side notices.
    """
    try:
        import marshal

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
