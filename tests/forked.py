"""Runs the tool in a process of its own without paying for the start of one: as a copy of a
process that has imported the tool.

Starting Python and importing the tool takes ten times as long as what most tests let it do. What
belongs to the start itself (what is imported, streams that are closed, the locale) is for
`subprocess` to test. `tests/faults/server.py` is for runs that a tracer is attached to.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner

from narration_cleanup.core.users import Account
from narration_cleanup.report.notify import unknown_urls
from narration_cleanup.run.run_as import become, import_all
from tests.forked_call import ask

ROOT = Path(__file__).resolve().parent.parent
_LARGEST = 200_000
"""Bytes of a call with its arguments and environment."""
_starting = threading.Lock()


def run(
    *arguments: object,
    module: str = "narration_cleanup",
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    together: bool = False,
    user: int = 0,
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` gives for ``python -m MODULE ARGUMENTS``, both outputs read as text;
    ``together``: both as ``stdout``, as they come; ``user``: whom root becomes first, as the
    interpreter may lie where only root can start it."""
    words = list(map(str, arguments))
    with (
        open(os.devnull, encoding="utf-8") as stdin,
        tempfile.TemporaryFile("w+", encoding="utf-8") as stdout,
        tempfile.TemporaryFile("w+", encoding="utf-8") as stderr,
    ):
        streams = stdin, stdout, stdout if together else stderr
        with _starting:
            original = _original()
        code = ask(
            original,
            [stream.fileno() for stream in streams],
            module=module,
            arguments=words,
            cwd=str(cwd),
            environment=dict(os.environ if env is None else env),
            user=user,
        )
        for stream in (stdout, stderr):
            stream.seek(0)
        return subprocess.CompletedProcess(words, code, stdout.read(), stderr.read())


def write_program(file: Path, module: str, *first: str) -> int:
    """Write a program for the path of a shell, which does what ``python -m MODULE FIRST… "$@"``
    does; the descriptor that the shell has to inherit."""
    with _starting:
        descriptor = _original().fileno()
    words = [sys.executable, "-IS", ROOT / "tests" / "forked_call.py", descriptor, module, *first]
    file.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    file.chmod(0o755)
    return descriptor


@functools.cache
def _original() -> socket.socket:
    """The way to the process that is copied; it ends with this one."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST)
    environ = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)])
    command = [sys.executable, "-m", "tests.forked", str(its.fileno())]
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=ROOT, env=environ, pass_fds=[its.fileno()], stdin=null, stdout=null
    )
    its.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(calls: socket.socket) -> None:
    """Copy this process for each call. In the copy it returns when the tool has ended."""
    import_all()
    unknown_urls(["json://localhost"])  # Apprise imports its parts when it reads an address
    importlib.import_module("tests.run_at")
    for command in ("dry-run", "check"):  # and what the libraries import only when they are used
        words = [command, "--json", "--cache-dir", os.devnull]
        CliRunner().invoke(importlib.import_module("narration_cleanup.cli.app").app, words)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        message, descriptors, _, _ = socket.recv_fds(calls, _LARGEST, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            child = os.fork()
            if child == 0:
                calls.close()
                os.close(descriptors.pop())
                return _become(json.loads(message), descriptors)
            os.write(descriptors[-1], str(os.waitpid(child, 0)[1]).encode())
            os._exit(0)
        for each in descriptors:
            os.close(each)


def _become(call: Mapping[str, object], streams: list[int]) -> None:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        # Made anew: those of the original know whether its own files can be sought in.
        made = getattr(sys, name)
        buffering = 1 if name == "stderr" or os.isatty(number) else -1
        stream = open(  # noqa: SIM115
            number, made.mode, buffering, made.encoding, made.errors, closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    environment, arguments, user = call["environment"], call["arguments"], call["user"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    assert isinstance(user, int)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(str(call["cwd"]))
    if user:
        become(Account(user, user))
    sys.argv = [str(call["module"]), *arguments]
    sys.modules.pop(str(call["module"]), None)
    code: object = None
    try:
        runpy.run_module(str(call["module"]), run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    _end(code)


def _end(code: object) -> None:
    """End as Python ends, but that what is in memory is not freed: to touch each object would copy
    all that is shared with the original, which takes longer than most runs."""
    if code is not None and not isinstance(code, int):
        sys.exit(str(code))
    vars(threading)["_shutdown"]()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)  # which is said, and decides the exit code
    os._exit(code or 0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
