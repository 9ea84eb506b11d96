"""Requests that complete between the look and the update: a completed row is never overwritten."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.server import ToolServer
from tests.samples import RequestSpec, make_requests, read_requests

_AT_ONCE = 2_000
_RACED = 50
"""A series with fewer rows completed between look and update has hardly been a race: it goes on."""
_SERIES = 100
"""Runs after which a series ends in any case."""


@dataclass
class Races:
    """Counts of a series of races: of rows that the tool found abandoned (`tries`), and of those
    among them that were completed before it could cancel them (`raced`).
    """

    tries: int = 0
    overwritten: int = 0
    skipped: int = 0

    @property
    def raced(self) -> int:
        return self.overwritten + self.skipped


def _race(server: ToolServer, root: Path, seed: int, races: Races) -> None:
    """One run over 2,000 abandoned requests, and a worker that completes them meanwhile.

    By turns it begins at once, and may be done before the tool has looked, or with the tool's first
    change, and then can only come between the look and the update.
    """
    specs = [
        RequestSpec("generating" if number % 2 else "queued", timedelta(hours=3))
        for number in range(_AT_ONCE)
    ]
    database = root / "requests.db"
    make_requests(database, now=datetime.now(UTC), rows=specs, wal=bool(seed % 2))
    arguments = ["run", "--json", "--requests-db", str(database)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(root / "state"), "HOME": str(root)}
    when = "at-once" if seed // 2 % 2 else "late"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.completer", str(database), str(seed), when],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
        run = server.run(arguments, root, environment)
        completed = json.loads(worker.communicate()[0])
    assert run.code == 0, run.said
    outcomes = [action["outcome"] for action in json.loads(run.output)["actions"]]
    rows = read_requests(database)
    races.tries += len(outcomes)
    races.skipped += outcomes.count("skipped")
    races.overwritten += sum(rows[row_id][4] != "completed" for row_id in completed)
    touched = set(completed)
    others = [row for row_id, row in rows.items() if row_id not in touched]
    assert {row[4] for row in others} <= {"cancelled"}


def row_races(server: ToolServer, folder: Path, enough: int) -> Races:
    """Runs, each beside a worker of its own, until `enough` rows were at stake in a real race."""
    races = Races()
    for seed in range(_SERIES):
        _race(server, folder / str(seed), seed, races)
        shutil.rmtree(folder / str(seed))
        if races.tries >= enough and races.raced >= _RACED:
            break
    return races


def test_some_rows(server: ToolServer, tmp_path: Path) -> None:
    races = row_races(server, tmp_path, 2 * _AT_ONCE)
    assert races.overwritten == 0
    assert races.skipped > 0


@pytest.mark.faults
def test_thousands_of_rows(
    server: ToolServer, tmp_path: Path, figures: Figures, tries: Callable[[int, int], int]
) -> None:
    races = row_races(server, tmp_path, tries(6_000, 20_000))
    figures.record(
        14,
        "an abandoned request that a worker may complete before it is cancelled",
        races.tries,
        races.overwritten,
        f"{races.raced:,} completed between the look and the update, and left as they are",
    )
    assert races.overwritten == 0
    assert races.skipped > 0
