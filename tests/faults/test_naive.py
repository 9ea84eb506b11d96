"""The proofs can fail: tried on a naive clean-up, they find what it loses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.injection import signals
from tests.faults.server import ToolServer
from tests.faults.test_regeneration import regeneration_races
from tests.faults.test_row_races import row_races
from tests.faults.trial import calls_of_a_run, try_all


@pytest.fixture(scope="module")
def naive() -> Iterator[ToolServer]:
    with ToolServer("tests.faults.naive") as loaded:
        yield loaded


def test_a_kill_while_it_writes_the_index_is_found(naive: ToolServer, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    calls = calls_of_a_run(naive, tmp_path, wal=False)
    opened = [place for place, call in enumerate(calls) if "O_TRUNC" in call.arguments]
    faults = signals(calls[opened[0] + 1 : opened[0] + 3], "KILL")
    tally = try_all(naive, tmp_path, faults, wal=False)
    assert tally.lost > 0


def test_fresh_audio_that_it_removes_is_found(naive: ToolServer, tmp_path: Path) -> None:
    counted = regeneration_races(naive, tmp_path, 100)
    assert counted["files_lost"] > counted["tries"] / 4


def test_completed_rows_that_it_overwrites_are_found(naive: ToolServer, tmp_path: Path) -> None:
    races = row_races(naive, tmp_path, 2_000)
    assert races.overwritten > 0


@pytest.mark.faults
def test_what_it_loses_in_the_same_races(
    naive: ToolServer, tmp_path: Path, figures: Figures, tries: Callable[[int, int], int]
) -> None:
    counted = regeneration_races(naive, tmp_path / "audio", tries(300, 2_000))
    name = "for comparison: the same, with a clean-up that simply unlinks and rewrites"
    figures.record(13, name, counted["tries"], counted["files_lost"])
    races = row_races(naive, tmp_path / "rows", tries(2_000, 4_000))
    name = "for comparison: the same, with an update that names the id alone"
    figures.record(15, name, races.tries, races.overwritten)
    assert counted["files_lost"]
    assert races.overwritten
