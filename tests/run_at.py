"""Run the tool at a fixed moment: `python -m tests.run_at 2026-11-23T12:00:00+00:00 run …`.

Only `time.time` stands still, which is what the tool reads, once, at its start. The monotonic
clocks go on, since waiting for a lock or a busy database counts by them and would never end.
The ctime of a file cannot be set: one that lies after the moment at which the
clock is stopped is taken to be the file's mtime.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from unittest import mock

import msgspec

from narration_cleanup.core.model import StoredFile
from narration_cleanup.stores.cache.local import scan
from narration_cleanup.stores.cache.local.directory import Directory
from tests.samples import SAMPLE_NOW

S3_CACHE = "narration_cleanup.stores.cache.s3.indexed"
"""Whose `IN_FLIGHT` tests shorten: the time of an object cannot be set."""
_SHORTENED = {
    "TESTS_S3_IN_FLIGHT": (S3_CACHE, "IN_FLIGHT"),
    "TESTS_TORN": ("narration_cleanup.core.deadline", "_SETTLED_WITHIN"),
    "TESTS_HISTORY_BUSY": ("narration_cleanup.report.history.database", "BUSY_SECONDS"),
    "TESTS_RUN_LOCK": ("narration_cleanup.core.locks", "RUN_LOCK_WAIT"),
}
"""Seconds that tests set by a variable, where to wait longer shows nothing more."""


def arrival_before(
    instant: float,
) -> Callable[[Directory, str, os.stat_result], StoredFile]:
    """`scan.stored_file`, but that nothing arrives after `instant`, except by its mtime."""
    stored_file = scan.stored_file

    def stored(directory: Directory, name: str, status: os.stat_result) -> StoredFile:
        file = stored_file(directory, name, status)
        if file.arrived_at <= instant:
            return file
        return msgspec.structs.replace(file, arrived_at=file.modified_at)

    return stored


def stopped_clock(moment: datetime = SAMPLE_NOW) -> AbstractContextManager[object]:
    """In this process: `time.time` stands still at `moment`."""
    return mock.patch.object(time, "time", moment.timestamp)


def main(arguments: Sequence[str]) -> None:
    """Stop the wall clock at the first argument and hand the others to the tool."""
    moment, *rest = arguments
    instant = datetime.fromisoformat(moment).timestamp()
    time.time = lambda: instant
    vars(scan)["stored_file"] = arrival_before(instant)
    for variable, (module, constant) in _SHORTENED.items():
        if (seconds := os.environ.get(variable)) is not None:
            vars(importlib.import_module(module))[constant] = float(seconds)
    sys.argv = ["narration-cleanup", *rest]
    runpy.run_module("narration_cleanup", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
