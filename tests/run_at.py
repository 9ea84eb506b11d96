"""Run the tool at a fixed moment: `python -m tests.run_at 2026-11-23T12:00:00+00:00 run …`.

Only `time.time` stands still, which is what the tool reads, once, at its start. The monotonic
clocks go on, since waiting for a lock or a busy database counts by them and would never end.
(freezegun would put another class in the place of `datetime`, one that forgets which of two equal
hours it is in.)
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Sequence
from datetime import datetime


def main(arguments: Sequence[str]) -> None:
    """Stop the wall clock at the first argument and hand the others to the tool."""
    moment, *rest = arguments
    instant = datetime.fromisoformat(moment).timestamp()
    time.time = lambda: instant
    sys.argv = ["narration-cleanup", *rest]
    runpy.run_module("narration_cleanup", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
