"""Does what timed.c does, where there is no C compiler; peaks are then at least its own.

``python timed.py REPORT COMMAND [ARGUMENT …]``. Imports little, to stay small.
"""

import os
import sys
import time


def main(report: str, *argv: str) -> int:
    """Run the command, and write seconds, peak in kilobytes and exit status to `report`."""
    start = time.monotonic()
    child = os.posix_spawnp(argv[0], argv, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - start
    code = os.waitstatus_to_exitcode(status)
    with open(report, "w") as file:
        file.write(f"{seconds:.6f} {usage.ru_maxrss} {code}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
