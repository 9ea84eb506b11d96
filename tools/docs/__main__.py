"""`python -m tools.docs`: write again all that is made; with `--check`, only say what is stale."""

from __future__ import annotations

import sys

from tools.docs.console import ROOT
from tools.docs.made import made_files


def main(arguments: list[str]) -> int:
    """Write or compare; 1 where something was stale in a check."""
    check = "--check" in arguments
    stale = []
    for name, text in made_files():
        path = ROOT / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{'stale' if check else 'written'}: {name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
