"""What goes for size: the least recently used entries, until a limit is met."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from narration_cleanup.actions import CacheAction, Reason
from narration_cleanup.model import CacheEntry, CacheSurvey, EntryBatch, Half, Problem
from narration_cleanup.plan.policy import DAY, MB, CachePolicy
from narration_cleanup.plan.rules import Rules
from narration_cleanup.plan.types import CachePlan, removal_of


def plan_evictions(
    plan: CachePlan, survey: CacheSurvey, rules: Rules, dangling: frozenset[str]
) -> None:
    """Plan the least recently used entries until the size or the free space is as wanted.

    ``dangling`` are the keys of entries that have no file to free. A file that two entries share
    is not evicted: one of them stays, so both are held. Nor is one with other hard links, such as
    a backup makes, where free space is wanted.
    """
    excess, why, wants_space = _excess(plan, survey, rules.policy)
    if excess <= 0:
        return
    # (use, latest first; order; size; action): held small, there may be a hundred thousand.
    candidates: list[tuple[float, int, int, bytes | CacheAction]] = []
    gathered = order = protected = protected_bytes = 0
    for batch in survey.batches(last_used=True):
        for position, entry, rule in _in_question(batch, rules, dangling):
            latest_first = -(entry.last_used_at or 0.0)
            if rule is None and gathered >= excess and latest_first <= candidates[0][0]:
                continue
            if rule is None and wants_space and survey.is_linked(entry.file):
                rule = "its file has other hard links, and would free no space"
            if rule is not None:
                if rules.verdict(entry) is None:
                    plan.hold(entry.key, rule)
                protected += 1
                protected_bytes += entry.size_bytes
                continue
            detail = f"last used {(rules.now + latest_first) / DAY:.1f} days ago, {why}"
            action = removal_of(entry, (Reason.EVICTED, detail), batch.ref(position))
            order += 1
            size = entry.size_bytes
            heapq.heappush(candidates, (latest_first, -order, size, plan.actions.packed(action)))
            gathered += size
            while gathered - candidates[0][2] >= excess:
                gathered -= heapq.heappop(candidates)[2]
    candidates.sort(reverse=True)
    for _, _, size, packed in candidates:
        plan.add_packed(packed, Reason.EVICTED, size)
    if gathered < excess:
        plan.problems.add(_cannot_reach(excess - gathered, why, protected, protected_bytes))


def _in_question(
    batch: EntryBatch, rules: Rules, dangling: frozenset[str]
) -> Iterator[tuple[int, CacheEntry, str | None]]:
    """Entries that take up room and do not go anyway: position, entry, and what protects it."""
    for position, entry in enumerate(batch.entries):
        if not entry.size_bytes or entry.key in dangling:
            continue
        rule = rules.held_by(entry)
        if rule is None and rules.verdict(entry) is not None:
            continue
        if rule is None and entry.last_used_at is None:
            rule = "its last use cannot be read"
        yield position, entry, rule


def _excess(plan: CachePlan, survey: CacheSurvey, policy: CachePolicy) -> tuple[int, str, bool]:
    """How many bytes more must go, and for which limit: the one that asks for most; and whether
    that is for free space."""
    excess, why, wants_space = 0, "", False
    staying = plan.totals.total_size_bytes - plan.leaving_bytes
    if policy.evict_above is not None and staying > policy.evict_above:
        excess, why = staying - policy.evict_to, f"cache over {policy.evict_above / MB:g} MB"
    if policy.min_free is not None:
        free = survey.free_bytes()
        if free is not None and policy.min_free - free - plan.planned_bytes > excess:
            excess = policy.min_free - free - plan.planned_bytes
            why = f"less than {policy.min_free / MB:g} MB free on the disk"
            wants_space = True
    return excess, why, wants_space


def _cannot_reach(missing: int, why: str, protected: int, protected_bytes: int) -> Problem:
    return Problem(
        Half.CACHE,
        "over_limit",
        f"{why}, and {missing / MB:.2f} MB more should go than may: "
        f"{protected} entries of {protected_bytes / MB:.2f} MB are protected "
        "(dry-run -v says by what)",
    )
