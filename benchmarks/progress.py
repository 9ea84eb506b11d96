"""What it costs to show progress: the time spent telling the terminal, within one command.

`python -m benchmarks.progress FILE ARGUMENTS…` is the command itself, with a watch on each call of
its progress; what was counted is written to FILE as two numbers: seconds of telling, and of all.
What the report on a terminal needs as well is imported before: it costs the same without progress.
"""

import functools
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import BenchmarkError, Command

TOLD = ("start", "advance", "done", "close")


def progress_share(command: Command) -> float:
    """The share of a command's time that goes into its progress, on a terminal of its own."""
    python, _, _, *arguments = command.argv
    ours, theirs = pty.openpty()
    with tempfile.TemporaryDirectory() as folder:
        counted = Path(folder, "counted")
        with subprocess.Popen(
            [python, "-m", "benchmarks.progress", str(counted), *arguments],
            env={**os.environ, "TERM": "xterm-256color", **command.environment},
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            reading = threading.Thread(target=read_to_the_end, args=(ours,))
            reading.start()
        reading.join()
        os.close(ours)
        if process.returncode or not counted.exists():
            raise BenchmarkError(f"a run with progress ended with {process.returncode}")
        telling, whole = map(float, counted.read_text().split())
    return telling / whole


def read_to_the_end(terminal: int) -> None:
    """Read a terminal's output until no process has it open any more."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # that is how the other end of a terminal is closed
        return


def main() -> None:
    """Run the command with a watch on its progress."""
    begun = time.perf_counter()
    from narration_cleanup.cli import app
    from narration_cleanup.report.progress_bar import TerminalProgress
    from narration_cleanup.report.terminal import open_console

    open_console(sys.stdout)
    spent = 0.0
    depth = 0

    def watched(call: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(call)
        def timed(*args: object) -> None:
            nonlocal spent, depth
            from_when = time.perf_counter()
            depth += 1
            try:
                call(*args)
            finally:
                depth -= 1
                if not depth:
                    spent += time.perf_counter() - from_when

        return timed

    for name in TOLD:
        setattr(TerminalProgress, name, watched(getattr(TerminalProgress, name)))
    file = Path(sys.argv.pop(1))
    try:
        app.main()
    finally:
        file.write_text(f"{spent} {time.perf_counter() - begun}")


if __name__ == "__main__":
    main()
