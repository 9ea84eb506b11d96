"""A run and a worker, in every order of their statements: the worker's rows are as it left them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import naive
from tests.faults.figures import Figures
from tests.faults.woven_rows import Rows, cut, pairs, single
from tests.samples import SAMPLE_NOW


@pytest.mark.parametrize("wal", [False, True])
def test_each_thing_between_each_two_statements(fast_path: Path, wal: bool) -> None:
    tally = single(Rows(fast_path, wal=wal))
    assert tally.tries > 100
    assert not tally.found, tally.first()


def test_what_an_update_by_id_overwrites_is_found(fast_path: Path) -> None:
    tally = single(Rows(fast_path, _cancelling_by_id, wal=False))
    assert set(tally.kinds) == {"the worker's row"}


def _cancelling_by_id(database: Path) -> None:
    naive._cancel(database, SAMPLE_NOW.replace(tzinfo=None))


@pytest.mark.faults
@pytest.mark.parametrize("wal", [False, True])
def test_all_interleavings(fast_path: Path, wal: bool, figures: Figures) -> None:
    """In full also before the statements that are left out, as the same as a later one."""
    rows = Rows(fast_path, wal=wal)
    tally = single(rows, range(len(rows.statements) + 1) if figures.full else ())
    tally.add(cut(rows, 60 if figures.full else 4))
    tally.add(pairs(rows) if figures.full else pairs(rows, ["start"], ["complete", "delete"]))
    kept = "WAL" if wal else "rollback journal"
    figures.record(
        17,
        f"what a worker does placed between each two statements of a run ({kept})",
        tally.tries,
        len(tally.found),
    )
    assert not tally.found, tally.first()
