"""``stats``: the health of cache and queue, read only."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from narration_cleanup.cli import options
from narration_cleanup.cli.options import Invocation, showing_progress
from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Severity
from narration_cleanup.core.text import printable
from narration_cleanup.report import documents
from narration_cleanup.report.run_record import CacheState, RunRecord
from narration_cleanup.report.stats import Stats
from narration_cleanup.report.streams import until_closed
from narration_cleanup.run.access import refuse_other_users
from narration_cleanup.run.collect_stats import RecentRuns, stats_now, with_recent_runs
from narration_cleanup.run.run_as import act_as
from narration_cleanup.run.survey import VoiceFilter
from narration_cleanup.settings import (
    CleanupSettings,
    RequestSettings,
    Settings,
    load_settings,
    require_target,
)

Prometheus = Annotated[
    bool,
    typer.Option(
        "--prometheus",
        help="The metrics, as Prometheus reads them, on stdout.",
        metavar="",
        rich_help_panel=options.OUTPUT,
    ),
]
VoiceStyle = Annotated[
    str | None,
    options.voice_style(
        "Show the entries of one voice style alone, against its own TTL.", options.OUTPUT
    ),
]


@options.takes(*options.PLACES, *options.LIMITS, "as_json", "quiet", "verbose")
def stats_command(
    call: Invocation, prometheus: Prometheus = False, voice_style: VoiceStyle = None
) -> None:
    """Show the state of cache and queue. Changes nothing."""
    if prometheus and voice_style is not None:
        raise typer.BadParameter("--prometheus is of the whole cache: leave --voice-style out")
    if prometheus and call.as_json:
        raise typer.BadParameter("--prometheus is a form of its own: leave --json out")
    now = time.time()
    try:
        _show(call, now, prometheus=prometheus, voice_style=voice_style)
    except ConfigError as error:
        if call.as_json and not prometheus:
            documents.write(documents.stats_document(_nothing_seen(error, now)), sys.stdout)
        raise


def _show(call: Invocation, now: float, *, prometheus: bool, voice_style: str | None) -> None:
    settings = load_settings(flags=call.flags, config_file=call.config_file, environ=os.environ)
    settings = act_as(settings)
    require_target(settings, by_flag=True)
    refuse_other_users(settings, writes=False)
    others: set[str] = set()
    through = None
    if voice_style is not None:
        own = settings.cache.ttl_days_by_voice_style.get(voice_style, settings.cache.ttl_days)
        settings = replace(settings, cache=replace(settings.cache, ttl_days=own))
        through = partial(VoiceFilter, voice_style=voice_style, others=others)
    with showing_progress(sys.stderr, quiet=call.quiet) as progress:
        stats, plans = stats_now(settings, now, progress, through)
    is_empty = plans.cache is not None and not plans.cache.totals.entry_count
    # A program that asks again and again gets its zeros: the last one may just have gone.
    if voice_style is not None and is_empty and not call.as_json:
        known = ", ".join(sorted(map(printable, others))) or "none"
        name = printable(voice_style)
        raise typer.BadParameter(f"no entry has the voice style {name}; there are: {known}")
    stats, past = with_recent_runs(stats, settings)
    if prometheus:
        with until_closed(sys.stdout):
            sys.stdout.write(_metrics(stats, past, settings))
    elif call.as_json:
        documents.write(documents.stats_document(stats), sys.stdout)
    else:
        from narration_cleanup.report.stats_text import show_stats

        show_stats(stats, verbose=call.verbose, quiet=call.quiet)
    raise typer.Exit(_exit_code(stats, nothing_seen=plans.cache is None and plans.requests is None))


def _nothing_seen(error: ConfigError, now: float) -> Stats:
    """The document for a program where the configuration is wrong."""
    return Stats(
        generated_at=now,
        cleanup_interval_hours=CleanupSettings().interval_hours,
        abandoned_timeout_hours=RequestSettings().abandoned_timeout_hours,
        problems=documents.configuration_problems(error),
    )


def _metrics(stats: Stats, past: RecentRuns, settings: Settings) -> str:
    """The page that a run would write, with the cache and the requests as they stand now."""
    from narration_cleanup.report.metrics import metrics_text, name_of

    limit_bytes = int(settings.cache.max_size_mb * 2**20)
    cache, requests = stats.cache, stats.requests
    state = RunRecord(
        cache_state=None
        if cache is None
        else CacheState(cache.totals.entry_count, cache.totals.total_size_bytes, limit_bytes),
        requests_by_status=None if requests is None else dict(requests.by_status),
        abandoned_left=None if requests is None else requests.abandoned_count,
    )
    return metrics_text(
        past.last,
        past.counters,
        interval_seconds=stats.cleanup_interval_hours * 3_600,
        limit_bytes=limit_bytes,
        state=state,
        name=name_of(settings.metrics.textfile),
    )


def _exit_code(stats: Stats, *, nothing_seen: bool) -> ExitCode:
    if not any(problem.severity is Severity.PROBLEM for problem in stats.problems):
        return ExitCode.DONE
    return ExitCode.FAILED if nothing_seen else ExitCode.PARTLY_DONE
