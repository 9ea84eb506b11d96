"""Examines a database: which table holds the requests, and what its columns mean."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from narration_cleanup.check.examine_cache import Examined
from narration_cleanup.core.errors import ConfigError, TargetError
from narration_cleanup.core.text import printable
from narration_cleanup.settings import BY_NAME
from narration_cleanup.settings.known_programs import PROGRAMS
from narration_cleanup.settings.show import without_password
from narration_cleanup.stores.requests import is_postgres, open_requests
from narration_cleanup.stores.requests.mapping import REQUIRED, RequestMapping
from narration_cleanup.stores.requests.sqlite.database import look
from narration_cleanup.stores.requests.sqlite.layout import quoted

_COLUMNS: Mapping[str, Sequence[str]] = {
    "id": ("request_id", "job_id", "task_id", "id", "uuid"),
    "status": ("status", "state"),
    "created_at": ("created_at", "queued_at", "enqueued_at", "inserted_at", "created", "timestamp"),
    "started_at": ("started_at", "started", "started_on"),
    "completed_at": ("completed_at", "finished_at", "ended_at", "completed_on", "finished"),
    "scheduled_at": ("scheduled_at", "start_after", "run_at", "run_after", "available_at"),
    "heartbeat_at": ("heartbeat_at", "heartbeat", "last_heartbeat", "updated_at"),
    "error": ("error", "error_message", "last_error"),
}
"""The names that each column has in the tables of such services, the likeliest first."""
_STATUSES: Mapping[str, Sequence[str]] = {
    "queued": ("queued", "pending", "waiting", "new", "enqueued"),
    "generating": ("generating", "processing", "running", "in_progress", "active", "playing"),
    "completed": ("completed", "complete", "done", "succeeded", "success", "finished", "played"),
    "failed": ("failed", "error", "errored"),
    "cancelled": ("cancelled", "canceled", "aborted", "abandoned"),
}
_SHARED = ("queue", "queue_name", "kind", "task_name", "worker")
"""Columns by which several programs share one table."""
_LIKELY = re.compile("request|job|queue|task|narration|tts", re.IGNORECASE)
_CHECK = r"\bCHECK\s*\(\s*[\"`\[]?{}[\"`\]]?\s+IN\s*\(([^)]*)\)"
_MOST_WORDS = 50


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    columns: dict[str, str]
    """The table's own name for each meaning that was found."""
    words: list[object]
    """The states in its rows."""
    allowed: list[str]
    """The states that a CHECK allows."""
    queues: list[str]
    """What distinguishes programs that share it."""


def examine_requests(database: str) -> Examined:
    """Settings for the requests in ``database``; raises ``ConfigError`` where there are none."""
    where = printable(without_password(database))
    try:
        if is_postgres(database):
            from narration_cleanup.stores.requests.postgres.list_tables import read_tables

            open_requests(database, RequestMapping()).close()  # names a library that is missing
            place = database
            tables = [_table(*each) for each in read_tables(database, _MOST_WORDS)]
        else:
            place = str(Path(database).absolute())
            if not Path(place).is_file():
                raise ConfigError(f"{where} is no database file: name that of the service")
            tables = look(Path(place), _read_sqlite)
    except TargetError as error:
        raise ConfigError(str(error)) from None
    found = [each for each in tables if each.columns.keys() >= set(REQUIRED)]
    _refuse_known(tables, bool(found), where)
    if not found:
        names = ", ".join(each.name for each in tables) or "none"
        raise ConfigError(
            f"{where} has no table with an id, a status and a time of creation; tables: "
            f"{printable(names)}"
        )
    found.sort(key=lambda each: _LIKELY.search(each.name) is None)
    table = found[0]
    if len(table.queues) > 1:
        queues = printable(", ".join(table.queues[:5]))
        raise ConfigError(
            f"{where}: table {printable(table.name)} holds the jobs of several queues ({queues}); "
            "those of others would be cancelled too. Set requests.filter by hand"
        )
    settings: dict[str, object] = {"requests.db": place, "requests.table": table.name}
    sure = [f"requests: table {printable(table.name)}"]
    unsure = []
    if len(found) > 1:
        others = printable(", ".join(each.name for each in found[1:]))
        unsure.append(f"that the requests are in table {printable(table.name)}: or in {others}?")
    if table.columns.get("heartbeat_at") == "updated_at":
        unsure.append("that updated_at is set while a request is generated, as a heartbeat")
        table.columns.setdefault("completed_at", "updated_at")
    for role in _COLUMNS:
        default = BY_NAME[f"requests.columns.{role}"].default
        column = table.columns.get(role, "none")
        if column != (default or "none"):
            settings[f"requests.columns.{role}"] = column
    settings.update(_statuses(table, where, sure, unsure))
    return settings, sure, unsure


def _read_sqlite(connection: sqlite3.Connection) -> list[_Table]:
    listed = connection.execute(
        "SELECT name, sql FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    found = []
    for name, sql in listed:
        described = connection.execute(f"PRAGMA main.table_info({quoted(name)})").fetchall()

        def distinct(column: str, table: str = f"main.{quoted(name)}") -> list[object]:
            query = f"SELECT DISTINCT {quoted(column)} FROM {table} LIMIT {_MOST_WORDS}"
            return [row[0] for row in connection.execute(query)]

        def allowed(column: str, sql: str = str(sql)) -> list[str]:
            check = re.search(_CHECK.format(re.escape(column)), sql, re.IGNORECASE)
            return re.findall(r"'([^']*)'", check[1]) if check else []

        found.append(_table(str(name), [str(row[1]) for row in described], distinct, allowed))
    return found


def _table(
    name: str,
    names: Sequence[str],
    distinct: Callable[[str], list[object]],
    allowed: Callable[[str], list[str]],
) -> _Table:
    """A table with these columns; the values in a column and those allowed are asked if needed."""
    own = {each.lower(): each for each in names}
    columns = {
        role: own[near[0]]
        for role, usual in _COLUMNS.items()
        if (near := [each for each in usual if each in own])
    }
    if not columns.keys() >= set(REQUIRED):
        return _Table(name, columns, [], [], [])
    shared = [own[each] for each in _SHARED if each in own]
    return _Table(
        name=name,
        columns=columns,
        words=[word for word in distinct(columns["status"]) if word is not None],
        allowed=allowed(columns["status"]),
        queues=[f"{each}: {value}" for each in shared for value in distinct(each)],
    )


def _refuse_known(tables: Sequence[_Table], has_proposal: bool, where: str) -> None:
    """A table of a known program that others share, or whose names say too little."""
    names = {each.name for each in tables}
    for name, program in PROGRAMS.items():
        table = program.settings.get("requests.table")
        if table in names and ("requests.filter" in program.settings or not has_proposal):
            raise ConfigError(
                f"{where}: {table} is a table of {program.title}. Its settings are known: "
                f"narration-cleanup config init --for {name} --requests-db DATABASE"
            )


def _statuses(
    table: _Table, where: str, sure: list[str], unsure: list[str]
) -> dict[str, list[object]]:
    """The settings of the status words that are not the defaults."""
    numbers = [word for word in table.words if not isinstance(word, str)]
    if numbers:
        raise ConfigError(
            f"{where}: the states in table {printable(table.name)} are numbers "
            f"({', '.join(map(str, numbers[:5]))}): set requests.statuses by hand"
        )
    words = list(dict.fromkeys([*map(str, table.words), *table.allowed]))
    meaning: dict[str, list[object]] = {
        state: [word for word in words if word.lower() in known]
        for state, known in _STATUSES.items()
    }
    if not meaning["queued"] and not meaning["generating"]:
        shown = printable(", ".join(words)) or "none"
        raise ConfigError(
            f"{where}: no state in table {printable(table.name)} means waiting or being generated; "
            f"there are: {shown}"
        )
    known = {word for each in meaning.values() for word in each}
    if strange := [word for word in words if word not in known]:
        unsure.append(
            f"the meaning of the states {printable(', '.join(strange))}: they are left alone"
        )
        meaning["ignored"] = list(strange)
    for state in ("queued", "generating"):
        if not meaning[state]:
            assumed = "" if table.allowed else f", {state} is assumed"
            unsure.append(f"which state means {state}: no row has one{assumed}")
    if not meaning["cancelled"] and table.allowed:
        if not meaning["failed"]:
            raise ConfigError(
                f"{where}: table {printable(table.name)} allows no state that could be written to "
                f"an abandoned request: {printable(', '.join(table.allowed))}"
            )
        meaning["cancelled"], meaning["failed"] = meaning["failed"], []
        unsure.append(
            f"the table allows no word for cancelled: {meaning['cancelled'][0]} is written"
        )
    elif not meaning["cancelled"]:
        meaning["cancelled"] = ["cancelled"]
        unsure.append("that the service knows the state cancelled: no row has it")
    for state, usual in meaning.items():  # no row has it yet; the usual word is no other state's
        if not usual and not table.allowed and state in _STATUSES:
            usual.append(state)
    sure.append(f"states: {printable(', '.join(words))}")
    return {
        f"requests.statuses.{state}": found
        for state, found in meaning.items()
        if tuple(found) != BY_NAME[f"requests.statuses.{state}"].default
    }
