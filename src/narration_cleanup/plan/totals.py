"""The state of the data: the figures that planning gathers, which ``stats`` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from narration_cleanup.core.model import ACTIVE, CacheEntry

AGE_BINS = 10
"""The TTL is divided into this many bins; one more holds what is older than the TTL."""


@dataclass(slots=True)
class VoiceTotals:
    """Entries and bytes of one voice style."""

    entry_count: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class CacheTotals:
    """The cache as surveyed. Instants in Unix seconds, sizes in bytes as the cache states them.

    ``age_bins[i]`` counts entries by age in tenths of the TTL; the last bin is past the TTL.
    """

    ttl: float
    entry_count: int = 0
    total_size_bytes: int = 0
    expired_count: int = 0
    expired_size_bytes: int = 0
    dangling_count: int = 0
    orphan_count: int = 0
    orphan_size_bytes: int = 0
    oldest_created_at: float | None = None
    newest_created_at: float | None = None
    by_voice_style: dict[str, VoiceTotals] = field(default_factory=dict)
    age_bins: list[int] = field(default_factory=lambda: [0] * (AGE_BINS + 1))

    def count_entries(self, entries: Sequence[CacheEntry], now: float) -> None:
        """Add some entries to every figure but the expired ones.

        Those of no voice style (as where there is no index) are in none of the voices' figures.
        """
        sizes = [entry.size_bytes for entry in entries]
        created = [entry.created_at for entry in entries if entry.created_at is not None]
        self.entry_count += len(sizes)
        self.total_size_bytes += sum(sizes)
        if created:
            self._count_ages(created, now)
        self._count_voices([entry.voice_style for entry in entries], sizes)

    def add(self, other: CacheTotals) -> None:
        """Add the entries that ``other`` has counted, by the same TTL."""
        self.entry_count += other.entry_count
        self.total_size_bytes += other.total_size_bytes
        for voice_style, counted in other.by_voice_style.items():
            voice = self.by_voice_style.setdefault(voice_style, VoiceTotals())
            voice.entry_count += counted.entry_count
            voice.size_bytes += counted.size_bytes
        if other.oldest_created_at is not None and other.newest_created_at is not None:
            self._widen(other.oldest_created_at, other.newest_created_at)
        self.age_bins = [sum(bins) for bins in zip(self.age_bins, other.age_bins, strict=True)]

    def _widen(self, oldest: float, newest: float) -> None:
        if self.oldest_created_at is None or oldest < self.oldest_created_at:
            self.oldest_created_at = oldest
        if self.newest_created_at is None or newest > self.newest_created_at:
            self.newest_created_at = newest

    def _count_voices(self, voice_styles: Sequence[str], sizes: Sequence[int]) -> None:
        counts = Counter(voice_styles)
        bytes_of = dict.fromkeys(counts, 0)
        for voice_style, size_bytes in zip(voice_styles, sizes, strict=True):
            bytes_of[voice_style] += size_bytes
        for voice_style, count in counts.items():
            if voice_style:
                voice = self.by_voice_style.setdefault(voice_style, VoiceTotals())
                voice.entry_count += count
                voice.size_bytes += bytes_of[voice_style]

    def _count_ages(self, created: Sequence[float], now: float) -> None:
        self._widen(min(created), max(created))
        ages = [now - created_at for created_at in created]
        tenth = self.ttl / AGE_BINS
        for number, count in Counter([age // tenth for age in ages]).items():
            self.age_bins[int(min(max(number, 0), AGE_BINS - 1))] += count
        past = sum([age > self.ttl for age in ages])
        self.age_bins[AGE_BINS - 1] -= past
        self.age_bins[AGE_BINS] += past


@dataclass(slots=True)
class RequestTotals:
    """The request table as surveyed; by status in the service's words."""

    by_status: dict[str, int] = field(default_factory=dict)
    abandoned_by_status: dict[str, int] = field(default_factory=dict)

    def count_abandoned(self, status: str) -> None:
        """Add one request that has waited, or been generated, past its time."""
        self.abandoned_by_status[status] = self.abandoned_by_status.get(status, 0) + 1

    @property
    def abandoned_count(self) -> int:
        """All abandoned requests."""
        return sum(self.abandoned_by_status.values())

    @property
    def active_count(self) -> int:
        """All requests that wait or are being generated."""
        return sum(self.by_status.get(status.value, 0) for status in ACTIVE)

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.by_status.values())
