"""`python -m tools.lock [ARGS]`: write requirements/ anew: each version with all its hashes.

One file for what the program itself needs (`run`), one for the build backend (`build`), one for
each extra, each with what the files that it names do not have. Versions stay as they are where
nothing else asks for it; ARGS go to uv: `--upgrade-package NAME`, or `--upgrade`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tools.docs.console import ROOT

FOLDER = ROOT / "requirements"
INCLUDED = {
    "run": (),
    "build": (),
    "alerts": ("run",),
    "postgres": ("run",),
    "s3": ("run",),
    "test": ("alerts", "postgres", "s3", "build"),
    "servers": ("test",),
}
_COMPILE = ("uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes")
_PLAIN = ("--python-version=3.11", "--no-annotate", "--no-header")


def main(arguments: list[str]) -> None:
    """Resolve all together, then each file with the versions found."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    backend = (*project["build-system"]["requires"], "editables")  # for installing in place
    with tempfile.TemporaryDirectory() as work:
        inputs = Path(work, "build.in")
        inputs.write_text("\n".join(backend))
        everything = Path(work, "everything.txt")
        everything.write_text("\n".join(sorted(set().union(*map(_written, INCLUDED)))))
        sources = (str(inputs), "pyproject.toml", "--all-extras")
        _compiled(*sources, f"--output-file={everything}", *arguments)
        whole: dict[str, set[str]] = {}
        for name, included in INCLUDED.items():
            extra = () if name == "run" else (f"--extra={name}",)
            sources = (str(inputs),) if name == "build" else ("pyproject.toml", *extra)
            blocks = _compiled(*sources, f"--constraints={everything}")
            there = set().union(*(whole[other] for other in included))
            whole[name] = there.union(blocks)
            lines = [f"-r {other}.txt" for other in included]
            lines += [block for block in blocks if block not in there]
            (FOLDER / f"{name}.txt").write_text("\n".join(lines) + "\n")


def _written(name: str) -> set[str]:
    file = FOLDER / f"{name}.txt"
    return set(_blocks(file.read_text())) if file.exists() else set()


def _compiled(*arguments: str) -> list[str]:
    done = subprocess.run(
        (*_COMPILE, *_PLAIN, *arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(done.returncode)
    return _blocks(done.stdout)


def _blocks(text: str) -> list[str]:
    """Each pinned version with the lines of its hashes."""
    return re.findall(r"^[A-Za-z0-9].*(?:\n +--hash=.*)+", text, re.MULTILINE)


if __name__ == "__main__":
    main(sys.argv[1:])
