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
from tests.faults.file_systems import FILE_SYSTEMS, CannotMountError, mounted
from tests.faults.server import ToolServer
from tests.samples import INDEX_NAME, TTL, make_cache, strict_load

_EXPECTED = ("written_back", "still_there")
"""The model puts entries that are a week old already, to have something expire in seconds: one that
comes after a run's survey is still there at its end."""


def _fill(root: Path) -> None:
    make_cache(root / "cache" / "narration", now=datetime.now(UTC))


def _runs_beside(
    server: ToolServer, root: Path, runs: int, rate: int, elsewhere: Path
) -> dict[str, int]:
    """Run the tool `runs` times beside the model of the service; what the service counted, and in
    `expired` what is left that should have gone. History and journal lie `elsewhere`.
    """
    directory = root / "cache" / "narration"
    arguments = ["run", "--json", "--cache-dir", str(directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(elsewhere / "state"), "HOME": str(elsewhere)}
    journal = elsewhere / "journal"
    command = [sys.executable, "-m", "tests.service_model", str(directory), str(root)]
    removed, complaints = 0, []
    with subprocess.Popen(
        [*command, str(journal), "--rate", str(rate)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as service:
        assert service.stdin
        assert service.stdout
        service.stdout.readline()
        for _ in range(runs):
            run = server.run(arguments, elsewhere, environment)
            problems = json.loads(run.output)["problems"]
            complaints += [found for found in problems if found["code"] not in _EXPECTED]
            assert json.loads(run.output)["cache"], run.said
            removed += int(json.loads(run.output)["cache"]["removed_count"])
        service.stdin.close()
        assert service.wait() == 0
    counted: dict[str, int] = json.loads(journal.read_text())
    assert complaints == []
    last = server.run(arguments, elsewhere, environment)
    entries = strict_load(directory / INDEX_NAME)
    assert entries, "the service would start with nothing"
    limit = datetime.now() - TTL
    old = [key for key, fields in entries.items() if _moment(fields["created_at"]) < limit]
    old += [
        path.name for path in directory.glob("*.mp3") if path.stat().st_mtime < limit.timestamp()
    ]
    return {**counted, "removed": removed, "unfinished": int(last.code != 0), "expired": len(old)}


def _moment(created_at: object) -> datetime:
    return datetime.fromisoformat(str(created_at))


def _losses(counted: dict[str, int]) -> int:
    return counted["updates_lost"] + counted["files_lost"] + counted["torn"]


def _assert_nothing_lost(counted: dict[str, int]) -> None:
    assert _losses(counted) == counted["unfinished"] == counted["expired"] == 0, counted
    assert counted["removed"] > 0
    assert counted["saves"] > 0


def test_a_few_runs_beside_the_service(server: ToolServer, tmp_path: Path) -> None:
    _fill(tmp_path)
    _assert_nothing_lost(_runs_beside(server, tmp_path, 10, 50, tmp_path))


@pytest.mark.faults
def test_hundreds_of_runs_beside_the_service(
    server: ToolServer, tmp_path: Path, figures: Figures, tries: Callable[[int, int], int]
) -> None:
    runs = tries(60, 400)
    begun = time.monotonic()
    _fill(tmp_path)
    counted = _runs_beside(server, tmp_path, runs, 50, tmp_path)
    rate = counted["saves"] / (time.monotonic() - begun)
    figures.record(
        10,
        "run beside the service, which rewrites its index all the while",
        runs,
        _losses(counted),
        f"{counted['saves']:,} saves, {rate:.0f} a second; updates lost {counted['updates_lost']}, "
        f"fresh files lost {counted['files_lost']}, torn indexes written {counted['torn']}; "
        f"{counted['removed']:,} entries removed, of which the service's next save brought "
        f"{counted['resurrected']:,} back, without files",
        unfinished=counted["unfinished"],
    )
    _assert_nothing_lost(counted)


@pytest.mark.faults
@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("name", FILE_SYSTEMS)
def test_runs_beside_the_service_on(
    server: ToolServer,
    tmp_path: Path,
    name: str,
    figures: Figures,
    tries: Callable[[int, int], int],
) -> None:
    """The times of most have another grain than those of a local disk, and other inode numbers."""
    fault = f"the same on {name}"
    runs = tries(20, 200)
    try:
        with mounted(name, tmp_path, _fill) as root:
            counted = _runs_beside(server, root, runs, 50, tmp_path)
    except CannotMountError as error:
        figures.record(11, fault, 0, 0, f"not tried: {error}")
        pytest.skip(str(error))
    note = f"{counted['saves']:,} saves; {counted['removed']:,} entries removed"
    note += f", expired ones left {counted['expired']}"
    figures.record(11, fault, runs, _losses(counted), note, unfinished=counted["unfinished"])
    _assert_nothing_lost(counted)


@pytest.mark.faults
@pytest.mark.usefixtures("as_root")
def test_what_is_lost_there_to_versions_known_by_times_is_found(tmp_path: Path) -> None:
    with ToolServer("tests.faults.hasty") as hasty:
        try:
            with mounted("ext4 with 128-byte inodes", tmp_path, _fill) as root:
                counted = _runs_beside(hasty, root, 200, 50, tmp_path)
        except CannotMountError as error:
            pytest.skip(str(error))
    assert _losses(counted)
