"""The decisions: what should go, and why. Pure: no I/O, no clock, the same answer every time.

Every command plans here. A dry run shows the plan, a run applies it, ``stats`` shows its totals,
so that none of them can promise something else than another does.
"""

from narration_cleanup.plan.cache import plan_after, plan_cache
from narration_cleanup.plan.requests import plan_requests, requests_after
from narration_cleanup.plan.rules import CachePolicy, RequestPolicy
from narration_cleanup.plan.types import CachePlan, Plan, RequestPlan

__all__ = [
    "CachePlan",
    "CachePolicy",
    "Plan",
    "RequestPlan",
    "RequestPolicy",
    "plan_after",
    "plan_cache",
    "plan_requests",
    "requests_after",
]
