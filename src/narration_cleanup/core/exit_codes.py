"""The exit codes of every command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of the process; also listed in ``--help`` and the README."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTLY_DONE = 3
    REFUSED = 4
    BUSY = 75
    BAD_CONFIGURATION = 78
    INTERRUPTED = 130
    TERMINATED = 143
