"""A column of times read as instants, in the format that is set or that its values show."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import Scalar
from narration_cleanup.core.text import printable
from narration_cleanup.core.timestamps import SCALES, YEAR_2000, format_like, from_number
from narration_cleanup.core.zones import CREATED_AT, TableTimes, known_by
from narration_cleanup.stores.requests.mapping import RequestMapping

_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,18})?", re.ASCII)
_SERVICE_FORM = "2000-01-01T00:00:00.000000"
"""How the narration service writes its times: the form for columns without an example."""


class ColumnTimes:
    """Reads the values of one column; call it with a value as the database gave it.

    An instant, or ``None`` for what cannot be read. With ``auto`` each value is read by its own
    form: an ISO text with an offset as that, one without by ``times``; a number as Unix time in
    the unit that its size shows. Raises ``TargetError`` at the first value that makes the column a
    mixture of units that cannot be distinguished.
    """

    def __init__(
        self,
        column: str,
        mapping: RequestMapping,
        location: str,
        times: TableTimes,
        role: str = CREATED_AT,
    ) -> None:
        self._column = column
        self._format = mapping.time_format
        self._location = location
        self._read = partial(times.read, column=role)
        self._zones = times
        self._role = role
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
        instant = value / SCALES[self._format]
        return instant if instant >= YEAR_2000 else None

    def zone(self, value: object) -> tuple[str | None, str | None]:
        """The zone in which a value is read, and how that is known; see ``zones.known_by``."""
        if not isinstance(value, str) or isinstance(_number_in(value), (int, float)):
            return None, None
        return known_by(self._zones.setting, self._zones.zone_of(value, self._role), value)

    def _auto(self, value: object) -> float | None:
        if not isinstance(value, (int, float, str)):
            return None
        is_text = isinstance(value, str)
        instant = self._read(value) if isinstance(value, str) else from_number(value)
        if instant is not None:
            self._note("text" if is_text else "number", value)
        return instant

    def _note(self, kind: str, value: str | float) -> None:
        """Remember that a kind was seen; refuse a column that has both kinds."""
        if kind in self._seen:
            return
        self._seen[kind] = value
        if len(self._seen) > 1:
            first, second = (printable(each) for each in self._seen.values())
            raise TargetError(
                "mixed_times",
                f"{self._location}: column {printable(self._column)} holds both {first} and "
                f"{second}: numbers and texts; set requests.time_format to iso or unix",
            )


def _number_in(text: str) -> str | float:
    """The number that a text is, as a column of text gives back numbers; else the text."""
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def time_writer(
    role: str,
    examples: Sequence[Sequence[Scalar]],
    mapping: RequestMapping,
    times: TableTimes,
) -> Callable[[float], Scalar]:
    """Writes instants as the first of the columns' ``examples`` that shows a form has it."""

    zone_of = partial(times.zone_to_write, column=role)

    def written(instant: float) -> Scalar:
        for each in examples:
            text = format_like(each, instant, zone_of)
            if text is not None:
                return text
        if mapping.time_format in SCALES:
            return int(instant * SCALES[mapping.time_format])
        return format_like([_SERVICE_FORM], instant, zone_of)

    return written
