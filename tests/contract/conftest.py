"""The request tables that the contract is held over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres_server
from tests.contract.tables import PostgresTable, SqliteTable, Table


@pytest.fixture(scope="session")
def server() -> Iterator[postgres_server.Server]:
    """A PostgreSQL server for all tests that only use it."""
    if postgres_server.programs() is None:
        pytest.skip("PostgreSQL's initdb is not here (Debian: postgresql)")
    started = postgres_server.Server()
    try:
        started.start()
        yield started
    finally:
        started.remove()


@pytest.fixture(
    params=["sqlite-wal", "sqlite-rollback", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Table]:
    """An empty database of each kind."""
    if request.param != "postgres":
        yield SqliteTable(tmp_path / "requests.db", wal=request.param == "sqlite-wal")
        return
    running: postgres_server.Server = request.getfixturevalue("server")
    made = PostgresTable(running.url_of(running.new_database()))
    yield made
    made.close()
