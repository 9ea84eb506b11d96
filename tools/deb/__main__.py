"""`python -m tools.deb [FOLDER]`: build the Debian package into a folder (dist/)."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.deb.build import build_deb
from tools.docs.console import ROOT


def main(arguments: list[str]) -> None:
    """Build, and say where it is."""
    print("Building the package: half a minute to 3 minutes ...", file=sys.stderr, flush=True)
    print(build_deb(Path(arguments[0]) if arguments else ROOT / "dist"))


if __name__ == "__main__":
    main(sys.argv[1:])
