"""A connection that is made anew when it drops, and the lock that keeps runs apart.

The lock is PostgreSQL's own advisory lock, held by the session: a run that dies, on whatever
machine, lets go of it with its connection. Whoever connects anew takes it anew, or stops.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar
from urllib.parse import unquote

import psycopg
from psycopg import conninfo, errors

from narration_cleanup.core.deadline import Deadline
from narration_cleanup.core.errors import BusyError, ConfigError, TargetError
from narration_cleanup.core.locks import RUN_LOCK_WAIT
from narration_cleanup.core.signals import is_overdue
from narration_cleanup.core.text import printable
from narration_cleanup.stores.requests.postgres.errors import may_pass, to_target_error

T = TypeVar("T")
Connection = psycopg.Connection[tuple[object, ...]]

RETRY_FOR = 10.0
"""Seconds for which a dropped connection is made anew, with growing pauses."""
LOCK_SECONDS = 10.0
"""How long a lock on the table (as of an ALTER TABLE) is waited for."""
STATEMENT_SECONDS = 120.0
"""The longest that a statement of a survey may take: it counts the whole table."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_NO_FILE = "/dev/null/pgpass"
_WORK_SECONDS = 2 * STATEMENT_SECONDS
"""After this time the server itself should have ended a statement: it does not answer."""
_CANCEL_SECONDS = 2.0
"""How long a server has to end a statement that it is asked to end."""
LOCK_CLASS = 0x6E61_7272
"""The first half of the advisory lock's key ("narr"); the second is the table's oid."""

_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "lock_timeout": f"{LOCK_SECONDS:.0f}s",
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS:.0f}s",
}
_CLOCK = "SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())"
_FIXED_PATH = """\
SELECT pg_catalog.set_config('search_path', pg_catalog.string_agg(
pg_catalog.quote_ident(schema), ', ' ORDER BY n), false)
FROM pg_catalog.unnest(pg_catalog.array_append(pg_catalog.array_prepend('pg_catalog'::text,
pg_catalog.current_schemas(false)::text[]), 'pg_temp'::text)) WITH ORDINALITY AS path (schema, n)"""
"""The role's own schemas, since its triggers may need them, between the two that can hold what
passes for a function of the server: that schema first, and that of temporary objects last.

Of operators the one whose types are exactly those of its operands is taken, wherever it is. So all
are between types for which the server has one, or are written ``OPERATOR(pg_catalog.=)``."""
EQUAL = "OPERATOR(pg_catalog.=)"
_DEFAULTS: dict[str, str | int] = {
    "application_name": "narration-cleanup",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class Session:
    """One database session at a time. ``location`` is how it is shown, without any password.

    ``now`` is the server's clock at the first connection: one reading for a whole
    run. ``connected`` counts the connections that were made.
    """

    def __init__(self, url: str) -> None:
        """Raises ``ConfigError`` where ``url`` is none that PostgreSQL's library understands."""
        self._parameters = _parameters(url)
        self.location = _location(self._parameters)
        passwords = (self._parameters.get("password"), os.environ.get("PGPASSWORD"))
        self.secrets = tuple(text for word in passwords if (text := str(word or "")))
        self._connection: Connection | None = None
        self._lock: int | None = None
        self.now: float | None = None
        self.connected = 0
        self._given_up = False

    def do(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` returns; done again when the connection drops. Raises ``TargetError``.

        ``work`` is one transaction, or only reads. A server that was waited for in vain is not
        waited for again.
        """
        deadline = Deadline(0.0 if self._given_up else RETRY_FOR)
        pause = _FIRST_PAUSE
        while True:
            try:
                connection = self._connected()
                with _bounded(connection):
                    answer = work(connection)
            except psycopg.Error as fault:
                if deadline.passed or is_overdue() or not self._worth_another_try(fault):
                    self._given_up = self._connection is None
                    raise self.to_target_error(fault) from None
            else:
                self._given_up = False
                return answer
            deadline.pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def to_target_error(self, fault: psycopg.Error) -> TargetError:
        """``fault`` in one line."""
        return to_target_error(fault, self.location, limit=LOCK_SECONDS, secrets=self.secrets)

    @contextmanager
    def locked(self, relation: int) -> Iterator[None]:
        """Hold the run lock of the table with that oid; raises ``BusyError``."""
        deadline = Deadline(RUN_LOCK_WAIT)
        while not self.do(lambda it: _try_lock(it, relation)):
            if deadline.passed:
                raise BusyError(
                    f"another run, perhaps on another machine, holds the lock of {self.location}: "
                    "nothing was touched"
                )
            deadline.pause(_FIRST_PAUSE)
        self._lock = relation
        try:
            yield
        finally:
            self._lock = None
            if self._connection is not None:
                with suppress(psycopg.Error):
                    self._connection.execute(
                        "SELECT pg_catalog.pg_advisory_unlock(%s, %s)",
                        (LOCK_CLASS, _signed(relation)),
                    )

    def close(self) -> None:
        """Let go of the server; a second call does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _worth_another_try(self, fault: psycopg.Error) -> bool:
        if isinstance(fault, (errors.SerializationFailure, errors.DeadlockDetected)):
            return True
        if not isinstance(fault, psycopg.OperationalError):
            return False
        if self._connection is None:
            return may_pass(fault)
        if not self._connection.closed:
            return False
        self.close()
        return True

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = None
            parameters = conninfo.make_conninfo("", **self._parameters)
            if _is_ignored(self._parameters.get("passfile")):
                self._parameters["passfile"] = _NO_FILE
            connection = psycopg.connect(parameters, autocommit=True, prepare_threshold=None)
            self.connected += 1
            try:
                self._prepare(connection)
            except BaseException:  # or it would be used without its search path, or its lock
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: Connection) -> None:
        self._refuse_shared_backend(connection)
        connection.execute(_FIXED_PATH)
        for name, value in _SETTINGS.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
        if self.now is None:
            self.now = _clock(connection)
        if self._lock is not None and not _try_lock(connection, self._lock):
            raise TargetError(
                "lock_lost",
                f"{self.location}: the connection dropped, and the lock could not be taken "
                "again (another run has it, or the server has not noticed yet): stopped",
            )

    def _refuse_shared_backend(self, connection: Connection) -> None:
        """Raise ``TargetError`` where a pooler lends one session of the server to several clients:
        the lock would be lost, and these settings would become those of others.

        Behind a pooler the server's process is another than the one that was said to be connected
        to. If it is lent, a second client gets the same one, or this one gets another meanwhile.
        """
        first = _backend(connection)
        if first == connection.info.backend_pid:
            return
        parameters = conninfo.make_conninfo("", **self._parameters)
        with psycopg.connect(parameters, prepare_threshold=None) as other:
            shared = _backend(other) == first or _backend(connection) != first
        if shared:
            raise TargetError(
                "pooled_connection",
                f"{self.location}: a pooler (as pgbouncer in transaction mode) shares the "
                "connection with other clients, so that a lock would be lost: nothing is changed; "
                "give the server's own address, or that of a pool in session mode",
            )


def _is_ignored(passfile: str | int | None) -> bool:
    """Whether libpq ignores the password file, since others can read it, and prints a warning at
    each connection. The first one is enough."""
    if passfile is None:
        passfile = os.environ.get("PGPASSFILE") or os.path.expanduser("~/.pgpass")
    with suppress(OSError):
        return bool(os.stat(passfile).st_mode & 0o077)
    return False


def _backend(connection: Connection) -> object:
    row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    return row and row[0]


@contextmanager
def _bounded(connection: Connection) -> Iterator[None]:
    """End what the server does in the block where this process was asked to end some time ago, or
    where the server does not answer: it is asked to cancel the statement, then disconnected."""
    done, deadline = Event(), Deadline(_WORK_SECONDS)

    def watch() -> None:
        while not done.wait(_FIRST_PAUSE):
            if is_overdue() or deadline.passed:
                with suppress(psycopg.Error):
                    connection.cancel_safe(timeout=_CANCEL_SECONDS)
                if not done.wait(_CANCEL_SECONDS):
                    with suppress(psycopg.Error, OSError), _socket(connection) as to_server:
                        to_server.shutdown(socket.SHUT_RDWR)
                return

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _socket(connection: Connection) -> socket.socket:
    return socket.socket(fileno=os.dup(connection.fileno()))


def _try_lock(connection: Connection, relation: int) -> bool:
    key = (LOCK_CLASS, _signed(relation))
    row = connection.execute("SELECT pg_catalog.pg_try_advisory_lock(%s, %s)", key).fetchone()
    return row is not None and row[0] is True


def _clock(connection: Connection) -> float | None:
    row = connection.execute(_CLOCK).fetchone()
    return row[0] if row is not None and isinstance(row[0], float) else None


def _signed(oid: int) -> int:
    """An oid as the signed number that a lock's key is."""
    return oid - (1 << 32) if oid >= 1 << 31 else oid


def _parameters(url: str) -> dict[str, str | int | None]:
    """The connection's parameters; the password may also come from a file or the environment."""
    authority, _, path = url.partition("://")[2].partition("?")[0].partition("/")
    try:
        given = conninfo.conninfo_to_dict(url)
    except (psycopg.Error, UnicodeDecodeError):
        given = {"port": "?"}
    ports = str(given.get("port") or "").split(",")
    if authority.count("@") > 1 or "@" in path or not all(p == "" or p.isdigit() for p in ports):
        # A part of the password may be taken for something else: nothing of it is shown.
        raise ConfigError(
            "requests.db: this is no connection URL that PostgreSQL understands. It has the form "
            "postgresql://user@host:5432/name; in a password, each of @ / ? # : % is "
            "percent-encoded (or leave it out, and use PGPASSFILE)"
        )
    parameters: dict[str, str | int | None] = {**_DEFAULTS, **given}
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and "passfile" not in given and "PGPASSFILE" not in os.environ:
        passfile = Path(folder, "pgpass")
        if passfile.exists():
            parameters["passfile"] = str(passfile)
    return parameters


def _location(parameters: dict[str, str | int | None]) -> str:
    host = parameters.get("host") or parameters.get("hostaddr") or ""
    port = f":{parameters['port']}" if parameters.get("port") else ""
    name = parameters.get("dbname") or parameters.get("user") or ""
    return printable(unquote(f"postgresql://{host}{port}/{name}"))
