"""One run woven with others: each of its calls to the operating system is a scheduling point.

`Weave` takes the place of the calls in `os`, of `open`, of `fcntl.flock` and of the clocks in
`time`, for as long as it is entered. Before each call `before` is given its number, and may do
something. Nothing is waited for: a sleep moves the clock, and so does each call, by a microsecond.
The times of files are kept here as well, and are shown in steps of `grain_ns`, as a file system
with coarse times has them. So a run is the same each time, on any machine and any file system.
"""

from __future__ import annotations

import builtins
import fcntl
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

START_NS = 1_795_435_200_000_000_000
"""2026-11-23 12:00:00 UTC: the beginning of a second, and of two."""
_CALL_NS = 1_000

_LOOKS = (
    *("access", "close", "fdatasync", "flock", "fstatvfs", "fsync", "getxattr", "listxattr"),
    *("lseek", "pread", "preadv", "read", "readlink", "statvfs"),
)
"""Calls that change no time of a file. Nothing here outlives the machine: no sync is waited for."""
_BY_DESCRIPTOR = {
    "copy_file_range": 1,
    "fchmod": 0,
    "fchown": 0,
    "ftruncate": 0,
    "posix_fallocate": 0,
    "pwrite": 0,
    "sendfile": 0,
    "setxattr": 0,
    "write": 0,
}
"""Calls that change a file through a descriptor: which argument that is."""
_OF_RIGHTS = ("fchmod", "fchown", "setxattr")
_BY_NAME = ["link", "mkdir", "remove", "rename", "replace", "rmdir", "symlink", "unlink"]
_OF_TWO = ("link", "rename", "replace")
_STATUS = ("fstat", "lstat", "stat")
_MORE_OF_A_STATUS = ("st_atime", "st_atime_ns", "st_blksize", "st_blocks", "st_rdev")
_OF_A_DESCRIPTOR = ("fstat", "listdir", "pread", "preadv", "read")
_NO_WAIT = ("fdatasync", "fsync")

_real_open = open
_real: dict[str, Callable[..., Any]] = {
    name: getattr(os, name)
    for name in (*_LOOKS, *_BY_DESCRIPTOR, *_BY_NAME, *_STATUS, "open", "scandir", "listdir")
    if hasattr(os, name)
} | {"flock": fcntl.flock}


@dataclass
class Weave:
    """The calls of a run, each beginning with its name.

    `grain_ns` divides two seconds. `before` is called before each call (numbers from 0), `changed`
    after each that may change what others see; their own calls are no scheduling points.
    """

    grain_ns: int
    before: Callable[[int], None] = lambda number: None
    changed: Callable[[], None] = lambda: None
    calls: list[str] = field(default_factory=list)
    now_ns: int = START_NS
    _times: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    _inside: bool = False
    _kept: list[tuple[object, str, object]] = field(default_factory=list)

    def __enter__(self) -> Self:
        for name in _real:
            module = fcntl if name == "flock" else os
            self._replace(module, name, partial(self._call, name))
        for module in (builtins, io):
            self._replace(module, "open", self._open_file)
        self._replace(time, "time", lambda: self.now_ns / 1e9)
        self._replace(time, "time_ns", lambda: self.now_ns)
        self._replace(time, "sleep", self._sleep)
        for name in ("monotonic", "perf_counter"):
            self._replace(time, name, lambda: (self.now_ns - START_NS) / 1e9 + 1)
        self._replace(time, "clock_gettime", lambda clock: self._clock(clock) / 1e9)
        self._replace(time, "clock_gettime_ns", self._clock)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._kept:
            module, name, real = self._kept.pop()
            setattr(module, name, real)

    def age(self, path: str | os.PathLike[str], seconds: float) -> None:
        """Give a file times that lie so far back."""
        moment = START_NS - int(seconds * 1e9)
        found = _real["stat"](path)
        self._times[found.st_dev, found.st_ino] = moment, moment

    def do(self, thing: Callable[[], None]) -> None:
        """Let another do something: its calls are no scheduling points, but change times."""
        self._inside, before = True, self._inside
        try:
            thing()
        finally:
            self._inside = before

    def _replace(self, module: object, name: str, by: object) -> None:
        self._kept.append((module, name, getattr(module, name)))
        setattr(module, name, by)

    def _clock(self, clock: int) -> int:
        return self.now_ns if clock == time.CLOCK_REALTIME else self.now_ns - START_NS + 10**9

    def _sleep(self, seconds: float) -> None:
        self._point("sleep", (seconds,))
        self.now_ns += int(seconds * 1e9)

    def _point(self, name: str, arguments: tuple[object, ...], of: object = None) -> None:
        self.now_ns += _CALL_NS
        if self._inside:
            return
        told = (
            f"{len(it)} bytes" if isinstance(it, bytes | memoryview) else it for it in arguments
        )
        file = "" if of is None else f" of {_real['readlink'](f'/proc/self/fd/{of}')}"
        self.calls.append(f"{name} {' '.join(map(str, told))}{file}")
        self._inside = True
        try:
            self.before(len(self.calls) - 1)
        finally:
            self._inside = False

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        self._point(name, arguments, of=arguments[0] if name in _OF_A_DESCRIPTOR else None)
        if name in _STATUS:
            return self._shown(_real[name](*arguments, **options))
        if name == "scandir":
            return _Scan(self, _real[name](*arguments, **options))
        if name in _NO_WAIT:
            return None
        if name in _LOOKS or name == "listdir":
            return _real[name](*arguments, **options)
        touched = self._touched(name, arguments, options)
        result = _real[name](*arguments, **options)
        if name == "open":
            if arguments[1] & os.O_TRUNC:
                self._stamp(_real["fstat"](result))
        else:
            for status in touched:
                self._stamp(status, contents=name not in (*_OF_RIGHTS, *_BY_NAME))
        if not self._inside and name != "open":
            self.do(self.changed)
        return result

    def _open_file(self, *arguments: Any, **options: Any) -> Any:
        """Opening alone is a point, not what is read or written then."""
        self._point("open", arguments)
        return _real_open(*arguments, **options)

    def _touched(
        self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Iterator[os.stat_result]:
        """The files whose times a call changes, as they are before it."""
        found = []
        with suppress(OSError):
            if name in _BY_DESCRIPTOR:
                found.append(_real["fstat"](arguments[_BY_DESCRIPTOR[name]]))
            elif name in _BY_NAME:
                place = options.get("dir_fd", options.get("src_dir_fd"))
                found.append(_real["lstat"](arguments[0], dir_fd=place))
                if name in _OF_TWO:
                    there = options.get("dst_dir_fd")
                    found.append(_real["lstat"](arguments[1], dir_fd=there))
        return iter(found)

    def _stamp(self, status: os.stat_result, *, contents: bool = True) -> None:
        key = status.st_dev, status.st_ino
        mtime = self.now_ns if contents else self._times.get(key, _times_of(status))[0]
        self._times[key] = mtime, self.now_ns

    def _shown(self, status: os.stat_result) -> os.stat_result:
        """A status with the times kept here, as coarse as they are to be."""
        times = self._times.get((status.st_dev, status.st_ino), _times_of(status))
        mtime, ctime = (moment // self.grain_ns * self.grain_ns for moment in times)
        more = {name: getattr(status, name) for name in _MORE_OF_A_STATUS}
        more |= {"st_mtime": mtime / 1e9, "st_ctime": ctime / 1e9}
        more |= {"st_mtime_ns": mtime, "st_ctime_ns": ctime}
        return os.stat_result((*status[:8], mtime // 10**9, ctime // 10**9), more)


def _times_of(status: os.stat_result) -> tuple[int, int]:
    """Of what nobody has changed yet: not after the beginning, whenever it was made."""
    return min(status.st_mtime_ns, START_NS), min(status.st_ctime_ns, START_NS)


class _Scan:
    """What `os.scandir` returns: all is read at once, as of a small folder."""

    def __init__(self, weave: Weave, real: Any) -> None:
        self._weave = weave
        self._real = real
        self._read = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _Entry:
        if not self._read:
            self._weave._point("getdents", ())
            self._read = True
        return _Entry(self._weave, next(self._real))

    def close(self) -> None:
        self._real.close()


class _Entry:
    """An `os.DirEntry` whose status is a scheduling point."""

    def __init__(self, weave: Weave, real: os.DirEntry[str]) -> None:
        self._weave = weave
        self._real = real
        self._status: dict[bool, os.stat_result] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __fspath__(self) -> str:
        return self._real.__fspath__()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        if follow_symlinks not in self._status:
            self._weave._point("stat", (self._real.name,))
            found = self._real.stat(follow_symlinks=follow_symlinks)
            self._status[follow_symlinks] = self._weave._shown(found)
        return self._status[follow_symlinks]
