"""The proofs can fail: tried on a naive clean-up, they find what it loses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
