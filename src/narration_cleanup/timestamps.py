"""The service's times, which come in several forms, and the program's instants.

An instant is a ``float`` of Unix seconds (UTC). The service writes naive local ISO texts; others
write UTC, offsets, or numbers. Where a text can be read in two ways (the hour that the end of
daylight saving repeats, and the one that its beginning skips), the later reading is taken: what
is judged too young stays a little longer, what is judged too old would be lost.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

from narration_cleanup.errors import ConfigError

Reader = Callable[[str], float | None]
"""Reads a text as an instant; ``None`` where it is no time of day that can be read."""

OffsetAt = Callable[[float], float]
"""Seconds that a zone's clocks are ahead of UTC at an instant."""

_DAY = 86_400.0
_MOST_HOURS = 20_000
"""Hours whose offset a reader remembers (two years' worth): hostile input must not fill memory."""
_HOUR_PREFIX = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}", re.ASCII)
_EPOCH_ORDINAL = datetime(1970, 1, 1).toordinal()
_MILLISECONDS_FROM = 1e11
"""Numbers from here on are milliseconds: as seconds they would lie past the year 5138."""


def offset_at(zone: str) -> OffsetAt:
    """The offset from UTC of ``local`` (this process's own zone) or of an IANA name.

    ``local`` asks the C library, which knows ``TZ`` and ``/etc/localtime``. Raises ``ConfigError``
    for a name that this machine does not know.
    """
    if zone == "local":
        return lambda instant: time.localtime(instant).tm_gmtoff
    info = _zone_info(zone)

    def offset(instant: float) -> float:
        difference = datetime.fromtimestamp(instant, info).utcoffset()
        return difference.total_seconds() if difference else 0.0

    return offset


def reader(zone: str) -> Reader:
    """A fast reader of ISO texts; naive ones are in ``zone`` (``local`` or an IANA name).

    ``YYYY-MM-DD``, ``T`` or a space, and a time; with ``Z`` or an offset it is compared as UTC.
    A bare date, a week date, anything else, and a time that no clock of the machine can hold are
    ``None``. About 0.4 microseconds a text: the offset is looked up once for each hour.
    """
    offset = offset_at(zone)
    hours: dict[str, float | None] = {}
    parse = datetime.fromisoformat

    def read(text: str) -> float | None:
        try:
            moment = parse(text)
            if moment.tzinfo is not None:
                return moment.timestamp() if _HOUR_PREFIX.match(text) else None
            hour = hours[text[:13]]
            if hour is not None:
                within = moment.minute * 60 + moment.second
                return hour + within + moment.microsecond / 1_000_000
        except KeyError:
            if not _HOUR_PREFIX.match(text):
                return None
            if len(hours) >= _MOST_HOURS:
                hours.clear()
            hours[text[:13]] = _whole_hour(moment, offset)
        except (ValueError, TypeError, OverflowError):
            return None
        return _later_reading(_wall_seconds(moment), moment.microsecond, offset)

    return read


def iso(instant: float) -> str:
    """ISO text with offset, in UTC (``2026-11-23T12:00:00+00:00``), for everything we write."""
    return datetime.fromtimestamp(instant, UTC).isoformat()


def from_number(value: float) -> float | None:
    """Unix seconds or milliseconds, told apart by their size; ``None`` for what is neither.

    Seconds from 1973 on and milliseconds from 1973 to 5138; anything else (0, a Julian day,
    microseconds) is more likely a fault or another unit than a time.
    """
    if _MILLISECONDS_FROM / 1000 <= value < _MILLISECONDS_FROM:
        return float(value)
    if _MILLISECONDS_FROM <= value < _MILLISECONDS_FROM * 1000:
        return value / 1000
    return None


def is_sqlite_form(text: str) -> bool:
    """Whether ``text`` is in the form of SQLite's ``CURRENT_TIMESTAMP``: a space, no fraction."""
    return len(text) == 19 and text[10] == " "


class _Form(NamedTuple):
    """How a column writes its times: what is needed to write one more."""

    kind: type
    milliseconds: bool = False
    separator: str = "T"
    digits: int = 0
    suffix: str = ""


def format_like(
    examples: Iterable[str | int | float | None],
    instant: float,
    zone: str,
    *,
    sqlite_form_is_utc: bool = True,
) -> str | int | float | None:
    """``instant`` in the form that most of ``examples`` have; ``None`` where none has a form.

    Text with ``T`` or a space, with or without a fraction, naive (in ``zone``; in UTC where it
    is the form of SQLite's ``CURRENT_TIMESTAMP``), with ``Z`` or with an offset; Unix seconds or
    milliseconds as integer, float or text.
    """
    counted = Counter(filter(None, map(_form_of, examples)))
    if not counted:
        return None
    form = _most_precise(counted)
    if form.separator != _NUMBER:
        return _as_text(form, instant, zone, sqlite_form_is_utc)
    number = instant * 1000 if form.milliseconds else instant
    return form.kind(number) if form.kind is float else form.kind(int(number))


def _zone_info(zone: str) -> tzinfo:
    if zone == "UTC":
        return UTC  # also on a machine without a time zone database, as small ones are
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(zone)
    except (KeyError, OSError, ValueError) as error:
        raise ConfigError(
            f"cleanup.timezone: this machine does not know the time zone {zone!r}; "
            'give "local" or a name such as Europe/Berlin'
        ) from error


def _wall_seconds(moment: datetime) -> float:
    """What a clock showed, as if it were UTC. Arithmetic only, so that no zone comes into it."""
    days = moment.toordinal() - _EPOCH_ORDINAL
    return days * _DAY + moment.hour * 3600 + moment.minute * 60 + moment.second


def _whole_hour(moment: datetime, offset: OffsetAt) -> float | None:
    """The instant at which the hour of ``moment`` begins; ``None`` where the offset changes in it.

    A change of offset within the hour, or an hour that is repeated or skipped, shows at one of
    its ends: then each time in it is read for itself.
    """
    start = _wall_seconds(moment.replace(minute=0, second=0, microsecond=0))
    seen = set()
    try:
        for wall in (start, start + 3599):
            seen |= {offset(wall - _DAY), offset(wall + _DAY)}
    except (ValueError, OverflowError, OSError):
        return None
    return start - seen.pop() if len(seen) == 1 else None


def _later_reading(wall: float, microsecond: int, offset: OffsetAt) -> float | None:
    try:
        readings = {wall - offset(wall - _DAY), wall - offset(wall + _DAY)}
        real = [instant for instant in readings if instant + offset(instant) == wall]
    except (ValueError, OverflowError, OSError):
        return None
    return max(real or readings) + microsecond / 1_000_000


_TEXT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ])[0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)
_NUMBER = "#"
"""In place of a separator: the form is a number."""
_LOCAL = "+"
"""In place of a suffix: an offset other than zero, which the zone has to give."""


def _form_of(value: object) -> _Form | None:
    if isinstance(value, (int, float)):
        if from_number(value) is None:
            return None
        return _Form(type(value), value >= _MILLISECONDS_FROM, _NUMBER)
    if not isinstance(value, str):
        return None
    # Python refuses to read a number of more than 4,300 digits; no time has more than these.
    if len(value) < 19 and value.isascii() and value.isdigit() and from_number(int(value)):
        return _Form(str, int(value) >= _MILLISECONDS_FROM, _NUMBER)
    match = _TEXT.fullmatch(value)
    if match is None:
        return None
    separator, fraction, suffix = match.groups(default="")
    if suffix[1:].strip("0:"):
        suffix = _LOCAL
    return _Form(str, False, separator, len(fraction), suffix)


def _most_precise(counted: Counter[_Form]) -> _Form:
    """The commonest form; ``isoformat()`` leaves a fraction of zero out, so one with it is it."""
    common = counted.most_common(1)[0][0]
    same = (form for form in counted if form._replace(digits=common.digits) == common)
    return max(same, key=lambda form: form.digits)


def _as_text(form: _Form, instant: float, zone: str, sqlite_form_is_utc: bool) -> str:
    naive = not form.suffix
    sqlite_form = naive and form.separator == " " and not form.digits
    local = form.suffix == _LOCAL or (naive and not (sqlite_form and sqlite_form_is_utc))
    ahead = offset_at(zone)(instant) if local else 0.0
    moment = datetime.fromtimestamp(instant, timezone(timedelta(seconds=ahead)))
    text = moment.replace(tzinfo=None).isoformat(form.separator, "seconds")
    if form.digits:
        text += f".{moment.microsecond:06d}"[: form.digits + 1].ljust(form.digits + 1, "0")
    return text + (moment.isoformat()[-6:] if form.suffix == _LOCAL else form.suffix)
