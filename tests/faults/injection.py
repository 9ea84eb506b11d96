"""System calls of a run: listed by a first, unharmed pass, then harmed one by one with strace."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.server import ToolServer

_CALL = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>.+)$")

_FILE_CALLS = {
    "openat": "EIO ENOSPC EACCES EROFS",
    "open": "EIO ENOSPC EACCES EROFS",
    "read": "EIO",
    "pread64": "EIO",
    "write": "EIO ENOSPC",
    "writev": "EIO ENOSPC",
    "pwrite64": "EIO ENOSPC",
    "fsync": "EIO ENOSPC EROFS",
    "fdatasync": "EIO ENOSPC EROFS",
    "sync_file_range": "EIO ENOSPC",
    "fallocate": "EIO ENOSPC",
    "copy_file_range": "EIO ENOSPC",
    "sendfile": "EIO ENOSPC",
    "ftruncate": "EIO ENOSPC EROFS EACCES",
    "close": "EIO ENOSPC",
    "rename": "EIO ENOSPC EACCES EROFS",
    "renameat": "EIO ENOSPC EACCES EROFS",
    "renameat2": "EIO ENOSPC EACCES EROFS",
    "link": "EIO ENOSPC EACCES EROFS",
    "linkat": "EIO ENOSPC EACCES EROFS",
    "unlink": "EIO EACCES EROFS",
    "unlinkat": "EIO EACCES EROFS",
    "rmdir": "EIO EACCES EROFS",
    "mkdir": "EIO ENOSPC EACCES EROFS",
    "mkdirat": "EIO ENOSPC EACCES EROFS",
    "fchmod": "EIO ENOSPC EROFS",
    "fchown": "EIO ENOSPC EROFS",
    "chmod": "EIO ENOSPC EACCES EROFS",
    "chown": "EIO ENOSPC EACCES EROFS",
    "utimensat": "EIO EACCES EROFS",
    "newfstatat": "EIO EACCES",
    "fstat": "EIO",
    "stat": "EIO EACCES",
    "lstat": "EIO EACCES",
    "statx": "EIO EACCES",
    "statfs": "EIO EACCES",
    "fstatfs": "EIO",
    "access": "EIO EACCES EROFS",
    "faccessat": "EIO EACCES EROFS",
    "faccessat2": "EIO EACCES EROFS",
    "readlink": "EIO EACCES",
    "getdents64": "EIO",
    "fcntl": "EIO EACCES",
    "flock": "EIO",
    "mmap": "EACCES",
}
"""Which of EIO, ENOSPC, EACCES and EROFS each call on a file can return, by its manual page (and
those that a file system may pass on); `flock` and `close` by what network file systems do."""

_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")


@dataclass(frozen=True)
class Call:
    """The `number`th call of `name` in a run (from 1), and what it was about."""

    name: str
    number: int
    arguments: str

    def __str__(self) -> str:
        return f"{self.name} {self.number}: {self.arguments[:160]}"


@dataclass(frozen=True)
class Fault:
    """What is done to one call: `signal=NAME` or `error=NAME`, once or from then on."""

    call: Call
    what: str
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.what}{' from' if self.lasting else ''} at {self.call}"

    @property
    def options(self) -> list[str]:
        """The fault as strace's options."""
        when = f"{self.call.number}{'+' if self.lasting else ''}"
        return ["-e", f"inject={self.call.name}:{self.what}:when={when}"]


def run_traced(
    server: ToolServer,
    arguments: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    options: Sequence[str] = (),
) -> int:
    """Run the tool under strace; its exit code. `folder` gets `trace`, `output` and `errors`."""
    child = server.prepare(arguments, folder / "output", folder / "errors", environment)
    with subprocess.Popen(
        ["strace", "-f", "-y", "-s", "32", "-o", str(folder / "trace"), *options, "-p", str(child)],
        stderr=subprocess.PIPE,
        text=True,
    ) as tracer:
        assert tracer.stderr
        attached = tracer.stderr.readline()
        assert "attached" in attached, attached + tracer.stderr.read()
        code = server.go()
        tracer.stderr.read()
    return code


def calls_of(trace: Path) -> list[Call]:
    """Every call in a trace, numbered by name as strace counts them."""
    counts: Counter[str] = Counter()
    calls = []
    for line in trace.read_text(errors="replace").splitlines():
        found = _CALL.match(line)
        if found:
            counts[found["name"]] += 1
            calls.append(Call(found["name"], counts[found["name"]], found["arguments"]))
    return [call for call in calls if call.name != "rt_sigtimedwait"]


def signals(calls: Sequence[Call], name: str) -> list[Fault]:
    """A signal on entering each call."""
    return [Fault(call, f"signal={name}") for call in calls]


def errors(calls: Sequence[Call], below: Path) -> Iterator[Fault]:
    """Every error at every call that can return it, of the calls about files under `below`."""
    for call in calls:
        if str(below) not in call.arguments:
            continue
        for error in _FILE_CALLS.get(call.name, "").split():
            reads = call.name in ("openat", "open") and not _WRITING.search(call.arguments)
            if not (reads and error in ("ENOSPC", "EROFS")):
                yield Fault(call, f"error={error}")


def sampled(faults: Sequence[Fault], count: int) -> list[Fault]:
    """`count` of the faults, evenly spread, always the same ones."""
    if count >= len(faults):
        return list(faults)
    return [faults[number * len(faults) // count] for number in range(count)]
