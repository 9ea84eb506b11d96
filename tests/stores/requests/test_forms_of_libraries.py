"""Times in the forms that common libraries write, seen from several zones."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from narration_cleanup.plan import RequestPolicy, plan_requests
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.requests.mapping import RequestMapping
from narration_cleanup.stores.requests.sqlite.table import SqliteRequests
from tests.opened import closed_later

NOW = datetime.fromisoformat("2026-11-23T12:00:00+00:00").timestamp()
HOUR = 3_600.0
FARTHEST = 14 * HOUR
FORMS: dict[str, tuple[str, str | None, Callable[[float], str | int | float]]] = {
    # Django stores UTC as naive text; with USE_TZ off it and SQLAlchemy store local time so.
    "django": ("datetime", "UTC", lambda t: str(datetime.fromtimestamp(t, UTC))[:-6]),
    "sqlalchemy": ("DATETIME", "local", lambda t: f"{datetime.fromtimestamp(t)}"),
    "isoformat": ("TEXT", "local", lambda t: datetime.fromtimestamp(t).isoformat()),
    "persist-queue": ("FLOAT", None, lambda t: t),
    "litequeue": ("INTEGER", None, lambda t: int(t) * 1_000_000_000),
}


@pytest.fixture(params=["Europe/Berlin", "Asia/Tokyo", "America/New_York", "UTC"])
def seen_from(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def cancelled(path: Path, kind: str, created: str | float, zone: str) -> object:
    """What a run makes of one request: when it is said to have ended, ``None`` where it is kept."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            f"CREATE TABLE requests (request_id, status, created_at {kind}, completed_at {kind})"
        )
        connection.execute("INSERT INTO requests VALUES ('a', 'queued', ?, NULL)", [created])
    store = SqliteRequests(path, RequestMapping(timezone=zone), now=NOW)
    closed_later(store)
    actions = list(plan_requests(store.survey(), RequestPolicy(), NOW).actions)
    if actions:
        assert list(store.cancel(actions, NOW)) == [Outcome.DONE]
    with closing(sqlite3.connect(path)) as connection:
        status, ended = connection.execute("SELECT status, completed_at FROM requests").fetchone()
    assert (status == "cancelled") is bool(actions)
    return ended


@pytest.mark.parametrize("library", FORMS)
def test_fresh_rows_are_kept_and_old_ones_cancelled(
    tmp_path: Path, seen_from: str, library: str
) -> None:
    kind, zone, written = FORMS[library]
    path = tmp_path / "requests.db"
    for setting in ("auto", zone or "auto"):
        for age in (0.0, 59 * 60.0):
            assert cancelled(path, kind, written(NOW - age), setting) is None
    end = cancelled(path, kind, written(NOW - 3 * HOUR), zone or "auto")
    assert end == written(NOW) or str(end).startswith(str(written(NOW)))
    assert cancelled(path, kind, written(NOW - HOUR - FARTHEST - 1), "auto") is not None
