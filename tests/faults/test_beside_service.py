"""Runs beside a working service: nothing that it wrote is lost, and nothing torn is written."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.server import ToolServer
from tests.samples import INDEX_NAME, make_cache, strict_load

_EXPECTED = ("written_back", "still_there")
"""The model puts entries that are a week old already, to have something expire in seconds: one that
comes after a run's survey is still there at its end."""


def _runs_beside(server: ToolServer, root: Path, runs: int, rate: int) -> dict[str, int]:
    """Run the tool `runs` times beside the model of the service; what the service counted."""
    now = datetime.now(UTC)
    cache = make_cache(root / "cache" / "narration", now=now)
    arguments = ["run", "--json", "--cache-dir", str(cache.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(root / "state"), "HOME": str(root)}
    journal = root / "journal"
    command = [sys.executable, "-m", "tests.service_model", str(cache.directory), str(root)]
    removed, complaints = 0, []
    with subprocess.Popen(
        [*command, str(journal), "--rate", str(rate)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as service:
        assert service.stdin
        assert service.stdout
        service.stdout.readline()
        for _ in range(runs):
            run = server.run(arguments, root, environment)
            problems = json.loads(run.output)["problems"]
            complaints += [found for found in problems if found["code"] not in _EXPECTED]
            removed += int(json.loads(run.output)["cache"]["removed_count"])
        service.stdin.close()
        assert service.wait() == 0
    counted: dict[str, int] = json.loads(journal.read_text())
    assert complaints == []
    last = server.run(arguments, root, environment)
    assert last.code == 0, last.said
    entries = strict_load(cache.directory / INDEX_NAME)
    assert entries, "the service would start with nothing"
    missing = [
        key for key, fields in entries.items() if not (root / str(fields["file_path"])).is_file()
    ]
    return {**counted, "removed": removed, "dangling": len(missing)}


def _assert_nothing_lost(counted: dict[str, int]) -> None:
    assert counted["updates_lost"] == counted["files_lost"] == counted["torn"] == 0, counted
    assert counted["removed"] > 0
    assert counted["saves"] > 0


def test_a_few_runs_beside_the_service(server: ToolServer, tmp_path: Path) -> None:
    _assert_nothing_lost(_runs_beside(server, tmp_path, 10, 50))


@pytest.mark.faults
def test_hundreds_of_runs_beside_the_service(
    server: ToolServer, tmp_path: Path, figures: Figures, tries: Callable[[int, int], int]
) -> None:
    runs = tries(60, 400)
    begun = time.monotonic()
    counted = _runs_beside(server, tmp_path, runs, 50)
    rate = counted["saves"] / (time.monotonic() - begun)
    losses = counted["updates_lost"] + counted["files_lost"] + counted["torn"]
    figures.record(
        10,
        "run beside the service, which rewrites its index all the while",
        runs,
        losses,
        f"{counted['saves']:,} saves, {rate:.0f} a second; updates lost {counted['updates_lost']}, "
        f"fresh files lost {counted['files_lost']}, torn indexes written {counted['torn']}; "
        f"{counted['removed']:,} entries removed, of which the service's next save brought "
        f"{counted['resurrected']:,} back, without files",
    )
    _assert_nothing_lost(counted)
