"""The developer's one door: sets up an environment in .venv when needed, and runs things in it.

python3 dev.py demo [DIR]     see what narration-cleanup does, on a sandbox that it makes
python3 dev.py test [ARGS]    run the tests, all of them on all cores (ARGS go to pytest)
python3 dev.py check          formatting, lint and types
python3 dev.py fix            put formatting and simple lint right
python3 dev.py docs [--check] write again what the documents show of the program
python3 dev.py deb [DIR]      build the Debian package (into dist/)
python3 dev.py lock [ARGS]    write requirements/ anew (ARGS go to uv, which this needs)
python3 dev.py bench [ARGS]   measure, side by side with other tools
python3 dev.py faults [--full]  do harm to runs, and show what was tried and what was lost
python3 dev.py run ARGS       run narration-cleanup itself with ARGS

Needs Python 3.11 or newer with pip (Debian: python3-pip), or uv. $DEV_VENV names another folder
than .venv.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = Path(os.environ.get("DEV_VENV") or HERE / ".venv").absolute()
PYTHON = VENV / "bin" / "python"
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy", "--strict"),
)
TASKS = ("demo", "test", "check", "fix", "docs", "deb", "lock", "bench", "faults", "run")
PARALLEL = ("-n", "auto", "--dist", "worksteal")
FIXES = (("ruff", "check", "--fix", "."), ("ruff", "format", "."))


def set_up(extra: str) -> None:
    """Make the environment hold this checkout with `extra` ("" or "[test]"), unless it does.

    The stamp in it says what it was made from: the files of dependencies and version, this Python,
    and the extra. The larger extra serves for the smaller one too.
    """
    made_from = hashlib.sha256(f"{HERE} {sys.version_info[:2]}".encode())
    package = HERE / "src" / "narration_cleanup" / "__init__.py"  # it has the version
    for file in (package, HERE / "pyproject.toml", *sorted((HERE / "requirements").iterdir())):
        made_from.update(file.read_bytes())
    stamp = VENV / "made-from"
    found = stamp.read_text().split() if stamp.exists() else []
    current = found[:1] == [made_from.hexdigest()]
    if current and extra in ("", *found[1:]):
        return
    doing = "Adding the test tools to" if current else "Setting up"
    print(f"{doing} {VENV} (about half a minute, once) ...", file=sys.stderr, flush=True)
    # Made anew where anything changed, and added to where only the extra is missing; but nothing is
    # removed that is not a virtual environment.
    if VENV.exists() and not current:
        if not (VENV / "pyvenv.cfg").is_file():
            sys.exit(f"dev.py: {VENV} is in the way and not a virtual environment; move it away")
        shutil.rmtree(VENV)
    if shutil.which("uv"):
        if not current:
            run("uv", "venv", "--quiet", "--python", ">=3.11", str(VENV))
        install = ["uv", "pip", "install", "--quiet", "--python", str(PYTHON)]
    else:
        if sys.version_info < (3, 11):  # noqa: UP036 (the one place that says so in words)
            sys.exit(f"dev.py needs Python 3.11 or newer, or uv; this is {sys.version.split()[0]}")
        if importlib.util.find_spec("pip") is None:
            sys.exit("dev.py needs pip or uv; on Debian: apt install python3-pip")
        # A fresh Debian's venv cannot bring a pip of its own; the one outside installs into it.
        if not current:
            run(sys.executable, "-m", "venv", "--without-pip", str(VENV))
        install = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-qq"]
    # Everything from the registry by its hash, the build backend too; then this checkout, for
    # which nothing more is fetched.
    names = ("test",) if extra else ("run", "build")
    run(*install, "--require-hashes", *(f"--requirement=requirements/{name}.txt" for name in names))
    run(*install, "--no-index", "--no-build-isolation", "--editable", f"{HERE}{extra}")
    stamp.write_text(f"{made_from.hexdigest()}\n{extra}\n")


def run(*command: str) -> None:
    """Run a step of the set-up in this folder; end with its exit code when it fails."""
    code = subprocess.call(command, cwd=HERE)
    if code:
        sys.exit(f"dev.py: exit {code} from: {' '.join(command)}")


def inside(*command: str) -> int:
    """Run one of the environment's own programs, its programs first in the path; the exit code.

    Hundreds of processes import what is here: each module is compiled once, whatever the caller's
    PYTHONDONTWRITEBYTECODE says.
    """
    path = os.pathsep.join((str(PYTHON.parent), os.environ.get("PATH", os.defpath)))
    environment = {**os.environ, "PATH": path}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    program = str(PYTHON.parent / command[0])
    return subprocess.call((program, *command[1:]), env=environment)


def each(commands: tuple[tuple[str, ...], ...]) -> int:
    """Run all of them, also after one failed; the worst exit code."""
    return max(inside(*command) for command in commands)


def main(arguments: list[str]) -> int:
    """Do what the first argument names; the exit code."""
    task, *rest = arguments or ["help"]
    if task not in TASKS:
        if task in ("help", "-h", "--help"):
            print(__doc__)
            return 0
        print(f"dev.py: there is no task {task!r}; python3 dev.py lists them", file=sys.stderr)
        return 2
    set_up("" if task in ("demo", "run", "deb") else "[test]")
    if task in ("demo", "run"):  # in the caller's folder: the arguments may be relative paths
        # Not `inside`: the commands that it prints to type next are found in the caller's path.
        program = str(PYTHON.parent / "narration-cleanup")
        return subprocess.call((program, *(["demo"] if task == "demo" else []), *rest))
    os.chdir(HERE)
    if task == "test":
        return inside("pytest", *(rest or PARALLEL))
    if task == "docs":
        return inside("python", "-m", "tools.docs", *rest)
    if task == "deb":
        return inside("python", "-m", "tools.deb", *rest)
    if task == "lock":
        return inside("python", "-m", "tools.lock", *rest)
    if task == "bench":
        return inside("python", "-m", "benchmarks", *rest)
    if task == "faults":
        return inside("python", "-m", "tests.faults", *rest)
    return each(CHECKS if task == "check" else FIXES)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
