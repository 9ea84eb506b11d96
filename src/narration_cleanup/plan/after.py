"""What is left once a plan is done, where that can be told without looking at everything again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from narration_cleanup.core.model import RequestStatus
from narration_cleanup.plan.actions import Actions, CacheAction, Reason, RequestAction
from narration_cleanup.plan.requests import FUTURE
from narration_cleanup.plan.totals import RequestTotals
from narration_cleanup.plan.types import CachePlan, RequestPlan

_COUNTED_APART = {Reason.EXPIRED, Reason.PARTIAL}
"""What these remove is not in ``staying``, and in no other figure but those of the plan itself."""


def plan_after(plan: CachePlan) -> CachePlan | None:
    """What a second survey would lead to, if ``plan`` was done and nothing else has changed.

    ``None`` where only the survey can tell, as after evictions, or where sidecars were shared.
    """
    known = plan.by_reason.keys() <= _COUNTED_APART and not plan.totals.dangling_count
    if plan.staying is None or not known or plan.shares_sidecars:
        return None
    totals = replace(
        plan.staying,
        orphan_count=plan.totals.orphan_count,
        orphan_size_bytes=plan.totals.orphan_size_bytes,
    )
    return CachePlan(Actions(CacheAction), totals, plan.problems, plan.explain)


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
    return RequestPlan(Actions(RequestAction), totals, plan.problems)
