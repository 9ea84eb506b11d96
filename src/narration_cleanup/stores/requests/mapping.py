"""How a request table is laid out: its names and its status values, in the service's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Literal

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import RequestStatus
from narration_cleanup.core.text import printable
from narration_cleanup.core.timestamps import AUTO

TimeFormat = Literal["auto", "iso", "unix", "unix_ms", "unix_us", "unix_ns"]
StatusValue = str | int
FilterValue = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of columns; ``None`` where the table has no such column."""

    id: str = "request_id"
    status: str = "status"
    created_at: str = "created_at"
    started_at: str | None = "started_at"
    completed_at: str | None = "completed_at"
    heartbeat_at: str | None = None
    scheduled_at: str | None = None
    updated_at: str | None = None
    error: str | None = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statuses:
    """The values that mean each state; the first of ``cancelled`` is what is written.

    Rows in a state of ``ignored`` are left alone, like those of unknown ones.
    """

    queued: tuple[StatusValue, ...] = ("queued",)
    generating: tuple[StatusValue, ...] = ("generating",)
    completed: tuple[StatusValue, ...] = ("completed",)
    failed: tuple[StatusValue, ...] = ("failed",)
    cancelled: tuple[StatusValue, ...] = ("cancelled",)
    ignored: tuple[StatusValue, ...] = ()

    def of(self, status: RequestStatus) -> tuple[StatusValue, ...]:
        """The values that mean ``status``."""
        found: tuple[StatusValue, ...] = getattr(self, status.value)
        return found

    def values(self, statuses: Iterable[RequestStatus]) -> list[StatusValue]:
        """Every value that means one of ``statuses``, as number and as text.

        A column of text gives back as ``'0'`` what was written as 0, one of numbers the reverse.
        """
        found: dict[tuple[type, StatusValue], StatusValue] = {}
        for status in statuses:
            for value in self.of(status):
                for form in forms_of(value):
                    found[type(form), form] = form
        return list(found.values())

    def words(self) -> dict[str | float, RequestStatus]:
        """The state that each value means; an exact form precedes a converted one."""
        found: dict[str | float, RequestStatus] = {}
        for kind in (slice(1), slice(1, None)):
            for status in RequestStatus:
                for value in self.of(status):
                    for form in forms_of(value)[kind]:
                        found.setdefault(form, status)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMapping:
    """Everything about a request table that differs between services.

    ``filter``: the values that some columns have in this service's rows, where several services
    share the table. ``timezone`` (``auto`` or a zone, see ``zones``) is that of naive times.
    ``error_text`` is written into the error column of a cancelled request, where there are both.
    """

    table: str = "requests"
    columns: Columns = field(default_factory=Columns)
    statuses: Statuses = field(default_factory=Statuses)
    filter: Mapping[str, Sequence[FilterValue]] = field(default_factory=dict)
    time_format: TimeFormat = "auto"
    timezone: str = AUTO
    error_text: str | None = None

    @property
    def written(self) -> tuple[str, ...]:
        """The roles of the columns that a cancelled row gets new values in, in their order."""
        error = () if self.error_text is None else ("error",)
        return ("status", "completed_at", "updated_at", *error)


DEFAULT_COLUMNS = Columns()
REQUIRED = ("id", "status", "created_at")
ROLES = tuple(each.name for each in fields(Columns))


def forms_of(value: StatusValue) -> list[StatusValue]:
    """``value`` itself, and the same as text or number where there is one."""
    if isinstance(value, int):
        return [value, str(value)]
    digits = value.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 19 and str(int(value)) == value:
        return [value, int(value)]
    return [value]


_LITERAL = re.compile(r"'((?:[^']|'')*)'|(?<![\w.])(-?[0-9]+)(?![\w.])", re.ASCII)


MOST_WORDS = 100
"""Rows that are read of a table that a status refers to."""


def all_of_few(words: Iterable[object]) -> tuple[str, ...]:
    """The words of a table of statuses; none where ``MOST_WORDS`` were read: it may have more."""
    found = tuple(map(str, words))
    return found if len(found) < MOST_WORDS else ()


def literals_in(condition: str) -> tuple[str, ...]:
    """The texts and whole numbers in an SQL condition, each as text."""
    found = _LITERAL.finditer(condition)
    return tuple(each[2] or each[1].replace("''", "'") for each in found)


def matching(wanted: str, names: Sequence[str]) -> str | None:
    """The name that a database would take: letters of ASCII are equal in either case."""
    if wanted in names:
        return wanted
    return next((name for name in names if _folded(name) == _folded(wanted)), None)


def find_columns(
    mapping: RequestMapping, table: str, names: Mapping[str, bool], where: str
) -> dict[str, str]:
    """The name of the column of each role that is there; ``names`` say which are generated.

    An optional column that only the defaults name may be missing; one that was set may not.
    """
    found: dict[str, str] = {}
    for role in ROLES:
        wanted: str | None = getattr(mapping.columns, role)
        if wanted is None:
            continue
        is_needed = role in REQUIRED or wanted != getattr(DEFAULT_COLUMNS, role)
        if is_needed or matching(wanted, list(names)) is not None:
            setting = f"requests.columns.{role}"
            found[role] = find_column(wanted, table, list(names), where, setting)
            if role in mapping.written and names[found[role]]:
                why = f"column {printable(wanted)} is generated, so it cannot be written"
                raise TargetError("unsuitable_column", f"{where}: {why}; set {setting}")
    return found


def find_column(wanted: str, table: str, names: Sequence[str], where: str, setting: str) -> str:
    """The name of one column; raises ``TargetError`` that lists the known ones."""
    name = matching(wanted, names)
    if name is None:
        raise TargetError(
            "no_such_column",
            f"{where}: table {printable(table)} has no column {printable(wanted)}"
            f"{_known(wanted, names)}; set {setting}",
        )
    return name


def no_such_table(where: str, wanted: str, tables: Sequence[str]) -> TargetError:
    """The error where the table is not there, which lists those that are."""
    message = f"{where}: there is no table {printable(wanted)}{_known(wanted, tables)}"
    return TargetError("no_such_table", f"{message}; set requests.table")


def not_a_table(where: str, name: str, kind: str) -> TargetError:
    """The error where the name is that of something else, ``kind``."""
    message = f"{where}: {printable(name)} is {kind}; set requests.table to the table itself"
    return TargetError("not_a_table", message)


def _folded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass").lower()


def _known(wanted: str, names: Sequence[str]) -> str:
    """The nearest known name, and all of them."""
    if not names:
        return " (there is none at all)"
    near = get_close_matches(wanted, names, n=1, cutoff=0.6)
    guess = f", did you mean {printable(near[0])}?" if near else ""
    return f"{guess} (it has: {printable(', '.join(names))})"
