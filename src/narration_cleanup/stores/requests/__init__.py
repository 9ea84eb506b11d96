"""Where generation requests are kept: one protocol, SQLite and PostgreSQL behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.zones import IndexTimes

if TYPE_CHECKING:
    from narration_cleanup.stores.requests.mapping import RequestMapping
    from narration_cleanup.stores.requests.store import RequestStore

__all__ = ["RequestStore", "is_postgres", "open_requests"]


def open_requests(
    db: str,
    mapping: RequestMapping,
    *,
    now: float | None = None,
    index: IndexTimes | None = None,
    deletes: bool = False,
) -> RequestStore:
    """The store for the setting ``requests.db``: an SQLite file, or a URL of PostgreSQL.

    ``now``: of the run; ``index``: of the same service, to know the zone of times by.
    ``deletes``: finished rows will be deleted (PostgreSQL has a right of its own for it).
    Nothing is opened yet: what is wrong with the database is a ``TargetError`` of ``survey``.
    Raises ``ConfigError`` where PostgreSQL's library is not installed, or the URL is none.
    """
    if is_postgres(db):
        try:
            from narration_cleanup.stores.requests.postgres import PostgresRequests
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("psycopg", "psycopg_binary"):
                raise
            raise ConfigError(
                "requests.db is in PostgreSQL, and its library is not installed: "
                "pip install 'narration-cleanup[postgres]'"
            ) from None
        return PostgresRequests(db, mapping, now=now, index=index, deletes=deletes)
    from narration_cleanup.stores.requests.sqlite.table import SqliteRequests

    return SqliteRequests(Path(db), mapping, now=now, index=index)


def is_postgres(db: str) -> bool:
    """Whether the setting ``requests.db`` names a PostgreSQL server."""
    return db.startswith(("postgresql://", "postgres://"))
