"""The packages that the program depends on, for several versions of Python in one folder."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from tools.docs.console import ROOT

PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = ("alerts", "postgres", "s3")
"""All extras: pip cannot add to this package."""

_LEFT_OUT = ("bin", "share")
_KEPT_OF_DIST_INFO = ("METADATA", "licenses", "LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")


def bring_together(wheel: Path, target: Path, work: Path) -> None:
    """Put the wheel and all it depends on into `target`, for every version in `PYTHONS`.

    Raises `ValueError` where two versions of Python need different files of the same name.
    """
    for version in PYTHONS:
        folder = work / version
        _install(wheel, folder, version)
        for path in _files(folder):
            _add(path, target / path.relative_to(folder))


def described(target: Path) -> Iterator[tuple[str, str, str]]:
    """(name, version, licence) of each package there, by name."""
    for file in sorted(target.glob("*.dist-info/METADATA")):
        about = HeaderParser().parsestr(file.read_text(encoding="utf-8"))
        yield about["Name"], about["Version"], _licence(about)


def _licence(about: Message) -> str:
    given = about["License-Expression"] or (about["License"] or "").strip().partition("\n")[0]
    prefix = "License :: OSI Approved :: "
    classified = [
        line.removeprefix(prefix)
        for line in about.get_all("Classifier", [])
        if line.startswith(prefix)
    ]
    return given or ", ".join(classified) or "see the file beside it"


def _install(wheel: Path, folder: Path, version: str) -> None:
    machine = platform.machine()
    abi = f"cp{version.replace('.', '')}"
    install = [
        *(*_pip(), "install", "-qq", "--no-compile", f"--target={folder}", "--only-binary=:all:"),
        *(f"--python-version={version}", "--implementation=cp"),
        *(f"--abi={abi}", "--abi=abi3", "--abi=none"),
        *(f"--platform=manylinux_2_28_{machine}", f"--platform=manylinux2014_{machine}"),
    ]
    files = (f"--requirement={ROOT}/requirements/{extra}.txt" for extra in EXTRAS)
    subprocess.run([*install, "--require-hashes", *files], check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)


def _pip() -> tuple[str, ...]:
    """A pip that runs; the environment of `dev.py` has none of its own."""
    for python in (sys.executable, "/usr/bin/python3", shutil.which("python3") or "python3"):
        command = (python, "-m", "pip")
        if subprocess.run([*command, "--version"], capture_output=True).returncode == 0:
            return command
    raise FileNotFoundError("no pip to bring the dependencies with")


def _files(folder: Path) -> Iterator[Path]:
    """The files worth shipping: neither scripts, nor what pip notes for itself."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if not path.is_file() or inside[0] in _LEFT_OUT or "__pycache__" in inside:
            continue
        if inside[0].endswith(".dist-info") and not inside[1].startswith(_KEPT_OF_DIST_INFO):
            continue
        yield path


def _add(path: Path, target: Path) -> None:
    if target.exists():
        if target.read_bytes() != path.read_bytes():
            raise ValueError(f"{target.name} is not the same for all versions of Python: {path}")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
