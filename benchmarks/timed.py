"""Runs one command and reports what it cost: ``python -S -E timed.py REPORT COMMAND [ARGUMENT …]``.

Writes to REPORT: seconds, processor seconds (user and system, of the command and the children that
it waited for), bytes written, peak memory in bytes (the largest resident set of any of them), exit
status. A process inherits the peak of what started it, so this one imports little: its own 9 MB are
the least that is ever reported.
"""

import os
import sys
import time


def main(report: str, *argv: str) -> int:
    """Run the command, and write what it cost to ``report``."""
    start = time.monotonic()
    child = os.posix_spawnp(argv[0], argv, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - start
    cost = usage.ru_utime + usage.ru_stime, usage.ru_oublock * 512, usage.ru_maxrss * 1024
    with open(report, "w") as file:
        print(seconds, *cost, os.waitstatus_to_exitcode(status), file=file)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
