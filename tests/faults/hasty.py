"""A clean-up that knows a version of the index by its inode, size and times, to try the proofs on.

It is careful otherwise: it compares, then renames, and looks once more at the file it replaced.
The proofs must find what it loses where times are coarse, and to two saves in a row.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.naive import understood
from tests.samples import INDEX_NAME, TTL, service_time

_NEW = "index.new"
_MEMBER = re.compile(rb'\n  "\w+": \{.*?"created_at": "(.*?)".*?\n  \},?', re.DOTALL)

Span = tuple[int, int]


def main() -> None:
    """Clean the cache that is named."""
    clean(understood().cache_dir)
    print(json.dumps({"cache": {"removed_count": 0}, "actions": [], "problems": []}))
    sys.exit(0)


def clean(directory: Path) -> None:
    """Take the expired entries out of the index; the audio is another matter."""
    index, new = directory / INDEX_NAME, directory / _NEW
    with_times = _Version.of(index)
    content, planned = _read(index)
    spans = _expired(content)
    content, source = _read(index)
    try:
        if _Version.of(index) != with_times:
            return
        _write(new, _without(content, spans))
        if _Version.of(index) != with_times:
            return
        os.rename(new, index)
        ours = _Version.of(index)
        late = os.fstat(source)
        if (late.st_size, late.st_mtime_ns) != (with_times.size, with_times.mtime):
            content = os.pread(source, 1 << 20, 0)
            _write(new, _without(content, _expired(content)))
            if _Version.of(index) == ours:
                os.rename(new, index)
    finally:
        os.close(planned)
        os.close(source)


class _Version(tuple[int, int, int]):
    @property
    def size(self) -> int:
        return self[1]

    @property
    def mtime(self) -> int:
        return self[2]

    @classmethod
    def of(cls, index: Path) -> _Version:
        found = os.stat(index)
        return cls((found.st_ino, found.st_size, found.st_mtime_ns))


def _read(index: Path) -> tuple[bytes, int]:
    fd = os.open(index, os.O_RDONLY)
    return os.pread(fd, 1 << 20, 0), fd


def _expired(content: bytes) -> list[Span]:
    limit = service_time(datetime.fromtimestamp(time.time(), UTC) - TTL).encode()
    return [found.span() for found in _MEMBER.finditer(content) if found[1] < limit]


def _without(content: bytes, spans: Sequence[Span]) -> bytes:
    for start, end in reversed(spans):
        content = content[:start] + content[end:]
    return content.replace(b"},\n}", b"}\n}")


def _write(new: Path, content: bytes) -> None:
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, content)
    os.close(fd)
