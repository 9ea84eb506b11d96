"""A small service to clean up after: its cache, its requests, and the tool's configuration."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from tests.golden import normalise
from tests.golden.program import MOMENT, Ended, Hook, run_program
from tests.samples import EntrySpec, RequestSpec, make_cache, make_requests, read_index, write_index

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
TOOLS = {
    "crontab": "exit 1",
    "systemctl": "exit 1",
    "journalctl": "echo 'INFO - Starting cleanup tasks'; echo 'ERROR - Cleanup tasks failed'",
}
"""The system's own programs that are asked something, with what they answer here."""

ENTRIES = (
    EntrySpec(30 * DAY, size=4096),
    EntrySpec(8 * DAY, size=1500, accessed=timedelta(hours=2)),
    EntrySpec(9 * DAY, size=700, file=False),
    EntrySpec(7 * DAY, size=900),
    EntrySpec(3 * DAY, size=52_429, accessed=2 * DAY),
    EntrySpec(timedelta(hours=1), size=20_000),
    EntrySpec(timedelta(hours=3), size=500, file=False),
    EntrySpec(timedelta(hours=5), size=0),
)
"""Two expired; one expired, one young without a file; one young and empty; three that stay, one of
them exactly as old as the TTL."""

ROWS = (
    RequestSpec("queued", 600 * MINUTE),
    RequestSpec("generating", 90 * MINUTE),
    RequestSpec("queued", 5 * MINUTE),
    RequestSpec("generating", 60 * MINUTE),
    RequestSpec("completed", 40 * DAY),
    RequestSpec("failed", 50 * DAY),
    RequestSpec("cancelled", 2 * DAY),
    RequestSpec("completed", 300 * MINUTE),
)
"""Two abandoned, two still at work, four that have ended, two of them long ago."""


class Service:
    """What lies in ``root``, and what the commands made of it: ``kept``, by file name."""

    def __init__(self, root: Path, *, config: str = "", cache: bool = True, db: bool = True):
        self.root = root
        self.kept: dict[str, str] = {}
        self.codes: dict[str, int] = {}
        self.environ: dict[str, str] = {}
        self.cache = root / "cache" / "narration"
        self.database = root / "requests.db"
        (root / "bin").mkdir(parents=True)
        for name, answer in TOOLS.items():
            self.tool(name, answer)
        places = []
        if cache:
            self.entries = make_cache(self.cache, entries=ENTRIES).entries
            self.audio("orphan.mp3", 1200, 10 * DAY)
            self.audio("young-orphan.wav", 300, DAY)
            self.audio("unfinished.mp3.part", 800, 2 * DAY)
            self.audio("empty.mp3", 0, 9 * DAY)
            places.append(f'[cache]\ndir = "{self.cache}"\n')
        if db:
            make_requests(self.database, rows=ROWS)
            places.append(f'[requests]\ndb = "{self.database}"\n')
        self.config = root / "config.toml"
        state = f'[cleanup]\nstate_dir = "{root / "state"}"\n'
        self.config.write_text("".join(places) + state + config)

    def set(self, section: str, settings: str) -> None:
        """Add lines to a section of the configuration."""
        text = self.config.read_text()
        self.config.write_text(text.replace(f"[{section}]\n", f"[{section}]\n{settings}"))

    def tool(self, name: str, answer: str) -> None:
        """Put a program of the system in place of the real one: a shell script."""
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{answer}\n")
        path.chmod(0o755)

    def audio(self, name: str, size: int, age: timedelta) -> None:
        """A file in the cache, as old as that."""
        path = self.cache / name
        path.write_bytes(b"\xff" * size)
        at = (MOMENT - age).timestamp()
        os.utime(path, (at, at))

    def change_index(self, number: int, **fields: object) -> None:
        """Change the fields of an entry in the index."""
        index = self.entries[number]
        entries: dict[str, dict[str, object]] = {
            key: dict(value) for key, value in read_index(self.cache / "cache_index.json").items()
        }
        entries[index.key].update(fields)
        write_index(self.cache / "cache_index.json", entries)

    def tear_index(self) -> None:
        """Leave the index as a writer that was killed in the middle of it leaves it."""
        index = self.cache / "cache_index.json"
        index.write_bytes(index.read_bytes()[:400])

    def sql(self, statement: str) -> None:
        """Change the database."""
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute(statement)
            connection.commit()

    def call(
        self, *arguments: str, after: timedelta = timedelta(0), hook: Hook | None = None
    ) -> Ended:
        """Run the program with the configuration; nothing is kept."""
        given = ["-c", str(self.config), *arguments]
        return run_program(given, self.root, self.environ, after=after, hook=hook)

    def document(
        self,
        name: str,
        *arguments: str,
        after: timedelta = timedelta(0),
        hook: Hook | None = None,
    ) -> dict[str, object]:
        """Keep the JSON document (``name.json``), the log beside it, and the exit code.

        A run's log is kept as JSON lines (``name.jsonl``), what others say as text
        (``name.log``).
        """
        logs = arguments[0] in ("run", "dry-run")
        more = ("--json", "--log-format", "json") if logs else ("--json",)
        ended = self.call(*arguments, *more, after=after, hook=hook)
        self.codes[name] = ended.code
        self.kept[f"{name}.json"] = normalise.document(ended.out, self.root)
        if ended.err and logs:
            self.kept[f"{name}.jsonl"] = normalise.json_lines(ended.err, self.root)
        elif ended.err:
            self.kept[f"{name}.log"] = normalise.text(ended.err, self.root)
        found: dict[str, object] = json.loads(ended.out)
        return found

    def log(
        self,
        name: str,
        *arguments: str,
        after: timedelta = timedelta(0),
        hook: Hook | None = None,
        out: bool = False,
    ) -> None:
        """Keep the log lines as text (``name.log``, or ``name`` where it has a suffix), and the
        exit code.

        With ``out``, what is printed comes before them: only for commands whose output is no
        report made for a reader's eye.
        """
        ended = self.call(*arguments, after=after, hook=hook)
        self.codes[name] = ended.code
        file = name if Path(name).suffix else f"{name}.log"
        self.text(file, (ended.out if out else "") + ended.err)

    def text(self, name: str, raw: str) -> None:
        """Keep a text under a file's name."""
        self.kept[name] = normalise.text(raw, self.root)


def failing(name: str, error: OSError, *, events: Sequence[str] = ("os.rename",)) -> Hook:
    """Each try to move or remove the file ``name`` fails with ``error``, for root as for others."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in events and str(arguments[0]).endswith(name):
            raise error

    return hook


def once(event: str, act: Hook, *, at: int = 1) -> Hook:
    """``act`` at the ``at``-th operation ``event`` of a run."""
    seen = 0

    def hook(happens: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if happens == event:
            seen += 1
            if seen == at:
                act(happens, arguments)

    return hook
