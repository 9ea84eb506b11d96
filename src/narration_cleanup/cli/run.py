"""``run`` and ``dry-run``: one plan, applied or shown."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial

import typer

from narration_cleanup.apply.result import Result
from narration_cleanup.apply.signals import Stop, stop_on_signals
from narration_cleanup.cli import options
from narration_cleanup.cli.options import Invocation
from narration_cleanup.core.deadline import Stopwatch
from narration_cleanup.core.errors import CleanupError, ExitCode, internal_error
from narration_cleanup.core.progress import Progress
from narration_cleanup.report import documents, text
from narration_cleanup.report.log import Log, LogFormat
from narration_cleanup.report.progress_bar import showing_progress
from narration_cleanup.report.record import RunRecord
from narration_cleanup.report.stats import Stats
from narration_cleanup.run import recorder
from narration_cleanup.run.access import OtherUserError, refuse_other_users
from narration_cleanup.run.recent_runs import with_last_run
from narration_cleanup.run.recorder import RunRecorder
from narration_cleanup.run.run import dry_run, run
from narration_cleanup.run.run_as import act_as
from narration_cleanup.settings import Settings, load_settings, require_target
from narration_cleanup.settings.mask import without_password

Work = Callable[[Settings, Invocation, Result, Log, Progress, RunRecorder | None], Stats]


def run_command(
    context: typer.Context,
    cache_dir: options.CacheDir = None,
    requests_db: options.RequestsDb = None,
    allow_other_user: options.AllowOtherUser = False,
    run_as: options.RunAs = None,
    ttl_days: options.TtlDays = None,
    abandoned_timeout_hours: options.AbandonedTimeout = None,
    enforce_max_size: options.EnforceMaxSize = None,
    min_free_mb: options.MinFreeMb = None,
    max_delete: options.MaxDelete = None,
    max_cancel: options.MaxCancel = None,
    ignore_clock: options.IgnoreClock = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    log_format: options.LogForm = LogFormat.TEXT,
) -> None:
    """Remove expired audio, and cancel abandoned requests."""
    flags = {
        "cache.dir": cache_dir,
        "requests.db": requests_db,
        "cleanup.user": run_as,
        "cache.ttl_days": ttl_days,
        "requests.abandoned_timeout_hours": abandoned_timeout_hours,
        "cache.enforce_max_size": enforce_max_size,
        "cache.min_free_mb": min_free_mb,
        "cleanup.max_delete": max_delete,
        "cleanup.max_cancel": max_cancel,
    }
    call = Invocation(
        context.obj, flags, as_json, quiet, verbose, allow_other_user, ignore_clock, log_format
    )
    result = Result(time.time(), dry_run=False)
    with stop_on_signals() as (stop, signals):
        code = _carry_out(call, result, partial(_run, stop=stop), signals.close)
    raise typer.Exit(code)


def dry_run_command(
    context: typer.Context,
    cache_dir: options.CacheDir = None,
    requests_db: options.RequestsDb = None,
    allow_other_user: options.AllowOtherUser = False,
    run_as: options.RunAs = None,
    ttl_days: options.TtlDays = None,
    abandoned_timeout_hours: options.AbandonedTimeout = None,
    enforce_max_size: options.EnforceMaxSize = None,
    min_free_mb: options.MinFreeMb = None,
    max_delete: options.MaxDelete = None,
    max_cancel: options.MaxCancel = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    log_format: options.LogForm = LogFormat.TEXT,
) -> None:
    """Show what a run would do, item by item, with the reason for each. Changes nothing."""
    flags = {
        "cache.dir": cache_dir,
        "requests.db": requests_db,
        "cleanup.user": run_as,
        "cache.ttl_days": ttl_days,
        "requests.abandoned_timeout_hours": abandoned_timeout_hours,
        "cache.enforce_max_size": enforce_max_size,
        "cache.min_free_mb": min_free_mb,
        "cleanup.max_delete": max_delete,
        "cleanup.max_cancel": max_cancel,
    }
    call = Invocation(
        context.obj, flags, as_json, quiet, verbose, allow_other_user, log_format=log_format
    )
    raise typer.Exit(_carry_out(call, Result(time.time(), dry_run=True), _dry_run))


def _carry_out(
    call: Invocation, result: Result, work: Work, done: Callable[[], None] = lambda: None
) -> ExitCode:
    """Do the work, tell of it, and answer with the exit code; a refusal is a result too.

    ``done`` is called once all is done and recorded: showing it may wait for a reader for ever.
    """
    log = _log(call, result)
    stats, told, watch, refused = None, None, Stopwatch(), False
    crash: BaseException | None = None
    try:
        settings = load_settings(flags=call.flags, config_file=call.config_file, environ=os.environ)
        settings = act_as(settings)
        refuse_other_users(
            settings, allow_other_user=call.allow_other_user, writes=not result.dry_run
        )
        if not result.dry_run:
            told = recorder.start(settings, result, os.environ)
        require_target(settings, by_flag=True)
        for warning in settings.warnings:
            log.warning(warning)
        result.cache_configured = settings.cache.dir is not None
        result.requests_configured = settings.requests.db is not None
        with showing_progress(sys.stderr, quiet=call.quiet) as progress:
            stats = work(settings, call, result, log, progress, told)
    except CleanupError as error:
        result.stop(error.exit_code, str(error))
        refused = isinstance(error, OtherUserError)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a library is no Exception
        if isinstance(error, OSError):  # the output, where nobody could see more of it
            result.stop(ExitCode.FAILED, internal_error(error))
            _remember_and_tell(told, result, log, watch, done)
            raise
        crash = error
        result.stop(ExitCode.FAILED, internal_error(error))
    if told is None and crash is None and not result.dry_run:
        told = recorder.start_with_partial_settings(
            call.flags, call.config_file, result, os.environ, writes=not refused
        )
    show = partial(_show, call, result, stats, log, told)
    _remember_and_tell(told, result, log, watch, done, show)
    if crash is not None and call.verbose:
        raise crash
    return result.exit_code


def _log(call: Invocation, result: Result) -> Log:
    """Muted where a terminal is told in another way, unless JSON lines are asked for."""
    on_terminal = sys.stdout.isatty() and not call.as_json
    return Log(
        form=call.log_format,
        quiet=call.quiet or result.dry_run,
        verbose=call.verbose,
        muted=on_terminal and call.log_format is LogFormat.TEXT,
    )


def _remember_and_tell(
    told: RunRecorder | None,
    result: Result,
    log: Log,
    watch: Stopwatch,
    done: Callable[[], None],
    show: Callable[[RunRecord | None], None] = lambda record: None,
) -> None:
    """History and metrics first, so that what they lack is shown; the network last.

    Those who listen elsewhere hear of the run also where it cannot be shown here.
    """
    result.finished_at = result.started_at + watch.seconds
    record = None if told is None else recorder.finish(told, result)
    done()
    try:
        show(record)
    finally:
        if told is not None and record is not None:
            recorder.notify(told, record, list(log.last), log.warning)


def _show(
    call: Invocation,
    result: Result,
    stats: Stats | None,
    log: Log,
    told: RunRecorder | None,
    record: RunRecord | None,
) -> None:
    if stats is not None and record is not None:
        stats = with_last_run(stats, record, told.starts if told is not None else ())
    if not result.dry_run or result.stopped is not None:
        log.finished(result)
    if call.as_json:
        trigger = None if told is None else told.trigger
        documents.write_run(result, stats, sys.stdout, trigger=trigger)
    else:
        command = _command_of(result)
        text.show_run(result, stats, verbose=call.verbose, quiet=call.quiet, command=command)


def _command_of(result: Result) -> str | None:
    """The command that does what this dry run has planned; ``None`` where that is nothing."""
    targets = (result.cache, result.requests)
    planned = any(target is not None and len(target.plan.actions) for target in targets)
    words = sys.argv[1:]
    if not (result.dry_run and planned and "dry-run" in words):
        return None
    words[words.index("dry-run")] = "run"
    kept = (without_password(word) for word in words if word not in ("-v", "--verbose"))
    return shlex.join(["narration-cleanup", *kept])


def _dry_run(
    settings: Settings,
    call: Invocation,
    result: Result,
    log: Log,
    progress: Progress,
    told: RunRecorder | None,
) -> Stats:
    return dry_run(settings, result, progress, explain=call.verbose)


def _run(
    settings: Settings,
    call: Invocation,
    result: Result,
    log: Log,
    progress: Progress,
    told: RunRecorder | None,
    *,
    stop: Stop,
) -> Stats:
    log.started(settings.cleanup.interval_hours, settings.requests.abandoned_timeout_hours)
    log.tasks_started()
    return run(settings, result, stop, progress, log, told, ignore_clock=call.ignore_clock)
