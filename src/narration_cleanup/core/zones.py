"""Which zone a source's naive times are in: set, proved, or one of two. Pure: no file, no clock.

``2026-11-23T12:00:00`` names no instant. It is in the zone that is set (``cleanup.timezone``,
``requests.timezone``), or else in the local zone or in UTC: the latest reading that is not in the
future is taken. So a fresh time is never taken for an old one, and an old one is acted on later by
the offset at most. Two proofs end that, and count against a setting by which times are older:

- An index: nearly all of its newest entries were created within seconds of their audio's mtime.
- A column of a table: its newest time lies within seconds of the database's last write. Of another
  zone's reading that can be true only by accident, and only of a later one: nothing is written
  before it happens. For the same reason the zone of another column or of the index may be used for
  a column if no later reading of its newest time is possible.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import NamedTuple

from narration_cleanup.core.model import Problem, Severity, Target
from narration_cleanup.core.timestamps import (
    AUTO,
    FUTURE_TOLERANCE,
    Reader,
    offset_at,
    reader,
    wall_seconds,
)

LOCAL, UTC = "local", "UTC"
NEWEST = 200
"""Entries with a file that a proof is made of, at most."""
NEARLY_ALL = 0.95
WITHIN = 5.0
"""Seconds between two events that belong together."""
_QUARTER = 900.0
_FARTHEST = 14 * 3600.0
_FEWEST = 3
"""Entries that prove an offset; by accident one file in ninety agrees with some quarter-hour."""
_MONTH = 30 * 86_400.0
_CHANGE = 3600.0
"""By how much clocks change at most."""

_NAIVE = re.compile(
    r"[0-9]{4}(?:-?[0-9]{2}){2}([T ])[0-9]{2}:?[0-9]{2}(?::?[0-9]{2}(?:([.,])[0-9]+)?)?", re.ASCII
)

CREATED_AT = "created_at"
Form = tuple[str, bool]
"""How a naive time is written: its separator, and whether it has a fraction of a second."""


class Sample(NamedTuple):
    """An entry's ``created_at`` as written, and the mtime of its audio (an instant)."""

    text: str
    modified_at: float


class Proof(NamedTuple):
    """The zone that so many ``files`` of these forms agree with, from ``since`` to ``until``."""

    zone: str
    files: int
    forms: frozenset[Form]
    since: float
    until: float


def form_of(text: str) -> Form | None:
    """The form of a naive time; ``None`` for a text with an offset, or that is no time."""
    found = _NAIVE.fullmatch(text)
    return (found[1], found[2] is not None) if found else None


def named_offset(zone: str, instant: float) -> str:
    """The offset of a zone at an instant: ``+05:45``."""
    minutes = round(offset_at(zone)(instant) / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def is_utc(zone: str, now: float) -> bool:
    """Whether a zone has the offset 0 throughout the last year."""
    offset = offset_at(zone)
    return not any(offset(now - month * _MONTH) for month in range(13))


def zone_text(zone: str, now: float) -> str:
    """A zone as people are shown it, with its offset at ``now``."""
    if zone == AUTO:
        return "UTC" if is_utc(LOCAL, now) else f"UTC or local time ({named_offset(LOCAL, now)})"
    if zone == LOCAL:
        return f"local time ({named_offset(LOCAL, now)})"
    return zone if zone in (UTC, named_offset(zone, now)) else f"{zone} ({named_offset(zone, now)})"


def known_by(setting: str, zone: str, text: str) -> tuple[str | None, str]:
    """The zone that a text was read in, and how it is known: ``offset`` (the text has its own),
    ``setting``, ``proof``, or ``open``."""
    if form_of(text) is None:
        return None, "offset"
    if zone == setting != AUTO:
        return zone, "setting"
    return zone, "open" if zone == AUTO else "proof"


def prove_by_files(samples: Iterable[Sample], zones: Sequence[str]) -> Proof | None:
    """The one of ``zones``, or else the fixed offset, that nearly all samples agree with.

    ``None`` if none is, or if several of the zones are and differ in the past or future.
    """
    naive = [(sample, form) for sample in samples if (form := form_of(sample.text))]
    if not naive:
        return None
    proofs = []
    for zone in zones:
        agreeing = [each for each in naive if _agrees(zone, each[0].text, each[0].modified_at)]
        if len(agreeing) >= NEARLY_ALL * len(naive):
            proofs.append(_proof(zone, agreeing))
    if proofs:
        return proofs[0] if len(proofs) == 1 else None
    by_offset: dict[float, list[tuple[Sample, Form]]] = {}
    for sample, form in naive:
        ahead = (wall_seconds(sample.text) or 0.0) - sample.modified_at
        quarter = round(ahead / _QUARTER) * _QUARTER
        if abs(ahead - quarter) <= WITHIN and abs(quarter) <= _FARTHEST:
            by_offset.setdefault(quarter, []).append((sample, form))
    most = sorted(by_offset.items(), key=lambda each: len(each[1]))[-2:]
    offset, found = most[-1] if most else (0.0, [])
    enough = NEARLY_ALL * len(naive)
    if len(found) < enough:
        if sum(len(some) for _, some in most) < enough:
            return None
        # Did the clocks change? The other offset's time is then outside that of the proof.
        (before, first), (after, last) = sorted(most, key=lambda each: _span(each[1]))
        if abs(after - before) > _CHANGE or _span(first)[1] > _span(last)[0]:
            return None
        offset, found = (after, last) if len(last) >= _FEWEST else (before, first)
    if len(found) < _FEWEST:
        return None
    hours, minutes = divmod(round(abs(offset) / 60), 60)
    return _proof(f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}", found)


def _agrees(zone: str, text: str, instant: float) -> bool:
    """Whether one of the readings of ``text`` is within seconds of ``instant``."""
    read = reader(zone, instant + WITHIN)(text)
    return read is not None and abs(read - instant) <= WITHIN


def _span(found: Iterable[tuple[Sample, Form]]) -> tuple[float, float]:
    """The instants of the oldest and the newest audio."""
    instants = [sample.modified_at for sample, _ in found]
    return min(instants), max(instants)


def _proof(zone: str, agreeing: Sequence[tuple[Sample, Form]]) -> Proof:
    since, until = _span(agreeing)
    forms = frozenset(form for _, form in agreeing)
    return Proof(zone, len(agreeing), forms, since - WITHIN, until + WITHIN)


class IndexTimes:
    """Reads the times of one index: ``read``, in the zone ``zone``, so that no entry expires before
    the service's own rule, which subtracts naive times.

    Until ``judge`` was given the samples, an open time is read as local: the usual case, so that
    a large index need not be read twice.
    """

    def __init__(self, setting: str = AUTO, now: float | None = None) -> None:
        """``setting``: ``auto`` or a zone; ``now``: of the run, needed for ``auto``."""
        self.setting = setting
        self.latest = _latest(now)
        self.zone = LOCAL if setting == AUTO else setting
        self.proof: Proof | None = None
        self.problems: list[Problem] = []
        self.is_judged = False
        self.read = reader(self.zone, self.latest, by_clock=True)

    def judge(self, samples: Iterable[Sample]) -> bool:
        """Find out the zone from the newest entries; whether times are read otherwise from now."""
        self.is_judged = True
        found = list(samples)
        if self.setting != AUTO:
            self.proof = prove_by_files(found, (self.setting,))
            if self.proof is not None and self.proof.zone == self.setting:
                return False
        self.proof = prove_by_files(found, _distinct(self.setting, self._now))
        zone = AUTO if self.proof is None else self.proof.zone
        if self.setting != AUTO and self.proof is not None:
            self.problems.append(_contradicted(Target.CACHE, self.setting, zone))
        if not _is_younger(zone, self.setting, self._now):
            return False
        self.zone = zone
        if self.setting == AUTO:
            if zone == LOCAL or (zone in (AUTO, UTC) and is_utc(LOCAL, self._now)):
                return False
            if self.proof is not None:
                self.problems.append(self._differs(self.proof))
        self.read = reader(zone, self.latest, by_clock=True)
        if self.proof is not None and zone not in (LOCAL, UTC):
            self.read = _with_margin(self.read, self.proof, self.latest)
        return True

    @property
    def _now(self) -> float:
        return self.latest - FUTURE_TOLERANCE

    def _differs(self, proof: Proof) -> Problem:
        name = f'"{proof.zone}"' if proof.zone in (LOCAL, UTC) else "the service's zone by name"
        return Problem(
            Target.CACHE,
            "zone_differs",
            f"times in the index are read in {zone_text(proof.zone, self._now)}, as the audio's "
            f"mtimes show, not in {zone_text(LOCAL, self._now)}; set cleanup.timezone to {name}",
            severity=Severity.WARNING,
        )


class TableTimes:
    """Reads the naive times of one request table: for each written form in each column, in the zone
    it is in. A database may set one column itself, in UTC, and its service another."""

    def __init__(
        self, setting: str = AUTO, now: float | None = None, index: IndexTimes | None = None
    ) -> None:
        """``index``: of the same service, judged before the table is."""
        self.setting = setting
        self.latest = _latest(now)
        self.is_judged = False
        self.was_open = False
        """Whether a time was read whose zone is neither set nor proved."""
        self._index = index
        self._zones: dict[tuple[str, Form | None], str] = {}
        self._readers: dict[tuple[str, Form | None], Reader] = {}
        self._problems: list[Problem] = []
        self._read = reader(setting, self.latest)

    def judge(
        self,
        times: Iterable[tuple[str, str]],
        last_write: float | None,
        now: float | None = None,
    ) -> None:
        """Find out the zones from the newest times, each with its column; cancelled rows, which are
        ours, left aside.

        ``last_write``: an instant, ``None`` if unknown. ``now``: the database's own clock, if it
        has one.
        """
        self.is_judged = True
        if now is not None:
            self.latest = _latest(now)
            self._read = reader(self.setting, self.latest)
        newest: dict[tuple[str, Form], str] = {}
        for column, text in times:
            form = form_of(text)
            if form is not None and self._read(text) is not None:
                newest[column, form] = max(text, newest.get((column, form), ""))
        found = [(at, self._proved(text, last_write)) for at, text in newest.items()]
        proved = {at: zone for at, zone in found if zone}
        if self.setting != AUTO:
            for at, zone in proved.items():
                if not _agrees(self.setting, newest[at], last_write or 0.0):
                    self._problems = [_contradicted(Target.REQUESTS, self.setting, zone)]
            if not self._problems and (self._index is None or self._index.setting != self.setting):
                return  # else the index may have contradicted the same setting
        for at, text in newest.items():
            # Against a zone that is set, of other columns than its own created_at alone counts.
            counts = [by for by in proved if self.setting == AUTO or by[0] == CREATED_AT]
            others = [proved[by] for by in counts if by[1] == at[1]]
            new = proved.get(at) or self._implied(others, at[1], text, last_write)
            if new is not None and _is_younger(new, self.setting, self.latest):
                self._zones[at] = new
                self._readers[at] = self._reader_of(new, last_write if new in others else None)

    def read(self, text: str, column: str = CREATED_AT) -> float | None:
        """An ISO text as an instant; see ``reader``."""
        form = form_of(text) if self._readers or self.setting == AUTO else None
        read = self._readers.get((column, form), self._read)
        self.was_open |= self.setting == AUTO and form is not None and read is self._read
        return read(text)

    def at_the_latest(self) -> TableTimes:
        """These, reading an open time as its latest reading, in the future or not."""
        times = copy(self)
        times._read = reader(self.setting)
        return times

    def zone_of(self, text: str, column: str = CREATED_AT) -> str:
        """The zone in which ``text`` is read; ``auto`` if that is open."""
        return self._zones.get((column, form_of(text)), self.setting)

    def zone_to_write(self, text: str, column: str = CREATED_AT) -> str:
        """The zone in which to write a time of the form of ``text``: that of the column, or of
        ``created_at``.

        If both are open, what writes that form as a rule: SQLite's ``CURRENT_TIMESTAMP`` (a space,
        no fraction) is in UTC, all others are local. Either is read rightly by the next run.
        """
        zones = self.zone_of(text, column), self.zone_of(text)
        by_form = UTC if form_of(text) == (" ", False) else LOCAL
        return next((zone for zone in zones if zone != AUTO), by_form)

    @property
    def problems(self) -> Iterable[Problem]:
        """That a proof contradicts the setting, or that a zone is open."""
        yield from self._problems
        now = self.latest - FUTURE_TOLERANCE
        if self.was_open and not is_utc(LOCAL, now):
            yield Problem(
                Target.REQUESTS,
                "zone_open",
                f"times without a zone are taken as {zone_text(AUTO, now)}: the later reading "
                "counts, so a request may be cancelled later by that offset, and too early if the "
                "service writes another zone; set requests.timezone to the zone that it writes",
                severity=Severity.WARNING,
            )

    def _candidates(self) -> list[str]:
        more = [] if self._index is None or self._index.proof is None else [self._index.proof.zone]
        return list(dict.fromkeys([*_distinct(self.setting, self.latest), *more]))

    def _proved(self, text: str, last_write: float | None) -> str | None:
        """The one zone in which ``text`` is near the last write; against a setting, one of them."""
        at = last_write or 0.0  # which no time is near
        agreeing = [zone for zone in self._candidates() if _agrees(zone, text, at)]
        return agreeing[0] if len(agreeing) == 1 or (agreeing and self.setting != AUTO) else None

    def _implied(
        self, others: Sequence[str], form: Form, text: str, last_write: float | None
    ) -> str | None:
        """The zone of other columns, or of the index, if ``text``, the newest of its column, has
        no later reading that is possible. An offset may be an hour less by now."""
        proof = self._index.proof if self._index is not None else None
        zones = [*others, proof.zone] if proof and form in proof.forms else others
        possible = self.latest if last_write is None else min(last_write + WITHIN, self.latest)
        readings = _readings_in(text, self._candidates(), possible)
        lag = dict.fromkeys(readings.keys() - {LOCAL, UTC}, _CHANGE)
        passed = (at for zone, at in readings.items() if at <= possible + lag.get(zone, 0.0))
        latest = max(passed, default=None)
        return next((zone for zone in zones if latest and readings.get(zone) == latest), None)

    def _reader_of(self, zone: str, seen_at: float | None) -> Reader:
        """``seen_at``: an instant at which the zone is proved by the table."""
        read = reader(zone, self.latest)
        proof = self._index.proof if self._index is not None else None
        if proof is None or zone in (LOCAL, UTC):
            return read
        until = max(proof.until, (seen_at or 0.0) + WITHIN)
        return _with_margin(read, proof._replace(until=until), self.latest)


def _distinct(setting: str, now: float) -> list[str]:
    """The zones that times may be in. Against a setting, local time that is UTC is none more."""
    return [UTC] if setting != AUTO and not offset_at(LOCAL)(now) else [LOCAL, UTC]


def _is_younger(zone: str, setting: str, instant: float) -> bool:
    """Whether times of the last day are younger by ``zone`` than by the setting, or it is open."""
    if AUTO in (zone, setting):
        return setting == AUTO
    ahead, than = offset_at(zone), offset_at(setting)
    return any(ahead(at) < than(at) for at in (instant, instant - 24 * _CHANGE))


def _readings_in(text: str, zones: Iterable[str], latest: float) -> Mapping[str, float]:
    """The reading in each zone; in an hour that is repeated, the last one up to ``latest``."""
    return {zone: instant for zone in zones if (instant := reader(zone, latest)(text)) is not None}


def _latest(now: float | None) -> float:
    return (time.time() if now is None else now) + FUTURE_TOLERANCE


def _with_margin(read: Reader, proof: Proof, latest: float) -> Reader:
    """What may lie outside the time of the proof is read an hour later, but not in the future: the
    offset is not proved there, and with the clocks changed it may be an hour less."""

    def later(text: str) -> float | None:
        instant = read(text)
        if instant is None or form_of(text) is None:
            return instant
        is_proved = proof.since <= instant and instant + _CHANGE <= proof.until
        return instant if is_proved or instant + _CHANGE > latest else instant + _CHANGE

    return later


def _contradicted(target: Target, setting: str, proved: str) -> Problem:
    name, evidence = "cleanup.timezone", "the audio's mtimes show"
    if target is Target.REQUESTS:
        name, evidence = "requests.timezone (or cleanup's)", "the database's last write shows"
    what = f'{name} is "{setting}", but {evidence} that times are written in {proved}'
    why = f"{what}; by whichever they are younger, they are read"
    return Problem(target, "zone_contradicted", why, severity=Severity.WARNING)
