"""Audio made anew at the very moment it is removed: the fresh audio and its entry survive."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.server import ToolServer

_AT_ONCE = 400


def regeneration_races(server: ToolServer, root: Path, enough: int) -> Counter[str]:
    """Runs over 400 expired entries, and a service that makes some of them anew meanwhile."""
    directory = root / "cache" / "narration"
    directory.mkdir(parents=True)
    arguments = ["run", "--json", "--cache-dir", str(directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(root / "state"), "HOME": str(root)}
    command = [sys.executable, "-m", "tests.faults.regenerator", str(directory), str(root)]
    counted: Counter[str] = Counter()
    with subprocess.Popen(
        [*command, str(_AT_ONCE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdin
        assert service.stdout
        while counted["tries"] < enough:
            assert service.stdout.readline() == "ready\n"
            run = server.run(arguments, root, environment)
            assert run.code == 0, run.said
            service.stdin.write("look\n")
            service.stdin.flush()
            counted.update(json.loads(service.stdout.readline()))
            counted["removed"] += int(json.loads(run.output)["cache"]["removed_count"])
            counted["runs"] += 1
        service.stdout.readline()
        service.stdin.close()
        assert service.wait() == 0
    return counted


def test_some_races(server: ToolServer, tmp_path: Path) -> None:
    counted = regeneration_races(server, tmp_path, 200)
    assert (counted["files_lost"], counted["entries_lost"]) == (0, 0)
    assert counted["removed"] > 0


@pytest.mark.faults
def test_thousands_of_races(
    server: ToolServer, tmp_path: Path, figures: Figures, tries: Callable[[int, int], int]
) -> None:
    counted = regeneration_races(server, tmp_path, tries(1_500, 40_000))
    figures.record(
        12,
        "an entry made anew while it is being removed",
        counted["tries"],
        counted["files_lost"] + counted["entries_lost"],
        f"fresh files lost {counted['files_lost']}, their entries lost {counted['entries_lost']}; "
        f"{counted['removed']:,} others removed in the same {counted['runs']:,} runs",
    )
    assert (counted["files_lost"], counted["entries_lost"]) == (0, 0)
