"""docs/situations.md: what journal, alert and check report in each situation, from real runs."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from narration_cleanup.core.files import NOTIFIED_BY
from narration_cleanup.settings.sources import FILE_VARIABLE
from tests import forked
from tests.receiver import receiver
from tests.security.conftest import AS_USER
from tools.docs.console import ROOT

_PAGE = """\
<!-- Made from the program by `python3 dev.py docs`; changes here are overwritten. -->

# Situations

What the journal, the alert (`alerts.on = "attention"`) and `narration-cleanup check` report, from
real runs over a cache in `/srv/narration`. In every situation the data is safe: what could not be
judged or removed was kept. The codes are explained in [troubleshooting](troubleshooting.md).

| situation | journal | alert | `check` and what to do |
|---|---|---|---|
{rows}
"""
_SERVICE = 48_611
"""A user without an account, whom the cache belongs to in situations that need root to make."""
_KNOWN = ROOT / "docs" / "situations.md"


class _Place:
    """A cache and a database that need no cleaning, with the tool's own state.

    ``user`` runs the tool; ``unit`` and ``booted`` are commands that those of a unit, and those by
    hand, are given to.
    """

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.cache = root, root / "cache"
        self.user, self.unit, self.booted = 0, list[str](), list[str]()
        self.database, self.state = root / "data" / "requests.db", root / "state"
        self.index = self.cache / "cache_index.json"
        self.make()
        clean = {k: v for k, v in os.environ.items() if not k.startswith("NARRATION_")}
        self.environ = clean | {
            "NARRATION_CACHE_DIR": str(self.cache),
            "NARRATION_REQUESTS_DB": str(self.database),
            "NARRATION_CLEANUP_STATE_DIR": str(self.state),
            "NARRATION_ALERTS_URLS": url,
            "TZ": "UTC",
        }

    def make(self) -> None:
        """Make the folders of cache and database, with an empty index and table."""
        for folder in (self.cache, self.database.parent, self.state):
            folder.mkdir()
        self.index.write_text("{}")
        with closing(sqlite3.connect(self.database)) as connection:
            columns = "request_id, status, created_at, started_at, completed_at, error"
            connection.execute(f"CREATE TABLE requests ({columns})")

    def call(self, *arguments: str, within: Sequence[str] = ()) -> tuple[str, str]:
        """What a command writes to stdout and stderr."""
        if not within:
            done = forked.run(*arguments, env=self.environ, cwd=Path("/"), user=self.user)
            return done.stdout, done.stderr
        how = ["-c", AS_USER, str(self.user)] if self.user else ["-m", "narration_cleanup"]
        command = [*within, sys.executable, *how, *arguments]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, cwd="/")
        return done.stdout, done.stderr

    def run(self) -> str:
        """What the journal has of a run."""
        return self.call("run", "-q", within=self.unit)[1]

    def expire(self) -> Path:
        """Put an expired narration into the cache; its file."""
        old = time.time() - 8 * 86_400
        file = self.cache / "old.mp3"
        file.write_bytes(b"x" * 200_000)
        os.utime(file, (old, old))
        created_at = datetime.fromtimestamp(old, UTC).isoformat()
        entry = {"file_path": str(file), "created_at": created_at, "file_size": 200_000}
        self.index.write_text(json.dumps({"old": entry}))
        return file

    def give(self, user: int) -> None:
        """Give all of it to a user, who runs the tool from now on."""
        for each in (self.root, *self.root.rglob("*")):
            os.chown(each, user, user)
        self.user = user

    def shown(self, text: str) -> str:
        """Text for a cell of the table: paths, process ids and times of no particular run."""
        text = text.replace(str(self.root), "/srv/narration")
        text = re.sub(r"pid \d+, [\w.-]+", "pid 4711, narration-cleanup", text)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-11-23 06:00:00", text)
        text = re.sub(r"\d{8}T\d{6}Z", "20261123T060000Z", text)
        text = re.sub(r"\b\d+(\.\d+)? s ago", "5 s ago", text)
        text = re.sub(r"(user|uid|gid) 48611( \(uid 48611\))?", "narration", text)
        text = re.sub(r"\b[\d,]+ bytes are free", "200,704 bytes are free", text)
        return text.replace("|", "\\|").replace("<", "&lt;")


def _torn(place: _Place) -> None:
    place.index.write_text('{"torn')


def _moved(place: _Place) -> None:
    place.cache.rename(place.root / "moved")


def _history(place: _Place) -> None:
    (place.state / "history.db").write_bytes(b"damaged" * 1000)


def _typo(place: _Place) -> None:
    place.environ["NARRATION_CACHE_TTL_DAYS"] = "seven"


def _ping(place: _Place) -> None:
    place.environ["NARRATION_ALERTS_PING_URL"] = "http://127.0.0.1:9/ping"


def _clock(place: _Place) -> None:
    with closing(sqlite3.connect(place.state / "history.db")) as connection, connection:
        connection.execute("UPDATE clock SET wall = wall - 7200")


def _full(place: _Place) -> Iterator[None]:
    """Cache and state on a small disk of their own, to the last byte."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", place.root], check=True
    )
    try:
        place.make()
        place.expire()
        with suppress(OSError), (place.root / "other").open("wb", buffering=0) as other:
            while other.write(b"x" * 4096):
                pass
        yield
    finally:
        subprocess.run(["umount", "--lazy", place.root], check=True)


def _rights(place: _Place) -> None:
    place.expire()
    place.give(_SERVICE)
    os.chown(place.cache, 0, 0)


def _foreign_index(place: _Place) -> None:
    place.expire()
    place.give(_SERVICE)
    os.chown(place.index, 0, 0)


def _bucket(place: _Place) -> None:
    endpoint = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true"}
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-1"}
    place.environ |= {"NARRATION_CACHE_DIR": "s3://narrations/cache", **endpoint, **keys}


def _server(place: _Place) -> None:
    place.environ["NARRATION_REQUESTS_DB"] = "postgresql://narration@127.0.0.1:9/narration"


def _older_units(place: _Place) -> None:
    """Units as they were installed for another folder; systemd is one that shows them."""
    url, folder, away = place.environ.pop("NARRATION_ALERTS_URLS"), place.root / "bin", "moved"
    units, _ = place.call("systemd", "install", "--print", "units")
    moved = place.root / away / "cache"
    moved.parent.mkdir()
    place.cache.rename(moved)
    folder.mkdir()
    config = place.root / "config.toml"
    config.touch(0o600)
    config.write_text(f'[cache]\ndir = "{moved}"\n[alerts]\nurls = ["{url}"]\n')
    (folder / "units").write_text(units)
    shown = "Id=narration-cleanup.timer\\nLoadState=loaded\\nUnitFileState=enabled\\n"
    shown += "ActiveState=active\\nNextElapseUSecRealtime=@4000000000\\n\\n"
    shown += "Id=narration-cleanup.service\\nLoadState=loaded\\n"
    for name, script in {
        "systemctl": f'case $1 in show) printf "{shown}";; cat) cat {folder}/units;; esac',
        "journalctl": ":",
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    del place.environ["NARRATION_CACHE_DIR"]
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    place.environ |= {"PATH": path, FILE_VARIABLE: str(config), NOTIFIED_BY: "unit"}
    mounted = ["unshare", "--mount", "sh", "-c"]
    place.unit = [*mounted, f'mount -t tmpfs tmpfs {moved.parent} && exec "$@"', "sh"]
    boot = 'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec "$@"'
    place.booted = [*mounted, boot, "sh"]


_Hold = Callable[[_Place], Iterator[None]]


def _nothing(place: _Place) -> Iterator[None]:
    yield


def _lock_database(place: _Place) -> Iterator[None]:
    with closing(sqlite3.connect(place.database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def is_begun(history: Path, runs: int) -> bool:
    """Whether the history has so many runs, and is not in use at this moment."""
    with closing(sqlite3.connect(history, timeout=0, isolation_level=None)) as database:
        try:
            database.execute("BEGIN EXCLUSIVE")  # also where it is being read
            (found,) = database.execute("SELECT count(*) FROM runs").fetchone()
            database.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return bool(found == runs)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process as one that hangs, and wait until it has stopped."""
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def _hang(place: _Place) -> Iterator[None]:
    """A run that is stopped while it holds the lock: it waits for the service's own lock."""
    held = (place.cache / "cache_index.json.lock").open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    place.expire()
    command = [sys.executable, "-m", "narration_cleanup", "run"]
    environ = {k: v for k, v in place.environ.items() if not k.startswith("NARRATION_ALERTS")}
    with held, subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as hanging:
        lock = place.cache / ".narration-cleanup" / "run.lock"
        while not (lock.exists() and lock.read_text()):
            os.sched_yield()
        stop(hanging)
        while not is_begun(place.state / "history.db", runs=2):  # it has the history just then
            hanging.send_signal(signal.SIGCONT)
            os.sched_yield()
            stop(hanging)
        try:
            yield
        finally:
            hanging.kill()


class _Situation(NamedTuple):
    """How it is made: once, before the run, or for as long as it lasts; and which findings of
    ``check`` are about it."""

    areas: tuple[str, ...]
    prepare: Callable[[_Place], None] = lambda place: None
    hold: _Hold = _nothing
    runs: int = 1
    needs_root: bool = False


_SITUATIONS = {
    "full disk": _Situation(("cache.space", "state."), hold=_full, needs_root=True),
    "database locked": _Situation(("requests.",), hold=_lock_database),
    "index torn": _Situation(("cache.",), _torn),
    "cache moved": _Situation(("cache.",), _moved),
    "rights lost": _Situation(("cache.permissions",), _rights, needs_root=True),
    "index owned by root": _Situation(("cache.index_owner",), _foreign_index, needs_root=True),
    "units older than the settings": _Situation(("schedule.units",), _older_units, needs_root=True),
    "clock jump": _Situation(("runs.last",), _clock),
    "lock held by a run that hangs": _Situation(("runs.last",), hold=_hang, runs=3),
    "ping failing": _Situation(("alerts",), _ping),
    "history corrupt": _Situation(("runs.",), _history),
    "S3 down": _Situation(("cache.",), _bucket),
    "PostgreSQL down": _Situation(("requests.",), _server),
    "typo in the configuration": _Situation(("settings",), _typo),
}


def situations_page() -> str:
    """The page, with each situation made anew in a temporary folder, all at once since most wait;
    those that need root keep their row where this is another user."""
    rows = dict(re.findall(r"^\| (.+?) \| (.*) \|$", _KNOWN.read_text("utf-8"), re.MULTILINE))
    made = {
        name: situation
        for name, situation in _SITUATIONS.items()
        if os.geteuid() == 0 or not situation.needs_root
    }
    with ThreadPoolExecutor(len(made)) as pool:
        for name, cells in zip(made, pool.map(_reported, made.values()), strict=True):
            rows[name] = " | ".join(cells)
    lines = (f"| {name} | {rows[name]} |" for name in _SITUATIONS)
    return _PAGE.format(rows="\n".join(lines))


def _reported(situation: _Situation) -> tuple[str, str, str]:
    """The journal's lines, the alert and what ``check`` finds about it, after a good run."""
    with tempfile.TemporaryDirectory() as folder, receiver() as hears, ExitStack() as stack:
        place = _Place(Path(folder).resolve(), hears.url("m", "json"))
        place.run()
        situation.prepare(place)
        stack.enter_context(contextmanager(situation.hold)(place))
        said = [place.run() for _ in range(situation.runs)][-1]
        if place.environ.pop(NOTIFIED_BY, ""):
            _notify(place)
        found = json.loads(place.call("check", "--json", within=place.booted)[0])["checks"]
        alerts = [message["title"].partition(": ")[2] for message in hears.messages()]
        bad = [
            f"*{each['check']}*: {each['message']} → {each['remedy']}"
            for each in found
            if each["status"] != "passed" and each["check"].startswith(situation.areas)
        ]
        journal = "<br>".join(place.shown(f"`{line}`") for line in said.splitlines())
        alert, check = "; ".join(alerts) or "none", place.shown("; ".join(bad)) or "passes"
        return journal or "nothing but the run's own lines", alert, check


def _notify(place: _Place) -> None:
    """Send what the notifying unit of systemd sends after a run."""
    ended = {"MONITOR_SERVICE_RESULT": "exit-code", "MONITOR_EXIT_CODE": "exited"}
    ended |= {"MONITOR_EXIT_STATUS": "78", "MONITOR_INVOCATION_ID": "this"}
    unit = "narration-cleanup.service"
    place.environ |= {**ended, "MONITOR_UNIT": unit}
    place.call("notify", "--unit", unit)
