"""A real PostgreSQL server on loopback, for the tests marked `postgres`.

Made with `initdb` in a folder of its own, listening on a free port of 127.0.0.1 and nowhere else.
PostgreSQL does not run as root: then it runs as the user `postgres`, or `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

PASSWORD = "pass/word@canary"
"""The superuser's; it must not appear anywhere."""
_QUOTED = "pass%2Fword%40canary"


def programs() -> Path | None:
    """The folder of PostgreSQL's own programs, the newest if there are several."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


class Server:
    """A server that can be stopped, killed and started again."""

    def __init__(self) -> None:
        folder = programs()
        assert folder is not None
        self._programs = folder
        self._user = _user()
        self.folder = Path(tempfile.mkdtemp(prefix="narration-postgres-"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        passwords = self.folder / "password"
        passwords.write_text(PASSWORD)
        passwords.chmod(0o644)
        self._run(
            "initdb", "--no-sync", "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8",
            "--locale=C.UTF-8", f"--pwfile={passwords}", "-D", str(self.folder / "data"),
        )  # fmt: skip

    @property
    def url(self) -> str:
        """The address of the superuser's own database."""
        return self.url_of("postgres")

    def url_of(self, database: str, role: str = "postgres", password: str = _QUOTED) -> str:
        """The address of a database for a role."""
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, and return when connections are accepted."""
        command = [
            str(self._programs / "postgres"), "-D", str(self.folder / "data"),
            "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
            "-c", f"unix_socket_directories={self.folder}", "-c", "fsync=off",
            "-c", "logging_collector=off", "-c", "max_connections=80",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self._user, extra_groups=self._groups()
            )
        _until(self._accepts)

    def kill(self) -> None:
        """SIGKILL to the postmaster and all of its children: the machine is gone."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """Stop at once, and remove every file."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self) -> str:
        """The name of a new empty database."""
        self._databases += 1
        name = f"test{self._databases}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        children = _children(process.pid)
        process.send_signal(how)
        if how is signal.SIGKILL:
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, how)
        process.wait()
        for child in children:
            _until(lambda child=child: not Path(f"/proc/{child}").exists())  # type: ignore[misc]

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _groups(self) -> list[int] | None:
        return [] if self._user is not None else None

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            user=self._user,
            extra_groups=self._groups(),
            cwd="/",
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _children(process: int) -> list[int]:
    listing = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in listing.split()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until(condition: Callable[[], bool]) -> None:
    """Wait for something that announces itself in no other way; a minute is an error."""
    import time

    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited a minute in vain")


@contextmanager
def running() -> Iterator[Server]:
    """A server for a fixture; its tests are skipped where PostgreSQL is not installed."""
    if programs() is None:
        pytest.skip("PostgreSQL's initdb is not here (Debian: postgresql)")
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()
