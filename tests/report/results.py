"""Results made by hand, through the real planner's own values: what the outputs are held to."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from narration_cleanup.apply.result import CacheResult, Outcomes, RequestResult, Result
from narration_cleanup.core.model import (
    DAY,
    HOUR,
    CacheEntry,
    Problem,
    RequestStatus,
    Severity,
    Target,
)
from narration_cleanup.plan import CachePlan, RequestPlan
from narration_cleanup.plan.actions import (
    Action,
    Kind,
    Outcome,
    Reason,
)
from narration_cleanup.plan.types import CacheTotals, RequestTotals
from narration_cleanup.report.run_record import RunRecord
from narration_cleanup.report.stats import CacheStats, Stats

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC).timestamp()
VOICES = ("ghostly_whisper", "demonic_growl", "eerie_narrator", "possessed_child", "ancient_entity")
LAST_RUN = RunRecord(
    id=12,
    outcome="success",
    exit_code=0,
    started_at=NOW - 3 * HOUR,
    finished_at=NOW - 3 * HOUR + 2,
    removed_count=5,
    freed_bytes=12345,
    cancelled_count=2,
)
HOSTILE = "red\x1b[31m\nINFO - Removed\u202egnp.\ud800"
"""Escapes, a newline that forges a log line, a bidi override, and a lone surrogate."""
REF = (0, 0, 0)


def key_of(number: int) -> str:
    """A key as the service makes them."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def cache_plan(entries: int = 60, expired: int = 33) -> CachePlan:
    """``entries`` of 1000 bytes each, aged evenly on both sides of a TTL of 7 days."""
    plan = CachePlan(CacheTotals(7 * DAY))
    for number in range(entries):
        age = 7 * DAY + (expired - number) * HOUR
        key = key_of(number)
        voice = VOICES[number % len(VOICES)]
        entry = CacheEntry(key, f"{key}.mp3", 1000, NOW - age, None, voice, f"variant-{number}")
        plan.totals.count_entries([entry], NOW)
        if number < expired:
            plan.remove(entry, (Reason.EXPIRED, f"{age / DAY:.1f} days old, limit 7"), REF)
    return plan


def request_plan() -> RequestPlan:
    """158 requests, 7 of them abandoned: 4 queued and 3 generating."""
    by_status = {"completed": 140, "queued": 8, "generating": 5, "failed": 3, "cancelled": 2}
    plan = RequestPlan(RequestTotals(by_status))
    for number in range(7):
        status = RequestStatus.QUEUED if number < 4 else RequestStatus.GENERATING
        plan.totals.count_abandoned(status)
        age = (number + 1.25) * HOUR
        detail = f"{status} for {age / HOUR:.1f} h, limit 1 h"
        guard = (status.value, "2026-11-23T10:00:00", None, None)
        plan.add(
            Action(
                Reason.ABANDONED,
                f"request-{number}",
                detail,
                status=status,
                age_seconds=age,
                guard=guard,
            )
        )
    return plan


def removal_of_file(
    name: str, size_bytes: int, reason: Reason, detail: str, modified_at: float | None = None
) -> Action:
    """The removal of a file without an entry."""
    return Action(reason, name, detail, name, size_bytes, REF, created_at=modified_at)


def add_every_kind(cache: CachePlan, requests: RequestPlan) -> None:
    """One action of every other kind, a rule that held, and two problems."""
    long_ago = "last used 6.5 days ago, cache over 500 MB"
    voice = ("noir", "v2", NOW - 6 * DAY)
    sidecars = ("sub/k1.json",)
    unnamed, left = "no entry names it, 9.1 days old, limit 7", "left half-written, 1.2 days old"
    for action in (
        Action(Reason.EVICTED, "k1", long_ago, "sub/k1.wav", 2000, REF, sidecars, *voice),
        Action(Reason.EMPTY, "k2", "no audio in it for 3.0 h", "k2.mp3"),
        removal_of_file("o.mp3", 3000, Reason.ORPHAN, unnamed, NOW - 9.1 * DAY),
        removal_of_file("p.part", 4000, Reason.PARTIAL, left, NOW - 1.2 * DAY),
        Action(Reason.DANGLING, "k3", "its file is gone", "k3.mp3", 0, REF, (), *voice),
    ):
        cache.add(action)
    cache.held.append((key_of(40), "kept by eerie*"))
    cache.problems.add(Problem(Target.CACHE, "outside", "leads out of the cache", "../../victim"))
    finished = RequestStatus.COMPLETED
    requests.add(
        Action(
            Reason.FINISHED,
            17,
            "completed 40.0 days ago",
            status=finished,
            age_seconds=40 * DAY,
            guard=(None,) * 4,
        )
    )
    requests.problems.add(
        Problem(Target.REQUESTS, "odd", "an unknown status", "lost", Severity.WARNING)
    )


def result_of(
    cache: CachePlan | None, requests: RequestPlan | None, *, dry_run: bool = True
) -> Result:
    """The result of doing everything planned, or of doing nothing (``dry_run``)."""
    result = Result(NOW, dry_run, cache is not None, requests is not None, NOW + 0.41)
    if cache is not None:
        result.cache = CacheResult(cache, Outcomes(cache.actions))
    if requests is not None:
        result.requests = RequestResult(requests, Outcomes(requests.actions))
    if not dry_run:
        _do_all(result)
    return result


def _do_all(result: Result) -> None:
    if (cache := result.cache) is not None:
        for position, action in enumerate(cache.plan.actions):
            cache.outcomes.set(position, Outcome.DONE)
            freed = action.size_bytes
            cache.freed_bytes += freed
            reason = action.reason
            cache.removed_by_reason[reason] = cache.removed_by_reason.get(reason, 0) + 1
            cache.freed_by_reason[reason] = cache.freed_by_reason.get(reason, 0) + freed
    if (requests := result.requests) is not None:
        for position, row in enumerate(requests.plan.actions):
            requests.outcomes.set(position, Outcome.DONE)
            cancels = row.kind is Kind.CANCEL_REQUEST
            counts = requests.cancelled_by_status if cancels else requests.deleted_by_status
            counts[row.status] = counts.get(row.status, 0) + 1


def collect_stats(result: Result) -> Stats:
    """How things stand by the plans of ``result``, with a run behind and one ahead."""
    return Stats(
        generated_at=NOW,
        cleanup_interval_hours=6.0,
        abandoned_timeout_hours=1.0,
        cache=CacheStats(result.cache.plan.totals, 7.0, 500.0) if result.cache else None,
        requests=result.requests.plan.totals if result.requests else None,
        running=True,
        last_run=LAST_RUN,
        next_run_at=NOW + 3 * HOUR,
        problems=result.all_problems(),
    )
