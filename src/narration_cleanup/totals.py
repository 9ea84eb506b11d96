"""How things stand: the figures that planning gathers on its way, which ``stats`` shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from narration_cleanup.model import CacheEntry

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

    def count_entry(self, entry: CacheEntry, now: float) -> None:
        """Add one entry to every figure but the expired ones."""
        self.entry_count += 1
        self.total_size_bytes += entry.size_bytes
        voice = self.by_voice_style.get(entry.voice_style)
        if voice is None:
            voice = self.by_voice_style[entry.voice_style] = VoiceTotals()
        voice.entry_count += 1
        voice.size_bytes += entry.size_bytes
        created_at = entry.created_at
        if created_at is None:
            return
        if self.oldest_created_at is None or created_at < self.oldest_created_at:
            self.oldest_created_at = created_at
        if self.newest_created_at is None or created_at > self.newest_created_at:
            self.newest_created_at = created_at
        age = now - created_at
        bin_number = AGE_BINS if age > self.ttl else int(age * AGE_BINS / self.ttl)
        self.age_bins[min(max(bin_number, 0), AGE_BINS - (age <= self.ttl))] += 1


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
    def total(self) -> int:
        """All rows."""
        return sum(self.by_status.values())
