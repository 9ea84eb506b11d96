"""A plan: what would be done, the state of the data, and what was in the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from narration_cleanup.core.model import CacheEntry, Ref
from narration_cleanup.core.problems import Problems
from narration_cleanup.plan.actions import Action, Actions, Reason
from narration_cleanup.plan.totals import CacheTotals, RequestTotals

TotalsT = TypeVar("TotalsT", bound=CacheTotals | RequestTotals)
Verdict = tuple[Reason, str]
"""Why something is removed: the reason, and the figures behind it for a reader."""


@dataclass(slots=True)
class Plan(Generic[TotalsT]):
    """What to do in one target, how it is as surveyed, and what was in the way.

    ``by_reason`` counts the actions. The rest is of the cache alone: ``planned_bytes`` is what is
    expected to be freed; ``missing_file`` counts removals whose file is missing already.
    ``stored_bytes`` is the size of what the cache's limit is about: the files of entries, and
    files that no entry will name any more. ``held``: which rule kept something that would have been
    removed (key, rule), where ``explain`` asks for it. ``staying`` are the totals of the entries
    that neither their age nor their emptiness removes. ``shares_sidecars``: something is removed
    whose sidecars, and their sizes, may remain with other audio.
    """

    totals: TotalsT
    problems: Problems = field(default_factory=Problems)
    actions: Actions = field(default_factory=Actions)
    by_reason: dict[Reason, int] = field(default_factory=dict)
    explain: bool = False
    planned_bytes: int = 0
    stored_bytes: int = 0
    missing_file: int = 0
    held: list[tuple[str, str]] = field(default_factory=list)
    staying: CacheTotals | None = None
    shares_sidecars: bool = False

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

    def frees_nothing(self, position: int, action: Action, why: str) -> None:
        """Expect no bytes of a removal that is planned at ``position``."""
        self.planned_bytes -= action.size_bytes
        detail = f"{action.detail}, {why}"
        self.actions[position] = msgspec.structs.replace(action, size_bytes=0, detail=detail)


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
