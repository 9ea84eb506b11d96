"""Finds the table and the columns that the settings name, or says which ones there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.text import printable
from narration_cleanup.stores.requests.mapping import (
    DEFAULT_COLUMNS,
    REQUIRED,
    ROLES,
    RequestMapping,
)

MOST_WORDS = 100
"""Rows that are read of a table that a status refers to."""
_LITERAL = re.compile(r"'((?:[^']|'')*)'|(?<![\w.])(-?[0-9]+)(?![\w.])", re.ASCII)


def literals_in(condition: str) -> tuple[str, ...]:
    """The texts and whole numbers in an SQL condition, each as text."""
    found = _LITERAL.finditer(condition)
    return tuple(each[2] or each[1].replace("''", "'") for each in found)


def all_of_few(words: Iterable[object]) -> tuple[str, ...]:
    """The words of a table of statuses; none where ``MOST_WORDS`` were read: it may have more."""
    found = tuple(map(str, words))
    return found if len(found) < MOST_WORDS else ()


def matching(wanted: str, names: Sequence[str]) -> str | None:
    """The name that a database would take: letters of ASCII are equal in either case."""
    if wanted in names:
        return wanted
    return next((name for name in names if _folded(name) == _folded(wanted)), None)


def find_columns(
    mapping: RequestMapping, table: str, names: Sequence[str], where: str
) -> dict[str, str]:
    """The name of the column of each role that is there.

    An optional column that only the defaults name may be missing; one that was set may not.
    """
    found: dict[str, str] = {}
    for role in ROLES:
        wanted: str | None = getattr(mapping.columns, role)
        if wanted is None:
            continue
        is_needed = role in REQUIRED or wanted != getattr(DEFAULT_COLUMNS, role)
        if is_needed or matching(wanted, names) is not None:
            found[role] = find_column(wanted, table, names, where, f"requests.columns.{role}")
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
    """The error where the name is that of something else: ``kind`` says what."""
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
