"""The power is cut at any moment of a run: nothing live is lost, and the next run finishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.file_systems import CannotMountError
from tests.faults.power import Machine, cut_power, machine
from tests.faults.server import ToolServer

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("as_root")]
_NAME = "power cut at a random moment of a run on ext4 ({})"


@pytest.fixture
def made(tmp_path: Path, figures: Figures) -> Iterator[Machine]:
    try:
        with machine(tmp_path) as found:
            yield found
    except CannotMountError as error:
        figures.record(9, _NAME.format("any journal"), 0, 0, f"not tried: {error}")
        pytest.skip(str(error))


@pytest.mark.parametrize("wal", [False, True], ids=["rollback journal", "wal"])
def test_the_power_is_cut(
    server: ToolServer,
    made: Machine,
    wal: bool,
    figures: Figures,
    tries: Callable[[int, int], int],
) -> None:
    tally = cut_power(server, made, tries(20, 200), wal=wal)
    name = _NAME.format("WAL" if wal else "rollback journal")
    note = f"{tally.between} with a part of the work on the disk, {tally.journals} with a journal"
    figures.record(9, name, tally.tries, tally.lost, note, unfinished=tally.unfinished)
    assert tally.failures == []
    assert tally.between


@pytest.mark.parametrize("wal", [False, True], ids=["rollback journal", "wal"])
def test_the_power_is_cut_right_after_a_run(server: ToolServer, made: Machine, wal: bool) -> None:
    assert cut_power(server, made, 2, wal=wal, at_the_end=True).failures == []


def test_what_a_program_loses_that_does_not_sync_is_found(made: Machine) -> None:
    with ToolServer("tests.faults.unsynced") as unsynced:
        tally = cut_power(unsynced, made, 3, wal=False, at_the_end=True)
    assert tally.lost == tally.tries
