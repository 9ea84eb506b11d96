"""What is left once a plan is done, where that can be told without looking at everything again."""

from __future__ import annotations

from dataclasses import replace

from narration_cleanup.actions import Actions, CacheAction, Reason
from narration_cleanup.plan.types import CachePlan

_COUNTED_APART = {Reason.EXPIRED, Reason.PARTIAL}
"""What these remove is not in ``staying``, and in no other figure but those of the plan itself."""


def plan_left(plan: CachePlan) -> CachePlan | None:
    """What a second survey would lead to, if ``plan`` was done and nothing else has changed.

    ``None`` where only the survey can tell, as after evictions.
    """
    known = plan.by_reason.keys() <= _COUNTED_APART and not plan.totals.dangling_count
    if plan.staying is None or not known:
        return None
    totals = replace(
        plan.staying,
        orphan_count=plan.totals.orphan_count,
        orphan_size_bytes=plan.totals.orphan_size_bytes,
    )
    return CachePlan(Actions(CacheAction), totals, plan.problems, plan.explain)
