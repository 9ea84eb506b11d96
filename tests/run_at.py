"""Run the tool at a fixed moment: `python -m tests.run_at 2026-11-23T12:00:00+00:00 run …`.

Only the wall clock stands still. The monotonic clocks go on, since waiting for a lock or a busy
database counts by them and would never end.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Sequence
from datetime import datetime

from freezegun import freeze_time


def main(arguments: Sequence[str]) -> None:
    """Freeze the wall clock at the first argument and hand the others to the tool."""
    moment, *rest = arguments
    monotonic, perf_counter = time.monotonic, time.perf_counter
    monotonic_ns, perf_counter_ns = time.monotonic_ns, time.perf_counter_ns
    with freeze_time(datetime.fromisoformat(moment)):
        time.monotonic, time.perf_counter = monotonic, perf_counter
        time.monotonic_ns, time.perf_counter_ns = monotonic_ns, perf_counter_ns
        # The tool is imported only now, so that its `from time import monotonic` finds the clock
        # that goes on.
        sys.argv = ["narration-cleanup", *rest]
        runpy.run_module("narration_cleanup", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
