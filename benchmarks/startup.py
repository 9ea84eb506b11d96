"""What a command imports, and how long that takes: Python's own `-X importtime`, added up."""

import os
import re
import subprocess

from benchmarks.measure import Command

LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
SHOWN = 12


def import_seconds(command: Command) -> dict[str, float]:
    """Seconds spent importing, in all and in the packages that cost most, of a Python command."""
    python, *arguments = command.argv
    done = subprocess.run(
        [python, "-X", "importtime", *arguments],
        env={**os.environ, **command.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    packages = by_package(done.stderr)
    costly = sorted(packages, key=lambda name: -packages[name])[:SHOWN]
    return {
        "importing, all, s": sum(packages.values()),
        **{f"importing {name}, s": packages[name] for name in costly},
    }


def by_package(output: str) -> dict[str, float]:
    """Each top-level package's own import time in seconds, from what `-X importtime` wrote."""
    packages: dict[str, float] = {}
    for microseconds, module in LINE.findall(output):
        name = module.partition(".")[0]
        packages[name] = packages.get(name, 0.0) + int(microseconds) / 1e6
    return packages
