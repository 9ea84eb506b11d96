"""Request databases as a service leaves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import make_requests


@pytest.fixture(params=["wal", "rollback"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    found = tmp_path / "data" / "requests.db"
    make_requests(found, wal=request.param == "wal")
    return found


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    found = tmp_path / "data" / "requests.db"
    make_requests(found, wal=True)
    return found
