"""Sentences that terminal and pipe share, so that both say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from narration_cleanup.apply.result import CacheResult, RequestResult, Result
from narration_cleanup.core.model import Problem, RequestStatus, Severity
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.plan.actions import Reason
from narration_cleanup.report.format import age, clock, count, entries, size
from narration_cleanup.report.record import RunRecord
from narration_cleanup.report.repeated import and_more, number_of
from narration_cleanup.report.stats import Stats
from narration_cleanup.report.summary import Group

MORE_PROBLEMS = 10
"""Problems shown without ``-v``."""
ABSENT_HALF = "not configured: left out"
_FILES = (Reason.ORPHAN, Reason.PARTIAL)

StrT = TypeVar("StrT", bound=str)


def entries_among(by_reason: Mapping[Reason, int]) -> int:
    """How many of these actions take an entry away: all but those on files without one."""
    return sum(number for reason, number in by_reason.items() if reason not in _FILES)


def kept_entries(cache: CacheResult, *, dry_run: bool) -> int:
    """Entries that stay: those surveyed, less those that go (or went)."""
    leaving = cache.plan.by_reason if dry_run else cache.removed_by_reason
    return cache.plan.totals.entry_count - entries_among(leaving)


def cache_headline(cache: CacheResult, *, dry_run: bool) -> str:
    """``Would remove 33 of 60 entries and 2 files, 1.02 MB`` or ``Removed …, freed …``."""
    by_reason = cache.plan.by_reason if dry_run else cache.removed_by_reason
    going = entries_among(by_reason)
    files = sum(by_reason.values()) - going
    what = f"{going:,} of {entries(cache.plan.totals.entry_count)}"
    if files:
        what += f" and {count(files, 'file')} without an entry"
    if dry_run:
        return f"Would remove {what}, {size(cache.plan.planned_bytes)}"
    return f"Removed {what}, freed {size(cache.freed_bytes)}"


def requests_headline(requests: RequestResult, *, dry_run: bool) -> str:
    """``Would cancel 7 of 158 requests`` or ``Cancelled …``; deletions where there are any."""
    deletions = requests.deleted_count
    cancels = requests.cancelled_count
    if dry_run:
        cancels = sum(1 for action in requests.plan.actions if action.reason is Reason.ABANDONED)
        deletions = len(requests.plan.actions) - cancels
    total = count(requests.plan.totals.total, "request")
    text = f"{'Would cancel' if dry_run else 'Cancelled'} {cancels:,} of {total}"
    if deletions:
        text += f", {'delete' if dry_run else 'deleted'} {deletions:,} finished"
    return text


def stays(result: Result, stats: Stats | None) -> list[str]:
    """What stays, a sentence for each half that was looked at."""
    said = []
    if result.cache is not None:
        text = f"{entries(kept_entries(result.cache, dry_run=result.dry_run))} in the cache"
        if not result.dry_run and stats is not None and stats.cache is not None:
            text += f", {size(stats.cache.totals.total_size_bytes)}"
        said.append(text)
    if result.requests is not None:
        changed = result.requests.cancelled_count + result.requests.deleted_count
        if result.dry_run:
            changed = len(result.requests.plan.actions)
        untouched = result.requests.plan.totals.total - changed
        said.append(f"{count(untouched, 'request')} as they are")
    return said


def group_title(group: Group) -> str:
    """``33 entries, 0.99 MB``: the totals of one reason."""
    if group.reason in (Reason.ABANDONED, Reason.FINISHED):
        return count(group.count, "request")
    if group.reason in _FILES:
        return f"{count(group.count, 'file')}, {size(group.size_bytes)}"
    if group.reason is Reason.DANGLING:
        return entries(group.count)
    return f"{entries(group.count)}, {size(group.size_bytes)}"


def outcomes_line(group: Group) -> str:
    """What became of a group, where not all went as planned: ``31 done, 2 skipped``."""
    return listed({outcome.value: number for outcome, number in group.by_outcome.items()})


def listed(counts: Mapping[StrT, int]) -> str:
    """``4 queued, 3 generating``."""
    return ", ".join(f"{number:,} {printable(name)}" for name, number in counts.items())


def problems_title(problems: Sequence[Problem]) -> str:
    """``2 problems, 1 warning``."""
    severe = number_of([each for each in problems if each.severity is Severity.PROBLEM])
    mild = number_of(problems) - severe
    parts = [count(severe, "problem")] if severe else []
    return ", ".join(parts + ([count(mild, "warning")] if mild else []))


def problem_line(problem: Problem, more: int = 0) -> str:
    """One problem in one line, safe to show: half, message (with what to do), subject.

    ``more``: how many others there are with the same reason.
    """
    subject = "" if problem.subject is None else f" ({printable(problem.subject)})"
    return f"{problem.target.value}: {printable_line(problem.message)}{subject}{and_more(more)}"


def in_order(by_status: Mapping[str, int]) -> list[tuple[str, int]]:
    """Requests by status in the order of a request's life; unknown statuses last."""
    known = tuple(RequestStatus)
    return sorted(
        by_status.items(),
        key=lambda item: known.index(RequestStatus(item[0])) if item[0] in known else len(known),
    )


def automatic(stats: Stats) -> str:
    """Whether the automatic clean-up is alive."""
    interval = f"every {stats.cleanup_interval_hours:g} h"
    if stats.in_progress:
        return f"a run is in progress ({interval})"
    return f"alive ({interval})" if stats.running else f"no schedule found (meant to be {interval})"


def last_run(run: RunRecord | None, now: float) -> str:
    """The last run in one line."""
    if run is None:
        return "none recorded"
    text = f"{clock(run.started_at)}, {age(now - run.started_at)} ago: {printable(run.outcome)}"
    if run.finished_at is None:
        return text
    return (
        f"{text}, {run.removed_count:,} removed, {size(run.freed_bytes)} freed, "
        f"{run.cancelled_count:,} cancelled"
    )


def next_run(stats: Stats) -> str:
    """When the next run is due, where that is known."""
    if stats.next_run_at is None:
        return "not known"
    wait = stats.next_run_at - stats.generated_at
    return f"{clock(stats.next_run_at)}, " + (f"in {age(wait)}" if wait >= 0 else "overdue")
