"""A service that uses a database in a process of its own, and the tool's side of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from narration_cleanup.plan import RequestPolicy, plan_requests
from narration_cleanup.plan.actions import (
    Action,
    Kind,
)
from narration_cleanup.stores.requests import open_requests
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.sqlite.database import look
from narration_cleanup.stores.requests.store import RequestStore
from tests.opened import closed_later
from tests.samples import SAMPLE_NOW

NOW = SAMPLE_NOW.timestamp()
# A service in a process of its own: it writes a line for each step that it has taken, and takes
# the next when it is told a statement, until it is told to end or to die.
_SERVICE = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA busy_timeout=10000")
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "die":
        os._exit(9)
    connection.execute(line).fetchall()
    print("done", flush=True)
connection.close()
"""


class Service:
    """The process, told one statement at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def execute(self, statement: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(statement + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def die(self) -> None:
        self.process.communicate("die\n")
        assert self.process.returncode == 9


@contextmanager
def service(path: Path) -> Iterator[Service]:
    command = [sys.executable, "-c", _SERVICE, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield Service(process)
        if process.returncode is None:
            process.communicate()
            assert process.returncode == 0


def store_of(path: Path) -> RequestStore:
    return closed_later(open_requests(str(path), RequestMapping(timezone="UTC")))


def cancels(store: RequestStore) -> list[Action]:
    found = plan_requests(store.survey(), RequestPolicy(), NOW).actions
    return [each for each in found if each.kind is Kind.CANCEL_REQUEST]


def total(path: Path) -> int:
    return look(path, lambda it: int(it.execute("SELECT count(*) FROM requests").fetchone()[0]))


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


INSERT = "INSERT INTO requests VALUES ('new','v','s',2,'queued',0,'2026-11-23T09:00:00',0,0,0,0)"
