"""A process that has loaded the tool and makes copies of itself that run it.

The faults are injected into system calls, one run for each call. Starting Python and importing the
tool takes ten times as long as the tool's own work, and its system calls are none of ours: so they
are done once, here, and every run is a fork of this process, which waits for a signal (so that a
tracer can attach) and then does the tool's own work from its first call.

It is spoken to in lines of JSON: {"arguments": [...], "output": path, "errors": path,
"environment": {...}} is answered with the process id of the waiting copy; "go" lets it run, and is
answered with its wait status.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter

from tests.samples import make_sample


@dataclass(frozen=True)
class Run:
    """How a run ended: its exit code (negative for a signal), and what it said."""

    code: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        """All that it said, for a failed assertion or a search."""
        return self.output + self.errors


def crashed(said: str) -> bool:
    """Whether a run ended with an error that it did not foresee."""
    return "Traceback" in said or "internal error" in said


class ToolServer:
    """A running server, and the copy of it that is waiting or running."""

    def __init__(self, module: str = "narration_cleanup.__main__") -> None:
        """`module` has the `main` that is run: the tool's, unless the proofs are tried."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server", module],
            env=_bare_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._answer() == "ready"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def prepare(
        self,
        arguments: Sequence[str],
        output: Path,
        errors: Path,
        environment: dict[str, str] | None = None,
        user: int | None = None,
    ) -> int:
        """A copy that will run the tool when told, as `user` if given; its process id."""
        answer = self._ask(
            {
                "arguments": list(arguments),
                "output": str(output),
                "errors": str(errors),
                "environment": environment or {},
                "user": user,
            }
        )
        return int(answer)

    def go(self) -> int:
        """Let the copy run; its exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(int(self._ask("go")))

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: dict[str, str] | None = None,
        user: int | None = None,
    ) -> Run:
        """Run the tool to its end, which must not be a crash; `folder` gets what it says."""
        output, errors = folder / "output", folder / "errors"
        self.prepare(arguments, output, errors, environment, user)
        run = Run(self.go(), output.read_text(), errors.read_text())
        assert not crashed(run.said), run.said
        return run

    def _ask(self, question: object) -> str:
        assert self._process.stdin
        self._process.stdin.write(f"{json.dumps(question)}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def _bare_environment() -> dict[str, str]:
    """None of the caller's settings; enough to find this very code."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {"PATH": os.defpath, "PYTHONPATH": path, "HOME": "/nonexistent", "TZ": "UTC"}


def _serve() -> None:
    main = importlib.import_module(sys.argv[1]).main
    for name in ("tomllib", "grp"):  # another user may be kept out of where Python lies
        importlib.import_module(name)
    TypeAdapter(Path)  # as Typer converts a path that has to be checked
    with tempfile.TemporaryDirectory() as folder:
        _warm_up(main, Path(folder))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    gc.freeze()  # what a copy shares with this process is not touched by its collector
    print("ready", file=answers)
    child = 0
    for line in sys.stdin:
        question = json.loads(line)
        if question == "go":
            os.kill(child, signal.SIGUSR1)
            print(os.waitpid(child, 0)[1], file=answers)
            continue
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            _run(main, question, tell)
        os.close(tell)
        os.read(told, 1)
        os.close(told)
        print(child, file=answers)


def _warm_up(main: Callable[[], None], folder: Path) -> None:
    """Run the tool in child and parent, so that all it imports as it works is imported."""
    sample = make_sample(folder)
    cache, database = str(sample.cache.directory), str(sample.database)
    os.environ["NARRATION_CLEANUP_STATE_DIR"] = str(folder / "state")
    sys.argv = ["narration-cleanup", "run", "--json", "--cache-dir", cache]
    sys.argv += ["--requests-db", database]
    saved = os.dup(1), os.dup(2)
    code: object = None
    with (folder / "output").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            main()
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
    for number, descriptor in enumerate(saved, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    assert not code, (folder / "output").read_text()


def _run(main: Callable[[], None], question: dict[str, object], ready: int) -> None:
    """Be the copy: say so, wait for the signal, run the tool, and end as Python would."""
    _redirect(str(question["output"]), 1)
    _redirect(str(question["errors"]), 2)
    environment = question["environment"]
    assert isinstance(environment, dict)
    os.environ.update(environment)
    arguments = question["arguments"]
    assert isinstance(arguments, list)
    sys.argv = ["narration-cleanup", *arguments]
    user = question["user"]
    if isinstance(user, int):
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.close(ready)
    signal.sigwait({signal.SIGUSR1})
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120
    os._exit(code)


def _redirect(path: str, target: int) -> None:
    found = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(found, target)
    os.close(found)


if __name__ == "__main__":
    _serve()
