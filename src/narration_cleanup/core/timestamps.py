"""The service's times, which come in several forms, and the program's instants.

An instant is a ``float`` of Unix seconds (UTC). The service writes naive local ISO texts; others
write UTC, offsets, or numbers. Where a text can be read in two ways (in the local zone and in UTC;
in the hour that the end of daylight saving repeats, and the one that its beginning skips), the
latest reading that is not in the future is taken: what is judged too young is kept a little
longer, what is judged too old would be lost. Which zone a source uses is for ``zones`` to find out.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from math import inf
from typing import NamedTuple

from narration_cleanup.core.errors import ConfigError

Reader = Callable[[str], float | None]
"""Reads a text as an instant; ``None`` where it is no time of day that can be read."""

AUTO = "auto"
"""The zone of times that may be local or in UTC."""
YEAR_2000 = 946_684_800.0
"""Before it lie 0, 1970, 0001-01-01 and numbers in another unit: "not set", and no times."""
FUTURE_TOLERANCE = 300.0
"""Times written while the run is at work lie a little in the future of its one clock reading."""

OffsetAt = Callable[[float], float]
"""Seconds that a zone's clocks are ahead of UTC at an instant."""

_DAY = 86_400.0
_MOST_HOURS = 20_000
"""Hours whose offset a reader remembers (two years' worth): hostile input must not fill memory."""
_POSIX_TZ = re.compile(
    r"(UTC|GMT|(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)[+-]?[0-9]{1,3}(?::[0-9]{2}){0,2}"
    r"(?:(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)[-+0-9:]*(?:,[-+0-9:./,JM]+)?)?)",
    re.ASCII,
)
_FIXED = re.compile(r"([+-])([01][0-9]):([0-5][0-9])", re.ASCII)
_HOUR_PREFIX = re.compile(r"[0-9]{4}(-?)[0-9]{2}\1[0-9]{2}[T ][0-9]{2}", re.ASCII)
_EPOCH_ORDINAL = datetime(1970, 1, 1).toordinal()
_YEAR_5138 = 1e11
"""Numbers from here on are of a smaller unit than seconds."""
SCALES = {"unix": 1, "unix_ms": 1_000, "unix_us": 1_000_000, "unix_ns": 1_000_000_000}
"""What a second is in the units that numbers may have."""


def offset_at(zone: str) -> OffsetAt:
    """The offset from UTC of ``local`` (this process's own zone), an IANA name, or ``+05:45``.

    ``local`` asks the C library, which knows ``TZ`` and ``/etc/localtime``. Raises ``ConfigError``
    for a name that this machine does not know.
    """
    if zone == "local":
        return lambda instant: time.localtime(instant).tm_gmtoff
    fixed = fixed_offset(zone)
    if fixed is not None:
        return _always(fixed)
    info = _zone_info(zone)

    def offset(instant: float) -> float:
        difference = datetime.fromtimestamp(instant, info).utcoffset()
        return difference.total_seconds() if difference else 0.0

    return offset


def _always(seconds: float) -> OffsetAt:
    return lambda _: seconds


def fixed_offset(zone: str) -> float | None:
    """The seconds ahead of UTC of a zone such as ``+05:45``; ``None`` for any other name."""
    found = _FIXED.fullmatch(zone)
    if found is None:
        return None
    seconds = int(found[2]) * 3600.0 + int(found[3]) * 60.0
    return -seconds if found[1] == "-" else seconds


def reader(zone: str, latest: float = inf, *, by_clock: bool = False) -> Reader:
    """A fast reader of ISO texts; naive ones are in ``zone``, see ``offset_at``, or ``auto``.

    ``YYYY-MM-DD`` or ``YYYYMMDD``, ``T`` or a space, and a time; with ``Z`` or an offset it is
    compared as UTC.
    ``auto`` is the local zone or UTC. Of several readings the last one that is not after the
    instant ``latest`` is taken; where all are after it, the first. ``by_clock`` adds the reading
    with the offset of ``latest``, as of a service that compares what clocks show: after the end of
    daylight saving it is an hour later. A bare date, a week date, anything else, and a time before
    2000 or that no clock of the machine can hold are ``None``.
    About 0.4 microseconds a text: the offset is looked up once for each hour.
    """
    offsets = [offset_at(each) for each in (("local", "UTC") if zone == AUTO else (zone,))]
    if by_clock:
        offsets += [_always(offset(latest)) for offset in offsets]
    hours: dict[str, float | None] = {}
    parse = datetime.fromisoformat

    def read(text: str) -> float | None:
        try:
            moment = parse(text)
            if moment.tzinfo is not None:
                instant = moment.timestamp()
                return instant if instant >= YEAR_2000 and _HOUR_PREFIX.match(text) else None
            hour = hours[text[:13]]
            if hour is not None:
                within = moment.minute * 60 + moment.second
                return hour + within + moment.microsecond / 1_000_000
        except KeyError:
            prefix = _HOUR_PREFIX.match(text)
            if prefix is None:
                return None
            if not prefix[1]:
                return read(f"{text[:4]}-{text[4:6]}-{text[6:]}")
            if len(hours) >= _MOST_HOURS:
                hours.clear()
            hours[text[:13]] = _whole_hour(moment, offsets, latest)
        except (ValueError, TypeError, OverflowError):
            return read(f"{text[:-1]}Z") if isinstance(text, str) and text[-1:] == "z" else None
        try:
            readings = _readings(_wall_seconds(moment), offsets)
        except (ValueError, OverflowError, OSError):
            return None
        possible = [instant for instant in readings if instant <= latest]
        instant = max(possible) if possible else min(readings)
        return instant + moment.microsecond / 1_000_000 if instant >= YEAR_2000 else None

    return read


def is_known_tz(value: str) -> bool:
    """Whether the C library makes a zone of this value of ``TZ``; else it takes UTC silently."""
    name = value.removeprefix(":")
    if not name or _POSIX_TZ.fullmatch(name):
        return True
    folders = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"]
    folders += filter(None, [os.environ.get("TZDIR")])
    places = [name] if name.startswith("/") else [f"{folder}/{name}" for folder in folders]
    return any(map(os.path.isfile, places))


def wall_seconds(text: str) -> float | None:
    """What a clock showed that wrote a naive text, as if it were UTC; ``None`` for other texts."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is not None or not _HOUR_PREFIX.match(text):
        return None
    return _wall_seconds(moment) + moment.microsecond / 1_000_000


def iso(instant: float) -> str:
    """ISO text with offset, in UTC (``2026-11-23T12:00:00+00:00``), for everything we write."""
    return datetime.fromtimestamp(instant, UTC).isoformat()


def from_number(value: float) -> float | None:
    """Unix seconds, milli-, micro- or nanoseconds, known by their size; ``None`` for no time.

    Of each unit from 2000 to 5138, which leaves no number to two of them; anything else (0, a
    Julian day) is more likely a fault than a time.
    """
    scale = _scale_of(value)
    return None if scale is None else value / scale


def is_unset(value: object) -> bool:
    """Whether a time is one before 2000 (0, 1970, 0001-01-01), which means that it is not set."""
    if isinstance(value, str):
        if number := _NUMBER.fullmatch(value):
            return float(number[0]) < YEAR_2000
        return _TEXT.fullmatch(value) is not None and value < "2000"
    return isinstance(value, (int, float)) and 0 <= value < YEAR_2000


def _scale_of(value: float) -> int | None:
    scales = SCALES.values()
    return next((each for each in scales if YEAR_2000 <= value / each < _YEAR_5138), None)


class _Form(NamedTuple):
    """How a column writes its times: what is needed to write one more.

    ``scale`` is that of a number, 0 of a text. ``suffix``: ``Z`` or an offset, as it is written.
    """

    kind: type
    scale: int = 0
    point: str = ""
    digits: int = 0
    dash: str = ""
    separator: str = ""
    colon: str = ""
    has_seconds: bool = True
    suffix: str = ""


def format_like(
    examples: Iterable[str | int | float | None],
    instant: float,
    zone_of: Callable[[str], str],
) -> str | int | float | None:
    """``instant`` in the form that most of ``examples`` have; ``None`` where none has a form.

    Every form that can be read: text with ``T`` or a space, with or without dashes, colons,
    seconds and a fraction, naive, with ``Z`` or with an offset, which is kept; Unix time in any
    unit, as number or text. ``zone_of`` names the zone in which a naive text is written.
    """
    counted = Counter(filter(None, map(_form_of, examples)))
    if not counted:
        return None
    form = _most_precise(counted)
    if not form.scale:
        return _as_text(form, instant, zone_of)
    if form.digits:
        return f"{instant * form.scale:.{form.digits}f}"
    if form.kind is float:
        return instant * form.scale
    number = int(instant * 1_000_000) * form.scale // 1_000_000
    return str(number) if form.kind is str else number


def _zone_info(zone: str) -> tzinfo:
    if zone == "UTC":
        return UTC  # also on a machine without a time zone database, as small ones are
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(zone)
    except (KeyError, OSError, ValueError) as error:
        raise ConfigError(
            f"cleanup.timezone: this machine does not know the time zone {zone!r}; "
            'give "local", a name such as Europe/Berlin, or an offset such as +01:00'
        ) from error


def _wall_seconds(moment: datetime) -> float:
    """What a clock showed, as if it were UTC. Arithmetic only, so that no zone comes into it."""
    days = moment.toordinal() - _EPOCH_ORDINAL
    return days * _DAY + moment.hour * 3600 + moment.minute * 60 + moment.second


def _whole_hour(moment: datetime, offsets: Sequence[OffsetAt], latest: float) -> float | None:
    """The instant at which the hour of ``moment`` begins; ``None`` where that is not one for all.

    A change of offset within the hour, or an hour that is repeated or skipped, shows at one of
    its ends: then each time in it is read for itself.
    """
    start = _wall_seconds(moment.replace(minute=0, second=0, microsecond=0))
    readings = []
    try:
        for offset in offsets:
            walls = (start - _DAY, start + _DAY, start + 3599 - _DAY, start + 3599 + _DAY)
            seen = {offset(wall) for wall in walls}
            if len(seen) > 1:
                return None
            readings.append(start - seen.pop())
    except (ValueError, OverflowError, OSError):
        return None
    hour = max(readings)
    is_sure = hour + 3600 <= latest or hour == min(readings)
    return hour if is_sure and hour >= YEAR_2000 else None


def _readings(wall: float, offsets: Iterable[OffsetAt]) -> list[float]:
    """The instants at which a clock of one of the zones showed ``wall``, at least one of each."""
    readings: list[float] = []
    for offset in offsets:
        found = {wall - offset(wall - _DAY), wall - offset(wall + _DAY)}
        readings += [each for each in found if each + offset(each) == wall] or [max(found)]
    return readings


_TEXT = re.compile(
    r"[0-9]{4}(-?)[0-9]{2}\1[0-9]{2}([T ])[0-9]{2}(:?)[0-9]{2}"
    r"((?:\3)[0-9]{2}(?:([.,])([0-9]{1,9}))?)?([Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"[0-9]{1,19}(?:\.([0-9]{1,9}))?", re.ASCII)


def _form_of(value: object) -> _Form | None:
    if isinstance(value, (int, float)):
        scale = _scale_of(value)
        return None if scale is None else _Form(type(value), scale)
    if not isinstance(value, str):
        return None
    if number := _NUMBER.fullmatch(value):
        scale = _scale_of(float(value))
        digits = len(number[1] or "")
        return None if scale is None else _Form(str, scale, "." if digits else "", digits)
    match = _TEXT.fullmatch(value)
    if match is None:
        return None
    dash, separator, colon, seconds, point, fraction, suffix = match.groups(default="")
    return _Form(str, 0, point, len(fraction), dash, separator, colon, bool(seconds), suffix)


def _most_precise(counted: Counter[_Form]) -> _Form:
    """The commonest form; ``isoformat()`` leaves a fraction of zero out, so one with it is it."""
    common = counted.most_common(1)[0][0]._replace(digits=0, point="")
    same = (form for form in counted if form._replace(digits=0, point="") == common)
    return max(same, key=lambda form: form.digits)


def _as_text(form: _Form, instant: float, zone_of: Callable[[str], str]) -> str:
    moment = datetime.fromtimestamp(instant, UTC)
    if form.suffix:
        ahead = datetime.fromisoformat(f"2000-01-01T00:00{form.suffix.upper()}").tzinfo
    else:
        like = moment.replace(tzinfo=None).isoformat(form.separator, "seconds")
        zone = zone_of(like + ".0" if form.digits else like)
        ahead = timezone(timedelta(seconds=offset_at(zone)(instant)))
    moment = moment.astimezone(ahead)
    time_format = "%H:%M:%S" if form.has_seconds else "%H:%M"
    written = f"%Y{form.dash}%m{form.dash}%d{form.separator}{time_format.replace(':', form.colon)}"
    text = moment.strftime(written)
    if form.digits:
        fraction = f"{moment.microsecond:06d}"[: form.digits].ljust(form.digits, "0")
        text += form.point + fraction
    return text + form.suffix
