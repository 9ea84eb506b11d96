"""The narration service as the container has it: its user, its cache, its database in use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.samples import INDEX_NAME, RequestSpec, evenly_aged, make_cache, make_requests
from tests.systemd.container import Container

HOME = "/var/lib/narration"
CACHE = f"{HOME}/cache/narration"
DATABASE = f"{HOME}/requests.db"
CONFIG = "/etc/narration-cleanup/config.toml"
UNIT = "narration-service"

# Writes, and keeps its connection (and with it the -wal and -shm files) until it is stopped.
_PROGRAM = """\
import signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
assert database.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
database.execute("CREATE TABLE IF NOT EXISTS beat (at TEXT)")
database.execute("INSERT INTO beat VALUES (datetime('now'))")
database.commit()
print("SERVING", flush=True)
signal.sigwait([signal.SIGTERM])
"""


# Far from every limit, since the container's clock goes on while the tests run.
_ENTRIES = [
    *evenly_aged(33, timedelta(days=20), timedelta(days=7, hours=1)),
    *evenly_aged(27, timedelta(days=6, hours=12), timedelta(minutes=5)),
]
_ROWS = [
    *(RequestSpec("queued", timedelta(hours=hours)) for hours in (2, 3, 20, 70)),
    *(RequestSpec("generating", timedelta(hours=hours)) for hours in (2, 5, 24)),
    *(RequestSpec("queued", timedelta(minutes=minutes)) for minutes in (1, 5, 9)),
    *(RequestSpec("generating", timedelta(minutes=minutes)) for minutes in (2, 12)),
    *(RequestSpec("completed", timedelta(hours=hours)) for hours in (1, 30, 400)),
]
BEFORE = {"queued": 7, "generating": 5, "completed": 3}
AFTER = {"queued": 3, "generating": 2, "completed": 3, "cancelled": 7}
"""The requests by status, before and after a run."""


@dataclass(frozen=True)
class Service:
    """A running narration service. `expired` and `kept` are file names, by the service's rule."""

    machine: Container
    expired: frozenset[str]
    kept: frozenset[str]

    def audio(self) -> set[str]:
        """The audio files that are there now."""
        return {path.name for path in self.machine.path(CACHE).glob("*.mp3")}

    def indexed(self) -> set[str]:
        """The audio that the index names now."""
        index = json.loads((self.machine.path(CACHE) / INDEX_NAME).read_bytes())
        return {Path(entry["file_path"]).name for entry in index.values()}

    def statuses(self) -> dict[str, int]:
        """How many requests there are by status, asked as the service's user."""
        return self._ask("SELECT status, count(*) FROM requests GROUP BY status")

    def writes(self) -> None:
        """Have another process of the service write, which fails where a run left files of
        another user's behind."""
        self._ask("UPDATE requests SET progress = progress RETURNING request_id, 1")

    def _ask(self, query: str) -> dict[str, int]:
        program = (
            "import json, sqlite3, sys; d = sqlite3.connect(sys.argv[1]); "
            "r = dict(d.execute(sys.argv[2])); d.commit(); print(json.dumps(r))"
        )
        said = self.machine.run("python3", "-c", program, DATABASE, query, user="narration")
        found: dict[str, int] = json.loads(said.stdout)
        return found

    @classmethod
    def start(cls, machine: Container) -> Service:
        """A fresh sample, its database held open in WAL mode by a process of the service's."""
        machine.run("rm", "-rf", HOME)
        # Failures of an earlier test would be earlier failures of this unit.
        machine.run("journalctl", "--quiet", "--rotate", "--vacuum-size=1")
        now = datetime.now(UTC)
        home = machine.path(HOME)
        cache = make_cache(machine.path(CACHE), now=now, entries=_ENTRIES, working_directory=home)
        make_requests(machine.path(DATABASE), now=now, rows=_ROWS)
        machine.run("chown", "-R", "narration:narration", HOME)
        machine.write(CONFIG, f'cache.dir = "{CACHE}"\nrequests.db = "{DATABASE}"\n')
        cursor = machine.journal_cursor()
        machine.run(
            *(
                "systemd-run",
                "--quiet",
                "--description=test",
                f"--unit={UNIT}",
                "--property=User=narration",
            ),
            *("/usr/bin/python3", "-c", _PROGRAM, DATABASE),
        )
        machine.wait_for(cursor, "SERVING")
        names = [entry.name for entry in cache.entries]
        return cls(machine, frozenset(names[:33]), frozenset(names[33:]))

    def stop(self) -> None:
        """End the service, and take away all that a test made beside it."""
        machine = self.machine
        machine.run("systemctl", "stop", f"{UNIT}.service", check=False)
        machine.run("narration-cleanup", "systemd", "uninstall", check=False)
        machine.run("sh", "-c", "rm -rf /etc/systemd/system/*.d /etc/narration-cleanup")
        machine.run("rm", "-rf", HOME, "/var/lib/narration-cleanup")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "reset-failed")
