"""docs/situations.md: what journal, alert and check report in each situation, from real runs."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from tests import forked
from tests.receiver import receiver

_PAGE = """\
<!-- Made from the program by `python3 dev.py docs`; changes here are overwritten. -->

# Situations

What the journal, the alert (`alerts.on = "attention"`) and `narration-cleanup check` report. The
rows are taken from real runs over a cache in `/srv/narration`, but for those marked with *, which
need a server, systemd, a second user or a disk of their own: these are described. In every
situation the data is safe: what could not be judged or removed was kept. The codes are explained
in [troubleshooting](troubleshooting.md).

| situation | journal | alert | `check` and what to do |
|---|---|---|---|
{rows}
"""
_DESCRIBED = {
    "full disk": (
        "the expired audio is removed, which makes room; a history that cannot be written is a "
        "warning",
        "none, as long as the run succeeds",
        "*cache.space*, *state.directory*: free disk space",
    ),
    "rights lost": (
        "`ERROR`: each removal failed, with the reason of the system; nothing else changes",
        "needs attention (failed)",
        "*cache.permissions*: run as the owner, or give this user the right to write there",
    ),
    "index owned by root": (
        "`ERROR`: the index belongs to uid 0, root left it there; nothing is removed",
        "needs attention (failed or partial)",
        "*cache.index_owner*: give it back: `chown --reference=FOLDER INDEX`",
    ),
    "units older than the settings": (
        "`ERROR`: the folder is not visible in this unit; or systemd's own 226/NAMESPACE",
        "needs attention (refused or failed)",
        "*schedule.units*, *schedule.result*: `narration-cleanup systemd install`",
    ),
    "S3 down": (
        "`ERROR`: the bucket cannot be reached [`bucket_unreachable`]; the requests are done",
        "needs attention (failed, or partial with requests)",
        "*cache.directory*: check the endpoint, the bucket's name and the credentials",
    ),
    "PostgreSQL down": (
        "`ERROR`: the server cannot be reached; the cache is cleaned",
        "needs attention (partial)",
        "*requests.…*: check that the server is up and the address is right",
    ),
}


class _Place:
    """A cache and a database that need no cleaning, with the tool's own state."""

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.cache = root, root / "cache"
        self.database, self.state = root / "requests.db", root / "state"
        self.cache.mkdir()
        self.index = self.cache / "cache_index.json"
        self.index.write_text("{}")
        with closing(sqlite3.connect(self.database)) as connection:
            columns = "request_id, status, created_at, started_at, completed_at, error"
            connection.execute(f"CREATE TABLE requests ({columns})")
        clean = {k: v for k, v in os.environ.items() if not k.startswith("NARRATION_")}
        self.environ = clean | {
            "NARRATION_CACHE_DIR": str(self.cache),
            "NARRATION_REQUESTS_DB": str(self.database),
            "NARRATION_CLEANUP_STATE_DIR": str(self.state),
            "NARRATION_ALERTS_URLS": url,
            "TZ": "UTC",
        }

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return forked.run(*arguments, env=self.environ)

    def shown(self, text: str) -> str:
        """Text for a cell of the table: paths, process ids and times of no particular run."""
        text = text.replace(str(self.root), "/srv/narration")
        text = re.sub(r"pid \d+, [\w.-]+", "pid 4711, narration-cleanu", text)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-11-23 06:00:00", text)
        text = re.sub(r"\d{8}T\d{6}Z", "20261123T060000Z", text)
        text = re.sub(r"\b\d+(\.\d+)? s ago", "5 s ago", text)
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


_MADE: dict[str, tuple[Callable[[_Place], None], str]] = {
    "index torn": (_torn, "cache."),
    "cache moved": (_moved, "cache."),
    "clock jump": (_clock, "runs.last"),
    "ping failing": (_ping, "alerts"),
    "history corrupt": (_history, "runs."),
    "typo in the configuration": (_typo, "settings"),
}


def situations_page() -> str:
    """The page, with each situation made anew in a temporary folder."""
    makers: dict[str, Callable[[], tuple[str, str, str]]] = {
        name: partial(_made, prepare, area) for name, (prepare, area) in _MADE.items()
    }
    makers["database locked"] = _locked_database
    makers["lock held by a run that hangs"] = _held_lock
    with ThreadPoolExecutor(len(makers)) as pool:  # most of them wait
        rows = dict(zip(makers, pool.map(lambda make: make(), makers.values()), strict=True))
    rows |= {f"{name} *": cells for name, cells in _DESCRIBED.items()}
    lines = (f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items())
    return _PAGE.format(rows="\n".join(lines))


def _made(prepare: Callable[[_Place], None], area: str) -> tuple[str, str, str]:
    return _reported(prepare, area, lambda place: iter(()), runs=1)


def _locked_database() -> tuple[str, str, str]:
    def hold(place: _Place) -> Iterator[None]:
        with closing(sqlite3.connect(place.database, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield

    return _reported(lambda place: None, "requests.", hold, runs=1)


def _held_lock() -> tuple[str, str, str]:
    def hold(place: _Place) -> Iterator[None]:
        import fcntl

        folder = place.cache / ".narration-cleanup"
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / "run.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(f"{os.getpid()} 1764000000\n")
            lock.flush()
            yield

    return _reported(lambda place: None, "runs.last", hold, runs=3)


def _reported(
    prepare: Callable[[_Place], None],
    area: str,
    hold: Callable[[_Place], Iterator[None]],
    *,
    runs: int,
) -> tuple[str, str, str]:
    """The journal's lines, the alert and what ``check`` finds in ``area``, after a good run."""
    with tempfile.TemporaryDirectory() as folder, receiver() as hears, ExitStack() as stack:
        place = _Place(Path(folder).resolve(), hears.url("m", "json"))
        place.call("run", "-q")
        prepare(place)
        held = hold(place)
        next(held, None)
        stack.callback(lambda: next(held, None))
        said = [place.call("run", "-q").stderr for _ in range(runs)][-1]
        found = json.loads(place.call("check", "--json").stdout)["checks"]
        alerts = [message["title"].partition(": ")[2] for message in hears.messages()]
        bad = [
            f"*{each['check']}*: {each['message']} → {each['remedy']}"
            for each in found
            if each["status"] != "passed" and each["check"].startswith(area)
        ]
        journal = "<br>".join(place.shown(f"`{line}`") for line in said.splitlines())
        return journal, "; ".join(alerts) or "none", place.shown("; ".join(bad)) or "passes"
