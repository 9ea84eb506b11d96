"""A plan: what would be done, the state of the data, and what was in the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from narration_cleanup.core.model import ACTIVE, CacheEntry, Problems, Ref
from narration_cleanup.plan.actions import Action, Actions, Reason

AGE_BINS = 10
"""The TTL is divided into this many bins; one more holds what is older than the TTL."""


class VoiceTotals(msgspec.Struct):
    """Entries and bytes of one voice style."""

    entry_count: int = 0
    size_bytes: int = 0


class CacheTotals(msgspec.Struct):
    """The cache as surveyed. Instants in Unix seconds, sizes in bytes as the cache states them,
    but for ``total_size_bytes``, which is that of the files.

    ``missing_count`` and ``missing_size_bytes`` are of the entries that are both expired and
    dangling. ``age_bins[i]`` counts entries by age in tenths of the TTL; the last bin is past the
    TTL.
    """

    ttl: float
    entry_count: int = 0
    total_size_bytes: int = 0
    expired_count: int = 0
    expired_size_bytes: int = 0
    dangling_count: int = 0
    missing_count: int = 0
    missing_size_bytes: int = 0
    orphan_count: int = 0
    orphan_size_bytes: int = 0
    oldest_created_at: float | None = None
    newest_created_at: float | None = None
    by_voice_style: dict[str, VoiceTotals] = msgspec.field(default_factory=dict)
    age_bins: list[int] = msgspec.field(default_factory=lambda: [0] * (AGE_BINS + 1))

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
        oldest = min(created)
        self._widen(oldest, max(created))
        tenth = self.ttl / AGE_BINS
        for number, count in Counter([(now - at) // tenth for at in created]).items():
            self.age_bins[int(min(max(number, 0), AGE_BINS - 1))] += count
        if now - oldest > self.ttl:
            past = sum([now - at > self.ttl for at in created])
            self.age_bins[AGE_BINS - 1] -= past
            self.age_bins[AGE_BINS] += past


class RequestTotals(msgspec.Struct):
    """The request table as surveyed; by status in the service's words."""

    by_status: dict[str, int] = msgspec.field(default_factory=dict)
    abandoned_by_status: dict[str, int] = msgspec.field(default_factory=dict)

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


TotalsT = TypeVar("TotalsT", bound=CacheTotals | RequestTotals)
Verdict = tuple[Reason, str]
"""Why something is removed: the reason, and the figures behind it for a reader."""


class Plan(msgspec.Struct, Generic[TotalsT]):
    """What to do in one target, how it is as surveyed, and what was in the way.

    ``by_reason`` counts the actions. The rest is of the cache alone: ``planned_bytes`` is what is
    expected to be freed.
    ``stored_bytes`` is the size of what the cache's limit is about: the files of entries, and
    files that no entry will name any more. ``held``: which rule kept something that would have been
    removed (key, rule), where ``explain`` asks for it. ``staying`` are the totals of the entries
    that neither their age nor their emptiness removes. ``shares_sidecars``: something is removed
    whose sidecars, and their sizes, may remain with other audio. ``judged_later`` counts files that
    would be removed, had they not arrived within the last hour.
    """

    totals: TotalsT
    problems: Problems = msgspec.field(default_factory=Problems)
    actions: Actions = msgspec.field(default_factory=Actions)
    by_reason: dict[Reason, int] = msgspec.field(default_factory=dict)
    explain: bool = False
    planned_bytes: int = 0
    stored_bytes: int = 0
    held: list[tuple[str, str]] = msgspec.field(default_factory=list)
    staying: CacheTotals | None = None
    shares_sidecars: bool = False
    judged_later: int = 0

    @property
    def without_file(self: Plan[CacheTotals]) -> int:
        """How many of the actions take an entry out of the index whose file is gone already."""
        return self.totals.missing_count + self.by_reason.get(Reason.DANGLING, 0)

    def remove(self: Plan[CacheTotals], entry: CacheEntry, verdict: Verdict, ref: Ref) -> None:
        """Plan the removal of ``entry``."""
        self.add(removal_of(entry, verdict, ref))
        self.shares_sidecars |= entry.shares_sidecars
        if verdict[0] is Reason.EXPIRED:
            self.totals.expired_count += 1
            self.totals.expired_size_bytes += entry.size_bytes

    def hold(self, key: str, rule: str) -> None:
        """Say, where that is asked for, which rule keeps what would have gone."""
        if self.explain:
            self.held.append((key, rule))

    def add(self, action: Action) -> None:
        """Plan one more action."""
        self.add_packed(self.actions.packed(action), action.reason, action.size_bytes)

    def add_packed(self, packed: bytes | Action, reason: Reason, size_bytes: int) -> None:
        """The same with an action in its small form, which is expected to free ``size_bytes``."""
        self.actions.append_packed(packed)
        self.planned_bytes += size_bytes
        self.by_reason[reason] = self.by_reason.get(reason, 0) + 1

    def frees_nothing(
        self, position: int, action: Action, why: str, *, lacks_file: bool = False
    ) -> None:
        """Expect no bytes of a removal that is planned at ``position``."""
        self.planned_bytes -= action.size_bytes
        self.actions[position] = msgspec.structs.replace(
            action, size_bytes=0, detail=f"{action.detail}, {why}", lacks_file=lacks_file
        )


CachePlan = Plan[CacheTotals]
RequestPlan = Plan[RequestTotals]


def removal_of(entry: CacheEntry, verdict: Verdict, ref: Ref) -> Action:
    """The action that removes ``entry`` with its file and sidecars."""
    reason, detail = verdict
    if entry.shares_sidecars:
        detail += ", its sidecars with the last audio of that name"
    elif entry.sidecars:
        count = len(entry.sidecars)
        detail += f", with {count} sidecars" if count > 1 else ", with its sidecar"
    return Action(
        reason,
        entry.key,
        detail,
        entry.file,
        entry.size_bytes,
        ref,
        entry.sidecars,
        entry.voice_style,
        entry.variant_id,
        entry.created_at,
    )
