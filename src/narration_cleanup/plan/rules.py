"""What the operator allows: plain values, and asked as of one moment about one entry at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from unicodedata import normalize

import msgspec

from narration_cleanup.core.model import DAY, HOUR, MINUTE, CacheEntry, StoredFile
from narration_cleanup.core.timestamps import FUTURE_TOLERANCE
from narration_cleanup.plan.actions import Reason
from narration_cleanup.plan.types import Verdict

EMPTY_AUDIO_AGE = HOUR
"""Zero-byte audio younger than this may be a file that is just being written."""
IN_FLIGHT = HOUR
"""What arrived within this time is no orphan: its entry may be yet to come, as in a restore."""


class CachePolicy(msgspec.Struct, frozen=True):
    """What the operator allows of the cache. Ages in seconds, sizes in bytes; ``None`` is off."""

    ttl: float = 7 * DAY
    ttl_by_voice_style: Mapping[str, float] = msgspec.field(default_factory=dict)
    keep: tuple[str, ...] = ()
    evict_above: int | None = None
    evict_to: int = 0
    min_free: int | None = None
    orphan_ttl: float | None = None
    partial_ttl: float | None = None
    sidecar_ttl: float | None = None
    remove_dangling: bool = False
    remove_empty: bool = True


class RequestPolicy(msgspec.Struct, frozen=True):
    """What the operator allows of the requests. Ages in seconds; ``None`` is off.

    ``from_start``: ``generating_timeout`` counts from the start of the generation.
    """

    queued_timeout: float = HOUR
    generating_timeout: float = HOUR
    from_start: bool = False
    heartbeat_timeout: float | None = None
    delete_finished_after: float | None = None


def pattern_matcher(pattern: str) -> Callable[[str], object]:
    """Whether a whole name matches: ``*`` is any text, ``?`` any character, all else itself.

    An accent is the same in one character as in two, as a Mac writes it.
    """
    whole = normalize("NFC", pattern)
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in whole)
    matches = re.compile(re.sub(r"(\.\*)+", ".*", "".join(parts)), re.DOTALL).fullmatch
    return lambda name: matches(normalize("NFC", name))


class Rules:
    """What is known only after a first pass over all entries is empty until then.

    ``empty_files`` are zero-byte audio files and their mtime, ``needed`` the shared files that an
    entry which is kept still has, ``fresh`` the files that may belong to an entry yet to come.
    """

    def __init__(self, policy: CachePolicy, now: float) -> None:
        self.policy = policy
        self.now = now
        self.needed: frozenset[str] = frozenset()
        self.fresh: frozenset[str] = frozenset()
        self.empty_files: Mapping[str, float] = {}
        shortest = min([policy.ttl, *policy.ttl_by_voice_style.values()])
        self.earliest_cutoff = now - shortest
        self.latest = now + FUTURE_TOLERANCE
        self._keep = [(pattern, pattern_matcher(pattern)) for pattern in policy.keep]
        self._unused = dict(self._keep)

    def in_question(self, entries: Sequence[CacheEntry]) -> list[int]:
        """Positions of the entries that may go, or lie in the future: the rest is not worth a call
        for each."""
        cutoff, latest, empty = self.earliest_cutoff, self.latest, self.empty_files
        return [
            position
            for position, entry in enumerate(entries)
            if not cutoff <= (cutoff if entry.created_at is None else entry.created_at) <= latest
            or (empty and entry.file in empty)
        ]

    def verdict(self, entry: CacheEntry) -> Verdict | None:
        """Why ``entry`` would go by its age or its emptiness, whatever holds it."""
        created_at = entry.created_at
        if created_at is not None and created_at < self.earliest_cutoff:
            ttl = self.ttl_of(entry)
            age = self.now - created_at
            if age > ttl:
                return Reason.EXPIRED, f"{age_past(age, ttl, DAYS)} old, limit {ttl / DAY:g}"
        if entry.file in self.empty_files:
            age = self.now - self.empty_files[entry.file]
            if age > EMPTY_AUDIO_AGE:
                return Reason.EMPTY, f"no audio in it for {age / HOUR:.1f} h"
        return None

    def ttl_of(self, entry: CacheEntry) -> float:
        """The TTL of ``entry``: its voice style's own, or that of the cache."""
        return self.policy.ttl_by_voice_style.get(entry.voice_style, self.policy.ttl)

    def due(self, entry: CacheEntry) -> tuple[float, Reason] | None:
        """After which instant ``verdict`` has a reason, and which; ``None`` where it never has."""
        due = []
        if entry.created_at is not None:
            due.append((entry.created_at + self.ttl_of(entry), Reason.EXPIRED))
        if entry.file in self.empty_files:
            due.append((self.empty_files[entry.file] + EMPTY_AUDIO_AGE, Reason.EMPTY))
        return min(due, default=None)

    def verdict_on_orphan(self, file: StoredFile) -> Verdict | None:
        """Why audio without an entry would go by its age or its emptiness."""
        ttl = self.policy.orphan_ttl
        age = self.now - file.modified_at
        if ttl is None:
            return None
        if age > ttl:
            how_old = f"{age_past(age, ttl, DAYS)} old, limit {ttl / DAY:g}"
            return Reason.ORPHAN, f"no entry names it, {how_old}"
        if self.policy.remove_empty and not file.size_bytes and age > EMPTY_AUDIO_AGE:
            return Reason.ORPHAN, f"no entry names it, no audio in it for {age / HOUR:.1f} h"
        return None

    def in_flight(self, file: StoredFile) -> bool:
        """Whether a file that no entry names arrived, or was written, within the hour."""
        return self.now - max(file.modified_at, file.arrived_at) <= IN_FLIGHT

    def held_by(self, entry: CacheEntry) -> str | None:
        """The rule that keeps ``entry`` although it would go, if there is one."""
        if rule := self.kept(entry.key, entry.variant_id, entry.voice_style):
            return rule
        if entry.file in self.needed:
            return "its file is shared with an entry that stays"
        if entry.file in self.fresh:
            return "its audio was written less than 5 minutes ago: the next run judges it"
        return None

    def kept(self, *names: str) -> str | None:
        """The pattern of ``keep`` that one of ``names`` matches, as a reason."""
        for pattern, matches in self._keep:
            if any(map(matches, names)):
                return f"kept by {pattern}"
        return None

    def note_matches(self, *names: str) -> None:
        """Take note of the patterns of ``keep`` that match one of ``names``."""
        for pattern, matches in list(self._unused.items()):
            if any(map(matches, names)):
                del self._unused[pattern]

    def unused_patterns(self) -> list[str]:
        """The patterns of ``keep`` that have matched nothing that was noted."""
        return list(self._unused)

    def longer_life(self, entry: CacheEntry) -> str | None:
        """Says so where only its voice style's own TTL keeps ``entry``."""
        ttl = self.policy.ttl_by_voice_style.get(entry.voice_style)
        if ttl is None or entry.created_at is None:
            return None
        if self.policy.ttl < self.now - entry.created_at <= ttl:
            return f"voice style {entry.voice_style} has {ttl / DAY:g} days"
        return None


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
    past = max(int(age - limit), 1)
    more = f"{past // 60} min" if past >= MINUTE else f"{past} s"
    more = f"{past // 3600} h" if past >= HOUR else more
    return f"{allowed:g} {unit.name if allowed == 1 else unit.plural} and {more}"
