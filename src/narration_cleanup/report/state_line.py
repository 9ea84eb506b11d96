"""The state in one line, and when the last run was and the next is due: for ``stats``."""

from __future__ import annotations

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.model import HOUR, Severity
from narration_cleanup.core.text import printable
from narration_cleanup.report.format import Sizes, age, ago, clock, count, entries, without_audio
from narration_cleanup.report.run_record import RunRecord
from narration_cleanup.report.stats import ALIVE_FOR, Stats
from narration_cleanup.report.summary import problems_title


def automatic(stats: Stats) -> str:
    """Whether the automatic clean-up is alive."""
    interval = f"every {stats.cleanup_interval_hours:g} h"
    if stats.in_progress:
        return f"a run is in progress ({interval})"
    return f"alive ({interval})" if stats.running else f"no schedule found (meant to be {interval})"


def last_run(run: RunRecord | None, now: float, sizes: Sizes) -> str:
    """The last run in one line."""
    if run is None:
        return "none recorded"
    text = f"{clock(run.started_at)}, {ago(now - run.started_at)}: {printable(run.outcome)}"
    if run.finished_at is None:
        return text
    return (
        f"{text}, {run.removed_count:,} removed{without_audio(run.without_file)}, "
        f"{sizes(run.freed_bytes)} freed, {run.cancelled_count:,} cancelled"
    )


def next_run(stats: Stats) -> str:
    """When the next run is due, where that is known."""
    if stats.next_run_at is None:
        return "not known"
    wait = stats.next_run_at - stats.generated_at
    return f"{clock(stats.next_run_at)}, " + (f"in {age(wait)}" if wait >= 0 else "overdue")


def state(stats: Stats, sizes: Sizes) -> tuple[bool, str]:
    """The state in one line, and whether it is good: nothing is wrong, and runs are made."""
    run, cache, requests = stats.last_run, stats.cache, stats.requests
    serious = [each for each in stats.problems if each.severity is Severity.PROBLEM]
    wrong = [problems_title(serious)] if serious else []
    if not (stats.running or stats.in_progress):
        late = stats.generated_at - ALIVE_FOR * stats.cleanup_interval_hours * HOUR
        if run is None:
            wrong.append("no run recorded")
        else:  # a run by hand is no schedule, however late it is
            wrong.append("no run lately" if run.started_at < late else "no schedule found")
    elif run is not None and run.finished_at is not None and run.outcome != RunOutcome.SUCCESS:
        wrong.append(f"the last run ended as {printable(run.outcome)}")
    parts = []
    if cache is not None:
        totals = cache.totals
        text = f"{entries(totals.entry_count)}, {sizes(totals.total_size_bytes)}"
        parts.append(
            f"{text}, {totals.expired_count:,} expired{without_audio(totals.missing_count)}"
        )
    if requests is not None:
        parts.append(f"{count(requests.total, 'request')}, {requests.abandoned_count:,} abandoned")
    parts = [", ".join(wrong), *parts] if wrong else parts
    return not wrong, f"{'Attention' if wrong else 'OK'}: {'; '.join(parts)}"
