"""Plain text for pipes and files: no ANSI, no boxes, one line a thing, whole names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from narration_cleanup.apply.result import Result
from narration_cleanup.core.model import Problem
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.plan.actions import (
    Action,
    CancelRequest,
    DeleteRequest,
    DropEntry,
    Outcome,
    Reason,
)
from narration_cleanup.plan.totals import AGE_BINS, RequestTotals
from narration_cleanup.report import sentences
from narration_cleanup.report.format import clock, entries, old, percent, size
from narration_cleanup.report.repeated import gathered
from narration_cleanup.report.stats import CacheStats, Stats
from narration_cleanup.report.summary import size_of

_LABEL = 18


def write_dry_run(
    result: Result, stream: TextIO, *, verbose: bool = False, quiet: bool = False
) -> None:
    """Every item with its reason, what stays, and the problems."""
    if not quiet:
        stream.write(f"Dry run as of {clock(result.started_at)}\n")
        if result.cache is not None:
            _write_items(result.cache.outcomes, stream)
            if verbose:
                for key, rule in result.cache.plan.held:
                    stream.write(f"keep    {printable(key)}  {printable(rule)}\n")
        if result.requests is not None:
            _write_items(result.requests.outcomes, stream)
        for line in _totals(result):
            stream.write(f"{line}\n")
    _write_problems(result.all_problems(), stream, verbose=verbose, limit=None)
    for line in result.message.splitlines():
        stream.write(f"{printable_line(line)}\n")


def _write_items(outcomes: Iterable[tuple[Action, Outcome, str | None]], stream: TextIO) -> None:
    for action, _, _ in outcomes:
        why = f"{action.reason.value}: {printable(action.detail)}"
        match action:
            case CancelRequest() | DeleteRequest():
                verb = "cancel" if isinstance(action, CancelRequest) else "delete"
                stream.write(f"{verb}  {printable(action.id)}  {why}\n")
            case DropEntry():
                stream.write(f"drop    {printable(action.file)}  {why}\n")
            case _:
                stream.write(f"remove  {printable(action.file)}  {size_of(action)} bytes  {why}\n")


def _totals(result: Result) -> Iterable[str]:
    if result.cache is not None:
        reasons = sentences.listed(result.cache.plan.by_reason)
        headline = sentences.cache_headline(result.cache, dry_run=True)
        yield headline + (f" ({reasons})" if reasons else "")
    elif not result.cache_configured:
        yield f"Cache: {sentences.ABSENT_HALF}"
    if result.requests is not None:
        headline = sentences.requests_headline(result.requests, dry_run=True)
        abandoned = sentences.listed(result.requests.plan.totals.abandoned_by_status)
        yield headline + (f" ({abandoned})" if abandoned else "")
    elif not result.requests_configured:
        yield f"Requests: {sentences.ABSENT_HALF}"
    if kept := sentences.stays(result, None):
        yield f"What stays: {'; '.join(kept)}"


def write_stats(
    stats: Stats, stream: TextIO, *, verbose: bool = False, quiet: bool = False
) -> None:
    """A table of label and value."""
    if not quiet:
        stream.write(f"Narration system as of {clock(stats.generated_at)}\n")
        for title, rows in (
            ("Cache", _cache_rows(stats)),
            ("Requests", _request_rows(stats)),
            ("Cleanup", _cleanup_rows(stats)),
        ):
            stream.write(f"\n{title}\n")
            for label, value in rows:
                stream.write(f"  {label:<{_LABEL}} {value}\n")
    if stats.problems:
        stream.write("" if quiet else "\n")
        limit = None if verbose else sentences.MORE_PROBLEMS
        _write_problems(stats.problems, stream, verbose=verbose, limit=limit)


def _cache_rows(stats: Stats) -> Iterable[tuple[str, str]]:
    if stats.cache is None:
        yield "-", _absent(stats.problems, "cache")
        return
    cache, totals = stats.cache, stats.cache.totals
    yield "entries", f"{totals.entry_count:,}"
    yield "size", _size_against_limit(cache)
    expired = f"{totals.expired_count:,}, {size(totals.expired_size_bytes)}"
    yield "expired", f"{expired} (older than {cache.ttl_days:g} days)"
    yield "dangling", f"{totals.dangling_count:,}"
    yield "orphans", f"{totals.orphan_count:,}, {size(totals.orphan_size_bytes)}"
    for label, instant in (
        ("oldest", totals.oldest_created_at),
        ("newest", totals.newest_created_at),
    ):
        if instant is not None:
            yield label, f"{clock(instant)}, {old(stats.generated_at - instant)}"
    for name, number in age_rows(cache):
        yield f"age {name}", f"{number:,}"
    for voice, found in totals.by_voice_style.items():
        yield printable(voice), f"{entries(found.entry_count)}, {size(found.size_bytes)}"


def _request_rows(stats: Stats) -> Iterable[tuple[str, str]]:
    totals: RequestTotals | None = stats.requests
    if totals is None:
        yield "-", _absent(stats.problems, "requests")
        return
    yield "total", f"{totals.total:,}"
    for status, number in sentences.in_order(totals.by_status):
        abandoned = totals.abandoned_by_status.get(status, 0)
        yield printable(status), f"{number:,}" + (f", {abandoned:,} abandoned" if abandoned else "")
    limit = f"(limit {stats.abandoned_timeout_hours:g} h)"
    yield Reason.ABANDONED.value, f"{totals.abandoned_count:,} {limit}"


def _cleanup_rows(stats: Stats) -> Iterable[tuple[str, str]]:
    yield "automatic cleanup", sentences.automatic(stats)
    yield "last run", sentences.last_run(stats.last_run, stats.generated_at)
    yield "next run", sentences.next_run(stats)


def age_rows(cache: CacheStats) -> Iterable[tuple[str, int]]:
    """The ages in tenths of the TTL, and what is past it: label and number of entries."""
    step = cache.ttl_days / AGE_BINS
    for number, found in enumerate(cache.totals.age_bins[:AGE_BINS]):
        yield f"{number * step:.3g}-{(number + 1) * step:.3g} d", found
    yield f"over {cache.ttl_days:g} d", cache.totals.age_bins[AGE_BINS]


def _size_against_limit(cache: CacheStats) -> str:
    held = cache.totals.total_size_bytes
    if cache.max_size_mb is None:
        return f"{size(held)} (no limit set)"
    share = percent(held, cache.max_size_mb * 1024 * 1024)
    return f"{size(held)} of {cache.max_size_mb:g} MB, {share}"


def _absent(problems: Iterable[Problem], target: str) -> str:
    if any(problem.target.value == target for problem in problems):
        return "could not be read: see the problems"
    return sentences.ABSENT_HALF


def _write_problems(
    problems: list[Problem], stream: TextIO, *, verbose: bool, limit: int | None
) -> None:
    if not problems:
        return
    told = [(problem, 0) for problem in problems] if verbose else gathered(problems)
    stream.write(f"{sentences.problems_title(problems)}\n")
    for problem, more in told[:limit]:
        stream.write(f"  {problem.severity.value}: {sentences.problem_line(problem, more)}\n")
    if limit is not None and len(told) > limit:
        stream.write(f"  and {len(told) - limit:,} more (-v shows all)\n")
