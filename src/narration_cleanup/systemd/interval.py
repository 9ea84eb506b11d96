"""An interval in hours, as systemd's timers and cron can say it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MINUTES_PER_DAY = 24 * 60
_MAX_DELAY_S = 30 * 60
_FIRST_RUN_MIN = 15


@dataclass(frozen=True, slots=True)
class Timing:
    """The lines of a `[Timer]` section that say when, and in words what that means."""

    lines: tuple[str, ...]
    words: str
    on_calendar: bool


def timing_of(hours: float) -> Timing:
    """When a timer fires that is to fire every `hours`.

    A calendar can say an interval only where it divides the day, or the hour: every 6 hours, or
    every 20 minutes. All others (5 h, 7 h, 1.5 h, 48 h) count from the last run. Their timer
    knows no `Persistent=`, which systemd has for calendars alone; it does not need it, since it
    fires a quarter of an hour after every boot.
    """
    expression = calendar_of(hours)
    words = f"every {span(hours)}"
    if expression is not None:
        return Timing((f"OnCalendar={expression}", "Persistent=true"), words, True)
    first = _FIRST_RUN_MIN
    return Timing(
        (f"OnActiveSec={first}min", f"OnUnitActiveSec={_systemd_span(hours)}"),
        f"{words}, counted from the last run (a calendar cannot say this evenly), "
        f"and {first} minutes after boot",
        False,
    )


def calendar_of(hours: float) -> str | None:
    """The `OnCalendar=` expression for every `hours`, or None where none is even."""
    minutes = round(hours * 60)
    if abs(hours * 60 - minutes) > 1e-6 or minutes < 1:
        return None
    if minutes == MINUTES_PER_DAY:
        return "*-*-* 00:00:00"
    if minutes % 60 == 0 and MINUTES_PER_DAY % minutes == 0:
        step = minutes // 60
        return "*-*-* *:00:00" if step == 1 else f"*-*-* 00/{step}:00:00"
    if 60 % minutes == 0:
        return "*-*-* *:*:00" if minutes == 1 else f"*-*-* *:00/{minutes}:00"
    return None


def delay_of(hours: float) -> int:
    """`RandomizedDelaySec=` in seconds: a twelfth of the interval, at most 30 min.

    Many hosts with one storage behind them do not all start at the same second; the delay of one
    host stays the same (`FixedRandomDelay=`), so that the intervals stay even.
    """
    return min(_MAX_DELAY_S, int(hours * 3600 / 12))


def cron_times_of(hours: float) -> tuple[str, bool]:
    """The five time fields of a crontab line for every `hours`, and whether they say it evenly.

    Where cron cannot, they say the next shorter interval that it can: a run too many does no
    harm, a run too few leaves expired audio.
    """
    minutes = hours * 60
    steps = [step for step in range(1, 24 * 60 + 1) if calendar_of(step / 60) is not None]
    step = max((each for each in steps if each <= minutes + 1e-6), default=1)
    even = abs(step - minutes) < 1e-6
    if step == MINUTES_PER_DAY:
        return "17 0 * * *", even
    if step >= 60:
        return ("17 * * * *" if step == 60 else f"17 */{step // 60} * * *"), even
    return ("* * * * *" if step == 1 else f"*/{step} * * * *"), even


def span(hours: float) -> str:
    """An interval in words: `6 hours`, `1 hour`, `90 minutes`, `2.5 seconds`."""
    if hours >= 1 and (hours * 2) % 2 == 0:
        return f"{hours:.0f} hour{'' if hours == 1 else 's'}"
    minutes = hours * 60
    if abs(minutes - round(minutes)) < 1e-6 and minutes >= 1:
        return f"{minutes:.0f} minute{'' if round(minutes) == 1 else 's'}"
    return f"{hours * 3600:.15g} seconds"


def _systemd_span(hours: float) -> str:
    if hours >= 1 and (hours * 2) % 2 == 0:
        return f"{hours:.0f}h"
    # systemd counts microseconds; a timer faster than one second is not a schedule.
    return f"{max(hours * 3600, 1.0):.6f}".rstrip("0").rstrip(".") + "s"
