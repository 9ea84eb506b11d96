"""``python -m tests.golden.hold ROOT CONFIG``: a run that stops in the middle, and waits there.

It does so when it moves the second file, says so on standard output, and ends only when it is
killed. Meanwhile it holds whatever a run holds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.golden.program import run_program
from tests.golden.service import once


def _wait(event: str, arguments: tuple[Any, ...]) -> None:
    print("held", file=sys.__stdout__, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    root = Path(sys.argv[1])
    root.mkdir()
    run_program(["-c", sys.argv[2], "run"], root, {}, hook=once("os.rename", _wait, at=2))
