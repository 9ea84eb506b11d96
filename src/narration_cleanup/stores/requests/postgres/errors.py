"""What PostgreSQL reports, in one line for the operator: what, where, what to do; no password."""

from __future__ import annotations

import psycopg
from psycopg import errors

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.signals import given_up, is_overdue
from narration_cleanup.core.text import printable

_LONGEST = 200
_PASSING = (
    "starting up",
    "shutting down",
    "not yet accepting",
    "recovery mode",
    "too many",
    "remaining connection slots",
)
"""In the server's refusal of a connection: it may accept one in a moment."""

_MEANINGS: tuple[tuple[type[psycopg.Error], str, str], ...] = (
    (
        errors.LockNotAvailable,
        "database_locked",
        "another session kept the table locked for {limit:g} s; the next run tries again",
    ),
    (
        errors.QueryCanceled,
        "database_slow",
        "a statement took too long and was given up; does a trigger of the table wait, as for a "
        "lock, is there an index on the id, is the server overloaded?",
    ),
    (
        errors.InsufficientPrivilege,
        "no_rights",
        "the server says: {error}; docs/remote.md lists the rights that the role needs",
    ),
    (
        errors.ReadOnlySqlTransaction,
        "database_read_only",
        "this session may only read: the server is a standby, or default_transaction_read_only is "
        "on; give the primary's address, or set that to off for the role",
    ),
    (
        errors.DiskFull,
        "disk_full",
        "the server's disk is full: nothing of this batch is done",
    ),
    (
        errors.UndefinedFunction,
        "unsuitable_column",
        "the server says: {error}; are requests.columns right?",
    ),
)


def to_target_error(
    fault: psycopg.Error, where: str, *, limit: float, secrets: tuple[str, ...]
) -> TargetError:
    """``fault`` as what stops the target that has the requests.

    ``limit`` is the time in seconds for which a lock is waited for; ``secrets`` are texts that
    must not be shown, should the server repeat one.
    """
    if isinstance(fault, psycopg.OperationalError) and is_overdue():
        return given_up(where)
    text = _one_line(fault, secrets)
    for kind, code, meaning in _MEANINGS:
        if isinstance(fault, kind):
            return TargetError(code, f"{where}: {meaning.format(error=text, limit=limit)}")
    if isinstance(fault, psycopg.OperationalError):
        return TargetError("database_unreachable", f"{where}: {text}; the next run tries again")
    return TargetError("database_error", f"{where}: PostgreSQL reports: {text}")


def refused_row(fault: psycopg.Error, secrets: tuple[str, ...]) -> str:
    """Why one row was not changed."""
    return f"the database refuses the change: {_one_line(fault, secrets)}"


def may_pass(fault: psycopg.OperationalError) -> bool:
    """Whether a connection that could not be made may be made in a moment.

    A refusal by the server itself (a password, a name) is ``FATAL`` and remains so, unless it is
    just coming up, going down, or full.
    """
    text = str(fault)
    return "FATAL" not in text or any(words in text for words in _PASSING)


def is_refusal_of_a_row(fault: psycopg.Error) -> bool:
    """Whether it is about the values of a row: a constraint, or what a trigger raises."""
    return isinstance(
        fault, (psycopg.IntegrityError, psycopg.DataError, errors.RaiseException)
    ) or (fault.sqlstate or "").startswith(("09", "44", "P0"))


def _one_line(fault: psycopg.Error, secrets: tuple[str, ...]) -> str:
    text = fault.diag.message_primary or str(fault)
    for secret in secrets:
        text = text.replace(secret, "***")
    text = printable(" ".join(text.split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
