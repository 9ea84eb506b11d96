"""A column of times read as instants, in the format that is set or that its values show."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from narration_cleanup.errors import HalfError
from narration_cleanup.escape import shown
from narration_cleanup.model import Scalar
from narration_cleanup.requests.mapping import RequestMapping
from narration_cleanup.timestamps import format_like, from_number, is_sqlite_form, iso, reader

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_SPACED_FRACTION = re.compile(r".{10} .{8}\.[0-9]+", re.ASCII)


class ColumnTimes:
    """Reads the values of one column; call it with a value as the database gave it.

    An instant, or ``None`` for what cannot be read. With ``auto`` each value is read by its own
    form: an ISO text with an offset as that, one without in ``mapping.timezone``, but in UTC
    where it has the form of SQLite's ``CURRENT_TIMESTAMP`` (a space, no fraction); a number as
    Unix seconds or milliseconds, by its size. Raises ``HalfError`` at the first value that makes
    the column a mixture whose values cannot be told apart.
    """

    def __init__(self, column: str, mapping: RequestMapping, location: str) -> None:
        self._column = column
        self._format = mapping.time_format
        self._location = location
        self._zone = mapping.timezone
        self._read = reader(mapping.timezone)
        self._read_utc = reader("UTC")
        self._seen: dict[str, str | float] = {}

    def __call__(self, value: object) -> float | None:
        if value is None or isinstance(value, bytes):
            return None
        if isinstance(value, str) and self._format != "iso":
            value = _number_in(value)
        if self._format == "auto":
            return self._auto(value)
        if isinstance(value, str):
            return self._read(value) if self._format == "iso" else None
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        if self._format == "iso":
            return None
        return value / 1000 if self._format == "unix_ms" else float(value)

    def _auto(self, value: object) -> float | None:
        if isinstance(value, (int, float)):
            instant = from_number(value)
            if instant is not None:
                self._note("number", value)
            return instant
        if not isinstance(value, str):
            return None
        if is_sqlite_form(value):
            instant = self._read_utc(value)
            if instant is not None:
                self._note("text", value)
                if instant != self._read(value):
                    self._note("sqlite", value)
            return instant
        instant = self._read(value)
        if instant is not None:
            self._note("text", value)
            if _SPACED_FRACTION.fullmatch(value):
                self._note("spaced", value)
        return instant

    def _note(self, kind: str, value: str | float) -> None:
        """Remember that a kind was seen; refuse where two kinds do not go together."""
        if kind in self._seen:
            return
        self._seen[kind] = value
        for one, other, why in _NEVER_TOGETHER:
            if one in self._seen and other in self._seen:
                first, second = (shown(self._seen[each]) for each in (one, other))
                raise HalfError(
                    "mixed_times",
                    f"{self._location}: column {shown(self._column)} holds both {first} and "
                    f"{second}: {why} (cleanup.timezone is {self._zone}); "
                    "set requests.time_format to iso, unix or unix_ms",
                )


_NEVER_TOGETHER = (
    ("number", "text", "numbers and texts"),
    ("sqlite", "spaced", "UTC as SQLite writes it, or local time, cannot be told"),
)


def _number_in(text: str) -> str | float:
    """The number that a text is, as a column of text gives back numbers; else the text."""
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def time_writer(
    examples: Sequence[Sequence[Scalar]], mapping: RequestMapping
) -> Callable[[float], Scalar]:
    """Writes instants as the first of the columns' ``examples`` that shows a form has it."""
    sqlite_form_is_utc = mapping.time_format == "auto"

    def written(instant: float) -> Scalar:
        for each in examples:
            text = format_like(
                each, instant, mapping.timezone, sqlite_form_is_utc=sqlite_form_is_utc
            )
            if text is not None:
                return text
        return _by_format(mapping, instant)

    return written


def _by_format(mapping: RequestMapping, instant: float) -> Scalar:
    """The form for a column without an example."""
    if mapping.time_format == "unix":
        return int(instant)
    if mapping.time_format == "unix_ms":
        return int(instant * 1000)
    return format_like(["2000-01-01T00:00:00.000000"], instant, mapping.timezone) or iso(instant)
