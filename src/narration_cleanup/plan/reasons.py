"""How the age that made something go is worded: always so that it reads as past its limit."""

from __future__ import annotations

from typing import NamedTuple

from narration_cleanup.core.model import DAY, HOUR, MINUTE


class Unit(NamedTuple):
    """A unit of time: its length in seconds, and its name, singular and plural."""

    seconds: float
    name: str
    plural: str


DAYS = Unit(DAY, "day", "days")
HOURS = Unit(HOUR, "h", "h")
MINUTES = Unit(MINUTE, "min", "min")


def age_past(age: float, limit: float, unit: Unit) -> str:
    """An ``age`` past its ``limit``, both in seconds: ``20.5 days``, ``2.6 h``.

    Where one decimal would not show that it is past (``1.0 h``, limit 1 h), what it is past by is
    said instead: ``1 h and 2 min``.
    """
    amount = age / unit.seconds
    tenths = f"{amount:.1f}"
    allowed = limit / unit.seconds
    # The first comparison holds for nearly all, and spares the second for a million entries.
    if amount - allowed > 0.1 or float(tenths) > allowed:
        return f"{tenths} {unit.plural}"
    past = age - limit
    more = f"{past // MINUTE:.0f} min" if past >= MINUTE else f"{max(past, 1):.0f} s"
    more = f"{past // HOUR:.0f} h" if past >= HOUR else more
    return f"{allowed:g} {unit.name if allowed == 1 else unit.plural} and {more}"
