"""What is left once a plan is done, where that follows without a second survey."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from narration_cleanup.core.model import RequestStatus
from narration_cleanup.plan.actions import Reason
from narration_cleanup.plan.requests import FUTURE
from narration_cleanup.plan.totals import RequestTotals
from narration_cleanup.plan.types import CachePlan, RequestPlan

_UNKNOWN_AFTER = {Reason.EVICTED, Reason.DANGLING}
"""The entries that these remove are counted among those that neither age nor emptiness removes."""


def plan_after(plan: CachePlan) -> CachePlan | None:
    """What a second survey would lead to, if ``plan`` was done and nothing else has changed.

    ``None`` where only the survey can show: after evictions, after dangling entries were dropped,
    or where sidecars were shared.
    """
    if plan.staying is None or plan.shares_sidecars or plan.by_reason.keys() & _UNKNOWN_AFTER:
        return None
    orphans = [
        action.size_bytes
        for action in (plan.actions if Reason.ORPHAN in plan.by_reason else ())
        if action.reason is Reason.ORPHAN
    ]
    totals = replace(
        plan.staying,
        dangling_count=plan.totals.dangling_count - plan.missing_file,
        orphan_count=plan.totals.orphan_count - len(orphans),
        orphan_size_bytes=plan.totals.orphan_size_bytes - sum(orphans),
    )
    return CachePlan(totals, plan.problems, explain=plan.explain)


def requests_after(
    plan: RequestPlan, cancelled: Mapping[str, int], deleted: Mapping[str, int]
) -> RequestPlan | None:
    """The same for requests, of which so many were cancelled and deleted, by earlier status.

    ``None`` also where a problem may be that of a row which was cancelled.
    """
    by_status = Counter(plan.totals.by_status)
    for gone in (cancelled, deleted):
        by_status.subtract(gone)
    by_status[RequestStatus.CANCELLED.value] += sum(cancelled.values())
    if min(by_status.values()) < 0 or any(each.code == FUTURE for each in plan.problems):
        return None
    totals = RequestTotals({name: count for name, count in by_status.items() if count})
    return RequestPlan(totals, plan.problems)
