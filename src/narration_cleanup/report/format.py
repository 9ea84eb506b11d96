"""Figures in words: sizes, ages, instants and numbers, the same in every output."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from narration_cleanup.core.model import DAY, HOUR, KB, MB, MINUTE
from narration_cleanup.core.timestamps import FUTURE_TOLERANCE

Sizes = Callable[[int], str]
"""How a size in bytes is shown."""


def megabytes(size_bytes: int) -> float:
    """A size in MB, rounded to two decimals."""
    return round(size_bytes / MB, 2)


def sizes_up_to(largest: int) -> Sizes:
    """How sizes are shown in an output of which ``largest`` is the largest: all in one unit.

    ``23.9 KB`` where none reaches a MB, else ``12.34 MB``. What is more than nothing is never
    shown as nothing.
    """
    unit, name = (KB, "KB") if largest < MB else (MB, "MB")
    digits = 1 if unit == KB else 2

    def shown(size_bytes: int) -> str:
        amount = round(size_bytes / unit, digits)
        if not size_bytes:
            return f"0 {name}"
        if not amount:
            return f"<{10**-digits:.{digits}f} {name}"
        return f"{amount:,.{digits}f} {name}"

    return shown


def age(seconds: float) -> str:
    """A span of time for a reader: ``40 s``, ``14 min``, ``3.2 h``, ``19.6 days``."""
    if seconds < MINUTE:
        return f"{max(seconds, 0):.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds / DAY:.1f} days"


def old(seconds: float) -> str:
    """How old something is: ``19.6 days old``; ``in the future`` where it is not yet, by more than
    may happen while a cache is looked at."""
    return "in the future" if seconds < -FUTURE_TOLERANCE else f"{age(seconds)} old"


def ago(seconds: float) -> str:
    """How long something is past: ``14 min ago``; ``in the future`` as for ``old``."""
    return "in the future" if seconds < -FUTURE_TOLERANCE else f"{age(seconds)} ago"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its word: ``1 entry``, ``1,204 entries``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def entries(number: int) -> str:
    """``1 entry``, ``27 entries``."""
    return count(number, "entry", "entries")


def without_audio(number: int) -> str:
    """`` (28 without audio)``, to follow a number of entries; nothing where none is."""
    return f" ({number:,} without audio)" if number else ""


def percent(part: float, whole: float) -> str:
    """A share with one decimal; ``-`` of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def moment(instant: float) -> datetime:
    """An instant as an aware time in UTC; one outside the calendar becomes its nearest end."""
    try:
        return datetime.fromtimestamp(instant, UTC)
    except (OverflowError, ValueError, OSError):
        return (datetime.max if instant > 0 else datetime.min).replace(tzinfo=UTC)


def iso(instant: float) -> str:
    """An instant for a program: ISO 8601 in UTC, with its offset."""
    return moment(instant).isoformat()


def clock(instant: float, time_format: str = "%H:%M") -> str:
    """An instant for a reader, in this machine's zone: ``2026-11-23 12:00 UTC``."""
    try:
        local = moment(instant).astimezone()
    except (OverflowError, ValueError, OSError):
        local = moment(instant)
    return f"{local:%Y-%m-%d {time_format} %Z}"


def shortened(text: str, width: int) -> str:
    """``text`` cut in its middle to ``width`` characters, so that the suffix of a file shows."""
    if len(text) <= width:
        return text
    tail = min(8, max((width - 1) // 2, 0))
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


_NARROWEST = 20
"""Characters that a line gets for its text at least, however far in it begins."""


def columns(stream: TextIO) -> int | None:
    """How wide the terminal is that ``stream`` leads to; ``None`` where it leads to none."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def wrapped(text: str, width: int | None, *, hang: int) -> str:
    """``text`` in lines of at most ``width`` columns, all but the first ``hang`` columns in.

    It is one line where ``width`` is ``None``. Words are kept whole, a long path too: what is
    copied from a terminal must be what was printed.
    """
    if width is None or len(text) <= width:
        return text
    begun = text.lstrip(" ")
    return textwrap.fill(
        begun,
        max(width, hang + _NARROWEST),
        initial_indent=text[: len(text) - len(begun)],
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
