"""Requests made by the own code of libraries, in the zone of this process.

`python -m tests.stores.requests.library_rows FOLDER` makes three databases for each of `TABLES`:
`<name>-fresh.db` with a request of now, `<name>-old.db` with one that is three hours old, for which
the library's clock is set back, and `<name>-both.db`.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

OLD = timedelta(hours=3)
Hours = Iterable[timedelta]
"""How long ago each request is made."""
Settings = dict[str, object]

_NONE = {"started_at": "none", "completed_at": "none", "error": "none"}
_NAMED: Settings = {"table": "jobs", "columns": {"id": "id"} | _NONE}
TABLES: dict[str, tuple[str | None, Settings]] = {
    "django": ("UTC", _NAMED),
    "django-without-zones": ("local", _NAMED),
    "sqlalchemy": ("local", _NAMED),
    "sqlalchemy-by-the-database": ("UTC", _NAMED),
    "persist-queue": (
        None,
        {
            "table": "ack_queue_default",
            "columns": {"id": "_id", "created_at": "timestamp"} | _NONE,
            "statuses": {
                "queued": [0, 1],
                "generating": [2],
                "completed": [5],
                "failed": [],
                "cancelled": [9],
            },
        },
    ),
    "litequeue": (
        None,
        {
            "table": "Queue",
            "columns": {
                "id": "message_id",
                "created_at": "in_time",
                "started_at": "lock_time",
                "completed_at": "done_time",
                "error": "none",
            },
            "statuses": {
                "queued": [0],
                "generating": [1],
                "completed": [2],
                "failed": [],
                "cancelled": [3],
            },
        },
    ),
}
"""The zone that each writes its times in, if they need one, and its table, for the settings."""


def django(database: Path, ages: Hours, *, use_tz: bool) -> None:
    """A model whose time is `auto_now_add`, as the documentation shows."""
    from django.conf import settings
    from django.db import connections, models

    if not settings.configured:
        settings.configure()
        import django

        django.setup()
    settings.USE_TZ = use_tz
    engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(database)}
    connections.settings[database.stem] = connections["default"].settings_dict | engine
    fields = {
        "__module__": __name__,
        "Meta": type("Meta", (), {"app_label": database.stem, "db_table": "jobs"}),
        "status": models.CharField(max_length=20, default="queued"),
        "created_at": models.DateTimeField(auto_now_add=True),
    }
    job = models.base.ModelBase("Job", (models.Model,), fields)
    connection = connections[database.stem]
    with connection.schema_editor() as editor:
        editor.create_model(job)
    for age in ages:
        _at(age, job.objects.using(database.stem).create, local=not use_tz)
    connection.close()


def sqlalchemy(database: Path, ages: Hours, *, by_database: bool) -> None:
    """A column with the default `datetime.now`, or the database's own `now()`."""
    import sqlalchemy as sa
    from sqlalchemy import orm

    registry = orm.registry()
    created = sa.Column("created_at", sa.DateTime, default=lambda: datetime.now())
    table = sa.Table(
        "jobs",
        registry.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("status", sa.String, default="queued"),
        created,
    )
    engine = sa.create_engine(f"sqlite:///{database}")
    registry.metadata.create_all(engine)
    for age in ages:
        with engine.begin() as connection:
            if by_database:  # SQLite has a clock of its own: it is asked for an earlier time
                now = (
                    sa.func.now() if not age else sa.func.datetime("now", f"-{age.seconds} seconds")
                )
                connection.execute(sa.insert(table).values(created_at=now))
            else:
                _at(age, partial(connection.execute, sa.insert(table)), local=True)
    engine.dispose()


def persist_queue(database: Path, ages: Hours) -> None:
    """The queue that waits for acknowledgements."""
    from persistqueue import SQLiteAckQueue

    with TemporaryDirectory(dir=database.parent) as folder:
        queue = SQLiteAckQueue(folder)
        for number, age in enumerate(ages):
            _at(age, partial(queue.put, number))
        queue.close()
        _compact(Path(folder) / "data.db", database)


def litequeue(database: Path, ages: Hours) -> None:
    """Its only queue."""
    from litequeue import LiteQueue

    queue = LiteQueue(str(database))
    for number, age in enumerate(ages):
        _at(age, partial(queue.put, str(number)))
    queue.close()


MAKERS: dict[str, Callable[[Path, Hours], None]] = {
    "django": partial(django, use_tz=True),
    "django-without-zones": partial(django, use_tz=False),
    "sqlalchemy": partial(sqlalchemy, by_database=False),
    "sqlalchemy-by-the-database": partial(sqlalchemy, by_database=True),
    "persist-queue": persist_queue,
    "litequeue": litequeue,
}


def main(folder: Path) -> None:
    """Make all of them."""
    for name, make in MAKERS.items():
        for kind, ages in (("fresh", [timedelta()]), ("old", [OLD]), ("both", [OLD, timedelta()])):
            make(folder / f"{name}-{kind}.db", ages)


def _at(age: timedelta, make: Callable[[], object], *, local: bool = False) -> None:
    """Let a library make a request, by a clock that is so far behind; `local`: it asks for local
    time, which is UTC to freezegun otherwise."""
    if not age:
        make()
        return
    from freezegun import freeze_time

    offset = datetime.now().astimezone().utcoffset() if local else None
    with freeze_time(datetime.now(UTC) - age, tz_offset=offset or timedelta()):
        make()


def _compact(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", [str(target)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
