"""All the proofs, then their figures as a table: `python -m tests.faults [--full] [PYTEST ARGS]`.

Without `--full` the counts are smaller; with it they are those that the README publishes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults.figures import table


def main(arguments: list[str]) -> int:
    """Run the proofs and print the table; pytest's exit code."""
    code = pytest.main(["-m", "faults", str(Path(__file__).parent), *arguments])
    print(table())
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
