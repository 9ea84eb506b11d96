"""Run the program in this process, at a fixed moment and in an environment of its own.

It is entered by ``narration_cleanup.__main__.main`` and reached by nothing else: the wall clock,
the host's name, whether systemd runs, and what happens to a file are set where Python itself asks
for them. So the modules may be moved and renamed without a change here.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from narration_cleanup.stores.cache.local import scan
from tests.run_at import arrival_before

MOMENT = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SYSTEMD = "/run/systemd/system"
"""The folder that exists where systemd runs, see sd_booted(3)."""

Hook = Callable[[str, tuple[Any, ...]], None]
"""Is called before each operation that Python audits, with its name and arguments; what it raises
is what the operation raises."""

T = TypeVar("T")

_hooks: list[Hook] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _hooks:
        hooks, _hooks[:] = list(_hooks), []  # what a hook does itself is not heard
        try:
            for hook in hooks:
                hook(event, arguments)
        finally:
            _hooks[:] = hooks


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, standard output and standard error."""

    code: int
    out: str
    err: str


def run_program(
    arguments: list[str],
    root: Path,
    environ: Mapping[str, str],
    *,
    after: timedelta = timedelta(0),
    hook: Hook | None = None,
) -> Ended:
    """Run it with ``environ`` alone, at ``MOMENT`` and ``after`` more; both outputs are files in
    ``root``, so nothing takes them for a terminal."""
    out, err = root / "out.txt", root / "err.txt"
    with ExitStack() as stack:
        stack.enter_context(_process(root, environ, MOMENT + after))
        for name, path in (("stdout", out), ("stderr", err)):
            stream = stack.enter_context(path.open("w", encoding="utf-8"))
            stack.enter_context(mock.patch.object(sys, name, stream))
        stack.enter_context(mock.patch.object(sys, "argv", ["narration-cleanup", *arguments]))
        if hook is not None:
            stack.enter_context(_heard(hook))
        code = enter()
    return Ended(code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


def enter() -> int:
    """The program's exit code, with the arguments and streams of this process."""
    from narration_cleanup.__main__ import main

    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextmanager
def _heard(hook: Hook) -> Iterator[None]:
    if not getattr(sys, "_golden_audit", False):  # a hook cannot be removed: one for all
        sys.addaudithook(_audit)
        sys._golden_audit = True  # type: ignore[attr-defined]
    _hooks.append(hook)
    try:
        yield
    finally:
        _hooks.clear()


@contextmanager
def _process(root: Path, environ: Mapping[str, str], moment: datetime) -> Iterator[None]:
    """Environment, zone, umask, clock, host name and systemd of the command, put back later."""
    instant = moment.timestamp()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    umask = os.umask(0o022)
    own = {
        "HOME": str(root / "home"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        # Who started it would else be asked of the processes above this one.
        "SYSTEMD_EXEC_PID": str(os.getpid()),
    }
    try:
        with (
            mock.patch.dict(os.environ, {**own, **environ}, clear=True),
            mock.patch.object(time, "time", _constant(instant)),
            mock.patch.object(scan, "stored_file", arrival_before(instant)),
            mock.patch.object(socket, "gethostname", _constant("the-host")),
            mock.patch.object(os, "stat", _stat(os.stat, booted="FAKE_SYSTEMD" in environ)),
            _no_waiting(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # as in a process of its own, not as in a test
            time.tzset()
            yield
    finally:
        time.tzset()
        os.umask(umask)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _constant(value: T) -> Callable[[], T]:
    return lambda: value


@contextmanager
def _no_waiting() -> Iterator[None]:
    """A sleep ends at once, and the clocks that waits are measured by go on by its length."""
    slept = 0.0
    monotonic, perf_counter, clock_gettime = time.monotonic, time.perf_counter, time.clock_gettime

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds

    def later(clock: Callable[[], float]) -> Callable[[], float]:
        return lambda: clock() + slept

    def gettime(clock: int) -> float:
        return clock_gettime(clock) + (slept if clock == time.CLOCK_MONOTONIC else 0)

    with (
        mock.patch.object(time, "sleep", sleep),
        mock.patch.object(time, "monotonic", later(monotonic)),
        mock.patch.object(time, "perf_counter", later(perf_counter)),
        mock.patch.object(time, "clock_gettime", gettime),
    ):
        yield


def _stat(real: Callable[..., os.stat_result], *, booted: bool) -> Callable[..., os.stat_result]:
    def stat(path: Any, *arguments: Any, **more: Any) -> os.stat_result:
        if str(path) == SYSTEMD:
            return real("/" if booted else "/nowhere/at/all")
        return real(path, *arguments, **more)

    return stat
