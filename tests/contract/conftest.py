"""The request tables that the contract is held over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.tables import SqliteTable, Table


@pytest.fixture(params=["sqlite-wal", "sqlite-rollback"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    """An empty database of each kind."""
    return SqliteTable(tmp_path / "requests.db", wal=request.param == "sqlite-wal")
