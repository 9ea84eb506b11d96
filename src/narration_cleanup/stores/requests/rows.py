"""A row of the request table, read into what a policy can judge; faults are reported."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeGuard

from narration_cleanup.core.model import (
    ACTIVE,
    OTHER_STATUS,
    FoundRequest,
    GenerationRequest,
    Problem,
    Problems,
    ReadTime,
    RequestStatus,
    Scalar,
    Severity,
    Target,
)
from narration_cleanup.core.text import printable
from narration_cleanup.core.timestamps import is_unset
from narration_cleanup.core.zones import TableTimes
from narration_cleanup.stores.requests.column_times import ColumnTimes
from narration_cleanup.stores.requests.mapping import RequestMapping, Statuses, forms_of

SELECTED = (
    "id",
    "status",
    "created_at",
    "started_at",
    "heartbeat_at",
    "completed_at",
    "scheduled_at",
)
CANCEL_GUARD = ("status", "created_at", "started_at", "heartbeat_at", "scheduled_at")
DELETE_GUARD = ("status", "created_at", "started_at", "completed_at")
"""The columns that a guard's values are of. A finished row has no heartbeat to watch, but it may
have been run again: then its ``completed_at`` is another."""
Guard = tuple[Scalar, ...]
NULL = "NULL"
"""What an id or a status that is missing is called."""


class RowReader:
    """Reads rows of the columns ``SELECTED``, in that order; those that do not exist are ``None``.
    After them a row may have its rowid.

    ``names`` are the columns' own names, for messages. The values of ``typed`` are ISO texts
    whatever the settings say: those columns have a type of time.
    """

    def __init__(
        self,
        names: Mapping[str, str],
        mapping: RequestMapping,
        where: str,
        times: TableTimes,
        typed: frozenset[str] = frozenset(),
    ) -> None:
        self._words = mapping.statuses.words()
        self._unset: Counter[str] = Counter()
        iso = replace(mapping, time_format="iso")
        self._times = {
            role: ColumnTimes(
                names.get(role, role), iso if role in typed else mapping, where, times, role
            )
            for role in SELECTED[2:]
        }

    def active_row(self, row: Sequence[object], problems: Problems) -> GenerationRequest | None:
        """A waiting or running request; ``None``, and a problem, where it cannot be judged."""
        raw = dict(zip(SELECTED, row, strict=False))
        known = self._known(raw, CANCEL_GUARD, problems)
        if known is None:
            return None
        identity, status, guard = known
        read = {role: self._times[role](raw[role]) for role in CANCEL_GUARD[1:]}
        created_at = read["created_at"]
        if created_at is None:
            problems.add(_unreadable(identity, "created_at", raw["created_at"]))
            return None
        for role in ("heartbeat_at", "scheduled_at"):
            if raw[role] is not None and read[role] is None:
                if is_unset(raw[role]):
                    self._unset[role] += 1
                else:
                    problems.add(_unreadable(identity, role, raw[role]))
                return None
        return GenerationRequest(
            identity,
            status,
            created_at,
            read["started_at"],
            read["heartbeat_at"],
            None,
            guard,
            _place(row),
            read["scheduled_at"],
        )

    def finished_row(self, row: Sequence[object], problems: Problems) -> GenerationRequest | None:
        """An ended request; one without the time of its end counts from the last of its others,
        and is left alone where one of them cannot be read."""
        raw = dict(zip(SELECTED, row, strict=False))
        known = self._known(raw, DELETE_GUARD, problems)
        if known is None:
            return None
        identity, status, guard = known
        read = {role: self._times[role](raw[role]) for role in DELETE_GUARD[1:]}
        created_at, finished_at = read["created_at"], read["completed_at"]
        if raw["completed_at"] is None and created_at is not None:
            roles = [role for role in CANCEL_GUARD[1:] if raw[role] is not None]
            times = [self._times[role](raw[role]) for role in roles]
            known_times = [each for each in times if each is not None]
            if len(known_times) < len(times):
                return None
            finished_at = max(known_times)
        elif finished_at is None:
            problems.add(_unreadable(identity, "completed_at", raw["completed_at"]))
            return None
        created_at = finished_at if created_at is None else created_at
        started_at, place = read["started_at"], _place(row)
        return GenerationRequest(
            identity, status, created_at, started_at, None, finished_at, guard, place
        )

    def _known(
        self, raw: Mapping[str, object], guard: Sequence[str], problems: Problems
    ) -> tuple[str | int, RequestStatus, Guard] | None:
        """Which row it is, its status, and its guard; ``None`` where no statement can match it."""
        identity, status = shown_id(raw["id"]), self._status(raw["status"])
        if status is None or not _is_usable(identity, problems):
            return None
        values = _guard(identity, [raw[role] for role in guard], problems)
        return None if values is None else (identity, status, values)

    def found_row(self, row: Sequence[object], *, is_ours: bool) -> FoundRequest:
        """A row that somebody asks about, whatever its status; ``is_ours``: it is one of this
        service."""
        raw = dict(zip(SELECTED, row, strict=False))
        status, problems, unset = self._status(raw["status"]), Problems(), Counter(self._unset)
        request, why = None, ""
        if not is_ours:
            why = "requests.filter leaves it out"
        elif status in ACTIVE:
            request = self.active_row(row, problems)
            why = "a time of it is before 2000, which is no time: left alone"
        elif status is not None:
            request = self.finished_row(row, problems)
        else:
            why = "no setting names its status, or requests.statuses.ignored does: left alone"
        self._unset = unset
        why = next((problem.message for problem in problems), why)
        return FoundRequest(
            id=named_id(raw["id"]),
            status=_unknown_status(raw["status"]) if status is None else status.value,
            request=request,
            times=tuple(self._read_times(raw)),
            unjudged=None if request else why,
        )

    def _read_times(self, raw: Mapping[str, object]) -> Iterator[ReadTime]:
        for role in SELECTED[2:]:
            value = raw[role]
            if value is not None:
                read = self._times[role]
                yield ReadTime(role, "table", printable(value), read(value), *read.zone(value))

    def begin_pass(self) -> None:
        """Count anew what ``unset_times`` reports: active rows are read once more."""
        self._unset.clear()

    def unset_times(self) -> Iterator[Problem]:
        """One for each column, with the number of its rows that were left alone for it."""
        for role, count in self._unset.items():
            rows = "1 active row" if count == 1 else f"{count} active rows"
            message = (
                f"{role} of {rows} is before 2000, which is no time: left alone; the service "
                "should write NULL there"
            )
            yield Problem(Target.REQUESTS, "unset_time", message, severity=Severity.WARNING)

    def _status(self, raw: object) -> RequestStatus | None:
        return self._words.get(raw) if isinstance(raw, (str, int, float)) else None


def status_totals(
    counts: Mapping[object, int], statuses: Statuses, problems: Problems
) -> dict[str, int]:
    """Rows by raw status -> rows by the service's words; unknown ones unchanged, and reported.

    Of unknown ones the 20 with most rows have their own number: a service may write free text.
    """
    words = statuses.words()
    ignored = {form for value in statuses.ignored for form in forms_of(value)}
    totals: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for raw, count in sorted(counts.items(), key=lambda each: str(each[0])):
        known = words.get(raw) if isinstance(raw, (str, int, float)) else None
        if known is not None:
            totals[known.value] += count
        elif raw in ignored:
            totals[_unknown_status(raw)] += count
        else:
            unknown[_unknown_status(raw)] += count
    apart = dict(unknown.most_common(MOST_UNKNOWN))
    for name in sorted(apart):
        totals[name] += apart[name]
        problems.add(_unknown(apart[name], "a status", name))
    if left := unknown.total() - sum(apart.values()):
        totals[OTHER_STATUS] += left
        rest = f"one of {len(unknown) - len(apart)} more statuses"
        problems.add(_unknown(left, rest, OTHER_STATUS))
    return dict(totals)


def _unknown(count: int, what: str, name: str) -> Problem:
    message = (
        f"{count} {'row has' if count == 1 else 'rows have'} {what} that no setting names: left "
        "alone; requests.statuses maps other services' words"
    )
    return Problem(Target.REQUESTS, "unknown_status", message, name, Severity.WARNING)


def are_cancelled(raws: Iterable[object], statuses: Statuses) -> bool:
    """Whether each of these raw statuses is one of a cancelled row."""
    words = statuses.words()
    return all(
        isinstance(raw, (str, int, float)) and words.get(raw) is RequestStatus.CANCELLED
        for raw in raws
    )


def no_time_of_ending() -> Problem:
    """Finished rows are to be deleted, and no column has the time of their end."""
    return Problem(
        Target.REQUESTS,
        "no_such_column",
        "finished rows cannot be deleted without the column that says when they ended: set "
        "requests.columns.completed_at, or delete_finished_after_days = 0",
    )


def _unknown_status(raw: object) -> str:
    """The name that an unmapped status is counted under; never one of the service's words."""
    if raw is None:
        return NULL
    return printable(raw if isinstance(raw, str) and raw not in _WORDS else repr(raw))


MOST_UNKNOWN = 20
_BLOB = re.compile("X'((?:[0-9a-f]{2})*)'")
_UUID = re.compile("([0-9a-f]{32})")
_WORDS = frozenset(status.value for status in RequestStatus)


def shown_id(raw: object) -> object:
    """An id that a statement can name as it is reported: a UUID of 16 bytes is ``X'…'``."""
    return named_id(raw) if isinstance(raw, bytes) and len(raw) == 16 else raw


def named_id(raw: object) -> str | int:
    """Any id as it is reported, also one that no statement can name: in SQL's words."""
    if isinstance(raw, bytes):
        return f"X'{raw.hex()}'"
    if raw is None:
        return NULL
    return raw if isinstance(raw, (str, int)) else repr(raw)


def ids_named(name: str) -> list[object]:
    """The ids, but NULL, that are reported as ``name``, or that people write so."""
    found: list[object] = [*forms_of(name)]
    with suppress(ValueError):
        if repr(float(name)) == name:
            found.append(float(name))
    uuid = name.replace("-", "").lower()
    blob = _BLOB.fullmatch(name) or _UUID.fullmatch(uuid)
    return [*found, bytes.fromhex(blob[1])] if blob else found


def stored_id(identity: str | int) -> str | int | bytes:
    """The reverse: an id as the table has it."""
    if isinstance(identity, str) and (blob := _BLOB.fullmatch(identity)) and len(blob[1]) == 32:
        return bytes.fromhex(blob[1])
    return identity


def _is_usable(identity: object, problems: Problems) -> TypeGuard[str | int]:
    """Whether a statement can name this row."""
    if isinstance(identity, (str, int)) and _is_scalar(identity):
        return True
    problems.add(
        Problem(
            Target.REQUESTS,
            "unreadable_id",
            f"an id that is neither text nor a whole number ({_kind(identity)}): left alone",
            printable(named_id(identity)),
        )
    )
    return False


def _guard(identity: str | int, values: Sequence[object], problems: Problems) -> Guard | None:
    """What the row was, as a statement can ask for it; ``None``, and a problem, where it cannot."""
    scalars = tuple(value for value in values if _is_scalar(value))
    if len(scalars) == len(values):
        return scalars
    odd = next(value for value in values if not _is_scalar(value))
    problems.add(
        Problem(
            Target.REQUESTS,
            "unreadable_value",
            f"status or a time is {_kind(odd)}: left alone",
            str(identity),
        )
    )
    return None


def _unreadable(identity: str | int, role: str, value: object) -> Problem:
    what = "is missing" if value is None else f"cannot be read as a time ({printable(value)})"
    return Problem(
        Target.REQUESTS,
        "unreadable_time",
        f"{role} {what}: left alone; are requests.time_format and requests.columns right?",
        str(identity),
    )


def _is_scalar(value: object) -> TypeGuard[Scalar]:
    """Whether a value can be given back to the database as it was."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    return value is None or isinstance(value, (int, float))


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "text that is not UTF-8"
    return {bytes: "a blob", float: "a fraction", type(None): "NULL"}.get(type(value), "odd")


def _place(row: Sequence[object]) -> int | None:
    last = row[-1]
    return last if len(row) > len(SELECTED) and isinstance(last, int) else None
